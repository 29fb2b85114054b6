"""PNG files of all kinds, written by hand. PNG specification, third edition."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    RGB_ALPHA: (8, 16),
}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
_ADAM7 = (*_PASSES, (0, 1, 1, 2))  # left, top, and steps to the right and down, of each pass
SRGB_LIGHTS = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
ADOBE_LIGHTS = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
Chunk = tuple[bytes, bytes]


@dataclass(frozen=True, kw_only=True)
class Png:
    """A PNG file.

    values: (h, w, channels) samples of `bits` each
    chunks: all chunks between the header and the pixels
    """

    values: NDArray[Any]
    bits: int = 8
    kind: int = RGB
    interlaced: bool = False
    chunks: Sequence[Chunk] = ()

    def encode(self) -> bytes:
        height, width = self.values.shape[:2]
        header = struct.pack(">IIBBBBB", width, height, self.bits, self.kind, 0, 0, self.interlaced)
        passes = _ADAM7 if self.interlaced else ((0, 0, 1, 1),)
        data = b"".join(
            self._rows(self.values[top::down, left::right]) for left, top, right, down in passes
        )
        all_chunks = [
            (b"IHDR", header), *self.chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b""),
        ]  # fmt: skip
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in all_chunks)

    def _rows(self, values: NDArray[Any]) -> bytes:
        if not values.size:
            return b""
        rows = values.reshape(len(values), -1)
        if self.bits >= 8:
            packed = rows.astype(f">u{self.bits // 8}").view(np.uint8)
        else:
            singles = (rows[..., None] >> np.arange(self.bits - 1, -1, -1)) & 1
            packed = np.packbits(singles.astype(np.uint8).reshape(len(rows), -1), axis=1)
        return np.insert(packed, 0, 0, axis=1).tobytes()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def gamma(value: float) -> Chunk:
    return b"gAMA", struct.pack(">I", round(value * 100_000))


def lights(*values: float) -> Chunk:
    return b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values))


def srgb() -> Chunk:
    return b"sRGB", b"\0"


def code_points(primaries: int, transfer: int) -> Chunk:
    return b"cICP", bytes([primaries, transfer, 0, 1])


def profile(data: bytes) -> Chunk:
    return b"iCCP", b"profile\0\0" + zlib.compress(data)


def key(*samples: int) -> Chunk:
    return b"tRNS", struct.pack(f">{len(samples)}H", *samples)
