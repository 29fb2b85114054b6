"""K-means as a textbook has it: what it means, and how long it takes when it is only that.

Lloyd 1982, "Least squares quantization in PCM", IEEE Trans. IT 28(2). The reference side of
`kmeans-dask compare`; nothing else uses it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Textbook(NamedTuple):
    """Centroids (k, C), labels (n,) and inertia, and after how many iterations."""

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
    """Assign each of `points` (n, C) to the nearest centroid, move each centroid to the mean.

    Until the centroids' squared shift is at most `tol` times the points' mean variance.

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
