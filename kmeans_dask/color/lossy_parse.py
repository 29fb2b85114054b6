"""Choice of a byte for each unit of an image, by squared error and by the bits that deflate needs.

A file of palette indices is a stream of bytes: each row is a filter byte, 0, and bytes that hold
one or several indices. Deflate (RFC 1951, section 3.2.5) writes the stream as literals, and as
copies of 3 to 258 bytes from up to 32,768 bytes before. The bytes of a row are chosen together, as
the cheapest path of literals and copies: its cost is the squared error plus the bits of its
literals and copies, weighted. The path is found by dynamic programming (Viterbi 1967, "Error bounds
for convolutional codes", IEEE Trans. Information Theory 13(2)). Its states are the copies that are
under way, one for each distance that is tried at every byte: some near ones, and those to the bytes
above and beside in earlier rows. Copies from farther away are tried where three bytes agree.

Deciding whole rows by distortion and rate is the idea of lossy deflate in rdopng (Geldreich 2022);
the weighted sum is that of Shoham & Gersho 1988, "Efficient bit allocation for an arbitrary set of
quantizers", IEEE Trans. ASSP 36(9). All costs are integers, so that the bytes are the same on every
machine.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit

SHORTEST, LONGEST, FARTHEST = 3, 258, 1 << 15  # copies of deflate: least and most bytes, distance
NEAR = 8  # bytes; copies from no farther may copy bytes of the row that is being decided
IMPOSSIBLE = 1 << 28  # cost of what must not be chosen; sums of some of them fit 32 bits
_HASHES = 1 << 16
_GIVE_UP = 3  # a copy from far away is given up when its errors cost so many times its bits


class Units(NamedTuple):
    """Bytes of the stream to be chosen: those of some rows.

    values: (n, C) int16, the coordinates that each byte stands for; those of filter bytes do not
        matter
    kinds: (n,) uint16, rows of `Symbols.penalties`; of eight pixels in a byte there are thousands
    guesses: (n,) uint8, bytes that are likely, which tell where copies from far away are tried
    width: bytes of a row, its filter byte included
    """

    values: NDArray[np.int16]
    kinds: NDArray[np.uint16]
    guesses: NDArray[np.uint8]
    width: int


class Symbols(NamedTuple):
    """Bytes that can be chosen.

    coordinates: (C, S) int32, of the colours that each byte stands for
    penalties: (kinds, S) int32, added to the squared error for a unit of a kind; the first row,
        which is all zeros, is not added
    """

    coordinates: NDArray[np.int32]
    penalties: NDArray[np.int32]


class Costs(NamedTuple):
    """Costs of bits, in the unit of squared errors.

    literals: (S,) int32, of each byte
    offsets: (o,) int32, distances that are tried at every byte, in ascending order
    starts: (o,) int32, of a copy of least length from each of these distances
    far: (FARTHEST + 1,) int32, of a copy of least length from any distance
    steps: (LONGEST + 1,) int32, of making a copy of each length one byte longer
    """

    literals: NDArray[np.int32]
    offsets: NDArray[np.int32]
    starts: NDArray[np.int32]
    far: NDArray[np.int32]
    steps: NDArray[np.int32]


class Counts(NamedTuple):
    """Numbers of literals (S,), and of copies by length and by distance, all int64."""

    literals: NDArray[np.int64]
    lengths: NDArray[np.int64]
    distances: NDArray[np.int64]


class Progress(NamedTuple):
    """Progress of a parse: what the next rows need to know of the rows before them.

    carried: (2,) int64, length and distance of a copy that ends with the last row, and may continue
    heads: (65536,) int64, last position in the stream of three bytes with each hash, or -1
    earlier: (FARTHEST,) int64, the position before with the same hash, for each of the last
    hashed: (1,) int64, number of positions that are in these tables
    """

    carried: NDArray[np.int64]
    heads: NDArray[np.int64]
    earlier: NDArray[np.int64]
    hashed: NDArray[np.int64]

    @classmethod
    def start(cls) -> Progress:
        """Return the progress before the first row."""
        return cls(
            np.zeros(2, np.int64),
            np.full(_HASHES, -1, np.int64),
            np.full(FARTHEST, -1, np.int64),
            np.zeros(1, np.int64),
        )


@jit
def parse_rows(units, symbols, costs, tries, progress, counts, stream, first):  # type: ignore[no-untyped-def]
    """Choose the bytes of some rows, and write them into `stream`.

    units: `Units`; symbols: `Symbols`; costs: `Costs`
    tries: most copies from far away that are tried at a byte
    progress: `Progress`, updated; counts: `Counts`, updated
    stream: (more than `first`,) uint8, the bytes of all rows, of which those before `first` are
        chosen already
    """
    values, kinds, guesses, width = units.values, units.kinds, units.guesses, units.width
    coordinates, penalties = symbols.coordinates, symbols.penalties
    literals, offsets, starts, far, steps = (
        costs.literals, costs.offsets, costs.starts, costs.far, costs.steps,
    )  # fmt: skip
    carried, heads, earlier, hashed = (
        progress.carried, progress.heads, progress.earlier, progress.hashed,
    )  # fmt: skip
    n_symbols, n_offsets = coordinates.shape[1], offsets.shape[0]
    n_near = 0
    for o in range(n_offsets):
        n_near += offsets[o] <= NEAR
    nothing = np.int64(1) << 60

    errors, work = np.empty(n_symbols, np.int32), np.empty(n_symbols, np.int32)
    # Of the copy under way from each offset: its cost beyond that of the cheapest path, its length,
    # and the error of its next byte.
    running, lengths = np.empty(n_offsets, np.int32), np.zeros(n_offsets, np.int32)
    next_errors = np.empty(n_offsets, np.int32)
    # Of the cheapest path to each place in the row: its cost, its last eight bytes, and the length
    # and distance of its last copy; a literal has distance 0.
    paid = np.zeros(width + 1, np.int64)
    lasts = np.zeros(width + 1, np.uint64)
    last_length, last_distance = np.zeros(width + 1, np.int32), np.zeros(width + 1, np.int32)
    choices = np.zeros(width, np.uint8)  # the cheapest literals
    far_paid = np.empty(width + 1, np.int64)
    far_length, far_distance = np.zeros(width + 1, np.int32), np.zeros(width + 1, np.int32)
    ends = np.empty(width, np.int32)

    for row in range(values.shape[0] // width):
        start = first + row * width
        far_paid[:] = nothing
        lasts[0] = _last_bytes(stream, start)
        running[:] = IMPOSSIBLE
        for o in range(n_offsets):
            if carried[0] and offsets[o] == carried[1]:
                running[o], lengths[o] = 0, carried[0]
        for x in range(width):
            unit = row * width + x
            _fill_errors(values, unit, coordinates, errors)
            if kinds[unit]:
                for s in range(n_symbols):
                    errors[s] += penalties[kinds[unit], s]
            literal, choices[x] = _cheapest(errors, literals, work)
            if tries:
                _try_far(
                    values, kinds, guesses, unit, x, width, coordinates, penalties, stream, start,
                    heads, earlier, far, steps, tries, paid[x], far_paid, far_length, far_distance,
                )  # fmt: skip
            for o in range(n_near):
                continues = running[o] + steps[lengths[o]] <= starts[o]
                age = min(lengths[o], x) if continues else np.int32(0)
                byte = _byte_of_run(lasts[x - age], offsets[o], age)
                is_there = start + x >= offsets[o]
                next_errors[o] = errors[byte] if is_there else IMPOSSIBLE
                running[o] = running[o] if is_there else IMPOSSIBLE  # so that it begins anew
            for o in range(n_near, n_offsets):
                source = start + x - offsets[o]
                is_there = 0 <= source < start
                next_errors[o] = errors[stream[source if is_there else 0]]
                next_errors[o] = next_errors[o] if is_there else IMPOSSIBLE
                running[o] = running[o] if is_there else IMPOSSIBLE
            best, of = _advance(running, lengths, starts, steps, next_errors)

            step, length, distance = np.int64(literal), np.int32(1), np.int32(0)
            if best < step:
                step, length, distance = np.int64(best), lengths[of], offsets[of]
            if far_paid[x + 1] < paid[x] + step:
                step = far_paid[x + 1] - paid[x]
                length, distance = far_length[x + 1], far_distance[x + 1]
            paid[x + 1] = paid[x] + step
            last_length[x + 1], last_distance[x + 1] = length, distance
            if distance == 0:
                lasts[x + 1] = (lasts[x] << np.uint64(8)) | np.uint64(choices[x])
            else:
                of_row = length if length <= x else np.int32(x + 1)
                lasts[x + 1] = _bytes_of_copy(
                    lasts[x + 1 - of_row], of_row, distance, stream, start + x + 1
                )
            ahead = np.int32(step if step < IMPOSSIBLE else IMPOSSIBLE)
            for o in range(n_offsets):
                running[o] = min(running[o] - ahead, np.int32(IMPOSSIBLE))
        _write_row(
            last_length, last_distance, choices, ends, stream, start, width, carried,
            counts.literals, counts.lengths, counts.distances,
        )  # fmt: skip
        if tries:
            _add_hashes(stream, start + width, heads, earlier, hashed)


@jit
def _last_bytes(stream, stop):  # type: ignore[no-untyped-def]
    """Return the eight bytes of `stream` before `stop`, the last one in the lowest bits."""
    found = np.uint64(0)
    for p in range(max(0, stop - 8), stop):
        found = (found << np.uint64(8)) | np.uint64(stream[p])
    return found


@jit
def _fill_errors(values, unit, coordinates, errors):  # type: ignore[no-untyped-def]
    """Fill `errors` (S,) with the squared error of each symbol for a unit."""
    for c in range(coordinates.shape[0]):
        value, row = np.int32(values[unit, c]), coordinates[c]
        for s in range(errors.shape[0]):
            difference = value - row[s]
            square = difference * difference
            errors[s] = square if c == 0 else errors[s] + square


@jit
def _cheapest(errors, literals, work):  # type: ignore[no-untyped-def]
    """Return the cost and the number of the cheapest literal; ties go to the lowest number."""
    n = np.int32(errors.shape[0])
    least, found = np.int32(2**31 - 1), n
    for s in range(n):
        work[s] = errors[s] + literals[s]
        least = min(least, work[s])
    for s in range(n):
        found = min(found, np.int32(s) if work[s] == least else n)
    return least, found


@jit
def _byte_of_run(lasts, distance, age):  # type: ignore[no-untyped-def]
    """Return the next byte of a copy of the last `distance` bytes that began `age` bytes ago.

    lasts: the last eight bytes when it began
    """
    back = np.uint64(distance - 1 - age % distance)
    return np.int64((lasts >> (np.uint64(8) * back)) & np.uint64(255))


@jit
def _bytes_of_copy(lasts, length, distance, stream, stop):  # type: ignore[no-untyped-def]
    """Return the last eight bytes of a path that ends with a copy.

    lasts: the last eight bytes before the copy; stop: place in the stream where the copy ends
    """
    found = lasts
    for age in range(max(0, length - 8), length):
        if distance <= NEAR:
            byte = _byte_of_run(lasts, distance, age)
        else:
            byte = np.int64(stream[stop - length + age - distance])
        found = (found << np.uint64(8)) | np.uint64(byte)
    return found


@jit
def _advance(running, lengths, starts, steps, next_errors):  # type: ignore[no-untyped-def]
    """Make the copies under way one byte longer, or begin them anew where that is cheaper.

    Return the cost of the cheapest copy that is long enough to end here, and its number.
    """
    n = np.int32(running.shape[0])
    none = np.int32(2**31 - 1)
    least, found = none, n
    for o in range(n):
        longer = running[o] + steps[lengths[o]]
        continues = longer <= starts[o]
        lengths[o] = lengths[o] + 1 if continues else 1
        running[o] = min((longer if continues else starts[o]) + next_errors[o], IMPOSSIBLE)
        least = min(least, running[o] if lengths[o] >= SHORTEST else none)
    for o in range(n):
        is_it = running[o] == least and lengths[o] >= SHORTEST
        found = min(found, np.int32(o) if is_it else n)
    return least, found


@jit
def _hash(a, b, c):  # type: ignore[no-untyped-def]
    """Return a hash of three bytes."""
    mixed = (np.int64(a) * 73856093) ^ (np.int64(b) * 19349663) ^ (np.int64(c) * 83492791)
    return mixed & (_HASHES - 1)


@jit
def _try_far(  # type: ignore[no-untyped-def]
    values, kinds, guesses, unit, x, width, coordinates, penalties, stream, start,
    heads, earlier, far, steps, tries, paid, far_paid, far_length, far_distance,
):  # fmt: skip
    """Try copies that begin at place `x` of a row, from where bytes are as the guesses.

    far_paid, far_length, far_distance: (width + 1,), the cheapest copy that ends at each place
    """
    if x + SHORTEST > width:
        return
    source = heads[_hash(guesses[unit], guesses[unit + 1], guesses[unit + 2])]
    for _ in range(tries):
        distance = start + x - source
        if source < 0 or distance > FARTHEST:
            return
        bits = np.int64(far[distance])
        cost = np.int64(0)
        for i in range(min(LONGEST, width - x, start - source)):
            byte = stream[source + i]
            cost += penalties[kinds[unit + i], byte]
            for c in range(coordinates.shape[0]):
                difference = np.int64(values[unit + i, c]) - np.int64(coordinates[c, byte])
                cost += difference * difference
            cost += steps[i] if i >= SHORTEST else 0
            if cost > _GIVE_UP * bits:
                break
            end = x + i + 1
            if i + 1 >= SHORTEST and paid + bits + cost < far_paid[end]:
                far_paid[end] = paid + bits + cost
                far_length[end], far_distance[end] = i + 1, distance
        before = earlier[source & (FARTHEST - 1)]
        if before >= source:
            return
        source = before


@jit
def _write_row(  # type: ignore[no-untyped-def]
    last_length, last_distance, choices, ends, stream, start, width, carried,
    literals, lengths, distances,
):  # fmt: skip
    """Write the bytes of the cheapest path through a row, and count its literals and copies.

    ends: (width,), a buffer
    """
    n, x = 0, width
    while x > 0:
        ends[n] = x
        n += 1
        x -= last_length[x]
    if carried[0] and x == 0:  # the copy that came with the row before ended there
        lengths[carried[0]] += 1
        distances[carried[1]] += 1
    carried[:] = 0
    for i in range(n - 1, -1, -1):
        end = ends[i]
        length, distance = np.int64(last_length[end]), np.int64(last_distance[end])
        if distance == 0:
            stream[start + end - 1] = choices[end - 1]
            literals[choices[end - 1]] += 1
            continue
        for p in range(start + max(end - length, 0), start + end):
            stream[p] = stream[p - distance]
        if end == width:
            carried[0], carried[1] = length, distance
        else:
            lengths[length] += 1
            distances[distance] += 1


@jit
def _add_hashes(stream, stop, heads, earlier, hashed):  # type: ignore[no-untyped-def]
    """Add the positions whose three bytes come before `stop` to the tables of hashes."""
    for p in range(hashed[0], stop - 2):
        key = _hash(stream[p], stream[p + 1], stream[p + 2])
        earlier[p & (FARTHEST - 1)] = heads[key]
        heads[key] = p
    hashed[0] = max(hashed[0], stop - 2)
