"""Arrays of a store whose chunks are checked: none is missing, and none is too large.

Only chunks that exist are looked at, so the cost of the check depends on the stored chunks, and not
on the shape that the metadata of an array claim.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from kmeans_dask.errors import StoreError
from kmeans_dask.files import Location, ObjectPath
from kmeans_dask.store.records import ArrayDocument
from kmeans_dask.store.zarr_objects import Objects

_HEADER = 16  # bytes; bytes 4 to 7 hold the unpacked size (c-blosc, README_HEADER)
_CHECKSUM = 4
_DOCUMENT = "zarr.json"


def open_chunks(path: Location, data: bytes, document: ArrayDocument) -> zarr.Array[Any]:
    """Open the array at `path` for reading.

    data: the content of the array's zarr.json; document: the same, parsed

    Raises StoreError where a chunk is missing or too large.
    """
    size = math.prod(document.chunks) * np.dtype(document.data_type).itemsize
    expected = -(-document.shape[0] // document.chunks[0])
    tail = len(document.shape) - 1
    missing = expected - sum(
        _is_chunk(path, parts, expected, n_bytes, size + _HEADER + _CHECKSUM)
        for parts, n_bytes in (
            _remote(path) if isinstance(path, ObjectPath) else _local(path, tail)
        )
        if parts[1:] == ("0",) * tail
    )
    if missing:  # Zarr would read zeros in their place
        raise StoreError(f"{path} is damaged: {missing} of its chunks are missing")
    if isinstance(path, ObjectPath):
        store = CheckedStore(Objects(path.bucket, read_only=True), path, data, size)
        return zarr.open_array(store, path=path.key, mode="r", zarr_format=3)
    store = CheckedStore(LocalStore(path, read_only=True), path, data, size)
    return zarr.open_array(store, mode="r", zarr_format=3)


def _is_chunk(path: Location, parts: tuple[str, ...], n: int, n_bytes: int, most: int) -> bool:
    """Return whether `parts`, a path below `c`, names one of the first `n` chunks of an array.

    Raises StoreError where that chunk has more than `most` bytes.
    """
    number = parts[0]
    if not (number.isdecimal() and number.isascii() and len(number) < 20):
        return False
    if int(number) >= n or str(int(number)) != number:
        return False
    if n_bytes > most:
        raise StoreError(f"{path} is damaged: its chunk {number} has {n_bytes:,} bytes")
    return True


def _local(path: Path, tail: int) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield the path below `c` and the size in bytes of each regular file that may be a chunk.

    Symbolic links, pipes and devices are left out.
    """
    folder = path / "c"
    if path.is_symlink() or folder.is_symlink() or not folder.is_dir():
        return
    for name in os.listdir(folder):  # noqa: PTH208 - there may be many, and names are cheap
        parts = (name, *["0"] * tail)
        with suppress(OSError):
            status = folder.joinpath(*parts).lstat()
            if stat.S_ISREG(status.st_mode) and not (folder / name).is_symlink():
                yield parts, status.st_size


def _remote(path: ObjectPath) -> Iterator[tuple[tuple[str, ...], int]]:
    folder = path / "c"
    for found in folder.walk():
        yield found.relative_to(folder).parts, found.stat().st_size


class CheckedStore(WrapperStore[Any]):
    """Zarr store of one array with known metadata, which checks the unpacked size of each chunk.

    place: where the array is; document: the content of its zarr.json, which is not read again
    size: bytes of an unpacked chunk
    """

    def __init__(self, store: Any, place: Location, document: bytes, size: int) -> None:
        super().__init__(store)
        self.place, self._document, self._size = place, document, size

    def _with_store(self, store: Any) -> CheckedStore:
        return type(self)(store, self.place, self._document, self._size)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the value of `key`, or None where there is none.

        Raises ValueError where a chunk does not unpack to `size` bytes.
        """
        if key.endswith(_DOCUMENT):
            return prototype.buffer.from_bytes(self._document)
        found: Buffer | None = await self._store.get(key, prototype, byte_range)
        if found is not None:
            header = found[:_HEADER].to_bytes()
            if len(header) < _HEADER or int.from_bytes(header[4:8], "little") != self._size:
                raise ValueError(f"a chunk of it does not unpack to {self._size:,} bytes")
        return found
