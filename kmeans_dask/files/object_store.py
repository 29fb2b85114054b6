"""Paths in an object store: S3 and compatible stores, Google Cloud Storage, Azure.

An object is written whole or not at all, by one PUT or a multipart upload that is completed last;
there are no folders, no links and no renames. Requests that fail for a while are retried, by the
limits in `retries`. Reading gives all bytes that were asked for, as they were at one moment, or
raises: a web page that a network sends in their place, a part of the bytes, or a mixture of two
versions is never returned. Credentials come from the environment, in the providers' own ways, and
are never part of a URL, so that no store, log or message can hold them.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import secrets
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from kmeans_dask.errors import UnreachableError, UsageError
from kmeans_dask.files import retries
from kmeans_dask.files.retries import TransientError, fetched, persistently
from kmeans_dask.time_limit import is_limited

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta
    from obstore.store import ObjectStore

T = TypeVar("T")

SCHEMES = ("s3", "gs", "az")
_HEAD = 1 << 16  # bytes of the first request of a file that is read in parts
_MOST_AHEAD = 1 << 23  # most bytes of a later one, each of which asks for twice as many
_WHOLE = 1 << 26  # most bytes of one PUT; larger objects are uploaded in parts
_LISTED = 1000  # objects in one page of a listing
_DELETED = 1000  # objects in one request
_BUSY = re.compile("408|429|5(?!01|05)..")  # status codes of failures that may pass
_DIGEST = re.compile('"?([0-9a-f]{32})"?')  # an ETag that may be the MD5 of the object
_LASTING = ("credential", "certificate", "without location")  # words in errors that do not pass
# Words in errors about answers that no object store gives, unless an answer was cut off.
_FOREIGN = ("invalid list response", "invalid DeleteObjects response", "non-partial response",
            "ETag Header missing", "Content-Range header not present")  # fmt: skip
_CREDENTIALS = re.compile(r"https?://(169\.254\.|metadata\.google\.)\S*")
_PAGE = re.compile("<!doctype html|<html", re.IGNORECASE)
_STATUS = re.compile(r"status code: (\d{3}[ \w-]*)")


class Status(NamedTuple):
    """Status of an object, with fields named as those of `os.stat`.

    st_mtime_ns: whole seconds, as S3 gives no more, plus digits below a second that depend on the
        ETag of the object, so that no change within a second goes unnoticed
    """

    st_size: int
    st_mtime_ns: int
    st_mode: int = stat.S_IFREG


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

    def __reduce__(self) -> tuple[type[ObjectPath], tuple[str]]:
        return ObjectPath, (str(self),)

    def __str__(self) -> str:
        return f"{self._bucket}/{self._key}" if self._key else self._bucket

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
        return self._at("/".join(each for each in (self._key, *parts) if each))

    def _at(self, key: str) -> ObjectPath:
        other = object.__new__(ObjectPath)
        other._bucket, other._key = self._bucket, key
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
        return self._at(self._key.rpartition("/")[0])

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

    # -- status and listings --------------------------------------------------------------------

    def stat(self) -> Status:
        """Return the status of the object. Raises FileNotFoundError where there is none."""
        name = self._named()
        return self._ask(lambda bucket: _status(self._get(bucket, name, head=True).meta))

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
        found = self._ask(lambda bucket: bucket.list_with_delimiter(self._below()))
        keys = {*found["common_prefixes"], *(each["path"] for each in found["objects"])}
        yield from (self._at(key.rstrip("/")) for key in sorted(keys))

    def walk(self) -> Iterator[Listed]:
        """Yield all objects below this name, each with its status."""
        for some in self._pages():
            for each in some:
                path = Listed(self._at(each["path"]), _status(each))
                # A marker that some tools write for an empty folder is listed, but is no object.
                if each["size"] or ObjectPath.is_file(self._at(each["path"])):
                    yield path

    def _pages(self, at_once: int | None = None) -> Iterator[Sequence[ObjectMeta]]:
        """Yield the objects below this name, in pages of at most `at_once` objects.

        After a failure the listing continues behind the last object that was listed.
        """
        pages: Iterator[Sequence[ObjectMeta]] | None = None
        last: str | None = None

        def page(bucket: ObjectStore) -> Sequence[ObjectMeta]:
            nonlocal pages
            going_on, pages = pages, None
            listing = going_on or iter(
                bucket.list(self._below(), offset=last, chunk_size=at_once or _LISTED)
            )
            found = next(listing, ())
            pages = listing
            return found

        while found := self._ask(page):
            last = found[-1]["path"]
            yield found

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
        name = self._named()

        def read(bucket: ObjectStore) -> tuple[bytes | None, Status]:
            found = self._get(bucket, name)
            data = self._whole(bucket, found) if found.meta["size"] <= size else None
            return data, _status(found.meta)

        return self._fetch(read) if is_limited() else self._ask(read)

    def read_text(self) -> str:
        """Return the object's text, in UTF-8. Raises FileNotFoundError where there is none."""
        return self.read_bytes().decode()

    def read_range(self, start: int, size: int, as_of: Status) -> bytes:
        """Return bytes of an image from offset `start` on, up to `size` of them, at least one.

        Raises OSError where the object is no longer that of the status `as_of`.
        """
        name, stop = self._named(), min(start + size, as_of.st_size)

        def read(bucket: ObjectStore) -> bytes:
            found = self._get(bucket, name, range=(start, stop))
            if not _is_as_of(found.meta, as_of):
                raise _changed(self)
            if (start, stop) == (0, as_of.st_size):
                return self._whole(bucket, found)
            data = bytes(found.bytes())
            if len(data) != stop - start:
                raise self._half()
            return data

        return self._fetch(read)

    def open(self, mode: Literal["rb"] = "rb") -> io.BufferedReader:
        """Return a binary file for reading an image, of which only what is read is fetched.

        Raises FileNotFoundError where there is no object.
        """
        return io.BufferedReader(_Reader(self, self.stat(), b""), _HEAD)

    def _get(self, bucket: ObjectStore, name: str, **options: Any) -> GetResult:
        """Return the answer to a GET request for an object, with its body still to be read.

        Raises UnreachableError where a web page answers for the store. This is checked where the
        answer is HTML or has no ETag, as all object stores supported here send one.
        """
        found = bucket.get(name, options=options)  # type: ignore[arg-type]
        kind = found.attributes.get("Content-Type") or ""
        if not found.meta["e_tag"] or (kind.startswith("text/html") and not _is_page(name)):
            self._refuse_page(bucket)
        return found

    def _refuse_page(self, bucket: ObjectStore) -> None:
        """Raise UnreachableError where any request is answered, as by the login page of a network.

        A random name is asked for, at which an object store has no object.
        """
        with suppress(FileNotFoundError, PermissionError), telling(self):
            bucket.head(f".kmeans-dask-{secrets.token_hex(8)}")
            raise self._page()

    def _whole(self, bucket: ObjectStore, found: GetResult) -> bytes:
        """Return the whole body of an answer.

        Raises TransientError where bytes are missing, or, without TLS, do not match the ETag.
        """
        data = bytes(found.bytes())
        if len(data) != found.meta["size"]:
            raise self._half()
        digest = _DIGEST.fullmatch(str(found.meta["e_tag"])) if self._is_plain else None
        if not digest or _md5(data) == digest[1]:
            return data
        # The ETag is not always an MD5, for example not of objects that the store has encrypted:
        # then the bytes are right if they come the same when fetched in two parts.
        middle = len(data) // 2
        parts = ((0, middle), (middle, len(data)))
        again = b"".join(
            bytes(self._get(bucket, found.meta["path"], range=part).bytes())
            for part in parts
            if part[0] < part[1]
        )
        if again != data and _md5(again) != digest[1]:
            raise TransientError(f"{self}: it arrives changed: its ETag is of other bytes")
        return again

    # -- writing --------------------------------------------------------------------------------

    def write_bytes(self, data: bytes) -> int:
        """Write the object, also over an earlier one, and return the number of bytes.

        Raises UsageError where the bucket does not exist.
        """
        name, is_large = self._named(), len(data) > _WHOLE
        try:
            self._ask(lambda bucket: bucket.put(name, data, use_multipart=is_large))
        except FileNotFoundError:
            raise self._no_bucket() from None
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
            return self._put(data, "create")
        except FileNotFoundError:
            raise self._no_bucket() from None

    def exchange(self, data: bytes, tag: str) -> str:
        """Overwrite the object if its ETag still is `tag`, and return its new ETag.

        Raises FileExistsError where it has another ETag, and FileNotFoundError where there is no
        object. There are no retries: after a TransientError it may have been written, or not.
        """
        return self._put(data, {"e_tag": tag})

    def tagged(self) -> Tagged:
        """Return the object with its ETag. Raises FileNotFoundError where there is none."""
        name = self._named()

        def read(bucket: ObjectStore) -> Tagged:
            found = self._get(bucket, name)
            meta, data = found.meta, self._whole(bucket, found)
            return Tagged(str(meta["e_tag"]), meta["last_modified"].timestamp(), data)

        return self._ask(read)

    def _put(self, data: bytes, mode: Any) -> str:
        name, bucket = self._named(), _bucket(self._bucket)
        with telling(self):
            return str(bucket.put(name, data, mode=mode, use_multipart=False)["e_tag"])

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Remove the object. Raises FileNotFoundError where there is none, unless `missing_ok`."""
        name = self._named()
        if not missing_ok:
            self.stat()
        with suppress(FileNotFoundError):  # some stores raise it; or a failed attempt deleted it
            self._ask(lambda bucket: bucket.delete(name))

    def remove_all(self, first: str | None = None) -> None:
        """Remove the object and all objects below its name, of which `first` is removed first."""
        if first:
            (self / first).unlink(missing_ok=True)
        keys = [path._key for path in self.walk()]
        for start in range(0, len(keys), _DELETED):
            self._delete(keys[start : start + _DELETED])
        if self._key:
            self.unlink(missing_ok=True)

    def _delete(self, keys: Sequence[str]) -> None:
        try:
            self._ask(lambda bucket: bucket.delete(keys))
        except FileNotFoundError:  # one of them is missing: the others may still be there
            for key in keys:
                self._at(key).unlink(missing_ok=True)

    def copy_to(self, target: ObjectPath) -> None:
        """Copy the object to `target`, which is in the same bucket."""
        self._ask(lambda bucket: bucket.copy(self._key, target._key))

    # -- the store below ------------------------------------------------------------------------

    @property
    def key(self) -> str:
        """Return the name of the object in its bucket."""
        return self._key

    @property
    def bucket(self) -> ObjectPath:
        """Return the path of the whole bucket."""
        return self._at("")

    def _no_bucket(self) -> UsageError:
        return UsageError(f"{self._bucket} does not exist: make the bucket first")

    def _named(self) -> str:
        if not self._key:
            raise IsADirectoryError(errno.EISDIR, "it is a bucket, not an object", str(self))
        return self._key

    def _below(self) -> str | None:
        return f"{self._key}/" if self._key else None

    @property
    def _is_plain(self) -> bool:
        """Return whether the store is reached without TLS, which would detect changed bytes."""
        return self._bucket.startswith("s3://") and _endpoint().startswith("http://")

    def _page(self) -> UnreachableError:
        return UnreachableError(
            f"{self}: a web page answers, and no object store: log in to this network, or set the "
            "right address (AWS_ENDPOINT_URL)"
        )

    def _half(self) -> TransientError:
        return TransientError(f"{self}: the object store does not send all of it")

    def _ask(self, ask: Callable[[ObjectStore], T]) -> T:
        """Return what `ask` returns of the bucket, with retries. Raises what `telling` raises."""
        bucket = _bucket(self._bucket)

        def once() -> T:
            with telling(self):
                return ask(bucket)

        return persistently(once)

    def _fetch(self, ask: Callable[[ObjectStore], T]) -> T:
        """Return what `ask` reads of an image, with retries within the time limit of the image."""
        bucket = _bucket(self._bucket)

        def once() -> T:
            with telling(self):
                return ask(bucket)

        def is_there() -> bool:
            self._refuse_page(bucket)
            return True

        return fetched(once, is_there, str(self))


@contextmanager
def telling(remote: ObjectPath) -> Iterator[None]:
    """Turn errors of obstore in the block into an OSError, UsageError or UnreachableError.

    Each has a message of one line about `remote`. Where a retry may succeed, the error is a
    TransientError. The original error is dropped, as a server's own message can name keys.
    """
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError as error:
        if error.errno:
            raise  # it is not from obstore
        if _PAGE.search(str(error)):
            raise remote._page() from None
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
        raise _failure(remote, error) from None
    except ValueError as error:
        if not str(error).startswith("Could not parse path"):
            raise
        raise OSError(errno.EINVAL, "no object can have such a name", str(remote)) from None


class _Reader(io.RawIOBase):
    """File of an object whose bytes are fetched as they are read, by ever larger requests.

    head: first bytes of the object, which are not fetched again
    """

    def __init__(self, remote: ObjectPath, status: Status, head: bytes) -> None:
        self._remote, self._status, self._size = remote, status, status.st_size
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
            self._there = self._remote.read_range(self._place, ahead, self._status)
            self._from = self._place
            start, self._ahead = 0, min(2 * self._ahead, _MOST_AHEAD)
        data = self._there[start : start + size]
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


class Listed(ObjectPath):
    """Object from a listing, which has given its status.

    head: first bytes of the object, or b"" where they have not been fetched
    """

    __slots__ = ("_head", "_status")

    def __init__(self, remote: ObjectPath, status: Status, head: bytes = b"") -> None:
        self._bucket, self._key = remote._bucket, remote._key
        self._status, self._head = status, head

    @property
    def head(self) -> bytes:
        """Return the first bytes of the object, or b"" where they have not been fetched."""
        return self._head

    def with_head(self) -> Listed:
        """Return this object after fetching its first bytes, which hold the header of an image."""
        if self._status.st_size:
            self._head = self.read_range(0, _HEAD, self._status)
        return self

    def stat(self) -> Status:
        """Return the status of the object when it was listed."""
        return self._status

    def open(self, mode: Literal["rb"] = "rb") -> io.BufferedReader:
        """Return a binary file for reading, whose first bytes are not fetched again."""
        return io.BufferedReader(_Reader(self, self._status, self._head), _HEAD)


_opened: dict[str, ObjectStore] = {}  # clients by the URLs of their buckets
_environments: dict[str, dict[str, str]] = {}  # those at which these were opened


def environment() -> dict[str, str]:
    """Return the environment variables that hold credentials and settings of object stores.

    A notebook may change these variables at any time.
    """
    named = ("AWS_", "AZURE_", "GOOGLE_", "HOME")
    return {name: value for name, value in os.environ.items() if name.startswith(named)}


def _bucket(url: str) -> ObjectStore:
    """Return the client of the bucket at `url`, opened anew where the environment has changed."""
    now = environment()
    if url not in _opened or _environments.get(url, now) != now:
        _opened[url], _environments[url] = _open(url), now
    return _opened[url]


def _open(url: str) -> ObjectStore:
    try:
        from obstore import exceptions
        from obstore.store import from_url
    except ImportError as error:
        raise UsageError(
            f"{url} needs obstore: pip install 'kmeans-dask[cloud]', here and on all workers"
        ) from error
    patient = retries.RETRY_POLICY
    given: dict[str, Any] = {
        "retry_config": patient.of_parts,
        "client_options": patient.of_client,
    }
    if url.startswith("s3://"):
        if endpoint := _endpoint():
            given["endpoint"] = endpoint
            given["client_options"]["allow_http"] = endpoint.startswith("http://")
        given |= _aws_profile()
    try:
        store: ObjectStore = from_url(url, **given)
    except (exceptions.BaseError, ValueError) as error:
        raise UsageError(f"{url} cannot be opened: {_reason(error)}") from None
    return store


def _aws_profile() -> Mapping[str, Any]:
    """Return client options from the files in ~/.aws; none where the environment has the keys."""
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


def _endpoint() -> str:
    """Return the URL of S3 that the environment names, or "" for that of Amazon."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _is_page(name: str) -> bool:
    return name.lower().endswith((".html", ".htm", ".xhtml"))


