"""Textbook k-means without any speed-up, which the results and times of a fit are compared with.

Lloyd 1982, "Least squares quantization in PCM", IEEE Trans. IT 28(2). This is the reference side of
`kmeans-dask compare`; nothing else uses it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Textbook(NamedTuple):
    """Result of textbook k-means: centroids (k, C), labels (n,), inertia and iterations."""

    centroids: NDArray[np.float64]
    labels: NDArray[np.intp]
    inertia: float
    n_iter: int


def textbook_kmeans(
    points: NDArray[np.float64],
    centroids: NDArray[np.float64],
    *,
    max_iter: int = 300,
    tol: float = 1e-4,
) -> Textbook:
    """Return the clusters of `points` (n, C) that Lloyd's algorithm finds from `centroids` (k, C).

    Each iteration assigns each point to the nearest centroid, and moves each centroid to the mean
    of its points. The last one is number `max_iter`, or the first in which the centroids' squared
    shift is at most `tol` times the points' mean variance.

    >>> points = np.array([[0.0], [2.0], [9.0], [11.0]])
    >>> textbook_kmeans(points, np.array([[0.0], [2.0]])).centroids.tolist()
    [[1.0], [10.0]]
    """
    smallest = tol * points.var(axis=0).mean()
    n_iter, shift = 0, np.inf
    while n_iter < max_iter and shift > smallest:
        labels = _nearest(points, centroids)
        moved = centroids.copy()
        for j in range(len(centroids)):
            mine = points[labels == j]
            if len(mine):
                moved[j] = mine.mean(axis=0)
        shift = ((moved - centroids) ** 2).sum()
        centroids = moved
        n_iter += 1
    labels = _nearest(points, centroids)
    inertia = float(((points - centroids[labels]) ** 2).sum())
    return Textbook(centroids, labels, inertia, n_iter)


def _nearest(points: NDArray[np.float64], centroids: NDArray[np.float64]) -> NDArray[np.intp]:
    distances = np.stack([((points - c) ** 2).sum(axis=1) for c in centroids])
    return np.asarray(distances.argmin(axis=0))
