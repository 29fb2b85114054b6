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
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.clustering.counts import ColorCounts
from kmeans_dask.errors import StoreError
from kmeans_dask.storage import Place, Remote
from kmeans_dask.storage.files import (
    AT_WORK,
    DamagedError,
    is_passing,
    read_regular,
    read_sealed,
    remove,
    write_file,
    write_sealed,
)

if TYPE_CHECKING:
    import zarr

# Zarr is imported where it is used: what needs no store need not wait for it.

_CHUNK_COLORS = 1 << 20
_MAX_CHUNK = 1 << 25  # bytes of one that is read: twice what is written
_MAX_DOCUMENT = 1 << 30  # bytes of a zarr.json: thousands of images with all their metadata
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
SEAL = "seal.json"
_METADATA = "zarr.json"
_SEALED = re.compile(r"([a-z]+/)?zarr\.json")  # what a seal may be of: nothing elsewhere


@contextmanager
def aside(parent: Place, name: str, *, replace: bool = False) -> Iterator[zarr.Group]:
    """A group that is in `parent` under `name`, sealed, when the block ends well.

    A folder is written under a passing name and renamed. Objects are written where they will be,
    and the seal, without which there is no group, after all others; what a run that was killed
    has left is overwritten by the same bytes, or swept.
    """
    if isinstance(parent, Remote):
        if replace:
            remove(parent / name, SEAL)
        yield create_group(parent / name)
        seal(parent / name, arrays(parent / name))
    else:
        with _renamed(parent, name, replace=replace) as passing:
            yield create_group(passing)
            seal(passing, arrays(passing))


@contextmanager
def _renamed(parent: Path, name: str, *, replace: bool) -> Iterator[Path]:
    """A passing name of what is renamed when the block ends well."""
    passing = parent / f".{name}-{secrets.token_hex(4)}"
    if (parent / name).is_symlink():
        (parent / name).unlink()
    try:
        yield passing
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


def create_group(path: Place) -> zarr.Group:
    """A new group. Over objects that another attempt has written it does not remove them.

    They are of the same bytes, and the other attempt may be done, or still be writing.
    """
    if isinstance(path, Remote):
        rewrite_metadata(path, {})
        return find_group(path, "r+")
    import zarr

    return zarr.create_group(path, zarr_format=3)


def find_group(path: Place, mode: Literal["r", "r+"]) -> zarr.Group:
    """The group at `path`, unsealed or not. Raises StoreError where there is none."""
    import zarr

    with reading(path):
        return zarr.open_group(_zarr_store(path), path=_zarr_path(path), mode=mode, zarr_format=3)


def _zarr_store(place: Place) -> Any:
    """What Zarr calls a store: a folder, or the bucket that an object is in."""
    from kmeans_dask.store.objects import Objects

    return Objects(place.bucket) if isinstance(place, Remote) else place


def _zarr_path(place: Place) -> str:
    """The path in it."""
    return place.key if isinstance(place, Remote) else ""


@contextmanager
def reading(path: Place) -> Iterator[None]:
    """What is not as it should be, of what is read inside the block, is a StoreError."""
    try:
        yield
    except MALFORMED as error:
        raise StoreError(f"{path} is damaged: {error}") from error


def sweep(folder: Place, keep: Collection[str] = ()) -> None:
    """Remove what killed tasks have left in `folder`, if there is one.

    keep: what is in the folder and has no seal of its own
    """
    if isinstance(folder, Remote):
        kept = {*members(folder), *keep}
        for path in list(folder.iterdir()):
            if path.name not in kept and path.name[0] != "." and path.is_dir():
                remove(path)
        return
    if not folder.is_dir():
        return
    for entry in list(os.scandir(folder)):
        is_group = entry.name[0] == "." and entry.is_dir(follow_symlinks=False)
        if (is_group or is_passing(entry.name)) and not entry.name.startswith(AT_WORK):
            remove(Path(entry.path))


def members(folder: Place) -> list[str]:
    """Names of the groups that were committed in `folder`, ascending; no links to any."""
    return _with(folder, SEAL) if isinstance(folder, Remote) else arrays(folder)


def arrays(folder: Place) -> list[str]:
    """Names of what is in a group that was committed, ascending; no links to any."""
    if isinstance(folder, Remote):
        return _with(folder, _METADATA)
    if not folder.is_dir():
        return []
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_dir(follow_symlinks=False) and entry.name[0] != "."
    )


def _with(folder: Remote, name: str) -> list[str]:
    """Names below `folder` of what has an object called `name`, ascending."""
    found = (path.relative_to(folder).parts for path in folder.walk())
    return sorted(parts[0] for parts in found if len(parts) == 2 and parts[1] == name)


def is_member(path: Place) -> bool:
    """Whether a group was committed at `path`; a link to one is none."""
    if isinstance(path, Remote):
        return (path / SEAL).is_file()
    return path.is_dir() and not path.is_symlink()


def format_of(path: Place) -> tuple[Any, Any] | None:
    """Format and version that the group at `path` says it has; None where nobody can read it."""
    try:
        attrs = json.loads(_read_document(path))["attributes"]
        return attrs["format"], attrs["format_version"]
    except (StoreError, *MALFORMED):
        return None


class Document(dict[str, Any]):
    """What a document says, of which nothing that is asked for may be missing."""

    def __missing__(self, key: str) -> Any:
        raise StoreError(f"the store is damaged: it does not say its {key}")


def check_document(path: Place, name: str = _METADATA) -> None:
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


