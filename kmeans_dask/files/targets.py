"""Checks of the files and folders to write to, made before any work is done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kmeans_dask.errors import UsageError
from kmeans_dask.files.location import Location

# Suffixes of image files: where a new folder has such a name, a file was probably meant.
_OF_IMAGES = (
    ".apng", ".avif", ".bmp", ".dng", ".gif", ".heic", ".heif", ".ico", ".j2k", ".jfif", ".jp2",
    ".jpe", ".jpeg", ".jpg", ".jxl", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".svg", ".tga",
    ".tif", ".tiff", ".webp",
)  # fmt: skip


@contextmanager
def beginning(what: str, else_: str = "name another folder") -> Iterator[None]:
    """Turn an OSError inside the block, in which writing begins, into a UsageError.

    what: name in the message of what is written to
    else_: remedy in the message
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{what} cannot be written ({reason}): {else_}") from error


def check_folder(path: Location, what: str) -> None:
    """Raise UsageError where `path` cannot be looked up, or is new and looks like a file.

    what: name of the folder in messages

    An existing file at `path` is not refused here.
    """
    with beginning(f"{what} {path}"):
        is_folder = path.is_dir()
        if isinstance(path, Path):
            _stat(path)
    looks_like = path.name == "-" or path.suffix.lower() in _OF_IMAGES
    if looks_like and not is_folder and not path.exists():
        raise UsageError(f"{what} {path} looks like a file: name a folder to write to")


def check_file(path: Location, what: str) -> None:
    """Raise UsageError where `path` cannot be looked up, or is "-".

    what: name of the file in messages

    An existing folder at `path` is not refused here.
    """
    with beginning(f"{what} {path}", "name another file"):
        if isinstance(path, Path):
            _stat(path)
    if path.name == "-":
        raise UsageError(f"{what} {path} is no name of a file: name one")


def _stat(path: Path) -> None:
    """Raise OSError where `path` cannot be looked up: too long a name, a loop of symbolic links."""
    with suppress(FileNotFoundError, NotADirectoryError):
        path.stat()


def exists(path: Path) -> bool:
    """Return whether `path` exists, or False where that is unknown and `Path.exists` raises."""
    return os.path.exists(path)  # noqa: PTH110


def in_the_way(folder: Path) -> Path | None:
    """Return the first of `folder` and its parents that is something else than a folder.

    Missing ones are passed over. Return None where there is no such thing.
    """
    there = (path for path in (folder, *folder.parents) if os.path.lexists(path))
    return next((path for path in there if not path.is_dir()), None)
