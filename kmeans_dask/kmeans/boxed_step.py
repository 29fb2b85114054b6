"""Lloyd step of points with boxes: most are in one cluster with all their neighbours.

Where consecutive points are near each other, most centroids are ruled out for a whole box of them,
and often all but one: then no point is looked at.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit
from kmeans_dask.kmeans.distance_bounds import (
    AT_ONCE,
    FAR,
    PADDING,
    TILE,
    filter_box,
    is_settled,
    list_candidates,
    list_unsettled,
    lower_heights,
    search_plainly,
    search_tile,
)
from kmeans_dask.kmeans.sum_updates import add_integers


class BoxedState(NamedTuple):
    """State of the clusters after a step, which the next step updates in place.

    labels: (n,) int32, -1 before the first step
    of_groups: (groups,) int32, the cluster that a whole group of points is in, or -1
    weights, sums: (2, k) and (2, k, C) int64, in two limbs (see `FixedPoint`)
    """

    labels: NDArray[np.int32]
    of_groups: NDArray[np.int32]
    weights: NDArray[np.int64]
    sums: NDArray[np.int64]


@jit
def step_boxed(values, point_weights, boxes, frame, state, is_new, scores, centroids):  # type: ignore[no-untyped-def]
    """Update labels and sums of points with boxes for new centroids.

    values, point_weights: fields of `Points`; boxes: its `Boxes`; frame: its `Frame`
    state: `BoxedState`, updated in place; is_new: whether no step has been done yet
    scores: buffer for `search_tile`
    centroids: (k, C) float64
    """
    # Arrays are taken out of their tuples once, because numba counts a reference each time.
    group_size, fan_out, low, high = boxes.size, boxes.fan_out, boxes.low, boxes.high
    outer_low, outer_high, tiles = boxes.outer_low, boxes.outer_high, boxes.tiles
    group_weights, group_sums = boxes.weights, boxes.sums
    center, scale = frame.center, frame.scale
    labels, of_groups, weights, sums = state.labels, state.of_groups, state.weights, state.sums
    out, into = np.int64(-1), np.int64(1)  # no literals: kernels would be compiled for each of them
    n_points, channels = values.shape
    k = centroids.shape[0]

    room = k + PADDING
    everyone, centers = np.arange(room).astype(np.int32), np.full((channels, room), FAR)
    outer, outer_centers = np.empty(room, np.int32), np.empty((channels, room))
    candidates, inner_centers = np.empty(room, np.int32), np.empty((channels, room))
    work = np.empty(room)
    for j in range(k):
        for c in range(channels):
            centers[c, j] = (centroids[j, c] - center[c]) * scale

    near = np.zeros((k + AT_ONCE, tiles.shape[0]), np.float32)
    norms, heights = np.empty(k), np.empty(k)
    lowered, errors = np.empty(k + AT_ONCE, np.float32), np.empty(k + AT_ONCE, np.float32)
    best, second = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    which = np.empty(TILE, np.int32)
    unsettled = np.empty(TILE, np.int64)
    moved = np.empty(group_size, np.int64)
    leave, enter = np.empty(group_size, np.int32), np.empty(group_size, np.int32)

    for group in range(of_groups.shape[0]):
        if group % fan_out == 0:
            above = group // fan_out
            n_outer = filter_box(
                outer_low[above], outer_high[above], everyone, k, centers,
                outer, outer_centers, work,
            )  # fmt: skip
        if n_outer == 1:
            n, candidates[0] = 1, outer[0]
        else:
            n = filter_box(
                low[group], high[group], outer, n_outer, outer_centers,
                candidates, inner_centers, work,
            )  # fmt: skip
        start = group * group_size
        stop = min(start + group_size, n_points)
        if n == 1:
            j = candidates[0]
            if of_groups[group] == j:
                continue
            of_groups[group] = j
            if is_new:
                labels[start:stop] = j
                weights[0, j] += group_weights[group]
                for c in range(channels):
                    sums[0, j, c] += group_sums[group, c]
                continue
            n_moved = np.int64(0)
            for p in range(start, stop):
                if labels[p] != j:
                    moved[n_moved], leave[n_moved], enter[n_moved] = p, labels[p], j
                    n_moved += 1
                    labels[p] = j
        else:
            of_groups[group] = -1
            n_moved = np.int64(0)
            reach = 0.0
            for c in range(channels):
                reach += max(low[group, c] * low[group, c], high[group, c] * high[group, c])
            list_candidates(n, inner_centers, near, norms, heights)
            error = lower_heights(n, channels, np.sqrt(reach), norms, heights, lowered, errors)
            padded = (n + AT_ONCE - 1) // AT_ONCE * AT_ONCE
            for first in range(start, stop, TILE):
                size = min(TILE, stop - first)
                width = (size + 15) // 16 * 16
                search_tile(
                    tiles, first, width, near, lowered, candidates, padded,
                    scores, best, second, which,
                )  # fmt: skip
                if is_settled(first, size, best, second, which, error, labels):
                    continue
                n_unsettled = list_unsettled(
                    first, size, best, second, which, error, labels, unsettled
                )
                for m in range(n_unsettled):
                    i = unsettled[m]
                    p, j = first + i, which[i]
                    if not best[i] + error < second[i]:
                        j, _, _ = search_plainly(values, p, centroids, candidates, n)
                    if labels[p] != j:
                        moved[n_moved], leave[n_moved], enter[n_moved] = p, labels[p], j
                        n_moved += 1
                        labels[p] = j
        if not is_new:
            add_integers(values, point_weights, moved, leave, n_moved, out, weights, sums)
        add_integers(values, point_weights, moved, enter, n_moved, into, weights, sums)
