"""BMP files, written by hand: headers of OS/2 and of Windows, versions 3 to 5."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RAW, RLE8, RLE4, MASKS = 0, 1, 2, 3  # compression methods
_SIZES = {1: 12, 3: 40, 4: 108, 5: 124}  # bytes of a header, by version; version 1 is that of OS/2


@dataclass(frozen=True, kw_only=True)
class Bmp:
    """A BMP file.

    values: (h, w) palette indices or whole pixels, of `bits` each
    colors: (n, 3) uint8, the palette
    masks: bit masks of red, green, blue and alpha; empty where the file has none
    profile: an ICC profile, for version 5
    head: the rest of a header of version 4 or 5, 52 bytes, from the colour space on
    """

    values: NDArray[Any]
    bits: int
    colors: NDArray[np.uint8] | None = None
    compression: int = RAW
    masks: Sequence[int] = ()
    version: int = 3
    top_down: bool = False
    profile: bytes = b""
    head: bytes = b"BGRs" + bytes(48)

    def encode(self) -> bytes:
        height, width = self.values.shape
        rows = self.values if self.top_down else self.values[::-1]
        data = b"".join(map(self._row, rows))
        if self.compression in (RLE4, RLE8):
            data += b"\0\1"
        colors = b""
        if self.colors is not None:
            last = () if self.version == 1 else (0,)
            colors = b"".join(bytes((b, g, r, *last)) for r, g, b in self.colors.tolist())
        size = _SIZES[self.version]
        if self.version == 1:
            header = struct.pack("<IHHHH", size, width, height, 1, self.bits)
        else:
            high = -height if self.top_down else height
            n = 0 if self.colors is None else len(self.colors)
            header = struct.pack(
                "<IiiHHIIiiII",
                *(size, width, high, 1, self.bits, self.compression, len(data), 2835, 2835, n, 0),
            )
        masks = struct.pack(f"<{len(self.masks)}I", *self.masks)
        if self.version == 3:
            colors = masks + colors
        elif self.version > 3:
            header += masks.ljust(16, b"\0") + self.head
            if self.version == 5:
                kind = b"DEBM" if self.profile else b"BGRs"
                start = size + len(colors) + len(data)
                header = header[:56] + kind + header[60:]
                header += struct.pack("<4I", 4, start, len(self.profile), 0)
        assert len(header) == size
        start = 14 + size + len(colors)
        whole = header + colors + data + self.profile
        return b"BM" + struct.pack("<IHHI", 14 + len(whole), 0, 0, start) + whole

    def _row(self, row: NDArray[Any]) -> bytes:
        if self.compression == RLE8:  # a run for each pixel, then four stored plainly
            runs = b"".join(bytes((1, each)) for each in row[:-4].tolist())
            return runs + b"\0\4" + bytes(row[-4:].tolist()) + b"\0\0"
        if self.compression == RLE4:
            return b"".join(bytes((1, each << 4)) for each in row.tolist()) + b"\0\0"
        if self.bits < 8:
            singles = (row[:, None] >> np.arange(self.bits - 1, -1, -1)) & 1
            data = np.packbits(singles.astype(np.uint8).ravel()).tobytes()
        else:
            data = row.astype("<u4").view(np.uint8).reshape(-1, 4)[:, : self.bits // 8].tobytes()
        return data + bytes(-len(data) % 4)
