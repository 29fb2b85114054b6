"""Palette indices that deflate to fewer bytes: each pixel gets the entry that is cheapest to write.

Plain indices have the least squared error. Lossy ones have the least sum of squared error and
`weight` times bits, so that a pixel gets an entry a little farther off where that makes its byte
part of a copy (see `lossy_parse`). The bits of a literal or a copy depend on how often it occurs,
and are counted in one pass over the image for the next. After each pass, the entries that are free
to move become the means of their pixels, which lowers the error at the same bytes (Chou, Lookabaugh
& Gray 1989, "Entropy-constrained vector quantization", IEEE Trans. ASSP 37(1), section III).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.lossy_parse import (
    FARTHEST,
    IMPOSSIBLE,
    LONGEST,
    NEAR,
    SHORTEST,
    Costs,
    Counts,
    Progress,
    Symbols,
    Units,
    parse_rows,
)
from kmeans_dask.color.lossy_pixels import LossyImage, LossyPixels, space_of
from kmeans_dask.color.palette import Palette

# Steps of an 8-bit level in which coordinates are, by the indices in a byte. The squared errors of
# bytes of more indices are larger, and they must stay below `IMPOSSIBLE`.
_STEPS = {1: 16, 2: 8, 4: 8, 8: 4}
_OPAQUE, _TRANSLUCENT, _CLEAR = 0, 1, 2  # kinds of pixels
_FILTER = 3  # the kind of a filter byte
_PADDING = 4  # the kind of what fills the last byte of a row, which is not shown

# Deflate's codes of lengths and distances (RFC 1951, section 3.2.5): the first value of each, and
# the bits that follow it to tell the values of the same code apart.
_LENGTHS = (*range(3, 11), *range(11, 19, 2), *range(19, 35, 4), *range(35, 67, 8),
            *range(67, 131, 16), *range(131, 258, 32), 258)  # fmt: skip
_LENGTH_BITS = (*(0,) * 8, *(1,) * 4, *(2,) * 4, *(3,) * 4, *(4,) * 4, *(5,) * 4, 0)
_DISTANCE_BITS = (0, 0, *(bits for bits in range(14) for _ in range(2)))[:30]
_FIRST_LENGTH, _FIRST_DISTANCE = 4 * 16, 7 * 16  # bits, in sixteenths, before any are counted
_MOST_BITS = 15 * 16  # of a code of deflate


class Depth(NamedTuple):
    """Depth of a pass over an image: more takes longer and finds fewer bytes.

    rows, columns: earlier rows, and bytes to either side of the same place in them, to copy from
    tries: copies from far away that are tried at each byte
    """

    rows: int
    columns: int
    tries: int


# The passes for each effort, chosen by measured time and bytes (see benchmarks/README.md).
_PASSES = (
    *((Depth(2, 3, 1),),) * 2,
    *((Depth(2, 2, 1), Depth(3, 4, 2)),) * 4,
    *((Depth(3, 4, 2), Depth(4, 6, 8)),) * 2,
    *((Depth(8, 12, 16),) * 3,) * 2,
)


def passes_of(effort: int) -> tuple[Depth, ...]:
    """Return the passes over an image for an effort from 0 to 9."""
    return _PASSES[effort]


def choose_indices(
    pixels: NDArray[np.uint8],
    alphas: NDArray[np.uint8] | None,
    width: int,
    plain: NDArray[np.uint8],
    palette: Palette,
    space: str,
    weight: float,
    passes: Sequence[Depth],
    free: NDArray[np.bool_] | None = None,
) -> LossyImage:
    """Return an image with the indices that are cheapest by error and bits.

    pixels: (n, 3) uint8, row after row; alphas: (n,) uint8, None where all pixels are opaque
    width: pixels of a row
    plain: (n,) uint8, the index of the entry that is nearest to each pixel
    palette: at most 256 entries
    space: name of the colour space in which errors are measured, see `Space`
    weight: squared error, of an 8-bit level summed over channels, that a bit is worth; more than 0
    passes: passes over the image, at least one
    free: (entries,), the entries that may move; None where none may

    Fully transparent pixels keep the clear entry, and opaque ones get opaque entries, if there are
    any.
    """
    per_byte = 8 // palette.bit_depth
    whole = LossyPixels(
        colors=pixels,
        alphas=alphas,
        width=width,
        plain=plain,
        space=space_of(space, alphas, palette),
        steps=_STEPS[per_byte],
    )
    image = _Image(whole, palette)
    bits = _Bits.first(image)
    stream = np.zeros(whole.height * image.row_bytes, np.uint8)
    for depth in passes:
        counts = image.parse(stream, bits.costs(weight, image, depth), depth.tries)
        bits = _Bits.counted(counts)
        if free is not None:
            image.move_entries(stream, free)
    return LossyImage(image.indices_of(stream), image.palette)


class _Image:
    """Image to find indices for, as bytes of several pixels each where its palette is small.

    row_bytes: bytes of a row of the stream, with its filter byte
    """

    def __init__(self, pixels: LossyPixels, palette: Palette) -> None:
        self.pixels, self.palette = pixels, palette
        self._depth = palette.bit_depth
        self._per_byte = 8 // self._depth
        self.row_bytes = 1 + -(-pixels.width // self._per_byte)

    @property
    def digits(self) -> NDArray[np.uint8]:
        """Return the indices in each byte that can be written, (S, indices in a byte)."""
        symbols = np.arange(1 << 8 if self._per_byte > 1 else len(self.palette))
        shifts = 8 - self._depth * (1 + np.arange(self._per_byte))
        digits = (symbols[:, None] >> shifts) & ((1 << self._depth) - 1)
        return digits.astype(np.uint8)

    def parse(self, stream: NDArray[np.uint8], costs: Costs, tries: int) -> Counts:
        """Choose all bytes of `stream`, and return how many there are of each kind."""
        progress, counts = Progress.start(), _no_counts(len(self.digits))
        entries = self.pixels.entry_values(self.palette)
        of_bytes, digits = self._kinds_of_bytes(), self.digits
        valid = np.minimum(digits, len(entries) - 1)
        coordinates = entries[valid].reshape(len(digits), -1).T
        symbols = Symbols(np.ascontiguousarray(coordinates), self._penalties(of_bytes, valid))
        for top, bottom in self.pixels.bands():
            units = self._units(top, bottom, entries[0], of_bytes)
            first = top * self.row_bytes
            parse_rows(units, symbols, costs, tries, progress, counts, stream, first)
        if progress.carried[0]:
            counts.lengths[progress.carried[0]] += 1
            counts.distances[progress.carried[1]] += 1
        return counts

    def indices_of(self, stream: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the palette index of each pixel, (n,) uint8, from the bytes of a stream."""
        rows = stream.reshape(self.pixels.height, self.row_bytes)[:, 1:]
        if self._per_byte > 1:
            rows = self.digits[rows].reshape(self.pixels.height, -1)
        return np.ascontiguousarray(rows[:, : self.pixels.width]).ravel()

    def move_entries(self, stream: NDArray[np.uint8], free: NDArray[np.bool_]) -> None:
        """Move the entries that are free to the means of their pixels."""
        self.palette = self.pixels.moved(self.palette, self.indices_of(stream), free)

    # -- units ------------------------------------------------------------------------------

    def _units(
        self, top: int, bottom: int, padding: NDArray[np.int32], of_bytes: _KindsOfBytes
    ) -> Units:
        """Return the units of the rows from `top` to `bottom`.

        padding: (C,), the coordinates of what fills the last byte of a row
        """
        n_rows, per_byte, width = bottom - top, self._per_byte, self.pixels.width
        some = slice(top * width, bottom * width)
        n_bytes = self.row_bytes - 1
        values = np.empty((n_rows, n_bytes * per_byte, len(padding)), np.int16)
        values[:, :width] = self.pixels.values(some).reshape(n_rows, width, -1)
        values[:, width:] = padding
        of_units = np.zeros((n_rows, self.row_bytes, per_byte * len(padding)), np.int16)
        of_units[:, 1:] = values.reshape(n_rows, n_bytes, -1)
        guesses = np.zeros((n_rows, n_bytes * per_byte), np.uint8)
        guesses[:, :width] = self.pixels.plain[some].reshape(n_rows, width)
        packed = np.zeros((n_rows, self.row_bytes), np.uint8)
        for i in range(per_byte):
            packed[:, 1:] |= guesses[:, i::per_byte] << np.uint8(8 - self._depth * (i + 1))
        kinds = of_bytes.rows[self._codes_of_kinds(top, bottom)]
        return Units(
            of_units.reshape(-1, of_units.shape[2]),
            kinds.ravel(),
            packed.ravel(),
            self.row_bytes,
        )

    # -- kinds ------------------------------------------------------------------------------

    def _kinds_of_pixels(self, top: int, bottom: int) -> NDArray[np.int64]:
        """Return the kind of each pixel of some rows, (rows, pixels of whole bytes)."""
        n_pixels = (self.row_bytes - 1) * self._per_byte
        kinds = np.full((bottom - top, n_pixels), _PADDING)
        width, alphas = self.pixels.width, self.pixels.alphas
        kinds[:, :width] = _OPAQUE
        if alphas is not None:
            some = alphas[top * width : bottom * width]
            of_pixels = np.where(some == 0, _CLEAR, np.where(some < 255, _TRANSLUCENT, _OPAQUE))
            kinds[:, :width] = of_pixels.reshape(-1, width)
        return kinds

    def _codes_of_kinds(self, top: int, bottom: int) -> NDArray[np.int64]:
        """Return a number for the kinds of the pixels of each byte, (rows, `row_bytes`)."""
        kinds = self._kinds_of_pixels(top, bottom).reshape(bottom - top, -1, self._per_byte)
        codes = np.full((bottom - top, self.row_bytes), _FILTER)
        codes[:, 1:] = (kinds * 5 ** np.arange(self._per_byte)).sum(axis=2) + _FILTER + 1
        return codes

    def _kinds_of_bytes(self) -> _KindsOfBytes:
        codes = {_FILTER}
        for top, bottom in self.pixels.bands():
            codes |= set(np.unique(self._codes_of_kinds(top, bottom)).tolist())
        return _KindsOfBytes.of(sorted(codes))

    def _penalties(self, of_bytes: _KindsOfBytes, digits: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Return what each byte costs beside its error, for each kind of byte, (kinds, S)."""
        alphas = self.palette.entries[:, 3]
        allowed = np.ones((5, len(alphas)), np.bool_)
        allowed[_OPAQUE] = alphas == 255 if (alphas == 255).any() else alphas > 0
        allowed[_TRANSLUCENT] = alphas > 0
        allowed[_CLEAR] = np.arange(len(alphas)) == self.palette.clear
        penalties = np.zeros((1 + len(of_bytes.codes), len(digits)), np.int32)
        for number, code in enumerate(of_bytes.codes, 1):
            if code == _FILTER:
                penalties[number, 1:] = IMPOSSIBLE
                continue
            kinds = (code - _FILTER - 1) // 5 ** np.arange(self._per_byte) % 5
            fits = allowed[kinds, digits].all(axis=1)
            penalties[number] = np.where(fits, 0, IMPOSSIBLE)
        return penalties


class _KindsOfBytes(NamedTuple):
    """Kinds of bytes that occur in an image.

    codes: numbers for the kinds of the pixels of a byte, in ascending order
    rows: for each number, the row of `Symbols.penalties`
    """

    codes: list[int]
    rows: NDArray[np.uint16]

    @classmethod
    def of(cls, codes: list[int]) -> _KindsOfBytes:
        rows = np.zeros(codes[-1] + 1, np.uint16)
        rows[codes] = np.arange(1, len(codes) + 1)
        return cls(codes, rows)


class _Bits(NamedTuple):
    """Bits of literals and of copies, in sixteenths.

    literals: (S,), of each byte
    lengths, distances: (LONGEST + 1,) and (FARTHEST + 1,), of each length and distance, with the
        bits that follow their codes
    """

    literals: NDArray[np.int64]
    lengths: NDArray[np.int64]
    distances: NDArray[np.int64]

    @classmethod
    def first(cls, image: _Image) -> _Bits:
        """Return bits for the first pass: the same for all bytes, and usual ones for copies."""
        n = len(image.digits)
        return cls(
            np.full(n, 16 * max(1, (n - 1).bit_length())),
            _FIRST_LENGTH + 16 * _OF_LENGTHS.bits,
            _FIRST_DISTANCE + 16 * _OF_DISTANCES.bits,
        )

    @classmethod
    def counted(cls, counts: Counts) -> _Bits:
        """Return the bits of Huffman codes for what occurred in a pass, nearly."""
        n = len(counts.literals)
        of_lengths = np.bincount(_OF_LENGTHS.codes, counts.lengths, len(_LENGTHS))
        of_distances = np.bincount(_OF_DISTANCES.codes, counts.distances, len(_DISTANCE_BITS))
        first_code = _bits_of([*counts.literals.tolist(), *of_lengths.astype(int).tolist()])
        second_code = _bits_of(of_distances.astype(int).tolist())
        return cls(
            first_code[:n],
            first_code[n:][_OF_LENGTHS.codes] + 16 * _OF_LENGTHS.bits,
            second_code[_OF_DISTANCES.codes] + 16 * _OF_DISTANCES.bits,
        )

    def costs(self, weight: float, image: _Image, depth: Depth) -> Costs:
        """Return the costs of these bits, each of which is worth `weight` of squared error."""

        def cost(bits: NDArray[np.int64]) -> NDArray[np.int64]:
            return image.pixels.cost_of_bits(bits, weight)

        lengths = cost(self.lengths)
        lengths[:SHORTEST] = lengths[SHORTEST]
        steps = np.zeros(LONGEST + 1, np.int32)
        steps[:LONGEST] = np.diff(lengths)
        steps[LONGEST] = IMPOSSIBLE
        far = (cost(self.distances) + lengths[SHORTEST]).astype(np.int32)
        literals = cost(self.literals)
        literals[(image.digits >= len(image.palette)).any(axis=1)] = IMPOSSIBLE
        offsets = _offsets(image.row_bytes, depth)
        return Costs(literals.astype(np.int32), offsets, far[offsets], far, steps)


class _Codes(NamedTuple):
    """Codes of deflate for values: the number of each value's code, and the bits that follow it."""

    codes: NDArray[np.int64]
    bits: NDArray[np.int64]

    @classmethod
    def of(cls, firsts: tuple[int, ...], bits: tuple[int, ...], largest: int) -> _Codes:
        codes = np.maximum(np.searchsorted(firsts, np.arange(largest + 1), side="right") - 1, 0)
        return cls(codes, np.array(bits)[codes])


def _distances() -> tuple[int, ...]:
    """Return the first distance of each code."""
    return tuple(1 + sum(1 << bits for bits in _DISTANCE_BITS[:code]) for code in range(30))


_OF_LENGTHS = _Codes.of(_LENGTHS, _LENGTH_BITS, LONGEST)
_OF_DISTANCES = _Codes.of(_distances(), _DISTANCE_BITS, FARTHEST)


def _no_counts(n_symbols: int) -> Counts:
    lengths, distances = np.zeros(LONGEST + 1, np.int64), np.zeros(FARTHEST + 1, np.int64)
    return Counts(np.zeros(n_symbols, np.int64), lengths, distances)


def _offsets(row_bytes: int, depth: Depth) -> NDArray[np.int32]:
    """Return the distances that are tried at every byte, in ascending order."""
    around = {
        row * row_bytes + column
        for row in range(1, depth.rows + 1)
        for column in range(-depth.columns, depth.columns + 1)
    }
    near = set(range(1, NEAR // 2 + 1))
    return np.array(sorted(d for d in near | around if 0 < d <= FARTHEST), np.int32)


def _bits_of(counts: list[int]) -> NDArray[np.int64]:
    """Return the bits, in sixteenths, of an ideal code for symbols that occur so often.

    A quarter is added to each number, so that symbols that did not occur can be chosen later. The
    logarithms are computed in integers, so that they are the same on every machine.
    """
    total = sum(counts) * 4 + len(counts)
    thirty_seconds = ((total**32 // (4 * count + 1) ** 32).bit_length() - 1 for count in counts)
    return np.array([min((bits + 1) // 2, _MOST_BITS) for bits in thirty_seconds])
