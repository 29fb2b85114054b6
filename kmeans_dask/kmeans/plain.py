"""Plain k-means without shortcuts: the reference that every faster path must equal, to the bit.

>>> points = np.array([[0, 0, 0], [2, 0, 0], [9, 9, 9]], np.uint8)
>>> plain_labels(points, np.array([[1.0, 0, 0], [9, 9, 9]])).tolist()
[0, 0, 1]
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kmeans.cluster_sums import ClusterSums, FarPoints
from kmeans_dask.kmeans.exact_sums import FixedPoint, integer_grid

_AT_ONCE = 1 << 16


def plain_distances(points: NDArray[Any], centroids: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squared Euclidean distances (n, k) of points (n, C) to centroids (k, C).

    They are computed in float64, channel after channel. This order of operations is the definition
    that all other code follows, so that equal means equal to the last bit.
    """
    distances = np.zeros((len(points), len(centroids)))
    for channel in range(points.shape[1]):
        difference = points[:, channel, None].astype(np.float64) - centroids[None, :, channel]
        distances += difference * difference
    return distances


def plain_labels(points: NDArray[Any], centroids: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the index of the nearest centroid of each point, (n,); ties go to the lowest index."""
    labels = np.empty(len(points), np.int64)
    for start in range(0, len(points), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        labels[some] = plain_distances(points[some], centroids).argmin(axis=1)
    return labels


def plain_cluster_sums(
    points: NDArray[Any],
    weights: NDArray[Any],
    centroids: NDArray[np.float64],
    n_far: int = 0,
    grid: FixedPoint | None = None,
) -> ClusterSums:
    """Return the sums of one Lloyd step over points (n, C) with weights (n,).

    n_far: how many of the points farthest from their centroid to add
    grid: fixed-point format of the sums; None for integer points with integer weights
    """
    grid = grid or integer_grid(points.shape[1])
    labels = plain_labels(points, centroids)
    each_weight, each_sum, each_square = grid.cut(points, weights)
    k, channels = centroids.shape
    cluster_weights = np.zeros(k, each_weight.dtype)
    sums = np.zeros((k, channels), each_sum.dtype)
    np.add.at(cluster_weights, labels, each_weight)
    np.add.at(sums, labels, each_sum)
    squares = tuple(int(q) for q in each_square.sum(axis=0))
    far = None
    if n_far:
        some = np.flatnonzero(weights)
        distances = plain_distances(points[some], centroids)[np.arange(len(some)), labels[some]]
        far = FarPoints(
            points[some], each_weight[some], each_sum[some], labels[some], distances, n_far
        ).merged()
    return ClusterSums(cluster_weights, sums, squares, grid, far)