def _status(found: Mapping[str, Any] | ObjectMeta) -> Status:
    seconds = int(found["last_modified"].timestamp())
    return Status(found["size"], seconds * 10**9 + _below(str(found["e_tag"])))


def _below(tag: str) -> int:
    """Return a checksum of an ETag, as a number of nanoseconds below one second."""
    return zlib.crc32(tag.encode()) % 10**9


def _is_as_of(found: ObjectMeta, status: Status) -> bool:
    """Return whether an object has the size and the ETag of the earlier `status`.

    The ETag is compared with and without quotes, as some stores omit them in listings.
    """
    tag = str(found["e_tag"])
    tags = {tag, tag.strip('"'), f'"{tag}"'}
    return found["size"] == status.st_size and status.st_mtime_ns % 10**9 in map(_below, tags)


def _changed(remote: ObjectPath) -> OSError:
    return OSError(errno.ESTALE, "it has changed while it was read", str(remote))


def _failure(remote: ObjectPath, error: Exception) -> Exception:
    """Return the error to raise for an `error` of obstore, with a message of one line.

    It is a TransientError where a retry may succeed. Raises UnreachableError where the error comes
    of a web page that answers for the store.
    """
    from obstore import exceptions

    text = _text(error)
    status = _STATUS.search(text)
    code = status[1][:3] if status else ""
    kind: type[UnreachableError] = TransientError
    if code and not _BUSY.fullmatch(code):
        if code == "416":
            return _changed(remote)
        if code.startswith("3") or _PAGE.search(text):
            return remote._page()
        if code == "404":
            return remote._no_bucket()
        kind = UnreachableError
    elif not code and (
        isinstance(error, _refusals(exceptions)) or any(word in text.lower() for word in _LASTING)
    ):
        kind = UnreachableError
    elif any(word in text for word in _FOREIGN):
        with suppress(OSError):
            remote._refuse_page(_bucket(remote._bucket))
    return kind(f"{remote}: {_reason(error)}")


