"""Files that are never seen half-written, and sealed files, which show when they are damaged.

A sealed file is JSON below a line with its SHA-256, so that a changed byte is detected.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import stat
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from kmeans_dask.errors import UsageError
from kmeans_dask.files.documents import DamagedError, Form
from kmeans_dask.files.location import Location
from kmeans_dask.files.object_path import ObjectPath

T = TypeVar("T")

AT_WORK = ".at-work-"  # begins the names of folders that a run has only while it runs
_PASSING = ".kmeans-dask-"  # begins the names of temporary files, which a killed run may leave


def write_file(path: Location, data: bytes, aside: Location | None = None) -> None:
    """Write `data` to `path`, where it is never seen half-written.

    aside: local folder for the temporary file that becomes a local file; None for that of `path`
    """
    if isinstance(path, ObjectPath):
        path.write_bytes(data)
        return
    folder = aside if isinstance(aside, Path) else path.parent
    passing = folder / f"{_PASSING}{secrets.token_hex(8)}"
    try:
        try:
            passing.write_bytes(data)
            passing.replace(path)
        except FileNotFoundError:  # the folders exist for all files but the first
            for each in (path.parent, folder):
                each.mkdir(parents=True, exist_ok=True)
            passing.write_bytes(data)
            passing.replace(path)
    except BaseException:
        passing.unlink(missing_ok=True)
        raise


def read_regular(path: Location, at_most: int) -> bytes | None:
    """Return all bytes of a file; None where it has more than `at_most`, or grows while it is read.

    Raises FileNotFoundError, and DamagedError where it is no regular file, as opening a pipe would
    wait for its writer.
    """
    if isinstance(path, ObjectPath):
        return path.read_at_most(at_most)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DamagedError(f"{path} is not a regular file")
    if status.st_size > at_most:
        return None
    with path.open("rb") as file:
        data = file.read(status.st_size)
        return None if file.read(1) else data


def is_temporary(name: str) -> bool:
    """Return whether a file of this name is temporary: one of this package, or of Zarr."""
    return name.startswith(_PASSING) or name.endswith(".partial")


def sweep(folder: Location) -> None:
    """Remove the temporary files that killed runs left in `folder`; object stores have none."""
    if isinstance(folder, ObjectPath):
        return
    for path in list(folder.iterdir()):
        if path.name.startswith(_PASSING) and not path.is_dir():
            path.unlink(missing_ok=True)


def remove(path: Location, first: str | None = None) -> None:
    """Remove a file, a folder with all in it, or a link, but not what the link leads to.

    first: in an object store, the object below `path` that is removed before all others, so that
        it is missing in what an interrupted removal leaves
    """
    if isinstance(path, ObjectPath):
        path.remove_all(first)
        return
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def copy_folder(source: Location, target: Location, last: str) -> None:
    """Copy a folder, whole or not at all, to `target`, which must not exist.

    last: in an object store, the object that is copied last, which shows that all are there
    """
    if isinstance(source, ObjectPath) and isinstance(target, ObjectPath):
        names = [path.relative_to(source) for path in source.walk()]
        for name in sorted(names, key=lambda name: str(name) == last):
            (source / name).copy_to(target / name)
    elif isinstance(source, Path) and isinstance(target, Path):
        passing = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
        try:
            shutil.copytree(source, passing, symlinks=True)
            passing.rename(target)
        finally:
            shutil.rmtree(passing, ignore_errors=True)
    else:
        raise AssertionError("a folder and its copy are in one store")


def bytes_below(folder: Location) -> int:
    """Return the size in bytes of all files in a folder and the folders in it."""
    if isinstance(folder, ObjectPath):
        return sum(path.stat().st_size for path in folder.walk())
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def sealed(value: Any, form: Form[Any]) -> bytes:
    """Return the bytes that `write_sealed` writes.

    value: what JSON can hold, with records among it

    Raises UsageError where they are more than `form` allows to be read again.
    """
    data = json.dumps(value, separators=(",", ":"), default=msgspec.to_builtins).encode()
    content = hashlib.sha256(data).hexdigest().encode() + b"\n" + data
    if len(content) > form.at_most:
        raise UsageError(
            f"a plan or record of {len(content):,} bytes, of which at most {form.at_most:,} can be "
            "read again, is not written: name fewer images at once"
        )
    return content


def write_sealed(path: Location, value: Any, form: Form[Any]) -> None:
    """Write `value` as a sealed file; see `sealed`, which may raise UsageError."""
    write_file(path, sealed(value, form))


def read_sealed(path: Location, form: Form[T]) -> T:
    """Return the value in a sealed file. Raises FileNotFoundError, and DamagedError for damage."""
    found = read_regular(path, form.at_most)
    if found is None:
        raise DamagedError(f"{path} is too large")
    seal, _, data = found.partition(b"\n")
    if hashlib.sha256(data).hexdigest().encode() != seal:
        raise DamagedError(f"{path} is damaged")
    try:
        return form.decode(data)
    except DamagedError as error:  # the seal is right, but this package never writes such content
        raise DamagedError(f"{path} is damaged: {error}") from error


def check_new_file(path: Location, another: str = "name another file", *, overwrite: bool) -> None:
    """Raise UsageError where `path` is a folder, or a file that may not be overwritten.

    another: remedy in the message
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder: {another}")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists already: {another}, or add --overwrite")


def clear(folder: Location, keep: str) -> None:
    """Remove all in `folder`, also links, except `keep` and temporary folders of a running job."""
    children: list[Location] = list(folder.iterdir())
    for path in children:
        if path.name == keep or path.name.startswith(AT_WORK):
            continue
        if isinstance(path, ObjectPath):
            path.remove_all()
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def names_in(folder: Location) -> set[str]:
    """Return the names of what is in a folder."""
    return {path.name for path in folder.iterdir()}


def folders_in(folder: Location) -> list[Location]:
    """Return the folders in `folder`, in the order of names; none where it is no folder."""
    if not folder.is_dir():
        return []
    children: list[Location] = list(folder.iterdir())
    return [path for path in sorted(children, key=str) if path.is_dir()]


def sync(folder: Location) -> None:
    """Wait until what was written to the file system of `folder` would survive a power cut."""
    if isinstance(folder, ObjectPath):
        return  # an object store keeps what it has accepted
    os.sync()
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
