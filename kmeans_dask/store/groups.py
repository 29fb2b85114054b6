"""Zarr groups that are committed whole, sealed, and checked wherever they are read.

Each array's chunks carry a checksum of their own. The seal, a file beside them, holds those of
the metadata: so no byte of a group can change and go unnoticed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec

from kmeans_dask.clustering.counts import ColorCounts
from kmeans_dask.errors import StoreError
from kmeans_dask.files import AT_WORK, DamagedError, is_passing, read_sealed, remove, write_sealed

_CHUNK_COLORS = 1 << 20
_MAX_CHUNK = 1 << 25  # bytes of one that is read: twice what is written
_MAX_DOCUMENT = 1 << 30  # bytes of a zarr.json: thousands of images with all their metadata
_CODECS = (BytesCodec, BloscCodec, Crc32cCodec)
# Types of each array, and its shape after the first axis, None for any.
_ARRAYS: Mapping[str, tuple[tuple[str, ...], tuple[int, ...] | None]] = {
    "pixels": (("uint8",), (3,)),
    "alphas": (("uint8",), ()),
    "codes": (("uint32",), ()),
    "weights": (("int64",), ()),
    "centroids": (("float64",), None),
    "entries": (("uint8",), (4,)),
    "indices": (("uint8", "uint16"), ()),
}
# What Zarr raises of documents that are not as they should be.
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError)
_SEAL = "seal.json"
_METADATA = "zarr.json"
_SEALED = re.compile(r"([a-z]+/)?zarr\.json")  # what a seal may be of: nothing elsewhere


@contextmanager
def aside(parent: Path, name: str, *, replace: bool = False) -> Iterator[zarr.Group]:
    """A group under a passing name, sealed and renamed to `name` when the block ends well."""
    passing = parent / f".{name}-{secrets.token_hex(4)}"
    if (parent / name).is_symlink():
        (parent / name).unlink()
    try:
        yield zarr.create_group(passing, zarr_format=3)
        seal(passing, members(passing))
        old = parent / f"{passing.name}-old"
        if replace and (parent / name).exists():
            (parent / name).rename(old)
        try:
            passing.rename(parent / name)
        except OSError:
            if old.exists():
                old.rename(parent / name)
                raise
            if not (parent / name).is_dir():  # else another attempt was first
                raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(passing, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what killed tasks have left in `folder`, if there is one."""
    if not folder.is_dir():
        return
    for entry in list(os.scandir(folder)):
        is_group = entry.name[0] == "." and entry.is_dir(follow_symlinks=False)
        if (is_group or is_passing(entry.name)) and not entry.name.startswith(AT_WORK):
            remove(Path(entry.path))


def members(folder: Path) -> list[str]:
    """Names of the groups that were committed in `folder`, ascending; no links to any."""
    if not folder.is_dir():
        return []
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_dir(follow_symlinks=False) and entry.name[0] != "."
    )


def is_member(path: Path) -> bool:
    """Whether a group was committed at `path`; a link to one is none."""
    return path.is_dir() and not path.is_symlink()


def format_of(path: Path) -> tuple[Any, Any] | None:
    """Format and version that the group at `path` says it has; None where nobody can read it."""
    try:
        check_document(path)
        attrs = json.loads((path / _METADATA).read_bytes())["attributes"]
        return attrs["format"], attrs["format_version"]
    except (StoreError, *MALFORMED):
        return None


class Document(dict[str, Any]):
    """What a document says, of which nothing that is asked for may be missing."""

    def __missing__(self, key: str) -> Any:
        raise StoreError(f"the store is damaged: it does not say its {key}")


def check_document(path: Path, name: str = _METADATA) -> None:
    """Raise StoreError where a document of the group at `path` is none, or too large to parse."""
    try:
        status = (path / name).stat()
    except FileNotFoundError as error:
        raise StoreError(f"{path} is damaged: it has lost {name}") from error
    except OSError as error:
        raise StoreError(f"{path} is damaged: {error.strerror}: {name}") from error
    if not stat.S_ISREG(status.st_mode):  # to open a pipe is to wait for its writer
        raise StoreError(f"{path} is damaged: its {name} is not a regular file")
    if status.st_size > _MAX_DOCUMENT:
        raise StoreError(f"{path} is damaged: its {name} has {status.st_size} bytes")


def make_way(path: Path) -> None:
    """Remove what is in the place of a file and is none: nothing can be renamed over a folder."""
    if path.is_dir():
        remove(path)


def seal(folder: Path, inside: Iterable[str]) -> None:
    """Note what the metadata of a group is, and of the members `inside` that have no own seal."""
    make_way(folder / _SEAL)
    names = [_METADATA, *(f"{name}/{_METADATA}" for name in inside)]
    write_sealed(folder / _SEAL, {name: _digest(folder / name) for name in names})


