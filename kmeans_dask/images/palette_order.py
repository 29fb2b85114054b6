"""Order of a palette in which neighbouring pixels of an image have indices that differ little.

The method is that of Zeng, Li & Lei 2000, "An efficient color re-indexing scheme for palette-based
compression", ICIP, as modified by Pinho & Neves 2004, "A survey on palette reordering methods for
improving the compression of color-indexed images", IEEE Trans. Image Processing 13(11).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.palette import Palette
from kmeans_dask.kernels.jit import jit


def order_entries(indices: NDArray[np.uint8], palette: Palette) -> NDArray[np.int64]:
    """Return the index of the entry of `palette` for each place of the new order, (n,).

    indices: (h, w), the palette index of each pixel

    A clear entry (alpha 0) in the first place stays there, and fixed colours keep their places. Of
    the others, those that are not opaque come first, because files list alphas only up to the last
    that is not opaque.
    """
    n_kept = palette.fixed + (palette.clear == 0)
    line = line_up(neighbors(indices, len(palette)))
    others = line[line >= n_kept]
    opaque = palette.entries[others, 3] == 255
    return np.concatenate([np.arange(n_kept), others[~opaque], others[opaque]])


def neighbors(indices: NDArray[np.uint8], n_entries: int) -> NDArray[np.int64]:
    """Return how many times each two entries are side by side or one above the other, (n, n).

    indices: (h, w), the palette index of each pixel

    The matrix is symmetric, and its diagonal is 0.
    """
    pairs = np.zeros((n_entries, n_entries), np.int64)
    _count_pairs(np.ascontiguousarray(indices), pairs)
    pairs += pairs.T.copy()
    np.fill_diagonal(pairs, 0)
    return pairs


def line_up(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the entries in a line in which frequent neighbours are near each other, (n,).

    pairs: (n, n), how many times each two entries are neighbours, see `neighbors`

    The line starts with the entry that has the most neighbours. Then it takes in, one by one, the
    entry that has the most neighbours in the line, at the end where these are. Ties go to the
    lowest index, and to the end of the line.
    """
    line = np.empty(len(pairs), np.int64)
    _line_up(pairs, line)
    return line


@jit
def _count_pairs(indices, pairs):  # type: ignore[no-untyped-def]
    """Add the pairs of neighbours in `indices` (h, w) to `pairs` (n, n), each once."""
    height, width = indices.shape
    for y in range(height):
        for x in range(1, width):
            pairs[indices[y, x - 1], indices[y, x]] += 1
    for y in range(1, height):
        for x in range(width):
            pairs[indices[y - 1, x], indices[y, x]] += 1


@jit
def _line_up(pairs, line):  # type: ignore[no-untyped-def]
    """Fill `line` (n,) with the entries in their new order, see `line_up`."""
    n = len(pairs)
    ends = np.empty(2 * n, np.int64)  # the line, which grows from the middle to both sides
    left = right = n
    waits = np.ones(n, np.bool_)
    weights = np.zeros(n, np.int64)  # neighbours in the line; at first, all neighbours
    for i in range(n):
        for j in range(n):
            weights[i] += pairs[i, j]
    for placed in range(n):
        best, most = 0, np.int64(-1)
        for i in range(n):
            if waits[i] and weights[i] > most:
                best, most = i, weights[i]
        side = np.int64(0)  # positive where most of its neighbours are in the left half
        for place in range(left, right):
            side += (left + right - 1 - 2 * place) * pairs[best, ends[place]]
        if side > 0:
            left -= 1
            ends[left] = best
        else:
            ends[right] = best
            right += 1
        waits[best] = False
        if placed == 0:
            weights[:] = 0
        for i in range(n):
            weights[i] += pairs[best, i]
    line[:] = ends[left:right]
