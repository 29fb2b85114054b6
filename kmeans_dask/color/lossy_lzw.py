"""Palette indices that take fewer bits as LZW codes, at hardly more error.

A pixel gets an entry a little farther off than the nearest one where that makes the string under
way longer (see `lzw`). The indices of some pixels ahead are decided together, as the path of least
squared error plus weighted bits through the tree of strings: each index goes to a longer string of
the table, or ends the string, which takes a code, and begins another. The path is found by dynamic
programming over the strings that are under way at each pixel (Viterbi 1967, "Error bounds for
convolutional codes", IEEE Trans. Information Theory 13(2)), of which the cheapest are kept. The
table is taken as fixed while looking ahead; the strings of decided pixels are then added to it.
Choosing near colours for longer strings is the idea of gifsicle's --lossy (Lesinski 2014), which
looks for the longest string within a bound of error, pixel by pixel.

All costs are integers, so that the indices are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.lossy_pixels import LossyImage, LossyPixels, space_of
from kmeans_dask.color.lzw import (
    MOST_BITS,
    MOST_CODES,
    Grid,
    Table,
    clear_places,
    clear_table,
    code_bits_of,
)
from kmeans_dask.color.palette import Palette
from kmeans_dask.kernels.jit import jit

_STEPS = 16  # of an 8-bit level in which coordinates are
_GRID = Grid(4096, 16, 1)  # of the places for clear codes that a pass assumes
ROOT = -1  # the string of no indices


class LzwDepth(NamedTuple):
    """Depth of a pass over an image: more takes longer and finds fewer bytes.

    ahead: pixels that are decided together; the first three quarters are then kept
    strings: strings under way that are kept for each pixel
    entries: entries near a pixel's nearest one that it may get
    """

    ahead: int
    strings: int
    entries: int


# The passes for each effort, chosen by measured time and bytes (see benchmarks/README.md).
_PASSES = (
    *((LzwDepth(64, 8, 16),),) * 2,
    *((LzwDepth(64, 16, 16),),) * 4,
    *((LzwDepth(64, 16, 16), LzwDepth(64, 32, 24)),) * 2,
    *((LzwDepth(64, 16, 24), LzwDepth(64, 32, 32), LzwDepth(96, 64, 48)),) * 2,
)


class LzwUnits(NamedTuple):
    """Pixels whose indices are to be chosen, and the entries that they may get.

    values: (n, C) int16, the coordinates of each pixel
    plain: (n,) uint8, the index of the entry that is nearest to each pixel
    coordinates: (S, C) int32, of the entries
    near: (S, N) int16, the entries that a pixel may get whose nearest one is given, from the
        nearest to the farthest, that one first; -1 where there are no more
    distances: (S, N) int64, the squared distances of these entries
    """

    values: NDArray[np.int16]
    plain: NDArray[np.uint8]
    coordinates: NDArray[np.int32]
    near: NDArray[np.int16]
    distances: NDArray[np.int64]


class Coder(NamedTuple):
    """State of the coder after the pixels that are decided.

    state: (4,) int64, the code of the string under way, or `ROOT`; the number of codes in the
        table, the size of a code, and the number of clear codes so far
    """

    table: Table
    state: NDArray[np.int64]

    @classmethod
    def start(cls, n_symbols: int) -> Coder:
        """Return the state before the first pixel."""
        bits = code_bits_of(n_symbols)
        state = np.array([ROOT, (1 << bits) + 2, bits + 1, 0], np.int64)
        return cls(Table.empty(n_symbols), state)


def lzw_passes_of(effort: int) -> tuple[LzwDepth, ...]:
    """Return the passes over an image for an effort from 0 to 9."""
    return _PASSES[effort]


def choose_lzw_indices(
    pixels: NDArray[np.uint8],
    alphas: NDArray[np.uint8] | None,
    width: int,
    plain: NDArray[np.uint8],
    palette: Palette,
    space: str,
    weight: float,
    passes: Sequence[LzwDepth],
    free: NDArray[np.bool_] | None = None,
) -> LossyImage:
    """Return an image with the indices that are cheapest by error and bits of LZW codes.

    The arguments are those of `choose_indices`. A pixel gets no entry of other alpha than its
    nearest one, except that a translucent one may get any entry that is not clear.
    """
    whole = LossyPixels(
        colors=pixels,
        alphas=alphas,
        width=width,
        plain=plain,
        space=space_of(space, alphas, palette),
        steps=_STEPS,
    )
    costs = whole.cost_of_bits(16 * np.arange(MOST_BITS + 1), weight)
    chosen = plain
    for depth in passes:
        clears = clear_places(chosen, len(palette), _GRID)
        chosen = _parse(whole, palette, costs, clears, depth)
        if free is not None:
            palette = whole.moved(palette, chosen, free)
    return LossyImage(chosen, palette)


def _parse(
    pixels: LossyPixels,
    palette: Palette,
    costs: NDArray[np.int64],
    clears: NDArray[np.int64],
    depth: LzwDepth,
) -> NDArray[np.uint8]:
    coordinates = pixels.entry_values(palette)
    near, distances = near_entries(coordinates, palette.entries[:, 3], depth.entries)
    coder = Coder.start(len(palette))
    chosen = np.empty(len(pixels.plain), np.uint8)
    for top, bottom in pixels.bands():
        some = slice(top * pixels.width, bottom * pixels.width)
        values = pixels.values(some).astype(np.int16)
        units = LzwUnits(values, pixels.plain[some], coordinates, near, distances)
        parse_strings(units, costs, clears, depth.ahead, depth.strings, coder, chosen, some.start)
    return chosen


def near_entries(
    coordinates: NDArray[np.int32], alphas: NDArray[np.uint8], most: int
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Return `near` and `distances` of `LzwUnits`, for entries with coordinates and alphas.

    coordinates: (S, C); alphas: (S,) uint8; most: N, or more than there are entries
    """
    values = coordinates.astype(np.int64)
    near = np.full((len(values), min(most, len(values))), -1, np.int16)
    distances = np.zeros(near.shape, np.int64)
    for entry, alpha in enumerate(alphas):
        others = np.flatnonzero(alphas == 255 if alpha == 255 else alphas > 0)
        others = others[others != entry] if alpha else others[:0]
        squares = ((values[others] - values[entry]) ** 2).sum(axis=1)
        order = np.argsort(squares, kind="stable")[: near.shape[1] - 1]
        near[entry, : 1 + len(order)] = [entry, *others[order]]
        distances[entry, 1 : 1 + len(order)] = squares[order]
    return near, distances


