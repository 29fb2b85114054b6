"""Sums that are exact for any numbers: every value is brought to integers before it is added.

Integers add up to the same in any order, any grouping and on any number of workers, and a value
that was added can be taken out again without a trace. Integer points are summed as they are.
Floating-point values are cut into two limbs of 36 bits, relative to the largest there is: what
is lost of a value is below 2^-72 of that, where float64 itself keeps 2^-53. (The pre-rounding of
Demmel & Nguyen 2015, "Parallel reproducible summation", IEEE Trans. Computers 64(7), section 4,
with integers in place of floating-point bins.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIMB_BITS = 36
LIMB = float(1 << LIMB_BITS)
MAX_POINTS = 1 << (62 - LIMB_BITS)  # in one sum: a limb stays below 2^62

Integers = NDArray[Any]  # of int64, or of Python's integers where these could overflow


@dataclass(frozen=True, eq=False)
class Grid:
    """How weighted points of a data set become integers, the same for all its chunks.

    exact: whether points and weights are integers, and are taken as they are
    origin: (C,) float64, subtracted from points before they are summed; 0 if exact
    bits, square_bits, weight_bits: in sums of weighted points, of weighted squares, and of
        weights, 1 stands for 2^-bits; 0 if exact
    """

    exact: bool
    origin: NDArray[np.float64]
    bits: int = 0
    square_bits: int = 0
    weight_bits: int = 0

    def integers(self, limbs: NDArray[np.int64]) -> Integers:
        """Sums in two limbs (2, ...) as one array of integers."""
        high, low = limbs
        integers: Integers = high.copy() if self.exact else (high.astype(object) << LIMB_BITS) + low
        return integers


def integer_grid(channels: int) -> Grid:
    """For integer points with integer weights."""
    return Grid(True, np.zeros(channels))


def float_grid(
    low: NDArray[np.float64], high: NDArray[np.float64], max_weight: float = 1.0
) -> Grid:
    """For points between `low` and `high`, both (C,) float64, with weights up to `max_weight`."""
    origin = low * 0.5 + high * 0.5
    reach = float(np.max(np.maximum(high - origin, origin - low), initial=0.0))
    return Grid(
        False,
        origin,
        _bits(reach * max_weight),
        _bits(reach * reach * max_weight),
        _bits(max_weight),
    )


def _bits(largest: float) -> int:
    """How many bits after the point give `largest` two full limbs."""
    exponent = math.frexp(largest)[1] if 0 < largest < math.inf else 0
    return 2 * LIMB_BITS - max(exponent, -900)


def cut(values: NDArray[np.float64], bits: int) -> NDArray[np.int64]:
    """Values (...) in two limbs (2, ...) of integers, as the kernels cut them."""
    scaled = values * math.ldexp(1.0, bits - LIMB_BITS)
    high = np.rint(scaled)
    return np.stack([high, np.rint((scaled - high) * LIMB)]).astype(np.int64)
