"""Reader of nested boxes, of which JPEG 2000 and AVIF files consist.

ISO/IEC 15444-1, annex I.4; ISO/IEC 14496-12, section 4.2.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import IO

_MAX_BOXES = 1 << 12  # boxes that are read at one level
_MAX_BYTES = 1 << 24  # bytes of a box that is read, at most; the largest hold colour profiles


def top_boxes(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, and offset and size in bytes of the content, of each outermost box.

    The last box may be cut off by the end of the file; its size is then that of what is left.
    """
    file.seek(0, os.SEEK_END)
    end, place = file.tell(), 0
    for _ in range(_MAX_BOXES):
        file.seek(place)
        size, kind, head = _header(file.read(16))
        if not head:
            return
        size = size or end - place  # a size of 0 means up to the end of the file
        if size < head:
            return
        yield kind, place + head, min(size - head, end - place - head)
        place += size


def read_box(file: IO[bytes], kind: bytes) -> bytes:
    """Return the content of the first outermost box of type `kind`, or b"" where there is none.

    Boxes of more than 16 MiB are skipped.
    """
    for found, start, size in top_boxes(file):
        if found == kind and size <= _MAX_BYTES:
            file.seek(start)
            return file.read(size)
    return b""


def inner_boxes(content: bytes, *path: bytes) -> Iterator[bytes]:
    """Yield the content of each box that lies at the path of types `path` inside `content`.

    >>> box = lambda kind, content: struct.pack(">I4s", 8 + len(content), kind) + content
    >>> list(inner_boxes(box(b"iprp", box(b"colr", b"nclx") + box(b"ispe", b"")), b"iprp", b"colr"))
    [b'nclx']
    """
    place = 0
    for _ in range(_MAX_BOXES):
        size, kind, head = _header(content[place : place + 16])
        if not head:
            return
        size = size or len(content) - place
        if size < head:
            return
        if kind == path[0]:
            inside = content[place + head : place + size]
            if len(path) == 1:
                yield inside
            else:
                yield from inner_boxes(inside, *path[1:])
        place += size


def _header(data: bytes) -> tuple[int, bytes, int]:
    """Return the size of a box, its type and the size of its header, in bytes.

    data: the first 16 bytes from the start of the box; a header that is cut off has size 0
    """
    if len(data) < 8:
        return 0, b"", 0
    size, kind = struct.unpack_from(">I4s", data)
    if size != 1:
        return size, kind, 8
    return (struct.unpack_from(">Q", data, 8)[0], kind, 16) if len(data) == 16 else (0, b"", 0)
