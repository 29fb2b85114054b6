"""Labels, the nearest centroid of each point, for points that are assigned only once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit
from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.exact_sums import integer_grid
from kmeans_dask.kmeans.histogram import DENSE_FROM, count_colors
from kmeans_dask.kmeans.morton_codes import N_CODES, SPREAD, encode_colors
from kmeans_dask.kmeans.points import Points, color_points, make_points

_AT_ONCE = 1 << 20


def nearest_labels(values: NDArray[Any], centroids: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return the indices (n,) of the centroids (k, C) that are nearest to `values` (n, C).

    values: uint8, float32 or float64

    Labels are those of the plain loop: ties go to the lowest index. Where there are many 8-bit
    colours, they are counted first: each distinct one is searched for once, and then looked up.
    """
    if values.dtype == np.uint8 and values.shape[1] == 3 and len(values) >= DENSE_FROM:
        colors = color_points(count_colors(values))
        table = label_table(colors, Assignment(colors).labels(centroids))
        return look_up_labels(values, table)
    labels = np.empty(len(values), np.int32)
    grid = integer_grid(values.shape[1])  # any would do: the sums are not used
    for start in range(0, len(values), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        points = make_points(values[some], None, grid)
        labels[some] = Assignment(points).labels(centroids)
    return labels


def label_table(colors: Points, labels: NDArray[np.int32]) -> NDArray[np.unsignedinteger[Any]]:
    """Return a table of all 8-bit colours by Morton code, with the labels of `colors` filled in."""
    small = labels.size == 0 or labels.max() <= np.iinfo(np.uint8).max
    # The dtype is the smallest possible, because the table is read at random. Its pages that no
    # colour falls into are never touched.
    table: NDArray[np.unsignedinteger[Any]] = np.zeros(N_CODES, np.uint8 if small else np.uint32)
    table[encode_colors(colors.values)] = labels
    return table


def look_up_labels(
    pixels: NDArray[np.uint8], table: NDArray[np.unsignedinteger[Any]]
) -> NDArray[np.int32]:
    """Return the labels (n,) of pixels (n, 3), all of whose colours are in `table`."""
    labels = np.empty(len(pixels), np.int32)
    _look_up(pixels, table, labels)
    return labels


@jit
def _look_up(pixels, table, labels):  # type: ignore[no-untyped-def]
    for i in range(pixels.shape[0]):
        r, g, b = pixels[i, 0], pixels[i, 1], pixels[i, 2]
        labels[i] = table[(SPREAD[r] << np.uint32(2)) | (SPREAD[g] << np.uint32(1)) | SPREAD[b]]
