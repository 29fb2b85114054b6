"""Chunks of a PNG before its pixels.

PNG specification, third edition: 5.3 (chunk layout), 11.2.1 (IHDR), 11.3.6.1 (acTL).
"""

from __future__ import annotations

from collections.abc import Iterator
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


def size_of_png(file: IO[bytes]) -> tuple[int, int] | None:
    """Width and height of a PNG that is no animation; None where that is not to be seen at once."""
    kinds = set()
    size = None
    for kind, place, n_bytes in _chunks(file):
        kinds.add(kind)
        if size is None:
            file.seek(place)
            header = file.read(8)
            if kind != b"IHDR" or n_bytes != 13 or len(header) < 8:
                return None
            size = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")
    return size if size and b"IDAT" in kinds and b"acTL" not in kinds and all(size) else None


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
