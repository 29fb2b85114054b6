"""The nearest centroid of each point, for points that come once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.clustering.assignment import Assignment
from kmeans_dask.clustering.codes import N_CODES, SPREAD
from kmeans_dask.clustering.grid import integer_grid
from kmeans_dask.clustering.jit import jit
from kmeans_dask.clustering.points import make_points

_AT_ONCE = 1 << 20
_TABLED_FROM = 1 << 18  # pixels from which a table of colours pays


def nearest_labels(values: NDArray[Any], centroids: NDArray[np.float64]) -> NDArray[np.int32]:
    """Index (n,) of the centroid (k, C) nearest to each of `values` (n, C); ties to the lowest.

    As the plain loop has them. Values are uint8, float32 or float64.
    """
    labels = np.empty(len(values), np.int32)
    if values.dtype == np.uint8 and values.shape[1] == 3 and len(values) >= _TABLED_FROM:
        table = np.zeros(N_CODES, np.int32)  # of what is not looked at no page is ever touched
        _look_up(values, np.ascontiguousarray(centroids, np.float64), table, labels)
        return labels
    grid = integer_grid(values.shape[1])  # nobody asks for the sums
    for start in range(0, len(values), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        points = make_points(values[some], None, grid)
        labels[some] = Assignment(points).labels(centroids)
    return labels


@jit
def _look_up(values, centroids, table, labels):  # type: ignore[no-untyped-def]
    """Search for the first pixel of each colour, and remember it in `table` as label + 1."""
    for i in range(values.shape[0]):
        r, g, b = values[i, 0], values[i, 1], values[i, 2]
        code = (SPREAD[r] << np.uint32(2)) | (SPREAD[g] << np.uint32(1)) | SPREAD[b]
        found = table[code]
        if found == 0:
            smallest = np.inf
            for j in range(centroids.shape[0]):
                dr = np.float64(r) - centroids[j, 0]
                dg = np.float64(g) - centroids[j, 1]
                db = np.float64(b) - centroids[j, 2]
                distance = dr * dr + dg * dg + db * db
                if distance < smallest:
                    smallest, found = distance, np.int32(j + 1)
            table[code] = found
        labels[i] = found - np.int32(1)
