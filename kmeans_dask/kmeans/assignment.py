"""Assignment of points to clusters, updated from one Lloyd step to the next.

A step returns the same sums as the plain loop (see `plain`), but looks at few points and adds up
fewer. Sums are integers: a point that changes its cluster is subtracted from one sum and added to
another, and nothing is lost. Candidates are compared in float32, many points at a time, and in
float64, as in the plain loop, wherever float32 cannot decide. Where consecutive points are near
each other, comparisons are avoided for whole boxes of them (`boxed_step`), else for each point
(`loose_step`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kmeans.boxed_step import BoxedState, step_boxed
from kmeans_dask.kmeans.cluster_sums import ClusterSums, FarPoints
from kmeans_dask.kmeans.distance_bounds import AT_ONCE, TILE
from kmeans_dask.kmeans.loose_step import LOOSE_GROUP, LooseState, step_loose
from kmeans_dask.kmeans.points import Points


class Assignment:
    """Assignment of `points` to clusters, for one set of centroids after another.

    The results of `partial` and `labels` depend on their arguments only. The last step is cached,
    which makes the next one fast; the cache is left out when pickling. Two threads must not use
    one assignment at once.
    """

    def __init__(self, points: Points) -> None:
        self.points = points
        self._last: _LastStep | None = None

    def __getstate__(self) -> Points:
        return self.points

    def __setstate__(self, points: Points) -> None:
        self.__init__(points)  # type: ignore[misc]

    def partial(self, centroids: NDArray[np.float64], n_far: int = 0) -> ClusterSums:
        """Return the sums of one Lloyd step for centroids (k, C) float64.

        n_far: how many of the points farthest from their centroid to add; these take a slower pass
        """
        points, state = self.points, self._step(centroids)
        far = _far(points, centroids, state.labels, n_far) if n_far else None
        weights, sums = points.grid.integers(state.weights), points.grid.integers(state.sums)
        return ClusterSums(weights, sums, points.square_sums, points.grid, far)

    def labels(self, centroids: NDArray[np.float64]) -> NDArray[np.int32]:
        """Return the index of the nearest centroid of each point, (n,); ties go to the lowest."""
        return self._step(centroids).labels.copy()

    def _step(self, centroids: NDArray[np.float64]) -> BoxedState | LooseState:
        centroids = np.ascontiguousarray(centroids, np.float64)
        points, last = self.points, self._last
        if last is None or len(last.centroids) != len(centroids):
            last = self._last = _first_step(points, centroids)
        common = points.values, points.weights
        if isinstance(last.state, BoxedState):
            step_boxed(
                *common, points.boxes, points.frame, last.state, last.is_new, last.scores, centroids
            )
        else:
            step_loose(
                *common, points.frame, points.grid.scales, last.state, last.is_new, last.scores,
                last.centroids, centroids,
            )  # fmt: skip
        last.centroids, last.is_new = centroids.copy(), False
        return last.state


@dataclass(eq=False)
class _LastStep:
    """Last step of an `Assignment`, which makes the next one fast.

    centroids: (k, C) float64, its centroids
    state: labels, sums, and bounds for the next step
    scores: (AT_ONCE, TILE) float32, a buffer for `search_tile`; None for three channels
    is_new: whether no step has been done yet
    """

    centroids: NDArray[np.float64]
    state: BoxedState | LooseState
    scores: NDArray[np.float32] | None
    is_new: bool = True


def _first_step(points: Points, centroids: NDArray[np.float64]) -> _LastStep:
    """Return what stands for the last step before there is one."""
    n, k = len(points), len(centroids)
    labels = np.full(n, -1, np.int32)
    weights, sums = np.zeros((2, k), np.int64), np.zeros((2, *centroids.shape), np.int64)
    state: BoxedState | LooseState
    if points.boxes:
        of_groups = np.full(len(points.boxes.low), -1, np.int32)
        state = BoxedState(labels, of_groups, weights, sums)
    else:
        slacks = np.empty(-(-n // LOOSE_GROUP))
        state = LooseState(labels, np.empty(n, np.float32), slacks, np.zeros(k + 1), weights, sums)
    is_wide = centroids.shape[1] != 3
    scores = np.empty((AT_ONCE, TILE), np.float32) if is_wide else None
    return _LastStep(centroids.copy(), state, scores)


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
