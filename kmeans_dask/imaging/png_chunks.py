"""Chunks of a PNG before its pixels.

PNG specification, third edition: 5.3 (chunk layout), 11.2.1 (IHDR), 11.3.6.1 (acTL).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

_MAX_CHUNKS = 1 << 12
_MAX_BYTES = 1 << 10  # of one that is read


def read_chunk(file: IO[bytes], kind: bytes) -> bytes:
    """The content of the first chunk of that type; nothing where there is none, or a large one."""
    for found, place, size in _chunks(file):
        if found == kind and size <= _MAX_BYTES:
            file.seek(place)
            return file.read(size)
    return b""


@dataclass(frozen=True)
class PngHeader:
    """The header of a PNG: its size, bits a sample, and the types of chunks before its pixels."""

    width: int
    height: int
    bits: int
    color_type: int
    chunks: frozenset[bytes]

    @property
    def has_alpha(self) -> bool:
        """Return whether some pixel may not be opaque."""
        return self.color_type in (4, 6) or b"tRNS" in self.chunks


def read_png_header(file: IO[bytes]) -> PngHeader | None:
    """The header of a PNG; None where there is none before the first of its pixels."""
    chunks = list(_chunks(file))
    if not chunks or chunks[0][0] != b"IHDR" or chunks[0][2] != 13 or chunks[-1][0] != b"IDAT":
        return None
    file.seek(chunks[0][1])
    width, height, bits, color_type = struct.unpack(">IIBB", file.read(10))
    return PngHeader(width, height, bits, color_type, frozenset(kind for kind, _, _ in chunks))


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Type, place and size of the chunks up to the first of the pixels."""
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