@jit
def parse_strings(units, costs, clears, ahead, strings, coder, chosen, first):  # type: ignore[no-untyped-def]
    """Choose the indices of some pixels, and write them into `chosen`.

    units: `LzwUnits`; costs: (13,) int64, of a code of each size
    clears: places in the image before which clear codes are written, in ascending order
    ahead, strings: see `LzwDepth`
    coder: `Coder`, updated
    chosen: (more than `first`,) uint8, of all pixels of the image
    first: place of the first of these pixels in the image
    """
    n, n_near = units.values.shape[0], units.near.shape[1]
    n_codes = np.int64(1)
    while n_codes < units.coordinates.shape[0] or n_codes < 4:
        n_codes *= 2
    state = coder.state
    # Entries that each pixel ahead may get, with their errors, at the pixel's place modulo `ahead`.
    entries, errors = np.empty((ahead, n_near), np.uint8), np.empty((ahead, n_near), np.int64)
    counts = np.zeros(ahead, np.int64)
    # Strings under way after each pixel ahead: their codes, last indices, and what was before.
    nodes = np.empty((ahead + 1, strings), np.int64)
    lasts = np.empty((ahead + 1, strings), np.uint8)
    before = np.empty((ahead + 1, strings), np.int64)
    paid, next_paid = np.empty(strings, np.int64), np.empty(strings, np.int64)
    begun = np.empty(n_near, np.bool_)
    known, place = 0, 0
    while place < n:
        if state[3] < clears.shape[0] and clears[state[3]] == first + place:
            if state[1] == MOST_CODES:
                _clear(coder.table, state, n_codes)
            state[3] += 1
        end = min(place + ahead, n)
        if state[3] < clears.shape[0]:
            end = min(end, clears[state[3]] - first)
        code_cost = costs[state[2]]
        for i in range(known, end):
            counts[i % ahead] = _fill_entries(
                units, i, code_cost, entries[i % ahead], errors[i % ahead]
            )
        known = max(known, end)
        nodes[0, 0], paid[0], n_kept = state[0], 0, 1
        for step in range(end - place):
            slot = (place + step) % ahead
            n_kept = _advance(
                coder.table.children, nodes[step], paid, n_kept, entries[slot], errors[slot],
                counts[slot], begun, code_cost, nodes[step + 1], lasts[step + 1],
                before[step + 1], next_paid,
            )  # fmt: skip
            paid, next_paid = next_paid, paid
        keep = end - place if end < place + ahead else (3 * ahead + 3) // 4
        kept = np.int64(0)
        for step in range(end - place, 0, -1):
            if step <= keep:
                chosen[first + place + step - 1] = lasts[step, kept]
            kept = before[step, kept]
        for i in range(first + place, first + place + keep):
            _add_index(coder.table, state, np.int64(chosen[i]))
        place += keep