def _refusals(exceptions: Any) -> tuple[type[Exception], ...]:
    return (
        exceptions.UnauthenticatedError,
        exceptions.NotSupportedError,
        exceptions.UnknownConfigurationKeyError,
    )


def _text(error: Exception) -> str:
    """Return the message of an error without URLs, as names of objects in them can be any words.

    The URL of a machine's own server of credentials is replaced by "of credentials".
    """
    return re.sub(r"https?://\S+", "", _CREDENTIALS.sub("of credentials", str(error)))


def _quoted(error: Exception) -> str:
    """Return the name, in quotes, that an error is about."""
    name = re.search(r'[Pp]ath ("[^"]*")', str(error))
    return repr(name[1].strip('"')) if name else "which is not said"


def _reason(error: Exception) -> str:
    """Return the reason of an error in one line.

    A server's own message can name keys, so that only its status is passed on.
    """
    from obstore import exceptions

    if isinstance(error, exceptions.UnauthenticatedError):
        return "the credentials are refused, or there are none"
    text = _text(error)
    status = _STATUS.search(text)
    if status and "of credentials" not in text:
        return f"the object store answers {status[1].strip()}"
    if "without LOCATION" in text:
        return "its bucket is in another region: set AWS_REGION"
    if "certificate" in text.lower():
        return "the certificate of the object store is not one to trust"
    if "credential" in text.lower():
        return "there are no credentials in the environment, see docs/storage.md"
    if any(word in text for word in _FOREIGN):
        return "what answers is not the language of an object store"
    return "the object store does not answer"
