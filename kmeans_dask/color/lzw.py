"""LZW codes of palette indices, as a GIF file holds them.

The coder reads the longest string of indices that is in its table, writes the string's code, and
adds the string with the index that follows (Welch 1984, "A technique for high-performance data
compression", IEEE Computer 17(6)). The table of a GIF file (GIF89a specification, appendix F) holds
4,096 codes. When it is full, no more strings are added, until a clear code empties it. An empty
table takes many bits until it knows the image; a full one takes many bits where the image has
changed since. So the places of the clear codes are chosen as the cheapest path from the first pixel
to the last, over places some thousand codes apart, where each step is the life of a table.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit

MOST_CODES = 4096  # that a table holds
MOST_BITS = 12  # of a code
_IMPOSSIBLE = 1 << 60


class Grid(NamedTuple):
    """Grid of the places where a table may be emptied.

    step: codes from one place to the next, where a table is emptied as soon as it is full
    reach: most steps that a table may live
    patience: sixteenths by which a step may take more bits than the mean step of its table so far;
        beyond that, longer lives of the table are not tried
    """

    step: int
    reach: int
    patience: int


class Table(NamedTuple):
    """Table of an LZW coder: a tree of strings, in which each string's code is a node.

    children: (4096, S) uint16, the code of each string with each index added, or 0 for none
    parents: (4096,) uint16, the code of each string without its last index
    lasts: (4096,) uint8, the last index of each string
    """

    children: NDArray[np.uint16]
    parents: NDArray[np.uint16]
    lasts: NDArray[np.uint8]

    @classmethod
    def empty(cls, n_symbols: int) -> Table:
        """Return a table for indices below `n_symbols`."""
        return cls(
            np.zeros((MOST_CODES, n_symbols), np.uint16),
            np.zeros(MOST_CODES, np.uint16),
            np.zeros(MOST_CODES, np.uint8),
        )


def code_bits_of(n_symbols: int) -> int:
    """Return the bits of an index, from which the sizes of codes follow: at least 2 in a GIF."""
    return max(2, (n_symbols - 1).bit_length())


def clear_places(indices: NDArray[np.uint8], n_symbols: int, grid: Grid) -> NDArray[np.int64]:
    """Return the places before which a clear code takes the fewest bits, in ascending order.

    indices: (n,) uint8, at least one, all below `n_symbols`

    The first place, 0, where the table is empty anyway, is not among them.
    """
    table, bits = Table.empty(n_symbols), code_bits_of(n_symbols)
    places = np.zeros(len(indices) // grid.step + 2, np.int64)
    places = places[: _find_places(indices, bits, grid.step, table, places)]
    paid = np.full(len(places), _IMPOSSIBLE)
    before = np.zeros(len(places), np.int64)
    paid[0] = 0
    _find_clears(indices, places, bits, grid.reach, grid.patience, table, paid, before)
    found = []
    number = before[-1]
    while number:
        found.append(places[number])
        number = before[number]
    return np.array(found[::-1], np.int64)


def lzw_codes(indices: NDArray[np.uint8], n_symbols: int, clears: NDArray[np.int64]) -> bytes:
    """Return the codes of indices, from the first clear code to the end code, packed in bytes.

    indices: (n,) uint8, at least one, all below `n_symbols`
    clears: places before which clear codes are written, in ascending order, see `clear_places`
    """
    ends = np.append(clears, len(indices))
    # Each part of the indices is written into a buffer of its own, so that memory is bounded.
    parts, table, pending = [], Table.empty(n_symbols), np.zeros(2, np.int64)
    for start, end in zip([0, *clears], ends, strict=True):
        data = np.empty((end - start + 3) * MOST_BITS // 8 + 1, np.uint8)
        is_last = end == len(indices)
        n = _write_life(indices, start, end, code_bits_of(n_symbols), is_last, table, pending, data)
        parts.append(data[:n].tobytes())
    return b"".join(parts)


@jit
def clear_table(table, first, stop):  # type: ignore[no-untyped-def]
    """Remove the strings of the codes from `first` to `stop`, which is exclusive."""
    for code in range(first, stop):
        table.children[table.parents[code], table.lasts[code]] = 0


@jit
def _find_places(indices, code_bits, step, table, places):  # type: ignore[no-untyped-def]
    """Fill `places` with the start, the place after each `step` codes, and the end.

    Return their number.
    """
    children, parents, lasts = table.children, table.parents, table.lasts
    first = (1 << code_bits) + 2
    code, n_codes, n_places = first, 0, 1
    places[0] = 0
    node = np.int64(indices[0])
    for i in range(1, indices.shape[0]):
        index = indices[i]
        child = children[node, index]
        if child:
            node = np.int64(child)
            continue
        if code == MOST_CODES:
            clear_table(table, first, code)
            code = first
        children[node, index] = code
        parents[code], lasts[code] = node, index
        code += 1
        n_codes += 1
        node = np.int64(index)
        if n_codes % step == 0:
            places[n_places] = i
            n_places += 1
    places[n_places] = indices.shape[0]
    clear_table(table, first, code)
    return n_places + 1


@jit
def _find_clears(  # type: ignore[no-untyped-def]
    indices, places, code_bits, reach, patience, table, paid, before
):
    """Find the cheapest path over the places where the table may be emptied.

    paid: (places,) int64, the bits of the cheapest path to each place, updated
    before: (places,) int64, the number of the place before it on that path, updated
    """
    life = np.empty(reach, np.int64)
    for number in range(places.shape[0] - 1):
        some = places[number : number + 1 + reach]
        n_ends = _measure_life(indices, some, code_bits, patience, table, life)
        for i in range(n_ends):
            end = number + 1 + i
            if paid[number] + life[i] < paid[end]:
                paid[end], before[end] = paid[number] + life[i], number


@jit
def _measure_life(indices, places, code_bits, patience, table, bits):  # type: ignore[no-untyped-def]
    """Fill `bits` with the bits of a table from the first place to each other one.

    The table is empty at the first place. A clear code at the end is included.

    Return the number of places, which is less than all where `patience` has ended.
    """
    children, parents, lasts = table.children, table.parents, table.lasts
    first = (1 << code_bits) + 2
    code, size, paid = first, code_bits + 1, 0
    start = places[0]
    node, at, n_ends = np.int64(indices[start]), start + 1, 0
    for end in places[1:]:
        for i in range(at, end):
            index = indices[i]
            child = children[node, index]
            if child:
                node = np.int64(child)
                continue
            paid += size
            if code < MOST_CODES:
                children[node, index] = code
                parents[code], lasts[code] = node, index
                size += code == 1 << size
                code += 1
            node = np.int64(index)
        bits[n_ends] = paid + 2 * size + (code == 1 << size and size < MOST_BITS)
        n_ends += 1
        if n_ends > 1:
            last, pixels = bits[n_ends - 1] - bits[n_ends - 2], end - at
            if last * (end - start) * 16 > bits[n_ends - 1] * pixels * (16 + patience):
                break
        at = end
    clear_table(table, first, code)
    return n_ends


@jit
def _write_life(indices, start, end, code_bits, is_last, table, pending, data):  # type: ignore[no-untyped-def]
    """Write the codes of the indices from `start` to `end`, by a table that is empty at `start`.

    is_last: whether the end code follows, and not a clear code; the first clear code is written
        where `start` is 0
    pending: (2,) int64, bits that do not fill a byte yet, and their number, updated
    data: uint8, large enough for the codes

    Return the number of bytes that have been written.
    """
    children, parents, lasts = table.children, table.parents, table.lasts
    clear = 1 << code_bits
    code, size = clear + 2, code_bits + 1
    held, n_held, n = pending[0], pending[1], 0
    if start == 0:
        held |= clear << n_held
        n_held += size
    node = np.int64(indices[start])
    for i in range(start + 1, end + 1):
        index = indices[i] if i < end else np.uint8(0)
        child = children[node, index] if i < end else np.uint16(0)
        if child:
            node = np.int64(child)
            continue
        held |= node << n_held
        n_held += size
        while n_held >= 8:
            data[n] = held & 255
            held >>= 8
            n_held -= 8
            n += 1
        if code < MOST_CODES:
            if i < end:
                children[node, index] = code
                parents[code], lasts[code] = node, index
            size += code == 1 << size
            code += i < end
        node = np.int64(index)
    held |= (clear + is_last) << n_held
    n_held += size
    while n_held >= 8 or (is_last and n_held > 0):
        data[n] = held & 255
        held >>= 8
        n_held -= 8
        n += 1
    pending[0], pending[1] = held, max(n_held, 0)
    clear_table(table, clear + 2, code)
    return n
