"""GIF files, written by hand. GIF89a specification (1990)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Gif:
    """A GIF file of one frame.

    values: (h, w) palette indices of the frame
    colors: (2, 4, ... or 256, 3) uint8, the palette of the whole file
    local: the palette of the frame, which has precedence over `colors`
    canvas: width and height; by default those of the frame
    place: left and top of the frame
    """

    values: NDArray[np.uint8]
    colors: NDArray[np.uint8] | None
    local: NDArray[np.uint8] | None = None
    canvas: tuple[int, int] | None = None
    place: tuple[int, int] = (0, 0)
    transparent: int | None = None
    background: int = 0
    interlaced: bool = False
    version: bytes = b"89a"

    def encode(self) -> bytes:
        height, width = self.values.shape
        right, bottom = self.canvas or (width, height)
        said = 0 if self.colors is None else 0x80 | _exponent(self.colors)
        data = b"GIF" + self.version
        data += struct.pack("<HHBBB", right, bottom, said, self.background, 0)
        data += b"" if self.colors is None else self.colors.astype(np.uint8).tobytes()
        if self.transparent is not None:
            data += b"\x21\xf9\x04" + struct.pack("<BHBB", 1, 0, self.transparent, 0)
        said = (0 if self.local is None else 0x80 | _exponent(self.local)) | 0x40 * self.interlaced
        data += b"," + struct.pack("<HHHHB", *self.place, width, height, said)
        data += b"" if self.local is None else self.local.astype(np.uint8).tobytes()
        rows = self.values
        if self.interlaced:
            rows = np.concatenate([rows[0::8], rows[4::8], rows[2::4], rows[1::2]])
        return data + _lzw(rows.tobytes()) + b";"

    def picture(self) -> NDArray[np.float64]:
        """Return the picture, (h, w, 4) float64, all 0 outside the frame and at `transparent`."""
        height, width = self.values.shape
        right, bottom = self.canvas or (width, height)
        right, bottom = max(right, self.place[0] + width), max(bottom, self.place[1] + height)
        colors = self.local if self.local is not None else self.colors
        assert colors is not None
        frame = np.dstack([colors[self.values], np.full_like(self.values, 255)])
        if self.transparent is not None:
            frame[self.values == self.transparent] = 0
        whole = np.zeros((bottom, right, 4))
        left, top = self.place
        whole[top : top + height, left : left + width] = frame
        return whole


def _exponent(colors: NDArray[np.uint8]) -> int:
    return (len(colors) - 1).bit_length() - 1


def _lzw(indices: bytes) -> bytes:
    """Return LZW data in blocks: indices as codes of 9 bits, the table cleared before they grow."""
    codes = []
    for at, index in enumerate(indices):
        if at % 250 == 0:
            codes.append(256)
        codes.append(index)
    codes.append(257)
    bits = (np.array(codes)[:, None] >> np.arange(9)) & 1
    data = np.packbits(bits.astype(np.uint8).ravel(), bitorder="little").tobytes()
    blocks = [data[at : at + 255] for at in range(0, len(data), 255)]
    return b"\x08" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
