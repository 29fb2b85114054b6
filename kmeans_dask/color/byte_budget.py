"""Search for the weight of bits with which images take as many bytes as they may."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

WELL_SPENT = 0.99  # part of the bytes that may be taken, from which on no other weight is tried
_MOST_TRIED = 20  # weights
_SMOOTH = 4  # weights, after which a curve of bytes is not taken to be smooth
_FIRST_OCTAVE, _LAST_OCTAVE = -4.0, 13.0  # logarithms of the weights that are tried
_NO_WEIGHT = _FIRST_OCTAVE - 1  # stands for the weight 0
_NARROW = 1 / 64  # octaves, between which no other weight is tried
_USUAL_SLOPE = 0.25  # octaves of bytes for an octave of weight


class Spent(NamedTuple):
    """Weight of bits, and the bytes that all images together take with it."""

    weight: float
    n_bytes: int


def spend_bytes(measure: Callable[[float], int], most: int, first: float) -> Spent | None:
    """Return a weight with which all images take at most `most` bytes, and hardly less.

    It is the first weight that was tried with which they take at least 99 % of `most`. Where none
    does, it is the one with the most bytes; and None where they take more with any weight.

    measure: function of the weight that returns the bytes; more weight leaves fewer, nearly always
    first: weight to begin with

    One weight for all images gives the least error for their bytes (Shoham & Gersho 1988,
    "Efficient bit allocation for an arbitrary set of quantizers", IEEE Trans. ASSP 36(9)).
    """
    octave = math.log2(first)
    over: tuple[float, int] | None = None  # the last octave with too many bytes
    under: tuple[float, int] | None = None  # the last octave with few enough
    best: Spent | None = None
    for tried in range(1, _MOST_TRIED + 1):
        weight = _rounded(2.0**octave) if octave > _NO_WEIGHT else 0.0
        found = Spent(weight, measure(weight))
        if found.n_bytes > most:
            over = octave, found.n_bytes
        else:
            under = octave, found.n_bytes
            best = max(best or found, found, key=lambda each: (each.n_bytes, -each.weight))
            if found.n_bytes >= WELL_SPENT * most or weight == 0:
                break
        is_narrow = over and under and under[0] - over[0] < _NARROW
        if is_narrow or (over and over[0] == _LAST_OCTAVE):
            break
        octave = _next_octave(over, under, most, tried)
    return best


def _next_octave(
    over: tuple[float, int] | None, under: tuple[float, int] | None, most: int, tried: int
) -> float:
    """Return the octave to try next, where a little less than `most` bytes are expected.

    over, under: octaves with too many and with few enough bytes, and these; None for none yet
    tried: number of weights that have been tried

    A curve with a jump, where interpolation is slow, is halved now and then.
    """
    if over and under:
        wanted = math.log(max(1, most) * (1 + WELL_SPENT) / 2)
        high, low = math.log(max(1, over[1])), math.log(max(1, under[1]))
        halves = tried > _SMOOTH and tried % 2 == 0
        part = 0.5 if halves or high <= low else (high - wanted) / (high - low)
        return over[0] + min(max(part, 0.1), 0.9) * (under[0] - over[0])
    if over:
        return min(over[0] + _stride(over[1] / max(1, most), tried), _LAST_OCTAVE)
    assert under is not None
    ahead = under[0] - _stride(most / max(1, under[1]), tried)
    return ahead if ahead >= _FIRST_OCTAVE else _NO_WEIGHT


def _stride(ratio: float, tried: int) -> float:
    """Return the octaves that change the bytes by a ratio, 1 or more, at their usual slope.

    They are more with each weight that was tried, for curves that are flat.
    """
    return min(max(math.log2(ratio) / _USUAL_SLOPE, 2.0**tried / 8), 4.0)


def _rounded(weight: float) -> float:
    """Return a weight with four digits, as a person can type it."""
    return float(f"{weight:.4g}")
