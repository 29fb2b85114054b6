"""Filters of PNG: each row is written as its differences from one of five predictions.

PNG specification, third edition, section 9.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit


def filter_rows(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return rows (h, 1 + n) with the filter type of each row, and then its filtered bytes.

    rows: (h, 1 + n), of which the first column is not looked at; a pixel takes a byte or less

    Each row gets the filter whose bytes are the most unevenly distributed: the sum of the squared
    counts of all 256 values is the largest. (Its logarithm is Rényi's entropy of order 2, negated.
    This takes fewer bytes than the usual least sum of absolute differences, see
    benchmarks/README.md.) Ties go to the lowest filter type.
    """
    filtered = np.empty_like(rows)
    _filter_rows(rows, filtered)
    return filtered


@jit
def _filter_rows(rows, filtered):  # type: ignore[no-untyped-def]
    """Fill `filtered` (h, 1 + n), see `filter_rows`."""
    n = rows.shape[1] - 1
    tried = np.empty((5, n), np.uint8)  # the row by each filter: none, sub, up, average, Paeth
    counts = np.empty(256, np.int64)
    above = np.zeros(n, np.uint8)
    for y in range(rows.shape[0]):
        row = rows[y, 1:]
        left = corner = np.int64(0)
        for x in range(n):
            value, up = np.int64(row[x]), np.int64(above[x])
            from_left, from_up = abs(up - corner), abs(left - corner)
            from_corner = abs(left + up - 2 * corner)
            if from_left <= from_up and from_left <= from_corner:
                paeth = left
            elif from_up <= from_corner:
                paeth = up
            else:
                paeth = corner
            tried[0, x] = value
            tried[1, x] = value - left
            tried[2, x] = value - up
            tried[3, x] = value - ((left + up) >> 1)
            tried[4, x] = value - paeth
            left, corner = value, up
        best, most = 0, np.int64(-1)
        for kind in range(5):
            counts[:] = 0
            for value in tried[kind]:
                counts[value] += 1
            squares = np.int64(0)
            for count in counts:
                squares += count * count
            if squares > most:
                best, most = kind, squares
        filtered[y, 0] = best
        filtered[y, 1:] = tried[best]
        above[:] = row
