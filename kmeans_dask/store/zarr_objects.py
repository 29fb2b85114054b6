"""Zarr store of the objects in a bucket, whose requests are made by `ObjectPath` as all others are.

So a chunk that arrives incomplete is requested again, and Ctrl-C ends the wait for a chunk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from kmeans_dask.errors import UnreachableError
from kmeans_dask.files import ObjectPath

T = TypeVar("T")


class Objects(Store):
    """Zarr store of the objects in a bucket, by their keys.

    bucket: the root of the bucket; its pickle holds the name of the bucket and no credentials
    """

    supports_writes = True
    supports_deletes = True
    supports_listing = True

    def __init__(self, bucket: ObjectPath, *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self.bucket = bucket

    def with_read_only(self, read_only: bool = False) -> Objects:
        """Return a store of the same bucket that is read-only or writable."""
        return Objects(self.bucket, read_only=read_only)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Objects)
            and self.bucket == other.bucket
            and self.read_only == other.read_only
        )

    def __hash__(self) -> int:
        return hash(self.bucket)

    def __str__(self) -> str:
        return str(self.bucket)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the object `key`, or `byte_range` of it, or None where there is no such object."""
        try:
            data = await _in_thread((self.bucket / key).read_bytes)
        except FileNotFoundError:
            return None
        return prototype.buffer.from_bytes(data[_slice(byte_range)])

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Return the objects `key_ranges`, or parts of them; None for each that does not exist."""
        asked = [self.get(key, prototype, byte_range) for key, byte_range in key_ranges]
        return list(await asyncio.gather(*asked))

    async def exists(self, key: str) -> bool:
        """Return whether there is an object `key`."""
        return await _in_thread((self.bucket / key).is_file)

    async def set(self, key: str, value: Buffer) -> None:
        """Write `value` as the object `key`, or replace that."""
        self._check_writable()
        await _in_thread(lambda: (self.bucket / key).write_bytes(value.to_bytes()))

    async def delete(self, key: str) -> None:
        """Remove the object `key`, if it exists."""
        self._check_writable()
        await _in_thread(lambda: (self.bucket / key).unlink(missing_ok=True))

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys of all objects below `prefix`."""
        for each in await _in_thread(lambda: list((self.bucket / prefix).walk())):
            yield each.key

    def list(self) -> AsyncIterator[str]:
        """Yield the keys of all objects in the bucket."""
        return self.list_prefix("")

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names directly below `prefix`."""
        for each in await _in_thread(lambda: list((self.bucket / prefix).iterdir())):
            yield each.name


def _slice(part: ByteRequest | None) -> slice:
    if part is None:
        return slice(None)
    if isinstance(part, RangeByteRequest):
        return slice(part.start, part.end)
    if isinstance(part, SuffixByteRequest):
        return slice(-part.suffix, None)
    return slice(part.offset, None)


async def _in_thread(call: Callable[[], T]) -> T:
    """Return the result of `call`, which runs in a thread.

    Raises UnreachableError where `call` raises KeyboardInterrupt, which would end the event loop
    that Zarr uses for all of its work.
    """

    def uninterrupted() -> T:
        try:
            return call()
        except KeyboardInterrupt:
            raise UnreachableError("interrupted") from None

    return await asyncio.to_thread(uninterrupted)
