"""Exact sums of any numbers: every value is converted to integers before it is added.

Integers add up to the same in any order, any grouping and on any number of workers, and a value
that was added can be subtracted again without a trace. Integer points are summed unchanged.
Floating-point values are cut into two limbs of 36 bits, relative to the largest value: what is lost
of a value is at most about 2^-70 of the largest, where float64 keeps 2^-53. (This is pre-rounding,
as in Demmel & Nguyen 2015, "Parallel reproducible summation", IEEE Trans. Computers 64(7),
section 4, with integers in place of floating-point bins.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit

LIMB_BITS = 36
LIMB = float(1 << LIMB_BITS)
MAX_POINTS = 1 << (62 - LIMB_BITS)  # most points in one sum, so that a limb stays below 2^62

Integers = NDArray[Any]  # of int64, or of Python's integers where int64 could overflow


class Scales(NamedTuple):
    """Fixed-point format, as kernels take it.

    exact, origin: those of `FixedPoint`
    of_points, of_weights: the powers of two that scale points and weights below 1
    """

    exact: bool
    origin: NDArray[np.float64]
    of_points: float
    of_weights: float


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """Fixed-point format (grid) of sums of weighted points, the same for all chunks of a data set.

    exact: whether points and weights are integers, which are summed unchanged
    origin: (C,) float64, subtracted from points before they are summed; 0 if exact
    reach: points, less the origin, stay below 2^reach; heaviest: weights stay below 2^heaviest
    """

    exact: bool
    origin: NDArray[np.float64]
    reach: int = 0
    heaviest: int = 0

    @property
    def bits(self) -> int:
        """Return the fractional bits of sums of weighted points: 1 stands for 2^-bits."""
        return 0 if self.exact else 2 * LIMB_BITS - self.reach - self.heaviest

    @property
    def square_bits(self) -> int:
        """Return the fractional bits of sums of weighted squares."""
        return 0 if self.exact else 2 * LIMB_BITS - 2 * self.reach - self.heaviest

    @property
    def point_bits(self) -> int:
        """Return the fractional bits of a point, without a weight."""
        return 0 if self.exact else 2 * LIMB_BITS - self.reach

    @property
    def weight_bits(self) -> int:
        """Return the fractional bits of weights."""
        return 0 if self.exact else 2 * LIMB_BITS - self.heaviest

    @property
    def scales(self) -> Scales:
        """Return this format in the form that kernels take."""
        return Scales(
            self.exact, self.origin, math.ldexp(1.0, -self.reach), math.ldexp(1, -self.heaviest)
        )

    def integers(self, limbs: NDArray[np.int64]) -> Integers:
        """Return sums in two limbs, (2, ...), as one array of integers."""
        high, low = limbs
        integers: Integers = high.copy() if self.exact else (high.astype(object) << LIMB_BITS) + low
        return integers

    def cut(
        self, values: NDArray[Any], weights: NDArray[Any]
    ) -> tuple[Integers, Integers, Integers]:
        """Return weights (n,), weighted points (n, C) and weighted squares (n, C), as integers."""
        if self.exact:
            values, weights = values.astype(np.int64), weights.astype(np.int64)
            wide = weights.astype(object)  # Python's integers: squares of many pixels pass 64 bits
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
    """Return the fixed-point format of integer points with integer weights."""
    return FixedPoint(True, np.zeros(channels))


def float_grid(
    low: NDArray[np.float64], high: NDArray[np.float64], max_weight: float = 1.0
) -> FixedPoint:
    """Return the fixed-point format of points between `low` and `high`, both (C,) float64.

    max_weight: upper bound of the weights
    """
    origin = low * 0.5 + high * 0.5
    reach = float(np.max(np.maximum(high - origin, origin - low), initial=0.0))
    return FixedPoint(False, origin, _exponent(reach), _exponent(max_weight))


def _exponent(largest: float) -> int:
    """Return the exponent of a power of two above `largest`; 0 where that is 0 or not finite."""
    return max(-1000, math.frexp(largest)[1]) if 0 < largest < math.inf else 0


# The error-free transformations of Knuth and of Dekker: Ogita, Rump & Oishi 2005, "Accurate sum
# and dot product", SIAM J. Sci. Comput. 26(6), algorithms 3.1 and 3.5. NumPy calls them on arrays,
# and kernels call them compiled.


def two_difference(a, b):  # type: ignore[no-untyped-def]
    """Return a - b in floating point, and what rounding took from it."""
    difference = a - b
    near = difference - a
    return difference, (a - (difference - near)) - (b + near)


def two_product(a, b):  # type: ignore[no-untyped-def]
    """Return a * b in floating point, and what rounding took from it."""
    product = a * b
    a_big, b_big = a * 134217729.0, b * 134217729.0  # 2^27 + 1
    a_high, b_high = a_big - (a_big - a), b_big - (b_big - b)
    a_low, b_low = a - a_high, b - b_high
    return product, a_low * b_low - (
        ((product - a_high * b_high) - a_low * b_high) - a_high * b_low
    )


def weighted(weight, value, rest):  # type: ignore[no-untyped-def]
    """Return weight * (value + rest) in floating point, and what rounding took from it."""
    product, lost = two_product(weight, value)
    return product, lost + weight * rest


def cut(value, rest):  # type: ignore[no-untyped-def]
    """Return value + rest, which is below 1, in two limbs of integers, (2, ...) int64."""
    scaled = value * LIMB
    high = np.rint(scaled)
    low = np.rint(((scaled - high) + rest * LIMB) * LIMB)
    return np.stack([high, low]).astype(np.int64)


two_difference_kernel, two_product_kernel = jit(two_difference), jit(two_product)


@jit
def ordered_sum(values):  # type: ignore[no-untyped-def]
    """Return the sum of `values` (n,), added in order, so that it is the same on every machine."""
    total = 0.0
    for value in values:
        total += value
    return total
