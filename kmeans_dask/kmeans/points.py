"""Chunks of weighted points, laid out for the Lloyd step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit
from kmeans_dask.kmeans.exact_sums import (
    LIMB,
    MAX_POINTS,
    FixedPoint,
    integer_grid,
)
from kmeans_dask.kmeans.exact_sums import two_difference_kernel as two_difference
from kmeans_dask.kmeans.exact_sums import two_product_kernel as two_product
from kmeans_dask.kmeans.histogram import ColorHistogram, PointHistogram

_GROUP = 256  # points in a group that has a box
_FAN_OUT = 8  # groups in an outer group
_CLOSE = 4  # with more channels, neighbours in Morton order are no longer near each other
_PADDING = 128  # columns after the last point, so that no tile ends outside the array


class Boxes(NamedTuple):
    """Tight boxes around groups of consecutive points, and around outer groups of such groups.

    size: points in a group; fan_out: groups in an outer group
    low, high: (groups, C) float64, the corners of the boxes of groups, in the frame
    outer_low, outer_high: (outer groups, C) float64, the corners of the boxes of outer groups
    weights, sums: (groups,) and (groups, C) int64, total weight and weighted sum of each group
    tiles: (at least C, more than n) float32, the points in the frame, channel by channel
    """

    size: int
    fan_out: int
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    outer_low: NDArray[np.float64]
    outer_high: NDArray[np.float64]
    weights: NDArray[np.int64]
    sums: NDArray[np.int64]
    tiles: NDArray[np.float32]


class Frame(NamedTuple):
    """Frame of coordinates in which distances are compared: points are moved, and then scaled.

    In the frame, coordinates are about 1 at most, and points are near the origin.

    center: (C,), float64 for points in float64, else float32, in which a difference is as good
    scale: a power of two, in the same dtype
    """

    center: NDArray[Any]
    scale: np.floating[Any]


@dataclass(frozen=True, eq=False)
class Points:
    """Chunk of weighted points.

    values: (n, C), uint8, float32 or float64
    weights: (n,), int64 where the grid is exact, else float64
    grid: fixed-point format in which the points are summed
    frame: frame of coordinates in which distances are compared
    spatially_sorted: whether consecutive points are near each other
    """

    values: NDArray[Any]
    weights: NDArray[Any]
    grid: FixedPoint
    frame: Frame
    spatially_sorted: bool

    def __len__(self) -> int:
        return len(self.values)

    def __getstate__(self) -> dict[str, Any]:  # making boxes anew is faster than sending them
        return {name: value for name, value in vars(self).items() if name != "boxes"}

    @cached_property
    def boxes(self) -> Boxes | None:
        """Return boxes around the points, or None where consecutive points are not near each other.

        They are made when they are first asked for.
        """
        if not self.spatially_sorted:
            return None
        return _boxes(self.values, self.weights, self.frame)

    @cached_property
    def square_sums(self) -> tuple[int, ...]:
        """Return the weighted sums of squares about the grid's origin, C integers."""
        return _square_sums(self.values, self.weights, self.grid)

    def split(self, n: int) -> list[Points]:
        """Return the points in at most `n` consecutive parts of about the same size."""
        if n == 1:
            return [self]
        size = -(-len(self) // n)
        return [
            make_points(
                self.values[start : start + size],
                self.weights[start : start + size],
                self.grid,
                spatially_sorted=self.spatially_sorted,
            )
            for start in range(0, len(self), size)
        ]


def color_points(histogram: ColorHistogram) -> Points:
    """Return the colours of a histogram as points, in Morton order, so that boxes are small."""
    return make_points(histogram.colors, histogram.weights, integer_grid(3), spatially_sorted=True)


def counted_points(histogram: PointHistogram) -> Points:
    """Return the distinct points of a histogram as points."""
    low, high, channels = histogram.packing.low, histogram.packing.high, len(histogram.packing.low)
    dtype = np.uint8 if min(low) >= 0 and max(high) <= 255 else exact_dtype(low, high)
    values = histogram.values.astype(dtype)
    return make_points(
        values, histogram.weights, integer_grid(channels), spatially_sorted=channels <= _CLOSE
    )


def exact_dtype(low: Sequence[int], high: Sequence[int]) -> type[np.floating[Any]]:
    """Return the smallest floating-point dtype that holds all integers from `low` to `high`."""
    return np.float32 if max(-min(low), max(high)) < 2**24 else np.float64


def make_points(
    values: NDArray[Any],
    weights: NDArray[Any] | None,
    grid: FixedPoint,
    *,
    spatially_sorted: bool = False,
) -> Points:
    """Return a chunk of points, at most 2^26.

    values: (n, C) uint8, float32 or float64
    weights: (n,), or None where each is 1
    spatially_sorted: whether consecutive points are near each other; the grid must be exact then
    """
    assert len(values) <= MAX_POINTS
    if weights is None:  # a view of a single 1, which takes no memory
        one = np.ones(1, np.int64 if grid.exact else np.float64)
        weights = as_strided(one, (len(values),), (0,))
    least, most, total = (bound.astype(np.float64) for bound in extent_of(values))
    dtype = np.dtype(np.float64 if values.dtype == np.float64 else np.float32)
    frame = _frame(least, most, total / max(1, len(values)), dtype)
    return Points(values, weights, grid, frame, spatially_sorted and len(values) > 0)


def _frame(
    least: NDArray[np.float64],
    most: NDArray[np.float64],
    mean: NDArray[np.float64],
    dtype: np.dtype[Any],
) -> Frame:
    # The center is the mean, and not the middle of the range: whatever lies far out, most points
    # are near the mean, and near the center float32 tells them apart best.
    center = np.clip(np.where(np.isfinite(mean), mean, least), least, most).astype(dtype)
    reach = float(np.max(np.maximum(most - center, center - least), initial=0.0))
    exponent = -math.frexp(reach)[1] if 0 < reach < math.inf else 0
    limit = np.finfo(dtype).maxexp - 2
    return Frame(center, dtype.type(math.ldexp(1.0, max(-limit, min(exponent, limit)))))


def _boxes(values: NDArray[Any], weights: NDArray[np.int64], frame: Frame) -> Boxes:
    n, channels = values.shape
    n_groups = -(-n // _GROUP)
    low, high = np.empty((n_groups, channels)), np.empty((n_groups, channels))
    group_weights = np.zeros(n_groups, np.int64)
    sums = np.zeros((n_groups, channels), np.int64)
    tiles = np.zeros(
        (channels if channels == 3 else -(-channels // 4) * 4, n + _PADDING), np.float32
    )
    _fill_boxes(values, weights, frame, _GROUP, low, high, group_weights, sums, tiles)
    outer = np.arange(0, n_groups, _FAN_OUT)
    return Boxes(
        _GROUP,
        _FAN_OUT,
        low,
        high,
        np.minimum.reduceat(low, outer),
        np.maximum.reduceat(high, outer),
        group_weights,
        sums,
        tiles,
    )


def extent_of(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
    """Return the smallest and largest value of each channel, and the sums of the channels.

    The values are (C,) in the dtype of `values`, the sums (C,) float64.
    """
    least = values[0].copy() if len(values) else np.zeros(values.shape[1], values.dtype)
    most = least.copy()
    total = np.zeros(values.shape[1])
    _summarise(values, least, most, total)
    return least, most, total


@jit
def _summarise(values, least, most, total):  # type: ignore[no-untyped-def]
    for i in range(values.shape[0]):
        for c in range(values.shape[1]):
            value = values[i, c]
            least[c], most[c] = min(least[c], value), max(most[c], value)
            total[c] += np.float64(value)


@jit
def _fill_boxes(values, weights, frame, size, low, high, group_weights, sums, tiles):  # type: ignore[no-untyped-def]
    n_points, channels = values.shape
    center, scale = frame.center, frame.scale
    for group in range(low.shape[0]):
        start = group * size
        stop = min(start + size, n_points)
        for c in range(channels):
            smallest, largest, added = np.inf, -np.inf, np.int64(0)
            for i in range(start, stop):
                moved = (np.float64(values[i, c]) - center[c]) * scale
                smallest, largest = min(smallest, moved), max(largest, moved)
                added += np.int64(weights[i]) * np.int64(values[i, c])
                tiles[c, i] = np.float32(moved)
            low[group, c], high[group, c], sums[group, c] = smallest, largest, added
        for i in range(start, stop):
            group_weights[group] += weights[i]


def _square_sums(values: NDArray[Any], weights: NDArray[Any], grid: FixedPoint) -> tuple[int, ...]:
    limbs = np.zeros((2, values.shape[1]), np.int64)
    if not grid.exact:
        _, origin, scale, weight_scale = grid.scales
        _add_squares(values, weights, origin, scale, weight_scale, limbs)
        return tuple(grid.integers(limbs).tolist())
    _add_exact_squares(values, weights, limbs)
    return tuple((int(high) << 32) + int(low) for high, low in limbs.T)


@jit
def _add_squares(values, weights, origin, scale, weight_scale, limbs):  # type: ignore[no-untyped-def]
    """Add the weighted squares to `limbs`, in two limbs, as `FixedPoint.cut` makes them."""
    for i in range(values.shape[0]):
        weight = weights[i] * weight_scale
        for c in range(values.shape[1]):
            point, rest = two_difference(np.float64(values[i, c]), origin[c])
            point, rest = point * scale, rest * scale
            square, square_rest = two_product(point, point)
            square_rest = square_rest + 2.0 * point * rest
            value, lost = two_product(weight, square)
            scaled = value * LIMB
            high = np.rint(scaled)
            lost = lost + weight * square_rest
            limbs[0, c] += np.int64(high)
            limbs[1, c] += np.int64(np.rint(((scaled - high) + lost * LIMB) * LIMB))


@jit
def _add_exact_squares(values, weights, limbs):  # type: ignore[no-untyped-def]
    """Write to `limbs` the sums of weighted squares of integers below 2^31.

    The second limb holds the lower 32 bits of a sum, the first limb all bits above them.
    """
    n_points, channels = values.shape
    mask = (np.int64(1) << 32) - 1
    weight_of_all = 0.0
    for i in range(n_points):
        weight_of_all += weights[i]
    for c in range(channels):
        high, low, largest = np.int64(0), np.int64(0), np.int64(0)
        for i in range(n_points):
            largest = max(largest, abs(np.int64(values[i, c])))
        if weight_of_all * largest * largest < 2.0**62:
            for i in range(n_points):
                value = np.int64(values[i, c])
                low += np.int64(weights[i]) * value * value
            limbs[0, c], limbs[1, c] = low >> 32, low & mask
            continue
        for i in range(n_points):
            value = np.int64(values[i, c])
            square, weight = value * value, np.int64(weights[i])
            # Products of halves of 32 bits. All of them stay below 2^63, because the sum of
            # weight * value does: callers check that before they make points on an exact grid.
            low_low = (weight & mask) * (square & mask)
            middle = (weight >> 32) * (square & mask) + ((low_low >> 32) & mask)
            across = (weight & mask) * (square >> 32)
            low += low_low & mask
            high += middle + across + (((weight >> 32) * (square >> 32)) << 32) + (low >> 32)
            low &= mask
        limbs[0, c], limbs[1, c] = high, low
