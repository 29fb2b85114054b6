"""Files that are never seen half-written, that show when they are damaged, and that one run holds.

A sealed file is JSON below a line with its SHA-256: of a byte that changed, it tells.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kmeans_dask.errors import UsageError

_MAX_BYTES = 1 << 31  # of a sealed file: a plan of some million images
AT_WORK = ".at-work-"  # begins the names of folders that are there while a run is
_PASSING = ".kmeans-dask-"  # begins the names of files that a killed run may leave


class DamagedError(ValueError):
    """A sealed file is not what was written."""


def write_file(path: Path, data: bytes, aside: Path | None = None) -> None:
    """Write `data` to `path`, by way of a passing file in the folder `aside`, or beside it."""
    for folder in (path.parent, aside or path.parent):
        folder.mkdir(parents=True, exist_ok=True)
    passing = (aside or path.parent) / f"{_PASSING}{secrets.token_hex(8)}"
    try:
        passing.write_bytes(data)
        passing.replace(path)
    finally:
        passing.unlink(missing_ok=True)


def is_passing(name: str) -> bool:
    """Whether a file of this name is half-written: ours, or Zarr's."""
    return name.startswith(_PASSING) or name.endswith(".partial")


def sweep(folder: Path) -> None:
    """Remove the passing files that killed runs left in `folder`."""
    for path in list(folder.iterdir()):
        if path.name.startswith(_PASSING) and not path.is_dir():
            path.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file, a folder with all in it, or a link in its place."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def write_sealed(path: Path, value: Any) -> None:
    """Write `value`, which JSON can hold, so that damage shows."""
    data = json.dumps(value, separators=(",", ":")).encode()
    write_file(path, hashlib.sha256(data).hexdigest().encode() + b"\n" + data)


def read_sealed(path: Path) -> Any:
    """What was sealed. Raises FileNotFoundError, and DamagedError where it is not that any more."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # to open a pipe is to wait for its writer
        raise DamagedError(f"{path} is not a regular file")
    if status.st_size > _MAX_BYTES:
        raise DamagedError(f"{path} is too large")
    seal, _, data = path.read_bytes().partition(b"\n")
    if hashlib.sha256(data).hexdigest().encode() != seal:
        raise DamagedError(f"{path} is damaged")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:  # somebody has sealed what we never write
        raise DamagedError(f"{path} is damaged: {error}") from error


def check_new_file(path: Path, another: str = "name another file", *, overwrite: bool) -> None:
    """Raise UsageError where there is something at `path` that is to stay.

    another: what else a user can do
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder: {another}")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists already: {another}, or add --overwrite")


@contextmanager
def locked(path: Path, what: str, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock file `path`; others may hold it as well where all want it `shared`.

    The kernel lets go of it when the process ends, however it does: no crash and no reboot
    leaves a lock behind. Raises UsageError where another run holds it, or where it is a link.
    """
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            if path.is_symlink():
                raise UsageError(f"{path} is a link: remove it") from error
            raise
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(file)
            raise UsageError(
                f"another run is at work on {what}: wait for its end, or stop it"
            ) from error
        if _is_at(path, file):
            break
        os.close(file)  # who held it has removed it, and somebody may have made another one
    try:
        yield
    finally:
        os.close(file)


@contextmanager
def held(folder: Path, lock: str, what: str) -> Iterator[None]:
    """Hold `folder`, which is made where there is none, by the file `lock` in it.

    What holds nothing else in the end goes again, and so do the folders around it that were made.
    Raises UsageError where another run holds it, or where something is in its way.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{error.filename} is in the way: it is no folder") from error
    with locked(folder / lock, what):
        try:
            yield
        finally:
            if names_in(folder) <= {lock}:
                (folder / lock).unlink(missing_ok=True)
                for path in missing:
                    if not names_in(path):
                        path.rmdir()


def clear(folder: Path, keep: str) -> None:
    """Remove all in `folder` but for `keep` and what a run at work has; of links, the links."""
    for path in folder.iterdir():
        if path.name == keep or path.name.startswith(AT_WORK):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False


def is_path(value: Any) -> bool:
    """Whether there can be a file of that path: JSON has more characters than file systems."""
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def names_in(folder: Path) -> set[str]:
    """What is in a folder."""
    return {path.name for path in folder.iterdir()}


def sync(folder: Path) -> None:
    """Wait until what was written to the file system of `folder` would survive a power cut."""
    os.sync()
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
