"""Lloyd step of points without boxes: each keeps a threshold for how far centroids may move.

A threshold is how far the centroid of a point and the others may move, together, before another one
can be nearer. These are the bounds of Hamerly 2010, "Making k-means even faster", SDM, section 3,
as one number.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit
from kmeans_dask.kmeans.distance_bounds import (
    AT_ONCE,
    TILE,
    bound_gaps,
    list_candidates,
    lower_heights,
    search_plainly,
    search_tile,
)
from kmeans_dask.kmeans.sum_updates import add_points

LOOSE_GROUP = 1024  # points in a group, whose thresholds are checked all at once
_TOO_FAR = 1e30  # growth that is too large for thresholds in float32


class LooseState(NamedTuple):
    """State of the clusters after a step, which the next step updates in place.

    labels: (n,) int32, -1 before the first step
    thresholds: (n,) float32: a label is certain while the `growth` of its centroid is less
    slacks: (groups,) float64: while the last number of `growth` is less, no label of the group
        changes
    growth: (k + 1,) float64: for each centroid, how far it and the fastest of the others moved,
        added up over all steps since the first; the last number is the same for the fastest two
    weights, sums: (2, k) and (2, k, C) int64, in two limbs (see `FixedPoint`)
    """

    labels: NDArray[np.int32]
    thresholds: NDArray[np.float32]
    slacks: NDArray[np.float64]
    growth: NDArray[np.float64]
    weights: NDArray[np.int64]
    sums: NDArray[np.int64]


@jit
def step_loose(  # type: ignore[no-untyped-def]
    values, point_weights, frame, grid, state, is_new, scores, old_centroids, centroids
):  # fmt: skip
    """Update labels, thresholds and sums of points without boxes for new centroids.

    values, point_weights: fields of `Points`; frame: its `Frame`; grid: `FixedPoint.scales`
    state: `LooseState`, updated in place; is_new: whether no step has been done yet
    scores: buffer for `search_tile`
    old_centroids, centroids: (k, C) float64, those of the last step and of this one
    """
    center, scale = frame.center, frame.scale
    labels, thresholds, slacks = state.labels, state.thresholds, state.slacks
    growth, weights, sums = state.growth, state.weights, state.sums
    out, into = np.int64(-1), np.int64(1)
    n_points, channels = values.shape
    k = centroids.shape[0]

    limit = _grow(old_centroids, centroids, scale, growth)
    passed = np.empty(k, np.float32)
    for j in range(k):
        passed[j] = np.float32(growth[j] * (1.0 + 2.0**-22))  # rounded up

    everyone = np.arange(k + AT_ONCE).astype(np.int32)
    centers = np.empty((channels, k))
    for j in range(k):
        for c in range(channels):
            centers[c, j] = (centroids[j, c] - center[c]) * scale
    depth = channels if channels == 3 else (channels + 3) // 4 * 4
    near = np.zeros((k + AT_ONCE, depth), np.float32)
    norms, heights = np.empty(k), np.empty(k)
    lowered, errors = np.empty(k + AT_ONCE, np.float32), np.empty(k + AT_ONCE, np.float32)
    list_candidates(k, centers, near, norms, heights)
    padded = (k + AT_ONCE - 1) // AT_ONCE * AT_ONCE

    failing = np.empty(LOOSE_GROUP, np.int64)
    x = np.zeros((depth, TILE), np.float32)
    best, second = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    which = np.zeros(TILE, np.int32)
    squares, gaps = np.zeros(TILE, np.float32), np.empty(TILE, np.float32)
    moved = np.empty(TILE, np.int64)
    leave, enter = np.empty(TILE, np.int32), np.empty(TILE, np.int32)

    for group in range(slacks.shape[0]):
        if not is_new and slacks[group] > limit and limit < _TOO_FAR:
            continue
        start = group * LOOSE_GROUP
        stop = min(start + LOOSE_GROUP, n_points)
        least = np.float32(np.inf)
        n_failing = 0
        for p in range(start, stop):
            left = np.float32(-1.0)
            if not is_new:
                left = thresholds[p] - passed[np.uint64(labels[p])]
            failing[n_failing] = p
            n_failing += not left > 0.0
            least = min(least, left) if left > 0.0 else least

        for first in range(0, n_failing, TILE):
            size = min(TILE, n_failing - first)
            longest = _load(values, failing, first, size, center, scale, x, squares)
            lower_heights(
                k, channels, np.sqrt(np.float64(longest)), norms, heights, lowered, errors
            )
            width = (size + 15) // 16 * 16
            search_tile(x, 0, width, near, lowered, everyone, padded, scores, best, second, which)
            bound_gaps(width, squares, best, second, which, errors, gaps)
            n_moved = np.int64(0)
            for i in range(size):
                row, j = np.uint64(failing[first + i]), which[i]  # unsigned: no check of the sign
                gap = np.float64(gaps[i])
                if gap < 0.0:
                    j, nearest, next_nearest = search_plainly(values, row, centroids, everyone, k)
                    gap = (np.sqrt(next_nearest) * (1.0 - 2.0**-40) - np.sqrt(nearest)) * scale
                threshold = np.float32((gap + growth[np.uint64(j)]) * (1.0 - 2.0**-21))
                thresholds[row] = threshold
                least = min(least, threshold - passed[np.uint64(j)])
                if labels[row] != j:
                    moved[n_moved], leave[n_moved], enter[n_moved] = row, labels[row], j
                    n_moved += 1
                    labels[row] = j
            if not is_new:
                add_points(
                    values, point_weights, moved, leave, n_moved, out, grid, weights, sums
                )  # fmt: skip
            add_points(
                values, point_weights, moved, enter, n_moved, into, grid, weights, sums
            )  # fmt: skip
        slacks[group] = limit + least * (1.0 - 2.0**-20)


@jit
def _load(values, which, first, size, center, scale, x, squares):  # type: ignore[no-untyped-def]
    """Fill `x` with a tile of points in the frame, channel by channel, and return their bound.

    x: (C, TILE) float32, filled with the coordinates
    squares: (TILE,) float32, filled with the squared norms, rounded up

    The bound is the largest of `squares`.
    """
    channels = values.shape[1]
    squares[:size] = np.float32(0.0)
    for c in range(channels):
        for i in range(size):
            x[c, i] = np.float32((values[np.uint64(which[first + i]), c] - center[c]) * scale)
        for i in range(size):
            squares[i] += x[c, i] * x[c, i]
    longest, larger = np.float32(0.0), np.float32(1.0 + (channels + 3) * 2.0**-23)
    for i in range(size):
        squares[i] *= larger
        longest = max(longest, squares[i])
    return longest


@jit
def _grow(old, new, scale, growth):  # type: ignore[no-untyped-def]
    """Add to `growth` how far the centroids have moved, and return its last number."""
    k = new.shape[0]
    moved = np.zeros(k)
    most, next_most, fastest = 0.0, 0.0, 0
    for j in range(k):
        for c in range(new.shape[1]):
            moved[j] += (new[j, c] - old[j, c]) ** 2
        moved[j] = np.sqrt(moved[j]) * scale * (1.0 + 2.0**-40)
        if moved[j] > most:
            most, next_most, fastest = moved[j], most, j
        elif moved[j] > next_most:
            next_most = moved[j]
    for j in range(k):
        growth[j] += moved[j] + (next_most if j == fastest else most)
    growth[k] += most + next_most
    return growth[k]
