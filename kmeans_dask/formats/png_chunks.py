"""Reader of the chunks of a PNG file, up to the first one that holds pixels (IDAT).

PNG specification, third edition: 5.3 (chunk layout), 11.2.1 (IHDR), 11.3.6.1 (acTL).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

_MAX_CHUNKS = 1 << 12
_MAX_BYTES = 1 << 10  # bytes of a chunk that is read, at most


def read_chunk(file: IO[bytes], kind: bytes) -> bytes:
    """Return the content of the first chunk of type `kind`, or b"" where there is none.

    Chunks of more than 1024 bytes, and those after the first IDAT, are skipped.
    """
    for found, place, size in _chunks(file):
        if found == kind and size <= _MAX_BYTES:
            file.seek(place)
            return file.read(size)
    return b""


@dataclass(frozen=True)
class PngHeader:
    """Header of a PNG file.

    width, height: size of the image in pixels
    bits: bits of a sample, or of a palette index
    color_type: 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha
    chunks: types of the chunks up to the first IDAT
    """

    width: int
    height: int
    bits: int
    color_type: int
    chunks: frozenset[bytes]

    @property
    def has_alpha(self) -> bool:
        """Return whether there is an alpha channel or a tRNS chunk: pixels may be transparent."""
        return self.color_type in (4, 6) or b"tRNS" in self.chunks


def read_png_header(file: IO[bytes]) -> PngHeader | None:
    """Return the header of a PNG file, or None where IHDR is not first, or IDAT is missing."""
    chunks = list(_chunks(file))
    if not chunks or chunks[0][0] != b"IHDR" or chunks[0][2] != 13 or chunks[-1][0] != b"IDAT":
        return None
    file.seek(chunks[0][1])
    width, height, bits, color_type = struct.unpack(">IIBB", file.read(10))
    return PngHeader(width, height, bits, color_type, frozenset(kind for kind, _, _ in chunks))


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, and offset and size in bytes of the content, of chunks up to the first IDAT."""
    place = 8
    for _ in range(_MAX_CHUNKS):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return
        kind, size = head[4:], int.from_bytes(head[:4], "big")
        yield kind, place + 8, size
        if kind == b"IDAT":
            return
        place += 12 + size
