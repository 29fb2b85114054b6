"""Folders that compiled kernels are cached in, and the check that no other user can write there.

A cached kernel is machine code: whoever can write it can run code as this user. The folders are
the ones that numba uses, in numba's order, without those that a relative path or a file in the
current folder would name: that folder may hold images from anywhere. This module does not import
numba, which is slow.
"""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_MODE = 0o755  # mode of new folders: no other user can write in them, whatever the umask is
_PACKAGE = Path(os.path.realpath(__file__)).parent


def kernel_folder(source: Path) -> Path | None:
    """Return the folder for the cached kernels of the file `source`, or None where none is safe.

    The folder is private (see `is_private`) and is created where it does not exist. It is writable,
    unless it is the one that a container image was built with (`KMEANS_DASK_KERNELS`).
    """
    for place in _places(source):
        folder = _made(place)
        if folder:
            return folder
    shipped = os.environ.get("KMEANS_DASK_KERNELS")
    folder = _real(Path(shipped, _name(source))) if shipped else None
    return folder if folder and is_private(folder) else None


def is_private(folder: Path) -> bool:
    """Return whether only this user and root can write in `folder` or replace it.

    folder: an absolute path without symbolic links

    The parent folders are checked as well, up to this user's home or to this package: whoever can
    write in one of these two can already change the code that is run.
    """
    try:
        if not is_own(folder):
            return False
        home = _real(Path(os.path.expanduser("~")))  # noqa: PTH111 - Path's raises where none is
        for above in folder.parents:
            if above == _PACKAGE:
                return True
            if not is_own(above) and not _keeps_names(above):
                return False
            if above == home:
                return True
    except OSError:  # a folder is missing, or cannot be looked at
        return False
    return folder.is_absolute()


def is_own(path: Path) -> bool:
    """Return whether `path` is owned by this user or root, and writable by nobody else.

    The answer is no for a symbolic link, and for anything but a file or a folder. Raises OSError
    where nothing is at `path`.
    """
    status = path.lstat()
    is_plain = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    return is_plain and status.st_uid in _trusted() and not status.st_mode & _OTHERS


def bring_kernels(source: str | None, cache: str | None) -> None:
    """Copy the kernels that a container image was built with to numba's cache, if that is absent.

    source: the folder of the kernels; cache: the folder of numba's cache, an absolute path

    The copy is needed because numba adds files to its cache, and the image may be read-only. It
    appears whole or not at all, since several processes may start at once. Where it cannot be made,
    kernels are compiled when they are first called.
    """
    if not source or not cache or not Path(cache).is_absolute() or Path(cache).exists():
        return
    folder = _real(Path(source))
    if not folder or not is_private(folder):
        return
    passing = f"{cache}.{secrets.token_hex(8)}"
    try:
        shutil.copytree(folder, passing, ignore=_strange)
        Path(passing).rename(cache)
    except OSError:  # no kernels, no space, or another process was first
        shutil.rmtree(passing, ignore_errors=True)


def _places(source: Path) -> Iterator[Path]:
    """Yield the folders where numba would cache the kernels of `source`, first choice first."""
    cache = os.environ.get("NUMBA_CACHE_DIR")
    if cache:
        yield Path(cache, _name(source))
    yield source.parent / "__pycache__"
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    yield Path(home, "numba", _name(source))


def _name(source: Path) -> str:
    """Return the name that numba gives to the folder of `source` in a cache of many sources."""
    folder = str(source.parent)
    return f"{source.parent.name}_{hashlib.sha1(folder.encode()).hexdigest()}"  # noqa: S324


@functools.cache  # there are dozens of kernels in a few folders
def _made(place: Path) -> Path | None:
    """Return the folder `place`, created if need be, or None if it is not private and writable."""
    folder = _real(place)
    if not folder:
        return None
    try:
        for each in reversed((folder, *folder.parents)):
            if not each.exists():
                each.mkdir(_MODE, exist_ok=True)
        if not is_private(folder):
            return None
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return None
    return folder


def _real(place: Path) -> Path | None:
    """Return `place` without symbolic links, or None where the path is relative."""
    return Path(os.path.realpath(place)) if place.is_absolute() else None


def _keeps_names(folder: Path) -> bool:
    """Return whether users can rename only their own files in `folder`: it is sticky, like /tmp."""
    status = folder.lstat()
    return bool(status.st_mode & stat.S_ISVTX) and status.st_uid in _trusted()


def _trusted() -> tuple[int, int]:
    return os.geteuid(), 0


def _strange(folder: str, names: list[str]) -> list[str]:
    """Return those of the files `names` in `folder` that another user could have written."""
    return [name for name in names if not is_own(Path(folder, name))]
