"""Histograms of colours and of integer points: all that k-means needs to know of a collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit
from kmeans_dask.kmeans.morton_codes import (
    CODE_BITS,
    N_CODES,
    SPREAD,
    decode_alphas,
    decode_colors,
    encode_translucent,
)
from kmeans_dask.kmeans.morton_keys import Packing, count_keys

# From this many pixels on, one pass over a dense table of all 2^24 colours is cheaper than sorting.
DENSE_FROM = 1 << 20
_SORTED_FROM = 1 << 21  # translucent pixels from which on a batch is sorted

_Table = tuple[NDArray[Any], NDArray[np.int64]]  # keys, ascending, and weights
# Up to this many pixels, sums of 8-bit channels, weighted by pixels, stay below 2^63.
MAX_PIXELS = (2**63 - 1) // 255


@dataclass(frozen=True)
class ColorHistogram:
    """Histogram of colours: the code of each distinct colour, and its number of pixels.

    codes: (u,) uint32, see `morton_codes`, strictly ascending: translucent colours come last
    weights: (u,) int64, pixels of each colour, all positive
    """

    codes: NDArray[np.uint32]
    weights: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def pixels(self) -> int:
        """Return the number of pixels that were counted."""
        return int(self.weights.sum())

    def __reduce__(self) -> tuple[Any, ...]:
        return ColorHistogram, (self.codes, self.weights)  # without the cached `colors`

    @cached_property
    def colors(self) -> NDArray[np.uint8]:
        """Return the colours, (u, 3) uint8."""
        return decode_colors(self.codes)

    @property
    def alphas(self) -> NDArray[np.uint8]:
        """Return the alphas of the colours, (u,) uint8; none is 0."""
        return decode_alphas(self.codes)

    @property
    def is_opaque(self) -> bool:
        """Return whether all colours are opaque."""
        return self.n_opaque == len(self.codes)

    @property
    def n_opaque(self) -> int:
        """Return the number of opaque colours, which come first."""
        return int(np.searchsorted(self.codes, N_CODES))

    def slice(self, start: int, stop: int) -> ColorHistogram:
        """Return the colours `start` to `stop` as a histogram: one chunk of this one."""
        return ColorHistogram(self.codes[start:stop], self.weights[start:stop])


def count_colors(pixels: NDArray[np.uint8]) -> ColorHistogram:
    """Return the histogram of the colours of `pixels` (..., 3) uint8.

    >>> histogram = count_colors(np.array([[9, 9, 9], [0, 0, 1], [9, 9, 9]], np.uint8))
    >>> histogram.colors.tolist(), histogram.weights.tolist()
    ([[0, 0, 1], [9, 9, 9]], [1, 2])
    """
    counter = ColorCounter()
    counter.add(pixels.reshape(-1, 3))
    return counter.histogram()


def merge_histograms(tables: Sequence[ColorHistogram]) -> ColorHistogram:
    """Merge histograms of colours; any order and any grouping give the same result.

    Raises OverflowError past 3.6e16 pixels, where sums of channels would no longer fit 64 bits.
    """
    if sum(table.pixels for table in tables) > MAX_PIXELS:
        raise OverflowError(f"more than {MAX_PIXELS} pixels cannot be summed exactly")
    if not tables:
        return ColorHistogram(np.empty(0, np.uint32), np.empty(0, np.int64))
    return ColorHistogram(*_merge_all([(table.codes, table.weights) for table in tables]))


@dataclass(frozen=True)
class PointHistogram:
    """Histogram of integer points with any number of channels: their keys and weights.

    keys: (u,) uint64, strictly ascending
    weights: (u,) int64, how often each point occurs, or its total weight; all positive
    packing: conversion of points to keys and back
    """

    keys: NDArray[np.uint64]
    weights: NDArray[np.int64]
    packing: Packing

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def values(self) -> NDArray[np.int64]:
        """Return the distinct points, (u, C)."""
        return self.packing.unpack(self.keys)


def count_points(
    values: NDArray[Any], packing: Packing, weights: NDArray[np.int64] | None = None
) -> PointHistogram:
    """Return the histogram of the rows of `values` (n, C), integers, with `weights` (n,) or 1.

    >>> packing = Packing.between((0,), (9,))
    >>> histogram = count_points(np.array([[7], [1], [7]]), packing)
    >>> histogram.values.tolist(), histogram.weights.tolist()
    ([[1], [7]], [1, 2])
    """
    keys = packing.pack(values)
    if weights is None:
        return PointHistogram(*count_keys(keys, packing.key_bits), packing)
    distinct, which = np.unique(keys, return_inverse=True)
    total = np.zeros(len(distinct), np.int64)
    np.add.at(total, which, weights)
    return PointHistogram(distinct[total > 0], total[total > 0], packing)


def merge_point_histograms(tables: Sequence[PointHistogram]) -> PointHistogram:
    """Merge histograms of points that have the same packing."""
    merged = _merge_all([(table.keys, table.weights) for table in tables])
    return PointHistogram(*merged, tables[0].packing)


class ColorCounter:
    """Counter of distinct colours in pixels that are added piece by piece.

    Opaque pixels are counted by sorting while there are few, and then in a dense table. Translucent
    pixels are always sorted, in batches.

    The dense table is 64 MiB and belongs to the counter, which can be used again after `histogram`.
    """

    def __init__(self) -> None:
        self._few: list[NDArray[np.uint32]] = []
        self._n_few = 0
        self._translucent: list[NDArray[np.uint32]] = []
        self._n_translucent = 0
        self._table: NDArray[np.uint32] | None = None
        self._n_table = 0
        self._done: list[ColorHistogram] = []

    def add(self, pixels: NDArray[np.uint8], alphas: NDArray[np.uint8] | None = None) -> None:
        """Count `pixels` (n, 3) uint8 with `alphas` (n,) uint8, except those of alpha 0."""
        if alphas is not None:
            some = (alphas > 0) & (alphas < 255)
            if some.any():
                self._translucent.append(encode_translucent(pixels[some], alphas[some]))
                self._n_translucent += len(self._translucent[-1])
                if self._n_translucent > _SORTED_FROM:
                    self._sort_translucent()
            pixels = pixels[alphas == 255]
        if self._n_table == 0 and self._n_few + len(pixels) < DENSE_FROM:
            codes = np.empty(len(pixels), np.uint32)
            _encode_pixels(pixels, codes)
            self._few.append(codes)
            self._n_few += len(pixels)
            return
        if self._table is None:
            self._table = np.zeros(N_CODES, np.uint32)
        if self._n_table + self._n_few + len(pixels) >= 2**32:  # no cell may overflow
            self._drain_table()
        for codes in self._few:
            _count_codes(codes, self._table)
        _count_pixels(pixels, self._table)
        self._n_table += self._n_few + len(pixels)
        self._few, self._n_few = [], 0

    def count_distinct(self) -> int:
        """Return the number of distinct colours that were added since the last call of `histogram`.

        The number is an upper bound: a colour that was sorted in one batch and is in the dense
        table too counts twice.
        """
        self._sort_lists()
        in_table = np.count_nonzero(self._table) if self._n_table and self._table is not None else 0
        return int(in_table) + sum(map(len, self._done))

    def histogram(self) -> ColorHistogram:
        """Return the histogram of all pixels that were added since the last call."""
        if self._n_table:
            self._drain_table()
        self._sort_lists()
        done, self._done = self._done, []
        return merge_histograms(done)

    def _sort_lists(self) -> None:
        if self._n_few:
            self._add_done(count_keys(np.concatenate(self._few), CODE_BITS))
            self._few, self._n_few = [], 0
        self._sort_translucent()

    def _sort_translucent(self) -> None:
        if self._translucent:
            codes = np.concatenate(self._translucent)
            self._add_done(count_keys(codes, codes.itemsize * 8))
            self._translucent, self._n_translucent = [], 0

    def _add_done(self, table: _Table) -> None:
        self._done = [merge_histograms([*self._done, ColorHistogram(*table)])]

    def _drain_table(self) -> None:
        assert self._table is not None
        size = int(np.count_nonzero(self._table))
        codes, weights = np.empty(size, np.uint32), np.empty(size, np.int64)
        _drain(self._table, codes, weights)
        self._done.append(ColorHistogram(codes, weights))
        self._n_table = 0


def _merge_all(level: list[_Table]) -> _Table:
    while len(level) > 1:
        pairs = [_merge_pair(*a, *b) for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


def _merge_pair(
    a_keys: NDArray[Any],
    a_weights: NDArray[np.int64],
    b_keys: NDArray[Any],
    b_weights: NDArray[np.int64],
) -> _Table:
    """Merge two tables, whose keys are ascending, into one."""
    keys = np.empty(len(a_keys) + len(b_keys), a_keys.dtype)
    weights = np.empty(len(keys), np.int64)
    size = _merge(a_keys, a_weights, b_keys, b_weights, keys, weights)
    return keys[:size].copy(), weights[:size].copy()


@jit
def _count_pixels(pixels: NDArray[np.uint8], table: NDArray[np.uint32]) -> None:
    for i in range(pixels.shape[0]):
        code = (SPREAD[pixels[i, 0]] << 2) | (SPREAD[pixels[i, 1]] << 1) | SPREAD[pixels[i, 2]]
        table[code] += np.uint32(1)


@jit
def _encode_pixels(pixels: NDArray[np.uint8], codes: NDArray[np.uint32]) -> None:
    for i in range(pixels.shape[0]):
        codes[i] = (SPREAD[pixels[i, 0]] << 2) | (SPREAD[pixels[i, 1]] << 1) | SPREAD[pixels[i, 2]]


@jit
def _count_codes(codes: NDArray[np.uint32], table: NDArray[np.uint32]) -> None:
    for code in codes:
        table[code] += np.uint32(1)


@jit
def _drain(
    table: NDArray[np.uint32], codes: NDArray[np.uint32], weights: NDArray[np.int64]
) -> None:
    """Move the cells that are not zero to `codes` and `weights`, and clear the table."""
    n = 0
    for code in range(table.shape[0]):
        if table[code]:
            codes[n] = code
            weights[n] = table[code]
            table[code] = 0
            n += 1


@jit
def _merge(a_keys, a_weights, b_keys, b_weights, keys, weights):  # type: ignore[no-untyped-def]
    """Merge two ascending tables into `keys` and `weights`, and return how many were written."""
    i, j, n = 0, 0, 0
    while i < a_keys.size or j < b_keys.size:
        if j == b_keys.size or (i < a_keys.size and a_keys[i] < b_keys[j]):
            keys[n], weights[n] = a_keys[i], a_weights[i]
            i += 1
        elif i == a_keys.size or b_keys[j] < a_keys[i]:
            keys[n], weights[n] = b_keys[j], b_weights[j]
            j += 1
        else:
            keys[n], weights[n] = a_keys[i], a_weights[i] + b_weights[j]
            i += 1
            j += 1
        n += 1
    return n
