"""A bucket as Zarr wants a store: all that it asks goes the way of all other objects.

So a chunk whose body is cut is asked for again, and Ctrl-C ends the wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from kmeans_dask.errors import UnreachableError
from kmeans_dask.storage import Remote

T = TypeVar("T")


class Objects(Store):
    """The objects of a bucket, by keys.

    bucket: all of it; a pickle of it names the bucket, and nothing that opens it
    """

    supports_writes = True
    supports_deletes = True
    supports_listing = True

    def __init__(self, bucket: Remote, *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self.bucket = bucket

    def with_read_only(self, read_only: bool = False) -> Objects:
        """Return the same bucket, to be read only or to be written to."""
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
        """An object, or some of it; None where there is none."""
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
        """Several objects, or some of each."""
        asked = [self.get(key, prototype, byte_range) for key, byte_range in key_ranges]
        return list(await asyncio.gather(*asked))

    async def exists(self, key: str) -> bool:
        """Return whether there is an object of that key."""
        return await _in_thread((self.bucket / key).is_file)

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object, or write it anew."""
        self._check_writable()
        await _in_thread(lambda: (self.bucket / key).write_bytes(value.to_bytes()))

    async def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        self._check_writable()
        await _in_thread(lambda: (self.bucket / key).unlink(missing_ok=True))

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Keys of all objects below a name."""
        for each in await _in_thread(lambda: list((self.bucket / prefix).walk())):
            yield each.key

    def list(self) -> AsyncIterator[str]:
        """Keys of all objects."""
        return self.list_prefix("")

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names right below a name."""
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
    """Return what `call` returns. A KeyboardInterrupt would end the loop of all that Zarr does."""

    def uninterrupted() -> T:
        try:
            return call()
        except KeyboardInterrupt:
            raise UnreachableError("interrupted") from None

    return await asyncio.to_thread(uninterrupted)
