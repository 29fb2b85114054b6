"""Folders of compiled kernels, which are code: taken only where nobody else can have written it.

They are numba's own places, but for those that a file or a path of the current folder would name:
images may have brought it. Nothing here imports numba, which takes long.
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
_MODE = 0o755  # of what is made here: whatever the umask is, nobody else writes there
_PACKAGE = Path(os.path.realpath(__file__)).parent


def kernel_folder(source: Path) -> Path | None:
    """The folder that keeps the kernels of the file `source`, made if need be; None if none is fit.

    It is private, and can be written to unless it is the one that an image brings.
    """
    for place in _places(source):
        folder = _made(place)
        if folder:
            return folder
    shipped = os.environ.get("KMEANS_DASK_KERNELS")
    folder = _real(Path(shipped, _name(source))) if shipped else None
    return folder if folder and is_private(folder) else None


def is_private(folder: Path) -> bool:
    """Whether nobody but this user and root can write in `folder`, or put another in its place.

    folder: without links. Those above it count as well, up to this user's home, or to this package:
    who can write there need not go by way of kernels.
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
    except OSError:  # it is not there, or not for us to see
        return False
    return folder.is_absolute()


def is_own(path: Path) -> bool:
    """Whether `path` is a file or folder of this user's or root's that nobody else can write.

    Raises OSError where there is none.
    """
    status = path.lstat()
    is_plain = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    return is_plain and status.st_uid in _trusted() and not status.st_mode & _OTHERS


def bring_kernels(source: str | None, cache: str | None) -> None:
    """Copy the kernels that an image brings, compiled, to numba's cache, if there is none yet.

    Numba adds to its cache, and the image may be read-only. Whole or not at all: several processes
    may begin at once. Without them kernels are compiled as ever.
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
    except OSError:  # no image, no space, or another process was first
        shutil.rmtree(passing, ignore_errors=True)


def _places(source: Path) -> Iterator[Path]:
    """Where numba keeps what it compiles of `source`, in its order."""
    cache = os.environ.get("NUMBA_CACHE_DIR")
    if cache:
        yield Path(cache, _name(source))
    yield source.parent / "__pycache__"
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    yield Path(home, "numba", _name(source))


def _name(source: Path) -> str:
    """Numba's, of the folder of a source in a cache of many."""
    folder = str(source.parent)
    return f"{source.parent.name}_{hashlib.sha1(folder.encode()).hexdigest()}"  # noqa: S324


@functools.cache  # there are dozens of kernels in a few folders
def _made(place: Path) -> Path | None:
    """The folder at `place`, if it is private and can be written to."""
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
    """The folder without links; None of a path that is another one in each current folder."""
    return Path(os.path.realpath(place)) if place.is_absolute() else None


def _keeps_names(folder: Path) -> bool:
    """Whether nobody can rename in `folder` what is not theirs, though all may write there."""
    status = folder.lstat()
    return bool(status.st_mode & stat.S_ISVTX) and status.st_uid in _trusted()


def _trusted() -> tuple[int, int]:
    return os.geteuid(), 0


def _strange(folder: str, names: list[str]) -> list[str]:
    """Of the files in a folder those that somebody else could have written."""
    return [name for name in names if not is_own(Path(folder, name))]
