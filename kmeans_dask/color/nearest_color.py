"""Exact search for the palette colour nearest to an 8-bit colour, in a table filled by use."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit
from kmeans_dask.kmeans.morton_codes import N_CODES, SPREAD, decode_colors

_CELL_BITS = 9  # a cell is a cube of 8 x 8 x 8 colours: a run of 512 Morton codes
_N_CELLS = N_CODES >> _CELL_BITS


class NearestColor(NamedTuple):
    """Table for `find_nearest`: the palette colour nearest to each 8-bit colour searched so far.

    palette: (k, 3) int32, k up to 65,535
    found: (2^24,) uint16, by Morton code: the index of the nearest palette colour plus one, or 0
        where it has not been searched for; of its 32 MiB only what is used takes memory
    candidates: (cells, k) uint16, the palette colours that can be nearest inside a cell
    n_candidates: (cells,) uint16, how many these are, or 0 where the cell has not been searched
    corners: (cells, 3) int32, the lowest corner of each cell

    Each cell of the colour cube is searched once, on first use, for the palette colours that can
    be nearest inside it. Each colour is searched for once, among these candidates; after that it
    is one look-up.
    """

    palette: NDArray[np.int32]
    found: NDArray[np.uint16]
    candidates: NDArray[np.uint16]
    n_candidates: NDArray[np.uint16]
    corners: NDArray[np.int32]

    @classmethod
    def from_palette(cls, palette: NDArray[np.uint8]) -> NearestColor:
        """Return an empty table for a palette, (k, 3) uint8."""
        first_codes = np.arange(0, N_CODES, 1 << _CELL_BITS, dtype=np.uint32)
        return cls(
            np.ascontiguousarray(palette, np.int32),
            np.zeros(N_CODES, np.uint16),
            np.empty((_N_CELLS, len(palette)), np.uint16),
            np.zeros(_N_CELLS, np.uint16),
            decode_colors(first_codes).astype(np.int32),
        )


@jit
def find_nearest(r, g, b, palette, found, candidates, n_candidates, corners):  # type: ignore[no-untyped-def]
    """Return the index of the colour nearest to r, g, b (0 to 255); ties go to the lowest index.

    palette, found, candidates, n_candidates, corners: fields of `NearestColor`, one by one, because
    numba counts a reference each time that an array is taken out of a tuple
    """
    # Two threads may fill the same entry at once: they write the same value.
    code = (SPREAD[r] << np.uint32(2)) | (SPREAD[g] << np.uint32(1)) | SPREAD[b]
    entry = found[code]
    if entry == 0:
        cell = code >> np.uint32(_CELL_BITS)
        if n_candidates[cell] == 0:
            n_candidates[cell] = _search_cell(corners[cell], palette, candidates[cell])
        entry = np.uint16(_nearest(r, g, b, palette, candidates[cell], n_candidates[cell]) + 1)
        found[code] = entry
    return np.int64(entry) - 1


@jit
def _nearest(r, g, b, palette, candidates, n):  # type: ignore[no-untyped-def]
    best, smallest = np.int64(0), np.int32(1 << 30)
    for c in range(n):
        j = candidates[c]
        dr = np.int32(r) - palette[j, 0]
        dg = np.int32(g) - palette[j, 1]
        db = np.int32(b) - palette[j, 2]
        distance = dr * dr + dg * dg + db * db
        if distance < smallest:
            best, smallest = np.int64(j), distance
    return best


@jit
def _search_cell(corner, palette, candidates):  # type: ignore[no-untyped-def]
    """Write to `candidates`, ascending, the colours that may be nearest to a point of the cell.

    Return how many these are. The rule is that of `distance_bounds.filter_box`, but in integers,
    and so without a margin.
    """
    side = (1 << (_CELL_BITS // 3)) - 1
    k = palette.shape[0]
    star, smallest = 0, np.int64(1 << 60)
    for j in range(k):
        distance = np.int64(0)
        for c in range(3):
            difference = 2 * palette[j, c] - (2 * corner[c] + side)
            distance += difference * difference
        if distance < smallest:
            star, smallest = j, distance
    n = 0
    for j in range(k):
        # by how much j is farther than star, at the corner of the cell where j does best
        farther = np.int64(0)
        for c in range(3):
            a, b = palette[j, c], palette[star, c]
            corner_c = corner[c] + (side if a > b else 0)
            farther += (a - b) * (a + b - 2 * corner_c)
        if farther <= 0:
            candidates[n] = j
            n += 1
    return n
