"""Morton keys of integer points, one integer for each point, which can be sorted and counted.

A key interleaves the bits of its point's channels (a Morton code), so that points that are near
each other have keys that are close.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit

_DIGIT = 12  # bits sorted per pass: the histogram of such a digit stays in the cache
_BITS = 64  # most bits of a key


@dataclass(frozen=True)
class Packing:
    """Packing of a data set's points into keys.

    low, high: C integers each, the least and largest value of each channel
    """

    low: tuple[int, ...]
    high: tuple[int, ...]

    @classmethod
    def between(cls, low: tuple[int, ...], high: tuple[int, ...]) -> Packing | None:
        """Return the packing of points between `low` and `high`, or None for keys past 64 bits."""
        packing = cls(low, high)
        return packing if packing.key_bits <= _BITS else None

    @property
    def bits(self) -> int:
        """Return the bits that each channel needs."""
        spans = (high - low for low, high in zip(self.low, self.high, strict=True))
        return max(1, *(span.bit_length() for span in spans))

    @property
    def key_bits(self) -> int:
        """Return the bits of a whole key."""
        return self.bits * len(self.low)

    def pack(self, values: NDArray[Any]) -> NDArray[np.uint64]:
        """Return the keys (n,) of integer points (n, C)."""
        keys = np.zeros(len(values), np.uint64)
        _pack(values, np.array(self.low, np.int64), self.bits, keys)
        return keys

    def unpack(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the points (n, C) of keys (n,)."""
        values = np.empty((len(keys), len(self.low)), np.int64)
        _unpack(keys, np.array(self.low, np.int64), self.bits, values)
        return values


def count_keys(keys: NDArray[Any], bits: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the distinct keys, ascending, and how often each occurs.

    bits: the most bits that a key has
    """
    ordered = sort_keys(keys, bits)
    distinct, weights = np.empty_like(ordered), np.empty(len(ordered), np.int64)
    n = _count_runs(ordered, distinct, weights)
    return distinct[:n].copy(), weights[:n].copy()


def sort_keys(keys: NDArray[Any], bits: int) -> NDArray[Any]:
    """Return keys of at most `bits` bits in ascending order.

    This is a radix sort; numpy's is no faster here.
    """
    source, target = keys.copy(), np.empty_like(keys)
    for shift in range(0, bits, _DIGIT):
        _sort_by_digit(source, target, shift)
        source, target = target, source
    return source


@jit
def _pack(values, low, bits, keys):  # type: ignore[no-untyped-def]
    channels = values.shape[1]
    for i in range(values.shape[0]):
        key = np.uint64(0)
        for c in range(channels):
            value = np.uint64(np.int64(values[i, c]) - low[c])
            for bit in range(bits):
                place = np.uint64(bit * channels + channels - 1 - c)
                key |= ((value >> np.uint64(bit)) & np.uint64(1)) << place
        keys[i] = key


@jit
def _unpack(keys, low, bits, values):  # type: ignore[no-untyped-def]
    channels = values.shape[1]
    for i in range(keys.shape[0]):
        for c in range(channels):
            value = np.uint64(0)
            for bit in range(bits):
                place = np.uint64(bit * channels + channels - 1 - c)
                value |= ((keys[i] >> place) & np.uint64(1)) << np.uint64(bit)
            values[i, c] = np.int64(value) + low[c]


@jit
def _sort_by_digit(source, target, shift):  # type: ignore[no-untyped-def]
    """Sort `source` into `target`, stably, by the digit at bit `shift`: a pass of counting sort."""
    mask = (1 << _DIGIT) - 1
    places = np.zeros(mask + 2, np.int64)
    for key in source:
        places[((np.int64(key) >> shift) & mask) + 1] += 1
    for digit in range(mask):
        places[digit + 1] += places[digit]
    for key in source:
        digit = (np.int64(key) >> shift) & mask
        target[places[digit]] = key
        places[digit] += 1


@jit
def _count_runs(ordered, distinct, weights):  # type: ignore[no-untyped-def]
    n = 0
    for i in range(ordered.shape[0]):
        if i == 0 or ordered[i] != ordered[i - 1]:
            distinct[n], weights[n] = ordered[i], 0
            n += 1
        weights[n - 1] += 1
    return n
