"""Rounds of Lloyd's algorithm on workers: one task for each chunk of points, and a merge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.engine import Engine
from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.cluster_sums import ClusterSums, merge_partials
from kmeans_dask.kmeans.lloyd import Measure
from kmeans_dask.kmeans.points import Points

_FAN_IN = 16
_SPLIT = 1 << 16  # fewest points that are worth a thread of their own


def threaded_sums(points: Points, engine: Engine) -> tuple[list[Assignment], Measure]:
    """Return `points` in parts, and a measure of them that uses the threads of a local engine.

    Few points are one part, which is measured without threads. The sums are the same.
    """
    parts = points.split(max(1, min(engine.cores, len(points) // _SPLIT)))
    assignments = [Assignment(part) for part in parts]
    if len(assignments) == 1:
        return assignments, assignments[0].partial
    return assignments, DistributedSums(engine, assignments)


class DistributedSums:
    """Measure for `kmeans.lloyd.fit` on the workers that hold the chunks; what is sent is O(k).

    chunks: handles of `Assignment`, at least one
    """

    def __init__(self, engine: Engine, chunks: Sequence[Any]) -> None:
        self._engine = engine
        self._chunks = chunks

    def __call__(self, centroids: NDArray[np.float64], n_far: int = 0) -> ClusterSums:
        """Return the sums of one Lloyd step over all chunks, and the `n_far` farthest points."""
        parts = [
            self._engine.submit("partial-sums", Assignment.partial, chunk, centroids, n_far)
            for chunk in self._chunks
        ]
        while len(parts) > 1:
            parts = [
                self._engine.submit("merge-partials", merge_partials, parts[i : i + _FAN_IN])
                for i in range(0, len(parts), _FAN_IN)
            ]
        merged: ClusterSums = self._engine.result(parts[0])
        return merged