@jit
def _clear(table, state, n_codes):  # type: ignore[no-untyped-def]
    """Empty the table, as a clear code does; `n_codes`, a power of two, are those of indices."""
    clear_table(table, n_codes + 2, state[1])
    state[0], state[1], state[2] = ROOT, n_codes + 2, 1
    while 1 << state[2] <= n_codes:
        state[2] += 1


@jit
def _fill_entries(units, place, most, entries, errors):  # type: ignore[no-untyped-def]
    """Fill `entries` and `errors` with what a pixel may get, and return how many there are.

    Errors are those above the least one, in ascending order.

    most: error above that of the best entry, beyond which entries are left out
    """
    values, coordinates = units.values, units.coordinates
    near, distances = units.near[units.plain[place]], units.distances[units.plain[place]]
    n, least, farthest = 0, np.int64(1) << 60, np.int64(1) << 60
    for k in range(near.shape[0]):
        entry = near[k]
        # By the triangle inequality, entries beyond have an error that is too large.
        if entry < 0 or distances[k] > farthest:
            break
        error = np.int64(0)
        for c in range(coordinates.shape[1]):
            difference = np.int64(values[place, c]) - np.int64(coordinates[entry, c])
            error += difference * difference
        entries[n], errors[n] = entry, error
        if k == 0:
            farthest = 4 * error + 2 * most
        least = min(least, error)
        n += 1
    kept = 0
    for k in range(n):
        entry, error = entries[k], errors[k] - least
        if error > most:
            continue
        at = kept
        while at > 0 and errors[at - 1] > error:
            entries[at], errors[at] = entries[at - 1], errors[at - 1]
            at -= 1
        entries[at], errors[at] = entry, error
        kept += 1
    return kept


@jit
def _advance(  # type: ignore[no-untyped-def]
    children, nodes, paid, n_kept, entries, errors, n_entries, begun, code_cost,
    next_nodes, next_lasts, next_before, next_paid,
):  # fmt: skip
    """Find the cheapest strings under way after one more pixel, and return their number.

    nodes, paid: codes of the strings before it, from the cheapest to the most expensive, and costs
    entries, errors: what the pixel may get; begun: a buffer
    next_nodes, next_lasts, next_before, next_paid: of the strings after it, in the same order

    A string ends only where it cannot be made longer by an index, as in the coder. Strings that
    cost a code more than the cheapest one are not kept.
    """
    most, n = next_nodes.shape[0], 0
    begun[:n_entries] = False
    for s in range(n_kept):
        node = nodes[s]
        for k in range(n_entries):
            cost = paid[s] + errors[k]
            # Errors ascend, so what follows is not kept either.
            if n == most and cost >= next_paid[n - 1]:
                break
            if n > 0 and cost > next_paid[0] + code_cost:
                break
            entry = np.int64(entries[k])
            child = entry if node == ROOT else np.int64(children[node, entry])
            if node != ROOT and child == 0:
                if begun[k]:
                    continue
                begun[k] = True
                child = entry
                cost += code_cost
                if n == most and cost >= next_paid[n - 1]:
                    continue
            at = n if n < most else n - 1
            while at > 0 and next_paid[at - 1] > cost:
                next_paid[at], next_nodes[at] = next_paid[at - 1], next_nodes[at - 1]
                next_lasts[at], next_before[at] = next_lasts[at - 1], next_before[at - 1]
                at -= 1
            next_paid[at], next_nodes[at] = cost, child
            next_lasts[at], next_before[at] = entry, s
            n += n < most
    while n > 1 and next_paid[n - 1] > next_paid[0] + code_cost:
        n -= 1
    return n


@jit
def _add_index(table, state, index):  # type: ignore[no-untyped-def]
    """Take an index into the string under way, as the coder does."""
    if state[0] == ROOT:
        state[0] = index
        return
    child = np.int64(table.children[state[0], index])
    if child:
        state[0] = child
        return
    if state[1] < MOST_CODES:
        code = state[1]
        table.children[state[0], index] = code
        table.parents[code], table.lasts[code] = state[0], index
        state[2] += code == 1 << state[2]
        state[1] += 1
    state[0] = index
