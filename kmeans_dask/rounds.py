"""Chunks of points on workers, measured in rounds: one task for each chunk, and one merge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.cluster import Engine
from kmeans_dask.clustering.assignment import Assignment
from kmeans_dask.clustering.partial import Partial, merge_partials

_FAN_IN = 16


class Rounds:
    """Measures centroids, on the workers that hold the chunks; what travels is O(k).

    chunks: handles of `Assignment`, at least one
    """

    def __init__(self, engine: Engine, chunks: Sequence[Any]) -> None:
        self._engine = engine
        self._chunks = chunks

    def __call__(self, centroids: NDArray[np.float64], n_far: int = 0) -> Partial:
        """One Lloyd step's sums over all chunks, as `clustering.lloyd.fit` wants them."""
        parts = [
            self._engine.submit("partial-sums", Assignment.partial, chunk, centroids, n_far)
            for chunk in self._chunks
        ]
        while len(parts) > 1:
            parts = [
                self._engine.submit("merge-partials", merge_partials, parts[i : i + _FAN_IN])
                for i in range(0, len(parts), _FAN_IN)
            ]
        merged: Partial = self._engine.result(parts[0])
        return merged
