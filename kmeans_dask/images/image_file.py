"""Image files: they are opened within limits and recognised, and all errors are ImageErrors."""

from __future__ import annotations

import io
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import IO, TypeVar

from PIL import Image, ImageFile

from kmeans_dask.errors import ImageError, NoImageError, UnreachableError
from kmeans_dask.files import Location, ObjectPath
from kmeans_dask.formats.signatures import (
    HEAD,
    NAMES,
    is_called_image,
    is_called_raw,
    other_image,
    sniff,
)

T = TypeVar("T")

# Some decoders read a whole file before they look at it. The largest files of a limit's pixels have
# 8 bytes each, of 16-bit RGBA; beside them there is room for metadata and previews.
_BYTES_PER_PIXEL, _BYTES_BESIDE = 8, 1 << 24


class _NoWarnings:
    """Context manager that silences warnings as long as any thread is inside its block.

    `catch_warnings` restores, when a thread leaves, the filters that this thread found, though
    other threads may still be inside. So only the first thread to enter silences warnings, and only
    the last one to leave restores them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.__exit__(None, None, None)


_no_warnings = _NoWarnings()


@contextmanager
def open_image_file(
    path: Location,
    max_pixels: int,
    read: Callable[[str, IO[bytes], int], T],
    *,
    whole: bool = False,
) -> Iterator[T]:
    """Open the file at `path` and yield what `read` returns for its header.

    read: function of the format, the file and the limit on pixels
    whole: whether all of the file will be read, so that a remote object is fetched by one request

    Raises ImageError in place of every exception but UnreachableError, also of those in the `with`
    block: decoders raise nearly every kind on hostile files.
    """
    kind = None
    try:
        with closing(_file(path, max_pixels, whole=whole)) as file, _no_warnings:
            kind = _kind(path.name, file.read(HEAD))
            yield read(kind, file, max_pixels)
    except (ImageError, UnreachableError):
        raise
    except Exception as error:
        raise ImageError(_reason(error, kind)) from error


def _file(path: Location, max_pixels: int, *, whole: bool) -> IO[bytes]:
    """Return the file at `path`, open for reading; a remote one that is read whole is in memory.

    Raises ImageError or NoImageError where the file is not a regular one, is empty, or has more
    bytes than `max_pixels` pixels can need.
    """
    most = max_pixels * _BYTES_PER_PIXEL + _BYTES_BESIDE
    data = path.read_at_most(most) if whole and isinstance(path, ObjectPath) else None
    if data:  # fetched by one request; asking for the size would be another
        return io.BytesIO(data)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise _no_image(path.name, "not a regular file")
    if status.st_size == 0:
        raise _no_image(path.name, "the file is empty")
    if status.st_size > most:
        reason = (
            f"{status.st_size} bytes are more than {max_pixels} pixels, the limit, can need: "
            "raise --max-pixels"
        )
        if is_called_image(path.name):
            raise ImageError(reason)
        with path.open("rb") as file:
            _kind(path.name, file.read(HEAD))
        raise ImageError(reason)
    return path.open("rb")


def _kind(name: str, head: bytes) -> str:
    """Return the format of a file, one of `FORMATS`, from its name and its first bytes.

    Raises ImageError for a format that is not supported; NoImageError for a camera's raw file, and
    for a file that is no image by content and by name.
    """
    kind = sniff(head)
    if is_called_raw(name):
        raise NoImageError("the raw data of a camera, which are not supported: develop them first")
    if kind:
        return kind
    other = other_image(head)
    if other:
        raise ImageError(f"{other}, which is not supported: convert it to PNG, say")
    raise _no_image(name, "not an image, whatever it is called")


def _no_image(name: str, reason: str) -> ImageError:
    """Return an ImageError for a file whose name is that of an image, else a NoImageError."""
    return ImageError(reason) if is_called_image(name) else NoImageError(reason)


def _reason(error: Exception, kind: str | None) -> str:
    """Return the message of an ImageError for another exception: one short line for a user.

    The messages of libraries are left out, since only those who know a library understand them.
    """
    if isinstance(error, MemoryError):
        return "takes more memory to decode than there is"
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than twice the limit of this process for Pillow, MAX_IMAGE_PIXELS"
    if "MAX_TEXT_CHUNK" in str(error):
        return f"a PNG whose colour profile or text has more than {ImageFile.SAFEBLOCK} bytes"
    if isinstance(error, OSError) and error.errno and error.strerror:
        return error.strerror
    return f"{NAMES[kind] if kind else 'a file'} that is damaged or cut off"
