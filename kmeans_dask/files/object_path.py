"""Paths in an object store: S3 and compatible stores, Google Cloud Storage, Azure.

An object is written whole or not at all, by one PUT or a multipart upload that is completed last;
there are no folders, no links and no renames. Requests that fail for a while are retried, by the
limits in `retries`. Reading gives all bytes that were asked for, as they were at one moment, or
raises: a web page that a network sends in their place, a part of the bytes, or a mixture of two
versions is never returned.
"""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kmeans_dask.errors import UsageError
from kmeans_dask.files.object_errors import changed_object_error, missing_bucket_error
from kmeans_dask.files.object_reader import FIRST_READ, ObjectReader
from kmeans_dask.files.object_requests import ObjectRequests
from kmeans_dask.files.object_status import Status, is_unchanged, status_of
from kmeans_dask.time_limit import is_limited

if TYPE_CHECKING:
    from obstore import ObjectMeta

SCHEMES = ("s3", "gs", "az")
_MAX_PUT = 1 << 26  # most bytes of one PUT; larger objects are uploaded in parts
_LIST_PAGE = 1000  # objects in one page of a listing
_DELETE_BATCH = 1000  # objects in one request to delete


class Tagged(NamedTuple):
    """Content of an object at one moment.

    tag: the ETag, which differs where the content does
    written: time of writing by the store's clock, in seconds since 1970
    """

    tag: str
    written: float
    data: bytes


