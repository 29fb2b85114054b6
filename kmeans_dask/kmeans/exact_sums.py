"""Sums that are exact for any numbers: every value is brought to integers before it is added.

Integers add up to the same in any order, any grouping and on any number of workers, and a value
that was added can be taken out again without a trace. Integer points are summed as they are.
Floating-point values are cut into two limbs of 36 bits, relative to the largest there is: what
is lost of a value is at most about 2^-70 of that, where float64 keeps 2^-53. (Pre-rounding, as in
Demmel & Nguyen 2015, "Parallel reproducible summation", IEEE Trans. Computers 64(7), section 4,
with integers in place of floating-point bins.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit

LIMB_BITS = 36
LIMB = float(1 << LIMB_BITS)
MAX_POINTS = 1 << (62 - LIMB_BITS)  # in one sum: a limb stays below 2^62

Integers = NDArray[Any]  # of int64, or of Python's integers where these could overflow


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """How weighted points of a data set become integers, the same for all its chunks.

    exact: whether points and weights are integers, and are taken as they are
    origin: (C,) float64, subtracted from points before they are summed; 0 if exact
    reach, heaviest: what powers of two points, less the origin, and weights stay below
    """

    exact: bool
    origin: NDArray[np.float64]
    reach: int = 0
    heaviest: int = 0

    @property
    def bits(self) -> int:
        """In sums of weighted points, 1 stands for 2^-bits."""
        return 0 if self.exact else 2 * LIMB_BITS - self.reach - self.heaviest

    @property
    def square_bits(self) -> int:
        """The same of weighted squares."""
        return 0 if self.exact else 2 * LIMB_BITS - 2 * self.reach - self.heaviest

    @property
    def point_bits(self) -> int:
        """The same of a point, without a weight."""
        return 0 if self.exact else 2 * LIMB_BITS - self.reach

    @property
    def weight_bits(self) -> int:
        """The same of weights."""
        return 0 if self.exact else 2 * LIMB_BITS - self.heaviest

    @property
    def scales(self) -> tuple[bool, NDArray[np.float64], float, float]:
        """For kernels: exact, origin, and powers of two that bring points and weights below 1."""
        return self.exact, self.origin, math.ldexp(1.0, -self.reach), math.ldexp(1, -self.heaviest)

    def integers(self, limbs: NDArray[np.int64]) -> Integers:
        """Sums in two limbs (2, ...) as one array of integers."""
        high, low = limbs
        integers: Integers = high.copy() if self.exact else (high.astype(object) << LIMB_BITS) + low
        return integers

    def cut(
        self, values: NDArray[Any], weights: NDArray[Any]
    ) -> tuple[Integers, Integers, Integers]:
        """Weights (n,), weighted points (n, C) and squares (n, C) of some points, as integers."""
        if self.exact:
            values, weights = values.astype(np.int64), weights.astype(np.int64)
            wide = weights.astype(object)  # Python integers: squares of many pixels pass 64 bits
            return weights, values * weights[:, None], values * values * wide[:, None]
        _, origin, scale, weight_scale = self.scales
        weight = weights[:, None] * weight_scale
        point, rest = two_difference(values.astype(np.float64), origin)
        point, rest = point * scale, rest * scale
        square, square_rest = two_product(point, point)
        square_rest = square_rest + 2.0 * point * rest
        return (
            self.integers(cut(weights * weight_scale, 0.0 * weights)),
            self.integers(cut(*weighted(weight, point, rest))),
            self.integers(cut(*weighted(weight, square, square_rest))),
        )


def integer_grid(channels: int) -> FixedPoint:
    """For integer points with integer weights."""
    return FixedPoint(True, np.zeros(channels))


def float_grid(
    low: NDArray[np.float64], high: NDArray[np.float64], max_weight: float = 1.0
) -> FixedPoint:
    """For points between `low` and `high`, both (C,) float64, with weights up to `max_weight`."""
    origin = low * 0.5 + high * 0.5
    reach = float(np.max(np.maximum(high - origin, origin - low), initial=0.0))
    return FixedPoint(False, origin, _exponent(reach), _exponent(max_weight))


def _exponent(largest: float) -> int:
    """Of a power of two above `largest`."""
    return max(-1000, math.frexp(largest)[1]) if 0 < largest < math.inf else 0


# The error-free transformations of Knuth and of Dekker: Ogita, Rump & Oishi 2005, "Accurate sum
# and dot product", SIAM J. Sci. Comput. 26(6), algorithms 3.1 and 3.5. For arrays, and compiled.


def two_difference(a, b):  # type: ignore[no-untyped-def]
    """A - b in floating point, and what rounding took from it."""
    difference = a - b
    near = difference - a
    return difference, (a - (difference - near)) - (b + near)


def two_product(a, b):  # type: ignore[no-untyped-def]
    """A * b in floating point, and what rounding took from it."""
    product = a * b
    a_big, b_big = a * 134217729.0, b * 134217729.0  # 2^27 + 1
    a_high, b_high = a_big - (a_big - a), b_big - (b_big - b)
    a_low, b_low = a - a_high, b - b_high
    return product, a_low * b_low - (
        ((product - a_high * b_high) - a_low * b_high) - a_high * b_low
    )


def weighted(weight, value, rest):  # type: ignore[no-untyped-def]
    """Weight times value + rest, and what rounding took from it."""
    product, lost = two_product(weight, value)
    return product, lost + weight * rest


def cut(value, rest):  # type: ignore[no-untyped-def]
    """A value + rest below 1 in two limbs of integers: arrays (2, ...)."""
    scaled = value * LIMB
    high = np.rint(scaled)
    low = np.rint(((scaled - high) + rest * LIMB) * LIMB)
    return np.stack([high, low]).astype(np.int64)


two_difference_kernel, two_product_kernel = jit(two_difference), jit(two_product)


@jit
def ordered_sum(values):  # type: ignore[no-untyped-def]
    """The sum of `values` (n,), one after the other: the same on every machine."""
    total = 0.0
    for value in values:
        total += value
    return total
