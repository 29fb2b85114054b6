"""Lookup of the palette index of each pixel by its colour, and the errors that this makes."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit
from kmeans_dask.kmeans.morton_codes import N_CODES, SPREAD, encode_translucent

# Errors are in units of 1 / ERROR_UNITS of a squared 8-bit value. In these, errors of colours
# multiplied by alpha are integers too, and sums of them do not depend on their order.
ERROR_UNITS = 255 * 255

Indices = NDArray[np.unsignedinteger[Any]]

_thread = threading.local()  # tables of all opaque colour codes: one per thread and dtype


class ColorLookup:
    """Lookup of palette indices: an index for each distinct colour of the pixels.

    codes: (u,) uint32, colour codes in ascending order, see the module `morton_codes`
    indices: (u,) uint8 or uint16, the index of each code
    clear: the index of fully transparent pixels

    The lookups of a thread share one table of all opaque codes. The lookup in use writes its own
    indices into that table.

    >>> from kmeans_dask.kmeans.histogram import count_colors
    >>> pixels = np.array([[9, 9, 9], [0, 0, 1], [9, 9, 9]], np.uint8)
    >>> ColorLookup(count_colors(pixels).codes, np.array([7, 5], np.uint8)).look_up(pixels)
    array([5, 7, 5], dtype=uint8)
    """

    def __init__(self, codes: NDArray[np.uint32], indices: Indices, clear: int = 0) -> None:
        self._n_opaque = int(np.searchsorted(codes, N_CODES))  # opaque codes come first
        self._codes, self._indices, self._clear = codes, indices, clear

    def look_up(
        self, pixels: NDArray[np.uint8], alphas: NDArray[np.uint8] | None = None
    ) -> Indices:
        """Return indices (n,) of pixels (n, 3) with alphas (n,); `clear` where alpha is 0."""
        found = np.empty(len(pixels), self._indices.dtype)
        _look_up(pixels, self._table(), found)
        if alphas is not None:
            found[alphas == 0] = self._clear
            some = (alphas > 0) & (alphas < 255)
            codes = encode_translucent(pixels[some], alphas[some])
            found[some] = self._indices[np.searchsorted(self._codes, codes)]
        return found

    def _table(self) -> Indices:
        """Return the thread's table, filled with the indices of this lookup.

        Pages of the table that no colour falls into are never touched.
        """
        tables: dict[np.dtype[Any], _Table] = _thread.__dict__.setdefault("tables", {})
        dtype = self._indices.dtype
        table = tables.get(dtype) or tables.setdefault(dtype, _Table(dtype))
        if table.user is not self:
            n = self._n_opaque
            table.indices[self._codes[:n]] = self._indices[:n]
            table.user = self
        return table.indices


class _Table:
    """Table of an index for each opaque colour code, and the lookup that last filled it in."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.indices: Indices = np.zeros(N_CODES, dtype)
        self.user: ColorLookup | None = None


def weights_of(indices: NDArray[Any], weights: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return the total weight of the points of each of `n` indices, (n,)."""
    total = np.zeros(n, np.int64)
    _add_weights(indices, weights, total)
    return total


class Error(NamedTuple):
    """Error of pixels: sum and maximum of squared differences, in units of 1 / `ERROR_UNITS`."""

    total: int
    largest: int


def squared_error(
    pixels: NDArray[np.uint8],
    alphas: NDArray[np.uint8] | None,
    indices: Indices,
    entries: NDArray[np.uint8],
) -> Error:
    """Return sum and maximum of the squared differences of pixels to `entries[indices]`.

    pixels: (n, 3) uint8, n < 2^29; alphas: (n,) uint8, None where all pixels are opaque
    entries: (k, 4) uint8, straight colours and alphas

    Colours are multiplied by their alphas, and alpha counts as a fourth channel.
    """
    if alphas is None:
        over = entries[:, 3:].astype(np.int64)
        of_alphas = ((255 - over[:, 0]) * 255) ** 2
        return Error(*_sum_opaque(pixels, indices, entries[:, :3] * over, of_alphas))
    return Error(*squared_errors(pixels, alphas, indices, entries, added_up=True).tolist())


def squared_errors(
    pixels: NDArray[np.uint8],
    alphas: NDArray[np.uint8] | None,
    indices: Indices,
    entries: NDArray[np.uint8],
    *,
    added_up: bool = False,
) -> NDArray[np.int64]:
    """Return the squared difference of each pixel to `entries[indices]`, (n,) int64.

    added_up: return only the sum and the maximum of the differences, (2,) int64

    Arguments and units are those of `squared_error`.
    """
    errors = np.zeros(2 if added_up else len(pixels), np.int64)
    opaque = alphas is None
    over = np.zeros(1, np.uint8) if alphas is None else alphas
    _add_errors(pixels, over, opaque, indices, entries.astype(np.int32), added_up, errors)
    return errors


@jit
def _look_up(pixels, table, indices):  # type: ignore[no-untyped-def]
    for i in range(pixels.shape[0]):
        r, g, b = pixels[i, 0], pixels[i, 1], pixels[i, 2]
        indices[i] = table[(SPREAD[r] << np.uint32(2)) | (SPREAD[g] << np.uint32(1)) | SPREAD[b]]


@jit
def _add_weights(indices, weights, total):  # type: ignore[no-untyped-def]
    for i in range(indices.shape[0]):
        total[indices[i]] += weights[i]


@jit
def _sum_opaque(pixels, indices, colors, of_alphas):  # type: ignore[no-untyped-def]
    """Return sum and maximum of the squared differences of opaque pixels (n, 3).

    colors: (k, 3), multiplied by their alphas; of_alphas: (k,), squared differences of alpha
    """
    total = largest = np.int64(0)
    for i in range(pixels.shape[0]):
        entry = indices[i]
        r = np.int64(pixels[i, 0]) * 255 - colors[entry, 0]
        g = np.int64(pixels[i, 1]) * 255 - colors[entry, 1]
        b = np.int64(pixels[i, 2]) * 255 - colors[entry, 2]
        error = r * r + g * g + b * b + of_alphas[entry]
        total += error
        largest = max(largest, error)
    return total, largest


@jit
def _add_errors(pixels, alphas, opaque, indices, entries, added_up, errors):  # type: ignore[no-untyped-def]
    for i in range(pixels.shape[0]):
        alpha = np.int32(255) if opaque else np.int32(alphas[i])
        entry = indices[i]
        over = entries[entry, 3]
        error = np.int64(0)
        for c in range(3):
            difference = np.int64(np.int32(pixels[i, c]) * alpha - entries[entry, c] * over)
            error += difference * difference
        difference = np.int64(255 * (alpha - over))
        error += difference * difference
        if added_up:
            errors[0] += error
            errors[1] = max(errors[1], error)
        else:
            errors[i] = error