class ObjectPath:
    """Path of an object, or of all objects below a name, from a URL such as `s3://bucket/name`.

    Raises UsageError for a URL without a bucket, with more than a bucket's name in its place, or
    with . or .. as a part.
    """

    __slots__ = ("_bucket_url", "_key")

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
        self._bucket_url = f"{scheme}://{bucket}"
        self._key = "/".join(parts)

    def __reduce__(self) -> tuple[type[ObjectPath], tuple[str]]:
        return ObjectPath, (str(self),)

    def __str__(self) -> str:
        return f"{self._bucket_url}/{self._key}" if self._key else self._bucket_url

    def __repr__(self) -> str:
        return f"ObjectPath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    # -- names, as in pathlib -------------------------------------------------------------------

    def __truediv__(self, name: str | PurePosixPath) -> ObjectPath:
        parts = PurePosixPath(name).parts
        if ".." in parts or "/" in parts:
            raise ValueError(f"{str(name)!r} is no name below {self}")
        return self._with_key("/".join(each for each in (self._key, *parts) if each))

    def _with_key(self, key: str) -> ObjectPath:
        other = object.__new__(ObjectPath)
        other._bucket_url, other._key = self._bucket_url, key
        return other

    @property
    def name(self) -> str:
        """Return the last part of the path; an empty name for a bucket."""
        return self._key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """Return the name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """Return the suffix of the name, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> ObjectPath:
        """Return the path without its last part."""
        return self._with_key(self._key.rpartition("/")[0])

    @property
    def parents(self) -> tuple[ObjectPath, ...]:
        """Return the parent, its parent, and so on to the bucket."""
        return (self.parent, *self.parent.parents) if self._key else ()

    def with_name(self, name: str) -> ObjectPath:
        """Return the path with another last part."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> ObjectPath:
        """Return the path with another suffix."""
        return self.with_name(self.stem + suffix)

    def relative_to(self, other: ObjectPath) -> PurePosixPath:
        """Return the name below `other`. Raises ValueError where the path is not below `other`."""
        if other not in (self, *self.parents):
            raise ValueError(f"{self} is not below {other}")
        return PurePosixPath(self._key[len(other._key) :].lstrip("/"))

    def absolute(self) -> ObjectPath:
        """Return the path itself, as a URL is always absolute."""
        return self

    resolve = absolute

    @property
    def key(self) -> str:
        """Return the name of the object in its bucket."""
        return self._key

    @property
    def bucket(self) -> ObjectPath:
        """Return the path of the whole bucket."""
        return self._with_key("")

    # -- status and listings --------------------------------------------------------------------

    def stat(self) -> Status:
        """Return the status of the object. Raises FileNotFoundError where there is none."""
        key, requests = self._object_key(), self._requests()
        return requests.retry(lambda: status_of(requests.get(key, head=True).meta))

    def is_file(self) -> bool:
        """Return whether there is an object of this name."""
        try:
            return bool(self._key) and bool(self.stat())
        except FileNotFoundError:
            return False

    def is_dir(self) -> bool:
        """Return whether there are objects below this name."""
        return bool(next(self._pages(1), ()))

    def exists(self) -> bool:
        """Return whether there is an object of this name, or any below it."""
        return self.is_file() or self.is_dir()

    def is_symlink(self) -> bool:
        """Return False: an object store has no links."""
        return False

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: an object store has no folders."""

    def iterdir(self) -> Iterator[ObjectPath]:
        """Yield the paths directly below this name, in the order of names."""
        requests = self._requests()
        found = requests.retry(lambda: requests.client.list_with_delimiter(self._prefix))
        keys = {*found["common_prefixes"], *(meta["path"] for meta in found["objects"])}
        yield from (self._with_key(key.rstrip("/")) for key in sorted(keys))

    def walk(self) -> Iterator[Listed]:
        """Yield all objects below this name, each with its status."""
        for page in self._pages():
            for meta in page:
                path = self._with_key(meta["path"])
                # A marker that some tools write for an empty folder is listed, but is no object.
                if meta["size"] or path.is_file():
                    yield Listed(path, status_of(meta))

    def _pages(self, size: int | None = None) -> Iterator[Sequence[ObjectMeta]]:
        """Yield the objects below this name, in pages of at most `size` objects.

        After a failure the listing continues behind the last object that was listed.
        """
        listing: Iterator[Sequence[ObjectMeta]] | None = None
        last: str | None = None

        def next_page() -> Sequence[ObjectMeta]:
            nonlocal listing
            # While a request is under way there is no listing: after a failure a new one begins.
            continued, listing = listing, None
            pages = continued or iter(
                requests.client.list(self._prefix, offset=last, chunk_size=size or _LIST_PAGE)
            )
            page = next(pages, ())
            listing = pages
            return page

        while True:
            requests = self._requests()  # for each page, as credentials may be renewed meanwhile
            page = requests.retry(next_page)
            if not page:
                return
            last = page[-1]["path"]
            yield page

    # -- reading --------------------------------------------------------------------------------

    def read_bytes(self) -> bytes:
        """Return all bytes of the object. Raises FileNotFoundError where there is none."""
        return self.tagged().data

    def read_at_most(self, size: int) -> bytes | None:
        """Return all bytes of the object; None, with none read, where it has more than `size`."""
        return self.read_with_status(size)[0]

    def read_with_status(self, size: int) -> tuple[bytes | None, Status]:
        """Return all bytes of the object, or None where it has more than `size`, and its status.

        Raises FileNotFoundError where there is no object.
        """
        key, requests = self._object_key(), self._requests()

        def read() -> tuple[bytes | None, Status]:
            response = requests.get(key)
            is_small = response.meta["size"] <= size
            data = requests.read_object(response) if is_small else None
            return data, status_of(response.meta)

        return requests.fetch(read) if is_limited() else requests.retry(read)

    def read_text(self) -> str:
        """Return the object's text, in UTF-8. Raises FileNotFoundError where there is none."""
        return self.read_bytes().decode()

    def read_range(self, start: int, size: int, as_of: Status) -> bytes:
        """Return bytes of an image from offset `start` on, up to `size` of them, at least one.

        Raises OSError where the object is no longer that of the status `as_of`.
        """
        key, stop = self._object_key(), min(start + size, as_of.st_size)
        requests = self._requests()

        def read() -> bytes:
            response = requests.get(key, range=(start, stop))
            if not is_unchanged(response.meta, as_of):
                raise changed_object_error(str(self))
            if (start, stop) == (0, as_of.st_size):
                return requests.read_object(response)
            return requests.read_body(response, stop - start)

        return requests.fetch(read)

    def tagged(self) -> Tagged:
        """Return the object with its ETag. Raises FileNotFoundError where there is none."""
        key, requests = self._object_key(), self._requests()

        def read() -> Tagged:
            response = requests.get(key)
            meta, data = response.meta, requests.read_object(response)
            return Tagged(str(meta["e_tag"]), meta["last_modified"].timestamp(), data)

        return requests.retry(read)

    def open(self, mode: Literal["rb"] = "rb") -> io.BufferedReader:
        """Return a binary file for reading an image, of which only what is read is fetched.

        Raises FileNotFoundError where there is no object.
        """
        return self._open(self.stat(), b"")

    def _open(self, status: Status, head: bytes) -> io.BufferedReader:
        """Return a binary file of the object of this status, which begins with `head`."""

        def read_range(start: int, size: int) -> bytes:
            return self.read_range(start, size, status)

        return io.BufferedReader(ObjectReader(read_range, status.st_size, head), FIRST_READ)

    # -- writing --------------------------------------------------------------------------------

    def write_bytes(self, data: bytes) -> int:
        """Write the object, also over an earlier one, and return the number of bytes.

        Raises UsageError where the bucket does not exist.
        """
        key, requests, is_large = self._object_key(), self._requests(), len(data) > _MAX_PUT
        try:
            requests.retry(lambda: requests.client.put(key, data, use_multipart=is_large))
        except FileNotFoundError:
            raise missing_bucket_error(self._bucket_url) from None
        return len(data)

    def write_text(self, text: str) -> int:
        """Write the object as text in UTF-8, and return the number of bytes, as `write_bytes`."""
        return self.write_bytes(text.encode())

    def create(self, data: bytes) -> str:
        """Write an object that does not exist yet, and return its ETag.

        Raises FileExistsError where it exists, and UsageError where the bucket does not. There are
        no retries: after a TransientError the object may have been written, or not.
        """
        try:
            return self._put_once(data, "create")
        except FileNotFoundError:
            raise missing_bucket_error(self._bucket_url) from None

    def exchange(self, data: bytes, tag: str) -> str:
        """Overwrite the object if its ETag still is `tag`, and return its new ETag.

        Raises FileExistsError where it has another ETag, and FileNotFoundError where there is no
        object. There are no retries: after a TransientError it may have been written, or not.
        """
        return self._put_once(data, {"e_tag": tag})

    def _put_once(self, data: bytes, mode: Any) -> str:
        key, requests = self._object_key(), self._requests()
        return requests.send(
            lambda: str(requests.client.put(key, data, mode=mode, use_multipart=False)["e_tag"])
        )

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Remove the object. Raises FileNotFoundError where there is none, unless `missing_ok`."""
        key = self._object_key()
        if not missing_ok:
            self.stat()
        with suppress(FileNotFoundError):  # some stores raise it; or a failed attempt deleted it
            self._delete(key)

    def remove_all(self, first: str | None = None) -> None:
        """Remove the object and all objects below its name, of which `first` is removed first."""
        if first:
            (self / first).unlink(missing_ok=True)
        keys = [path._key for path in self.walk()]
        for start in range(0, len(keys), _DELETE_BATCH):
            batch = keys[start : start + _DELETE_BATCH]
            try:
                self._delete(batch)
            except FileNotFoundError:  # one of them is missing: the others may still be there
                for key in batch:
                    self._with_key(key).unlink(missing_ok=True)
        if self._key:
            self.unlink(missing_ok=True)

    def _delete(self, keys: str | Sequence[str]) -> None:
        requests = self._requests()
        requests.retry(lambda: requests.client.delete(keys))

    def copy_to(self, target: ObjectPath) -> None:
        """Copy the object to `target`, which is in the same bucket."""
        requests = self._requests()
        requests.retry(lambda: requests.client.copy(self._key, target._key))

    # -- requests -------------------------------------------------------------------------------

    def _requests(self) -> ObjectRequests:
        return ObjectRequests(str(self), self._bucket_url)

    def _object_key(self) -> str:
        """Return the key of the object. Raises IsADirectoryError where the path is a bucket."""
        if not self._key:
            raise IsADirectoryError(errno.EISDIR, "it is a bucket, not an object", str(self))
        return self._key

    @property
    def _prefix(self) -> str | None:
        """Return the prefix of the keys of all objects below this name; None for a bucket."""
        return f"{self._key}/" if self._key else None


class Listed(ObjectPath):
    """Object from a listing, which has given its status.

    head: first bytes of the object, or b"" where they have not been fetched
    """

    __slots__ = ("_head", "_status")

    def __init__(self, path: ObjectPath, status: Status, head: bytes = b"") -> None:
        self._bucket_url, self._key = path._bucket_url, path._key
        self._status, self._head = status, head

    @property
    def head(self) -> bytes:
        """Return the first bytes of the object, or b"" where they have not been fetched."""
        return self._head

    def with_head(self) -> Listed:
        """Return this object after fetching its first bytes, which hold the header of an image."""
        if self._status.st_size:
            self._head = self.read_range(0, FIRST_READ, self._status)
        return self

    def stat(self) -> Status:
        """Return the status of the object when it was listed."""
        return self._status

    def open(self, mode: Literal["rb"] = "rb") -> io.BufferedReader:
        """Return a binary file for reading, whose first bytes are not fetched again."""
        return self._open(self._status, self._head)
