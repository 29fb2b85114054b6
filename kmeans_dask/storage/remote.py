"""A path in an object store: S3 and what speaks like it, Google Cloud Storage, Azure.

An object is written whole or not at all, by one PUT or a multipart upload that is completed last;
there are no folders, no links and no renames. What fails for a while is tried again with growing
pauses. Credentials are those that the environment has, in the providers' own ways: they are never
part of a URL, so no store, log or message can hold them.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import re
import stat
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kmeans_dask.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az")
_HEAD = 1 << 16  # bytes that are asked for where few are wanted
_MOST_AHEAD = 1 << 23  # where more and more are
_WHOLE = 1 << 26  # bytes that are sent by one PUT
_DELETED = 1000  # objects, by one request
# For what fails and may not fail again: nothing hangs, so it has an end.
_RETRY = {
    "max_retries": 8,
    "retry_timeout": timedelta(seconds=120),
    "backoff": {
        "base": 2,
        "init_backoff": timedelta(seconds=0.1),
        "max_backoff": timedelta(seconds=10),
    },
}
_PATIENCE = {"connect_timeout": timedelta(seconds=10), "timeout": timedelta(seconds=60)}
_STATUS = re.compile(r"status code: (\d{3}[ \w-]*)")


class Status(NamedTuple):
    """What is known of an object, named as `os.stat` names it.

    st_mtime_ns: in whole seconds, which is all that S3 tells; below them, digits of the object's
        tag, so that no change within a second goes unseen
    """

    st_size: int
    st_mtime_ns: int
    st_mode: int = stat.S_IFREG


class Tagged(NamedTuple):
    """What an object was at one moment.

    tag: another one for other content
    written: by the store's clock, in seconds since 1970
    """

    tag: str
    written: float
    data: bytes


class Remote:
    """An object, or all that is below a name, at a URL as `s3://bucket/name`.

    Raises UsageError for a URL that has no bucket, or more than a name.
    """

    __slots__ = ("_bucket", "_key")

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        bucket, _, key = rest.partition("/")
        if scheme not in SCHEMES or not bucket:
            raise UsageError(f"{url!r} names no bucket: write s3://bucket/name")
        if "@" in bucket or ":" in bucket:
            raise UsageError(
                f"{scheme}://... has more than a bucket's name before the first slash: credentials "
                "and addresses belong into the environment, see docs/storage.md"
            )
        parts = [part for part in key.split("/") if part]
        if any(part in (".", "..") for part in parts):
            raise UsageError(f"{url!r} has . or .. in it, which are names of objects: leave it out")
        self._bucket = f"{scheme}://{bucket}"
        self._key = "/".join(parts)

    def __reduce__(self) -> tuple[type[Remote], tuple[str]]:
        return Remote, (str(self),)

    def __str__(self) -> str:
        return f"{self._bucket}/{self._key}" if self._key else self._bucket

    def __repr__(self) -> str:
        return f"Remote({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    # -- names, as pathlib has them -------------------------------------------------------------

    def __truediv__(self, name: str | PurePosixPath) -> Remote:
        parts = PurePosixPath(name).parts
        if ".." in parts or "/" in parts:
            raise ValueError(f"{str(name)!r} is no name below {self}")
        return self._at("/".join(each for each in (self._key, *parts) if each))

    def _at(self, key: str) -> Remote:
        other = object.__new__(Remote)
        other._bucket, other._key = self._bucket, key
        return other

    @property
    def name(self) -> str:
        """The last part; nothing of a bucket."""
        return self._key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """Of the name, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> Remote:
        """Without the last part."""
        return self._at(self._key.rpartition("/")[0])

    @property
    def parents(self) -> tuple[Remote, ...]:
        """The parent, its parent, and so on to the bucket."""
        return (self.parent, *self.parent.parents) if self._key else ()

    def with_name(self, name: str) -> Remote:
        """The same with another last part."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> Remote:
        """The same with another suffix."""
        return self.with_name(self.stem + suffix)

    def relative_to(self, other: Remote) -> PurePosixPath:
        """The name below `other`. Raises ValueError where it is not there."""
        if other not in (self, *self.parents):
            raise ValueError(f"{self} is not below {other}")
        return PurePosixPath(self._key[len(other._key) :].lstrip("/"))

    def absolute(self) -> Remote:
        """Itself: a URL says all."""
        return self

    resolve = absolute

    # -- what is there --------------------------------------------------------------------------

    def stat(self) -> Status:
        """Of the object. Raises FileNotFoundError where there is none."""
        with self._asking() as bucket:
            return _status(bucket.head(self._named()))

    def is_file(self) -> bool:
        """Whether there is an object of this name."""
        try:
            return bool(self._key) and bool(self.stat())
        except FileNotFoundError:
            return False

    def is_dir(self) -> bool:
        """Whether there are objects below this name."""
        with self._asking() as bucket:
            return bool(next(iter(bucket.list(self._below(), chunk_size=1)), ()))

    def exists(self) -> bool:
        """Whether there is anything."""
        return self.is_file() or self.is_dir()

    def is_symlink(self) -> bool:
        """Never: there are none."""
        return False

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: there are no folders."""

    def iterdir(self) -> Iterator[Remote]:
        """What is right below this name, in the order of names."""
        with self._asking() as bucket:
            found = bucket.list_with_delimiter(self._below())
        keys = {*found["common_prefixes"], *(each["path"] for each in found["objects"])}
        yield from (self._at(key.rstrip("/")) for key in sorted(keys))

    def walk(self) -> Iterator[Listed]:
        """All objects below this name."""
        with self._asking() as bucket:
            for some in bucket.list(self._below()):
                for each in some:
                    path = Listed(self._at(each["path"]), _status(each))
                    # What some tools write for an empty folder is listed, and is no object.
                    if each["size"] or Remote.is_file(self._at(each["path"])):
                        yield path

    # -- reading --------------------------------------------------------------------------------

    def read_bytes(self) -> bytes:
        """All of the object. Raises FileNotFoundError where there is none."""
        with self._asking() as bucket:
            return bytes(bucket.get(self._named()).bytes())

    def read_at_most(self, size: int) -> bytes | None:
        """All of the object; None where it has more than `size` bytes, and then none are read."""
        return self.read_with_status(size)[0]

    def read_with_status(self, size: int) -> tuple[bytes | None, Status]:
        """The same, and the status of what was read."""
        with self._asking() as bucket:
            found = bucket.get(self._named())
            data = bytes(found.bytes()) if found.meta["size"] <= size else None
            return data, _status(found.meta)

    def read_text(self) -> str:
        """The same, as UTF-8."""
        return self.read_bytes().decode()

    def read_range(self, start: int, size: int) -> bytes:
        """Bytes from `start` on, at most `size` of them; there must be one."""
        with self._asking() as bucket:
            return bytes(bucket.get_range(self._named(), start=start, length=size))

    def open(self, mode: Literal["rb"] = "rb") -> io.BufferedReader:
        """A file to read, which asks for what is read of it. Raises FileNotFoundError."""
        return io.BufferedReader(_Reader(self, self.stat().st_size, b""), _HEAD)

    # -- writing --------------------------------------------------------------------------------

    def write_bytes(self, data: bytes) -> int:
        """Write the object, or write it anew."""
        self._put(data)
        return len(data)

    def write_text(self, text: str) -> int:
        """The same, as UTF-8."""
        return self.write_bytes(text.encode())

    def create(self, data: bytes) -> str:
        """Write an object that is not there; returns the tag of what it is now.

        Raises FileExistsError where there is one.
        """
        return self._put(data, "create")

    def exchange(self, data: bytes, tag: str) -> str:
        """Write the object where it still is what had `tag`; returns the new tag.

        Raises FileExistsError where it is another one, FileNotFoundError where there is none.
        """
        return self._put(data, {"e_tag": tag})

    def tagged(self) -> Tagged:
        """What it is now. Raises FileNotFoundError where there is none."""
        with self._asking() as bucket:
            found = bucket.get(self._named())
            meta, data = found.meta, bytes(found.bytes())
        return Tagged(str(meta["e_tag"]), meta["last_modified"].timestamp(), data)

    def _put(self, data: bytes, mode: Any = None) -> str:
        multipart = mode is None and len(data) > _WHOLE
        with self._asking() as bucket:
            try:
                done = bucket.put(self._named(), data, mode=mode, use_multipart=multipart)
            except FileNotFoundError:
                if isinstance(mode, dict):
                    raise
                raise self._no_bucket() from None
        return str(done["e_tag"])

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Remove the object. Raises FileNotFoundError where there is none, unless that may be."""
        if not missing_ok:
            self.stat()
        with self._asking() as bucket:
            bucket.delete(self._named())

    def remove_all(self, first: str | None = None) -> None:
        """Remove the object, and all below its name; below it, `first` goes first."""
        if first:
            (self / first).unlink(missing_ok=True)
        keys = [path._key for path in self.walk()]
        with self._asking() as bucket:
            for start in range(0, len(keys), _DELETED):
                bucket.delete(keys[start : start + _DELETED])
        if self._key:
            self.unlink(missing_ok=True)

    def copy_to(self, target: Remote) -> None:
        """Copy the object within its bucket."""
        with self._asking() as bucket:
            bucket.copy(self._key, target._key)

    # -- the store below ------------------------------------------------------------------------

    @property
    def key(self) -> str:
        """The name in its bucket."""
        return self._key

    def bucket(self) -> ObjectStore:
        """What obstore has for the bucket, the same one for all names in it."""
        return _bucket(self._bucket)

    @staticmethod
    def in_bucket(bucket: object, key: str) -> Remote:
        """The path of `key` in what `bucket` gave in this process."""
        [url] = [url for url, each in _opened.items() if each is bucket]
        return Remote(f"{url}/{key}")

    def _no_bucket(self) -> UsageError:
        return UsageError(f"{self._bucket} does not exist: make the bucket first")

    def _named(self) -> str:
        if not self._key:
            raise IsADirectoryError(errno.EISDIR, "it is a bucket, not an object", str(self))
        return self._key

    def _below(self) -> str | None:
        return f"{self._key}/" if self._key else None

    @contextmanager
    def _asking(self) -> Iterator[ObjectStore]:
        """The bucket, to be asked inside the block, which raises what `telling` does."""
        bucket = self.bucket()
        with telling(self):
            yield bucket


@contextmanager
def telling(remote: Remote) -> Iterator[None]:
    """What obstore raises inside the block is an OSError or UnreachableError of one line.

    It has no cause: a server's own words can name keys.
    """
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError as error:
        if error.errno:
            raise  # it is not from there
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(remote)) from None
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(remote)) from None
    except exceptions.PermissionDeniedError:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(remote)) from None
    except exceptions.InvalidPathError as error:
        raise UsageError(
            f"{remote} has an object whose name cannot be read, {_quoted(error)}: names have no "
            "empty parts, no . or .. as a part, and no control characters"
        ) from None
    except exceptions.BaseError as error:
        if _code(error) == "404":
            raise remote._no_bucket() from None
        raise UnreachableError(f"{remote}: {_reason(error)}") from None
    except ValueError as error:
        if not str(error).startswith("Could not parse path"):
            raise
        raise OSError(errno.EINVAL, "no object can have such a name", str(remote)) from None


class _Reader(io.RawIOBase):
    """The bytes of an object, asked for as they are read: each time more, as for a whole file."""

    def __init__(self, remote: Remote, size: int, head: bytes) -> None:
        self._remote, self._size = remote, size
        self._place = 0
        self._from, self._there, self._ahead = 0, head, _HEAD

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), self._size - self._place)
        if size <= 0:
            return 0
        start = self._place - self._from
        if not 0 <= start < len(self._there):
            ahead = min(max(size, self._ahead), self._size - self._place)
            self._from, self._there = self._place, self._remote.read_range(self._place, ahead)
            start, self._ahead = 0, min(2 * self._ahead, _MOST_AHEAD)
        data = self._there[start : start + size]
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


class Listed(Remote):
    """An object of which a listing has told the status."""

    __slots__ = ("_head", "_status")

    def __init__(self, remote: Remote, status: Status) -> None:
        self._bucket, self._key = remote._bucket, remote._key
        self._status, self._head = status, b""

    def with_head(self) -> Listed:
        """The same, with its first bytes at hand: what the header of an image needs."""
        if self._status.st_size:
            self._head = self.read_range(0, _HEAD)
        return self

    def stat(self) -> Status:
        """As it was listed."""
        return self._status

    def open(self, mode: Literal["rb"] = "rb") -> io.BufferedReader:
        """A file to read, of whose first bytes none is asked for again."""
        return io.BufferedReader(_Reader(self, self._status.st_size, self._head), _HEAD)


_opened: dict[str, ObjectStore] = {}  # by the URLs of their buckets


def _bucket(url: str) -> ObjectStore:
    if url not in _opened:
        _opened.setdefault(url, _open(url))
    return _opened[url]


def _open(url: str) -> ObjectStore:
    try:
        from obstore import exceptions
        from obstore.store import from_url
    except ImportError as error:
        raise UsageError(
            f"{url} needs obstore: pip install 'kmeans-dask[cloud]', here and on all workers"
        ) from error
    given: dict[str, Any] = {"retry_config": _RETRY, "client_options": dict(_PATIENCE)}
    if url.startswith("s3://"):
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if endpoint:
            given["endpoint"] = endpoint
            given["client_options"]["allow_http"] = endpoint.startswith("http://")
        given |= _aws_profile()
    try:
        store: ObjectStore = from_url(url, **given)
    except (exceptions.BaseError, ValueError) as error:
        raise UsageError(f"{url} cannot be opened: {_reason(error)}") from None
    return store


@functools.cache
def _aws_profile() -> Mapping[str, Any]:
    """What the files in ~/.aws say, where the environment says nothing."""
    named = os.environ.get("AWS_PROFILE")
    files = [
        Path(os.environ.get(variable, Path.home() / ".aws" / name))
        for variable, name in (
            ("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            ("AWS_CONFIG_FILE", "config"),
        )
    ]
    if os.environ.get("AWS_ACCESS_KEY_ID") and not named:
        return {}
    if not named and not any(file.is_file() for file in files):
        return {}
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        raise UsageError(
            "the files in ~/.aws need boto3 to be read: pip install boto3, or set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    provider = Boto3CredentialProvider()
    region = provider.config.get("region")
    return {"credential_provider": provider} | ({"region": region} if region else {})


def _status(found: Mapping[str, Any]) -> Status:
    seconds = int(found["last_modified"].timestamp())
    below = zlib.crc32(str(found["e_tag"]).encode()) % 10**9
    return Status(found["size"], seconds * 10**9 + below)


def _code(error: Exception) -> str | None:
    """The number that a server has answered with."""
    status = _STATUS.search(str(error))
    return status[1][:3] if status else None


def _quoted(error: Exception) -> str:
    """The name that an error is about."""
    name = re.search(r'[Pp]ath ("[^"]*")', str(error))
    return repr(name[1].strip('"')) if name else "which is not said"


def _reason(error: Exception) -> str:
    """One line. What a server says can name keys: only its status is passed on."""
    from obstore import exceptions

    if isinstance(error, exceptions.UnauthenticatedError):
        return "the credentials are refused, or there are none"
    status = _STATUS.search(str(error))
    if status:
        return f"the object store answers {status[1].strip()}"
    if "credential" in str(error).lower():
        return "there are no credentials in the environment, see docs/storage.md"
    return "the object store does not answer"
