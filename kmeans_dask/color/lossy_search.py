"""Search for the largest weight of bits with which lossy indices still reach a target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

_PER_OCTAVE = 4  # weights that are tried between one and twice as much
_SMALLEST, _LARGEST = -2 * _PER_OCTAVE, 13 * _PER_OCTAVE
_AGAIN = 4  # weights that are tried with all passes: the one that was found, and smaller ones

Choose = Callable[[float, int], T]


class Weighted(NamedTuple, Generic[T]):
    """Image with lossy indices, and the step on the scale of weights that they were chosen with."""

    image: T
    step: int


def find_weight(choose: Choose[T], reaches: Callable[[T], bool]) -> Weighted[T] | None:
    """Return the image with the largest weight that reaches a target, or None where none does.

    Only the passes of the least effort are done. Weights are tried by bisection, a quarter of an
    octave apart.

    choose: function of the weight and the effort that returns an image
    reaches: whether an image reaches the target
    """
    best: Weighted[T] | None = None
    low, high = _SMALLEST - 1, _LARGEST
    while high - low > 1:
        middle = (low + high) // 2
        image = choose(_weight(middle), 0)
        if reaches(image):
            low, best = middle, Weighted(image, middle)
        else:
            high = middle
    return best


def refine(found: Weighted[T], choose: Choose[T], reaches: Callable[[T], bool], effort: int) -> T:
    """Return the image with the passes of an effort, 0 to 9, that still reaches the target.

    The weight that `find_weight` has found is tried, and smaller ones. Where none of them does, the
    image stays as it was found.
    """
    for step in range(found.step, max(found.step - _AGAIN, _SMALLEST - 1), -1):
        image = choose(_weight(step), effort)
        if reaches(image):
            return image
    return found.image


def _weight(step: int) -> float:
    return float(2.0 ** (step / _PER_OCTAVE))