def _read_document(path: Place, name: str = _METADATA) -> bytes:
    """A document of the group at `path`, with the same checks."""
    if isinstance(path, Path):  # of an object, to ask first would cost as much as to read it
        check_document(path, name)
    try:
        found = read_regular(path / name, _MAX_DOCUMENT)
    except FileNotFoundError as error:
        raise StoreError(f"{path} is damaged: it has lost {name}") from error
    if found is None:
        raise StoreError(f"{path} is damaged: its {name} is too large")
    return found


def make_way(path: Place) -> None:
    """Remove what is in the place of a file and is none: nothing can be renamed over a folder."""
    if isinstance(path, Path) and path.is_dir():
        remove(path)


def seal(folder: Place, inside: Iterable[str]) -> None:
    """Note what the metadata of a group is, and of the members `inside` that have no own seal."""
    make_way(folder / SEAL)
    names = [_METADATA, *(f"{name}/{_METADATA}" for name in inside)]
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    write_sealed(folder / SEAL, digests)


def rewrite_metadata(folder: Place, attrs: Mapping[str, Any]) -> None:
    """Write the metadata of a group anew; its members stay as they are."""
    import zarr
    from zarr.storage import MemoryStore

    memory: dict[str, Any] = {}
    zarr.create_group(MemoryStore(memory), zarr_format=3, attributes=dict(attrs))
    make_way(folder / _METADATA)
    write_file(folder / _METADATA, memory[_METADATA].to_bytes())


def describe(group: zarr.Group, attrs: Mapping[str, Any]) -> None:
    """Add to what a new group says of itself. Zarr indents it, which takes eight times as long."""
    path = folder_of(group) / _METADATA
    document = json.loads(path.read_bytes())
    document["attributes"] = {**document.get("attributes", {}), **attrs}
    write_file(path, json.dumps(document).encode())


def open_group(path: Place) -> zarr.Group:
    """A group whose metadata are as they were sealed. Raises StoreError."""
    check_seal(path)
    return find_group(path, "r")


def check_seal(path: Place) -> None:
    """Raise StoreError unless the metadata of the group at `path` are as they were sealed."""
    try:
        sealed = read_sealed(path / SEAL)
    except FileNotFoundError as error:
        raise StoreError(f"{path} is damaged: it has lost {SEAL}") from error
    except (DamagedError, OSError) as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    is_ours = isinstance(sealed, dict) and all(map(_SEALED.fullmatch, sealed))
    if not is_ours or _METADATA not in sealed:
        raise StoreError(f"{path} is damaged: its seal is none")
    for name, digest in sealed.items():
        try:
            found = hashlib.sha256(_read_document(path, name)).hexdigest()
        except (DamagedError, OSError) as error:
            raise StoreError(f"{path} is damaged: {error}") from error
        if found != digest:
            raise StoreError(f"{path} is damaged: {name} is not as it was written")


def folder_of(node: zarr.Group | zarr.Array[Any]) -> Place:
    """Where a group or an array is."""
    from kmeans_dask.store.objects import Objects

    store = node.store_path.store
    if isinstance(store, Objects):
        return store.bucket / node.path
    return Path(store.root, node.path)  # type: ignore[attr-defined]


def read(array: zarr.Array[Any], place: slice = slice(None)) -> NDArray[Any]:
    """Part of an array, whose checksums are looked at. Raises StoreError."""
    path = folder_of(array)
    try:
        return np.asarray(array[place])
    except (ValueError, RuntimeError, OSError) as error:  # a checksum, a codec, the disk
        raise StoreError(f"{path} is damaged: {error}") from error


def open_array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """An array with all its chunks. Raises StoreError for any that we do not write."""
    import zarr
    from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec

    path = folder_of(group) / name
    check_document(folder_of(group), f"{name}/{_METADATA}")
    with reading(path):
        array = group[name]
    if not isinstance(array, zarr.Array) or name not in _ARRAYS:
        raise StoreError(f"{path} is damaged: it is no array of ours")
    dtypes, tail = _ARRAYS[name]
    known = (BytesCodec, BloscCodec, Crc32cCodec)
    is_ours = array.dtype.name in dtypes and array.ndim > 0 and tail in (None, array.shape[1:])
    codecs = getattr(array.metadata, "codecs", ())
    chunk = math.prod(array.chunks) * array.dtype.itemsize
    if not is_ours or chunk > _MAX_CHUNK or not all(isinstance(each, known) for each in codecs):
        raise StoreError(f"{path} is damaged: no store has such an array")
    with reading(path):
        missing = array.nchunks - array.nchunks_initialized
    if missing:  # Zarr would read zeros
        raise StoreError(f"{path} is damaged: {missing} of its chunks are missing")
    return array


def check_group(path: Place) -> None:
    """Read all that a group holds, of arrays. Raises StoreError where anything is damaged."""
    group = open_group(path)
    for name in arrays(path):
        if (path / name / SEAL).is_file():
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
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec
    from zarr.storage import MemoryStore

    path, into, memory = folder_of(group), group, dict[str, Any]()
    if isinstance(path, Remote):  # as `create_group` has it
        into = zarr.create_group(MemoryStore(memory), zarr_format=3)
    array = into.create_array(
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
    if isinstance(path, Remote):
        write_file(path / name / _METADATA, memory[f"{name}/{_METADATA}"].to_bytes())
        array = zarr.open_array(
            _zarr_store(path),
            path=(path / name).key,
            mode="r+",
            zarr_format=3,
            config={"write_empty_chunks": True},
        )
    return array


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
        raise StoreError(f"{folder_of(group)} is damaged: these are no counts of colours")
    return ColorCounts(codes, weights)
