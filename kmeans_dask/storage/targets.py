"""Places that are to be written to: what is wrong with one is said before anything is done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kmeans_dask.errors import UsageError
from kmeans_dask.storage.place import Place

# Of files that hold an image: who writes such a name for a folder has meant a file.
_OF_IMAGES = (
    ".apng", ".avif", ".bmp", ".dng", ".gif", ".heic", ".heif", ".ico", ".j2k", ".jfif", ".jp2",
    ".jpe", ".jpeg", ".jpg", ".jxl", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".svg", ".tga",
    ".tif", ".tiff", ".webp",
)  # fmt: skip


@contextmanager
def beginning(what: str, else_: str = "name another folder") -> Iterator[None]:
    """An OSError inside the block, in which writing begins, is a UsageError with the remedy.

    what: what is written to; else_: what a user can do
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{what} cannot be written ({reason}): {else_}") from error


def check_folder(path: Place, what: str) -> None:
    """Raise UsageError where `path` can name no folder, or looks as if a file was meant.

    what: the name that a user knows it by
    """
    with beginning(f"{what} {path}"):
        is_folder = path.is_dir()
        if isinstance(path, Path):
            _stat(path)
    looks_like = path.name == "-" or path.suffix.lower() in _OF_IMAGES
    if looks_like and not is_folder and not path.exists():
        raise UsageError(f"{what} {path} looks like a file: name a folder to write to")


def check_file(path: Place, what: str) -> None:
    """Raise UsageError where `path` can name no file."""
    with beginning(f"{what} {path}", "name another file"):
        if isinstance(path, Path):
            _stat(path)
    if path.name == "-":
        raise UsageError(f"{what} {path} is no name of a file: name one")


def _stat(path: Path) -> None:
    """Raise OSError where nothing can ever be at `path`: of a name too long, a circle of links."""
    with suppress(FileNotFoundError, NotADirectoryError):
        path.stat()


def exists(path: Path) -> bool:
    """Whether there is anything; not where nobody can tell, of which `Path.exists` raises."""
    return os.path.exists(path)  # noqa: PTH110


def in_the_way(folder: Path) -> Path | None:
    """Return the first of `folder` and its parents that is no folder."""
    there = (path for path in (folder, *folder.parents) if os.path.lexists(path))
    return next((path for path in there if not path.is_dir()), None)
