"""Reader of an object in parts: a raw binary file, of which only what is read is fetched."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

FIRST_READ = 1 << 16  # bytes of the first request of a file that is read in parts
_MAX_READ = 1 << 23  # most bytes of a later one, each of which asks for twice as many


class ObjectReader(io.RawIOBase):
    """File of an object whose bytes are fetched as they are read, by ever larger requests.

    read_range: returns bytes of the object from an offset on, up to a number of them
    size: number of bytes of the object
    head: first bytes of the object, which are not fetched again
    """

    def __init__(self, read_range: Callable[[int, int], bytes], size: int, head: bytes) -> None:
        self._read_range, self._size = read_range, size
        self._position = 0
        self._fetched, self._fetched_from = head, 0
        self._next_size = FIRST_READ

    def readable(self) -> bool:
        """Return True: the file is for reading."""
        return True

    def seekable(self) -> bool:
        """Return True: any part of the file can be read."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset from the start, the position or the end, and return the position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read into `buffer`, and return the number of bytes; 0 at the end of the object."""
        left = self._size - self._position
        size = min(len(buffer), left)
        if size <= 0:
            return 0
        start = self._position - self._fetched_from
        if not 0 <= start < len(self._fetched):
            self._fetched = self._read_range(self._position, min(max(size, self._next_size), left))
            self._fetched_from = self._position
            start, self._next_size = 0, min(2 * self._next_size, _MAX_READ)
        data = self._fetched[start : start + size]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
