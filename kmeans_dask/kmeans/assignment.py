"""Assignment of points to clusters, updated from one Lloyd step to the next.

A step returns the same sums as the plain loop (see `plain`), but looks at few points and adds up
fewer. Sums are integers: a point that changes its cluster is subtracted from one sum and added to
another, and nothing is lost. Candidates are compared in float32, many points at a time, and in
float64, as in the plain loop, wherever float32 cannot decide. Two kinds of points are distinguished
to avoid comparisons:

- Where consecutive points are near each other, they have boxes (`_step_boxed`). Most centroids are
  ruled out for a whole box, and often all but one: then no point is looked at.
- Where they are not (`_step_loose`), each point keeps a threshold: how far its centroid and the
  others may move, together, before another can be nearer. These are the bounds of Hamerly 2010,
  "Making k-means even faster", SDM, section 3, as one number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit
from kmeans_dask.kmeans.cluster_sums import ClusterSums, FarPoints
from kmeans_dask.kmeans.distance_bounds import (
    AT_ONCE,
    FAR,
    PAD,
    PADDING,
    TILE,
    bound_gaps,
    filter_box,
    is_settled,
    list_unsettled,
    search_tile,
)
from kmeans_dask.kmeans.exact_sums import LIMB
from kmeans_dask.kmeans.exact_sums import two_difference_kernel as two_difference
from kmeans_dask.kmeans.exact_sums import two_product_kernel as two_product
from kmeans_dask.kmeans.points import Points

_LOOSE = 1024  # points in a group, whose thresholds are checked all at once
_FARTHEST = 1e15  # largest coordinate, for float32 to hold sums of squares of coordinates
_TOO_FAR = 1e30  # growth that is too large for thresholds in float32
_TINY = 1e-30  # upper bound of what float32 loses where it runs out of exponents


class Assignment:
    """Assignment of `points` to clusters, for one set of centroids after another.

    The results of `partial` and `labels` depend on their arguments only. The last step is cached,
    which makes the next one fast; the cache is left out when pickling. Two threads must not use
    one assignment at once.
    """

    def __init__(self, points: Points) -> None:
        self.points = points
        self._state: _State | None = None

    def __getstate__(self) -> Points:
        return self.points

    def __setstate__(self, points: Points) -> None:
        self.__init__(points)  # type: ignore[misc]

    def partial(self, centroids: NDArray[np.float64], n_far: int = 0) -> ClusterSums:
        """Return the sums of one Lloyd step for centroids (k, C) float64.

        n_far: how many of the points farthest from their centroid to add; these take a slower pass
        """
        state = self._step(centroids)
        points = self.points
        far = _far(points, centroids, state.labels, n_far) if n_far else None
        weights, sums = points.grid.integers(state.weights), points.grid.integers(state.sums)
        return ClusterSums(weights, sums, points.square_sums, points.grid, far)

    def labels(self, centroids: NDArray[np.float64]) -> NDArray[np.int32]:
        """Return the index of the nearest centroid of each point, (n,); ties go to the lowest."""
        return self._step(centroids).labels.copy()

    def _step(self, centroids: NDArray[np.float64]) -> _State:
        centroids = np.ascontiguousarray(centroids, np.float64)
        points, state = self.points, self._state
        if state is None or len(state.centroids) != len(centroids):
            state = self._state = _State(points, centroids)
        if points.boxes:
            boxes = points.boxes
            _step_boxed(
                points.values,
                points.weights,
                (boxes.tiles, boxes.low, boxes.high, boxes.outer_low, boxes.outer_high),
                (boxes.weights, boxes.sums, boxes.size, boxes.fan_out),
                (points.center, points.scale),
                (state.labels, state.of_groups, state.weights, state.sums, state.is_new),
                state.scores,
                centroids,
            )
        else:
            _step_loose(
                points.values,
                points.weights,
                (points.center, points.scale),
                points.grid.scales,
                (state.labels, state.thresholds, state.slacks, state.growth),
                (state.weights, state.sums, state.is_new),
                state.scores,
                state.centroids,
                centroids,
            )
            state.centroids = centroids.copy()
        state.is_new = False
        return state


class _State:
    """State of an `Assignment` after its last step: labels, sums, and bounds for the next step.

    labels: (n,) int32, -1 before the first step
    weights, sums: (2, k) and (2, k, C) int64, in two limbs (see `FixedPoint`)
    scores: buffer for `search_tile`
    is_new: whether no step has been done yet

    For points with boxes:
    of_groups: (groups,) int32, the cluster that a whole group is in, or -1

    For points without boxes:
    centroids: (k, C) float64, the centroids of the last step
    growth: (k + 1,) float64: for each centroid, how far it and the fastest of the others moved,
        added up over all steps since the first; the last number is the same for the fastest two
    thresholds: (n,) float32: a label is certain while the `growth` of its centroid is less
    slacks: (groups,) float64: while the last number of `growth` is less, no label of the group
        changes
    """

    def __init__(self, points: Points, centroids: NDArray[np.float64]) -> None:
        n, k = len(points), len(centroids)
        self.centroids = centroids.copy()
        self.is_new = True
        self.labels = np.full(n, -1, np.int32)
        self.weights = np.zeros((2, k), np.int64)
        self.sums = np.zeros((2, *centroids.shape), np.int64)
        is_wide = centroids.shape[1] != 3
        self.scores = np.empty((AT_ONCE, TILE), np.float32) if is_wide else None
        if points.boxes:
            self.of_groups = np.full(len(points.boxes.low), -1, np.int32)
        else:
            self.thresholds = np.empty(n, np.float32)
            self.growth = np.zeros(k + 1)
            self.slacks = np.empty(-(-n // _LOOSE))


def _far(
    points: Points, centroids: NDArray[np.float64], labels: NDArray[np.int32], n_far: int
) -> FarPoints:
    distances = np.zeros(len(points))
    for channel in range(points.values.shape[1]):
        difference = points.values[:, channel] - centroids[labels, channel]
        distances += difference * difference
    distances[points.weights == 0] = -1.0  # left out: without weight, they cannot fill a cluster
    wanted = min(n_far, len(points))
    while True:  # equal points are merged, so more than `n_far` may have to be looked at
        # all points that could be among the farthest, ties included
        few = np.flatnonzero(distances >= np.partition(distances, -wanted)[-wanted])
        some = few[distances[few] >= 0]
        far = FarPoints(
            points.values[some],
            *points.grid.cut(points.values[some], points.weights[some])[:2],
            labels[some].astype(np.int64),
            distances[some],
            n_far,
        ).merged()
        if len(far.points) == n_far or len(few) == len(points):
            return far
        wanted = min(4 * len(few), len(points))


@jit
def _step_boxed(values, point_weights, boxes, held, frame, state, scores, centroids):  # type: ignore[no-untyped-def]
    """Update labels and sums of points with boxes for new centroids.

    boxes, held: fields of `Boxes`; frame: fields of `Points`; state: fields of `_State`

    Arrays are passed on to other kernels one by one, because numba counts a reference each time
    that an array is taken out of a tuple, and that takes time.
    """
    tiles, low, high, outer_low, outer_high = boxes
    group_weights, group_sums, group_size, fan_out = held
    center, scale = frame
    out, into = np.int64(-1), np.int64(1)  # no literals: kernels would be compiled for each of them
    labels, of_groups, weights, sums, is_new = state
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
            _list_candidates(n, inner_centers, near, norms, heights)
            error = _lower(n, channels, np.sqrt(reach), norms, heights, lowered, errors)
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
                        j, _, _ = _search_plainly(values, p, centroids, candidates, n)
                    if labels[p] != j:
                        moved[n_moved], leave[n_moved], enter[n_moved] = p, labels[p], j
                        n_moved += 1
                        labels[p] = j
        if not is_new:
            _add_integers(values, point_weights, moved, leave, n_moved, out, weights, sums)
        _add_integers(values, point_weights, moved, enter, n_moved, into, weights, sums)


@jit
def _step_loose(  # type: ignore[no-untyped-def]
    values, point_weights, frame, grid, state, totals, scores, old_centroids, centroids
):  # fmt: skip
    """Update labels, thresholds and sums of points without boxes for new centroids.

    frame: fields of `Points`; grid: `FixedPoint.scales`; state, totals: fields of `_State`
    """
    center, scale = frame
    exact, origin, sum_scale, weight_scale = grid
    labels, thresholds, slacks, growth = state
    weights, sums, is_new = totals
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
    _list_candidates(k, centers, near, norms, heights)
    padded = (k + AT_ONCE - 1) // AT_ONCE * AT_ONCE

    failing = np.empty(_LOOSE, np.int64)
    x = np.zeros((depth, TILE), np.float32)
    best, second = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    which = np.zeros(TILE, np.int32)
    squares, gaps = np.zeros(TILE, np.float32), np.empty(TILE, np.float32)
    moved = np.empty(TILE, np.int64)
    leave, enter = np.empty(TILE, np.int32), np.empty(TILE, np.int32)

    for group in range(slacks.shape[0]):
        if not is_new and slacks[group] > limit and limit < _TOO_FAR:
            continue
        start = group * _LOOSE
        stop = min(start + _LOOSE, n_points)
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
            _lower(k, channels, np.sqrt(np.float64(longest)), norms, heights, lowered, errors)
            width = (size + 15) // 16 * 16
            search_tile(x, 0, width, near, lowered, everyone, padded, scores, best, second, which)
            bound_gaps(width, squares, best, second, which, errors, gaps)
            n_moved = np.int64(0)
            for i in range(size):
                row, j = np.uint64(failing[first + i]), which[i]  # unsigned: no check of the sign
                gap = np.float64(gaps[i])
                if gap < 0.0:
                    j, nearest, next_nearest = _search_plainly(values, row, centroids, everyone, k)
                    gap = (np.sqrt(next_nearest) * (1.0 - 2.0**-40) - np.sqrt(nearest)) * scale
                threshold = np.float32((gap + growth[np.uint64(j)]) * (1.0 - 2.0**-21))
                thresholds[row] = threshold
                least = min(least, threshold - passed[np.uint64(j)])
                if labels[row] != j:
                    moved[n_moved], leave[n_moved], enter[n_moved] = row, labels[row], j
                    n_moved += 1
                    labels[row] = j
            if not is_new:
                _add(
                    values, point_weights, moved, leave, n_moved, out,
                    exact, origin, sum_scale, weight_scale, weights, sums,
                )  # fmt: skip
            _add(
                values, point_weights, moved, enter, n_moved, into,
                exact, origin, sum_scale, weight_scale, weights, sums,
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


@jit
def _list_candidates(n, centers, near, norms, heights):  # type: ignore[no-untyped-def]
    """Lay out the first `n` centroids of `centers` (C, k) in the way that `search_tile` needs.

    near: filled with coordinates; norms: with |c|; heights: with |c|^2 / 2
    """
    for m in range(n):
        norm = 0.0
        for c in range(centers.shape[0]):
            # squares of larger coordinates overflow; centroids so far away are left to float64
            coordinate = min(max(centers[c, m], -_FARTHEST), _FARTHEST)
            near[m, c] = np.float32(coordinate)
            norm += coordinate * coordinate
        heights[m] = norm * 0.5
        norms[m] = np.sqrt(norm)
    for m in range(n, n + AT_ONCE):
        for c in range(centers.shape[0]):
            near[m, c] = np.float32(0.0)


@jit
def _lower(n, channels, reach, norms, heights, lowered, errors):  # type: ignore[no-untyped-def]
    """Lower `heights` so that scores are lower bounds, whatever rounding has done to them.

    reach: upper bound of the norm of the points
    lowered: filled with the lowered heights
    errors: (n,), filled with how much a score may then be too low

    Return the largest of `errors`.
    """
    relative, largest = (channels + 6) * 2.0**-24, np.float32(0.0)
    for m in range(n):
        error = relative * norms[m] * (reach + norms[m]) + _TINY
        # nothing is known of a centroid whose coordinates were clipped
        errors[m] = np.float32(2.0 * error) if norms[m] < _FARTHEST else PAD
        largest = max(largest, errors[m])
        lowered[m] = np.float32(heights[m] - error)
    for m in range(n, n + AT_ONCE):
        lowered[m], errors[m] = PAD, np.float32(0.0)
    return largest


@jit
def _search_plainly(values, p, centroids, candidates, n):  # type: ignore[no-untyped-def]
    """Return the nearest of `n` candidates, its squared distance, and that of the second nearest.

    Distances of point `p` are computed as in the plain loop, to the last bit.
    """
    label, nearest, next_nearest = np.int32(0), np.inf, np.inf
    for m in range(n):
        distance = 0.0
        for c in range(values.shape[1]):
            difference = np.float64(values[p, c]) - centroids[candidates[m], c]
            distance += difference * difference
        if distance < nearest:
            label, nearest, next_nearest = candidates[m], distance, nearest
        elif distance < next_nearest:
            next_nearest = distance
    return label, nearest, next_nearest


@jit
def _add(  # type: ignore[no-untyped-def]
    values, point_weights, which, clusters, n, sign,
    exact, origin, scale, weight_scale, weights, sums,
):  # fmt: skip
    """Add the first `n` points of `which` to their `clusters`, or subtract them with `sign` -1."""
    if exact:
        _add_integers(values, point_weights, which, clusters, n, sign, weights, sums)
        return
    for i in range(n):
        p, j = np.uint64(which[i]), np.uint64(clusters[i])
        weight = point_weights[p] * weight_scale
        scaled = weight * LIMB
        high = np.rint(scaled)
        weights[0, j] += sign * np.int64(high)
        weights[1, j] += sign * np.int64(np.rint((scaled - high) * LIMB))
        for c in range(values.shape[1]):
            point, rest = two_difference(np.float64(values[p, c]), origin[c])
            value, lost = two_product(weight, point * scale)
            scaled = value * LIMB
            high = np.rint(scaled)
            lost = lost + weight * (rest * scale)
            sums[0, j, c] += sign * np.int64(high)
            sums[1, j, c] += sign * np.int64(np.rint(((scaled - high) + lost * LIMB) * LIMB))


@jit
def _add_integers(values, point_weights, which, clusters, n, sign, weights, sums):  # type: ignore[no-untyped-def]
    """Add points on an exact grid to their `clusters`, or subtract them with `sign` -1."""
    channels = values.shape[1]
    for i in range(n):
        p, j = np.uint64(which[i]), np.uint64(clusters[i])  # unsigned: no check of the sign
        weight = sign * np.int64(point_weights[p])
        weights[0, j] += weight
        if channels == 3:  # unrolled
            sums[0, j, 0] += weight * np.int64(values[p, 0])
            sums[0, j, 1] += weight * np.int64(values[p, 1])
            sums[0, j, 2] += weight * np.int64(values[p, 2])
            continue
        for c in range(channels):
            sums[0, j, c] += weight * np.int64(values[p, c])
