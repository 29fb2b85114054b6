"""Reader of the headers of BMP files, with reasons to refuse what Pillow does not read correctly.

The layouts are BITMAPCOREHEADER, BITMAPINFOHEADER, BITMAPV4HEADER and BITMAPV5HEADER of Windows.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO

_CORE = 12  # bytes of OS/2's header; all longer ones begin like BITMAPINFOHEADER
_RAW, _RLE8, _RLE4, _MASKS, _JPEG, _PNG, _ALPHA_MASKS = range(7)
_DEPTHS = {_RAW: (1, 4, 8, 16, 24, 32), _RLE8: (8,), _RLE4: (4,), _MASKS: (16, 32)}
_KNOWN_MASKS = {
    16: {(0xF800, 0x7E0, 0x1F, 0), (0x7C00, 0x3E0, 0x1F, 0)},
    32: {
        (0xFF0000, 0xFF00, 0xFF, 0),
        (0xFF000000, 0xFF0000, 0xFF00, 0),
        (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    },
}


@dataclass(frozen=True)
class BmpHeader:
    """Header of a BMP file.

    bits: bits of a pixel
    compression: number of the compression, 0 for none
    masks: bit masks of red, green, blue and alpha in a pixel
    colors: number of palette entries; 0 for as many as the bits of a pixel can number
    """

    bits: int
    compression: int
    masks: tuple[int, int, int, int]
    colors: int = 0

    def refusal(self) -> str | None:
        """Return the reason to refuse the image, or None where its header gives none."""
        if self.compression in (_JPEG, _PNG):
            return "a BMP that holds a JPEG or a PNG, which is not supported"
        if self.bits not in _DEPTHS.get(self.compression, ()):
            how = f"{self.bits} bits a pixel in compression {self.compression}"
            return f"a BMP of {how}, which is not supported"
        if self.bits <= 8 and self.colors > 1 << self.bits:
            return f"a BMP of {self.colors} colours, where {self.bits} bits a pixel are too few"
        if self.compression == _MASKS and self.masks not in _KNOWN_MASKS[self.bits]:
            masks = ", ".join(f"{mask:X}" for mask in self.masks)
            return f"a BMP of the bit masks {masks}, which are not supported"
        return None


def read_bmp_header(file: IO[bytes]) -> BmpHeader | None:
    """Return the header of a BMP file, or None where the file is too short for it.

    Masks are read with the header, so that 52 bytes have to follow the file header of 14 bytes, or
    12 bytes where the header is that of OS/2.
    """
    file.seek(14)
    header = file.read(56)
    size = int.from_bytes(header[:4], "little")
    if size == _CORE and len(header) >= size:
        return BmpHeader(int.from_bytes(header[10:12], "little"), _RAW, (0, 0, 0, 0))
    if len(header) < 52:
        return None
    bits, compression = struct.unpack_from("<HI", header, 14)
    red, green, blue = struct.unpack_from("<3I", header, 40)
    alpha = int.from_bytes(header[52:56], "little") if size >= 56 else 0
    colors = int.from_bytes(header[32:36], "little")
    return BmpHeader(bits, compression, (red, green, blue, alpha), colors)