def rewrite_metadata(folder: Path, attrs: Mapping[str, Any]) -> None:
    """Write the metadata of a group anew; its members stay as they are."""
    passing = folder / f".{_METADATA}-{secrets.token_hex(4)}"
    zarr.create_group(passing, zarr_format=3, attributes=dict(attrs))
    folder.mkdir(parents=True, exist_ok=True)
    make_way(folder / _METADATA)
    (passing / _METADATA).replace(folder / _METADATA)
    shutil.rmtree(passing)


def open_group(path: Path) -> zarr.Group:
    """A group whose metadata are as they were sealed. Raises StoreError."""
    check_seal(path)
    try:
        return zarr.open_group(path, mode="r", zarr_format=3)
    except MALFORMED as error:
        raise StoreError(f"{path} is damaged: {error}") from error


def check_seal(path: Path) -> None:
    """Raise StoreError unless the metadata of the group at `path` are as they were sealed."""
    try:
        sealed = read_sealed(path / _SEAL)
        is_ours = isinstance(sealed, dict) and all(map(_SEALED.fullmatch, sealed))
        if not is_ours or _METADATA not in sealed:
            raise StoreError(f"{path} is damaged: its seal is none")
        for name, digest in sealed.items():
            check_document(path, name)
            if _digest(path / name) != digest:
                raise StoreError(f"{path} is damaged: {name} is not as it was written")
    except FileNotFoundError as error:
        missing = Path(error.filename).relative_to(path)
        raise StoreError(f"{path} is damaged: it has lost {missing}") from error
    except (DamagedError, OSError) as error:
        raise StoreError(f"{path} is damaged: {error}") from error


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def folder_of(group: zarr.Group) -> Path:
    """Where a group is."""
    return Path(group.store_path.store.root, group.path)  # type: ignore[attr-defined]


def read(array: zarr.Array[Any], place: slice = slice(None)) -> NDArray[Any]:
    """Part of an array, whose checksums are looked at. Raises StoreError."""
    try:
        return np.asarray(array[place])
    except (ValueError, RuntimeError, OSError) as error:  # a checksum, a codec, the disk
        raise StoreError(f"{array.store_path} is damaged: {error}") from error


def open_array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """An array with all its chunks. Raises StoreError for any that we do not write."""
    try:
        check_document(folder_of(group), f"{name}/{_METADATA}")
        array = group[name]
    except MALFORMED as error:
        raise StoreError(f"{group.store_path}/{name} is damaged: {error}") from error
    if not isinstance(array, zarr.Array) or name not in _ARRAYS:
        raise StoreError(f"{array.store_path} is damaged: it is no array of ours")
    dtypes, tail = _ARRAYS[name]
    is_ours = array.dtype.name in dtypes and array.ndim > 0 and tail in (None, array.shape[1:])
    codecs = getattr(array.metadata, "codecs", ())
    chunk = math.prod(array.chunks) * array.dtype.itemsize
    if not is_ours or chunk > _MAX_CHUNK or not all(isinstance(each, _CODECS) for each in codecs):
        raise StoreError(f"{array.store_path} is damaged: no store has such an array")
    missing = array.nchunks - array.nchunks_initialized
    if missing:  # Zarr would read zeros
        raise StoreError(f"{array.store_path} is damaged: {missing} of its chunks are missing")
    return array


def check_group(path: Path) -> None:
    """Read all that a group holds, of arrays. Raises StoreError where anything is damaged."""
    group = open_group(path)
    for name in members(path):
        if (path / name / _SEAL).exists():
            continue  # a group by itself
        array = open_array(group, name)
        length = array.chunks[0]
        for start in range(0, array.shape[0], length):
            read(array, slice(start, start + length))


def create_array(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: np.dtype[Any],
) -> zarr.Array[Any]:
    """An array whose chunks are checksummed, and written even where they are all zero."""
    return group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        # Decided by time: LZ4 costs half of what fast zstd does, and photographs shrink by neither.
        compressors=[
            BloscCodec(cname="lz4", clevel=1, shuffle="shuffle", typesize=dtype.itemsize),
            Crc32cCodec(),
        ],
        config={"write_empty_chunks": True},
    )


def write(group: zarr.Group, name: str, values: NDArray[Any]) -> None:
    """A new array with `values`."""
    length = max(1, min(_CHUNK_COLORS, len(values)))
    array = create_array(group, name, values.shape, (length, *values.shape[1:]), values.dtype)
    if values.size:
        array[:] = values


def write_counts(group: zarr.Group, counts: ColorCounts) -> None:
    """Colour counts, as two arrays."""
    write(group, "codes", counts.codes)
    write(group, "weights", counts.weights)


def read_counts(group: zarr.Group, start: int = 0, stop: int | None = None) -> ColorCounts:
    """Colours `start` to `stop` of those in a group."""
    place = slice(start, stop)
    codes = read(open_array(group, "codes"), place)
    weights = read(open_array(group, "weights"), place)
    fit = codes.shape == weights.shape and bool((weights >= 0).all())
    if not fit or bool((codes[1:] <= codes[:-1]).any()):
        raise StoreError(f"{group.store_path} is damaged: these are no counts of colours")
    return ColorCounts(codes, weights)
