"""Status of an object in an object store: its size, and a time that changes with it."""

from __future__ import annotations

import stat
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from obstore import ObjectMeta


class Status(NamedTuple):
    """Status of an object, with fields named as those of `os.stat`.

    st_mtime_ns: whole seconds, as S3 gives no more, plus digits below a second that depend on the
        ETag of the object, so that no change within a second goes unnoticed
    """

    st_size: int
    st_mtime_ns: int
    st_mode: int = stat.S_IFREG


def status_of(meta: Mapping[str, Any] | ObjectMeta) -> Status:
    """Return the status of the object that obstore describes by `meta`."""
    seconds = int(meta["last_modified"].timestamp())
    return Status(meta["size"], seconds * 10**9 + _etag_nanoseconds(str(meta["e_tag"])))


def is_unchanged(meta: ObjectMeta, status: Status) -> bool:
    """Return whether an object has the size and the ETag of the earlier `status`.

    The ETag is compared with and without quotes, as some stores omit them in listings.
    """
    etag = str(meta["e_tag"])
    etags = {etag, etag.strip('"'), f'"{etag}"'}
    nanoseconds = status.st_mtime_ns % 10**9
    return meta["size"] == status.st_size and nanoseconds in map(_etag_nanoseconds, etags)


def _etag_nanoseconds(etag: str) -> int:
    """Return a checksum of an ETag, as a number of nanoseconds below one second."""
    return zlib.crc32(etag.encode()) % 10**9
