"""Zarr groups that are committed whole, sealed, and checked wherever they are read.

Each chunk of an array carries a checksum. The seal, a file in the group, holds those of the
metadata, so that no byte of a group can change unnoticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from kmeans_dask.errors import JobError, StoreError
from kmeans_dask.files import Location, ObjectPath
from kmeans_dask.files.atomic_files import (
    AT_WORK,
    is_temporary,
    read_regular,
    read_sealed,
    remove,
    write_file,
    write_sealed,
)
from kmeans_dask.files.documents import DamagedError, Form, typed
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.store.records import (
    ARRAY,
    SEALS,
    STORE,
    ArrayDocument,
    Codec,
    GroupDocument,
    StoreRecord,
)

if TYPE_CHECKING:
    import zarr

# Zarr is imported where it is used, as the import takes time and much needs no store.

T = TypeVar("T")

CHUNK_PIXELS = 1 << 22  # rows of a chunk: 12 MiB of RGB
CHUNK_COLORS = 1 << 20


class _Layout(NamedTuple):
    """Layout of an array: its data types, its shape and its chunks.

    dtypes: the data types that the array may have
    tail: the shape after the first axis; None where there may be 3 or 4 columns
    chunk: the number of rows of a chunk; an array of only one chunk may have fewer
    """

    dtypes: tuple[str, ...]
    tail: tuple[int, ...] | None
    chunk: int


def _layouts() -> dict[str, _Layout]:
    return {
        "pixels": _Layout(("uint8",), (3,), CHUNK_PIXELS),
        "alphas": _Layout(("uint8",), (), CHUNK_PIXELS),
        "codes": _Layout(("uint32",), (), CHUNK_COLORS),
        "weights": _Layout(("int64",), (), CHUNK_COLORS),
        "centroids": _Layout(("float64",), None, CHUNK_COLORS),
        "entries": _Layout(("uint8",), (4,), CHUNK_COLORS),
        "indices": _Layout(("uint8", "uint16"), (), CHUNK_PIXELS),
    }


# Errors that Zarr raises where data are not as they should be.
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError)
SEAL = "seal.json"
_METADATA = "zarr.json"


@dataclass(frozen=True)
class Group(Generic[T]):
    """Committed group of a store, with metadata that match its seal.

    says: the attributes of the group
    documents: by the name of each array, the content of its zarr.json, and the same parsed
    """

    path: Location
    says: T
    documents: Mapping[str, tuple[bytes, ArrayDocument]]

    def __contains__(self, name: str) -> bool:
        return name in self.documents

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape that the metadata of the array `name` say; chunks may be missing.

        Raises StoreError where the group has no such array.
        """
        if name not in self.documents:
            raise StoreError(f"{self.path} is damaged: it has lost {name}")
        return self.documents[name][1].shape

    def open(self, name: str) -> zarr.Array[Any]:
        """Open the array `name`. Raises StoreError where the array or a chunk of it is missing."""
        from kmeans_dask.store.chunks import open_chunks

        self.shape(name)
        path = self.path / name
        with reading(path):
            return open_chunks(path, *self.documents[name])

    def read(self, name: str, place: slice = slice(None)) -> NDArray[Any]:
        """Return the rows `place` of the array `name`. Raises StoreError where it is damaged."""
        return read(self.open(name), place)


@contextmanager
def aside(parent: Location, name: str, *, replace: bool = False) -> Iterator[zarr.Group]:
    """Yield a new group, which is sealed and committed as `name` when the block succeeds.

    replace: whether to replace a group of this name that is committed already

    A folder is written under a temporary name and renamed. Objects are written where they will be,
    and the seal, without which there is no group, after all others; what a run that was killed
    has left is overwritten by the same bytes, or removed by `sweep`.
    """
    if isinstance(parent, ObjectPath):
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
    """Yield a temporary path, which is renamed to `parent / name` when the block succeeds."""
    passing = parent / f".{name}-{secrets.token_hex(4)}"
    if (parent / name).is_symlink() or (parent / name).is_file():  # no group is a file
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


def create_group(path: Location) -> zarr.Group:
    """Return a new group at `path`, where objects that another attempt has written stay.

    They have the same bytes, and the other attempt may be done, or still be writing.
    """
    if isinstance(path, ObjectPath):
        rewrite_metadata(path)
        return find_group(path, "r+")
    import zarr

    return zarr.create_group(path, zarr_format=3)


def find_group(path: Location, mode: Literal["r", "r+"]) -> zarr.Group:
    """Return the group at `path`, sealed or not. Raises StoreError where there is none."""
    import zarr

    with reading(path):
        return zarr.open_group(_zarr_store(path), path=_zarr_path(path), mode=mode, zarr_format=3)


def _zarr_store(place: Location) -> Any:
    """Return the place as a store of Zarr: a local folder, or the bucket of an object."""
    from kmeans_dask.store.zarr_objects import Objects

    return Objects(place.bucket) if isinstance(place, ObjectPath) else place


def _zarr_path(place: Location) -> str:
    """Return the path of a place in its store of Zarr."""
    return place.key if isinstance(place, ObjectPath) else ""


@contextmanager
def reading(path: Location) -> Iterator[None]:
    """Turn errors in the block that malformed data cause into a StoreError about `path`."""
    try:
        yield
    except MALFORMED as error:
        raise StoreError(f"{path} is damaged: {error}") from error


def sweep(folder: Location, keep: Collection[str] = ()) -> None:
    """Remove what killed tasks have left in `folder`, if there is one.

    keep: names in the folder that stay although they have no seal of their own
    """
    if isinstance(folder, ObjectPath):
        kept = {*members(folder), *keep}
        for path in list(folder.iterdir()):
            if path.name not in kept and path.name[0] != "." and path.is_dir():
                remove(path)
        return
    if not folder.is_dir():
        return
    for entry in list(os.scandir(folder)):
        is_group = entry.name[0] == "." and entry.is_dir(follow_symlinks=False)
        if (is_group or is_temporary(entry.name)) and not entry.name.startswith(AT_WORK):
            remove(Path(entry.path))


def members(folder: Location) -> list[str]:
    """Return the names of the groups committed in `folder`, ascending, without links."""
    return _with(folder, SEAL) if isinstance(folder, ObjectPath) else arrays(folder)


def arrays(folder: Location) -> list[str]:
    """Return the names of the members of a group, ascending, without links."""
    if isinstance(folder, ObjectPath):
        return _with(folder, _METADATA)
    if not folder.is_dir():
        return []
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_dir(follow_symlinks=False) and entry.name[0] != "."
    )


def _with(folder: ObjectPath, name: str) -> list[str]:
    """Return the names below `folder` that have an object called `name`, ascending."""
    found = (path.relative_to(folder).parts for path in folder.walk())
    return sorted(parts[0] for parts in found if len(parts) == 2 and parts[1] == name)


def is_member(path: Location) -> bool:
    """Return whether a group is committed at `path`; a link to a group is none."""
    if isinstance(path, ObjectPath):
        return (path / SEAL).is_file()
    return path.is_dir() and not path.is_symlink()


class _Format(msgspec.Struct):
    format: str
    format_version: int


_ANY = Form(GroupDocument[dict[str, Any]], STORE.at_most)  # of any version


def format_of(path: Location) -> tuple[str, int] | None:
    """Return the format and version in the attributes of a group; None where none can be read."""
    try:
        document = _ANY.decode(_read_document(path, _METADATA, _ANY.at_most))
        said: _Format = typed(document.attributes, _Format)
    except (StoreError, DamagedError, OSError):
        return None
    return said.format, said.format_version


def _read_document(path: Location, name: str, at_most: int) -> bytes:
    """Return the content of the file `name` of the group at `path`.

    Raises StoreError where the file is missing, unreadable, no regular file, or has more than
    `at_most` bytes.
    """
    try:
        found = read_regular(path / name, at_most)
    except FileNotFoundError as error:
        raise StoreError(f"{path} is damaged: it has lost {name}") from error
    except (DamagedError, OSError) as error:
        reason = getattr(error, "strerror", None) or "it is not a regular file"
        raise StoreError(f"{path} is damaged: {name}: {reason}") from error
    if found is None:
        raise StoreError(f"{path} is damaged: its {name} has more than {at_most:,} bytes")
    return found


def make_way(path: Location) -> None:
    """Remove a folder in place of a file at `path`, as no file can be renamed over a folder."""
    if isinstance(path, Path) and path.is_dir():
        remove(path)


def seal(folder: Location, inside: Iterable[str]) -> None:
    """Write the seal of a group: digests of its metadata and of unsealed members `inside`."""
    make_way(folder / SEAL)
    names = [_METADATA, *(f"{name}/{_METADATA}" for name in inside)]
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    write_sealed(folder / SEAL, digests, SEALS)


def rewrite_metadata(folder: Location, attrs: StoreRecord | None = None) -> None:
    """Write the metadata of a group anew; its members stay as they are.

    attrs: the attributes of the group; None for none
    """
    import zarr
    from zarr.storage import MemoryStore

    memory: dict[str, Any] = {}
    attributes = msgspec.to_builtins(attrs) if attrs else {}
    zarr.create_group(MemoryStore(memory), zarr_format=3, attributes=attributes)
    if isinstance(folder, Path) and folder.is_file():  # damage: no group is a file
        folder.unlink()
        folder.mkdir()
    make_way(folder / _METADATA)
    write_file(folder / _METADATA, memory[_METADATA].to_bytes())


def describe(group: zarr.Group, attrs: msgspec.Struct | Mapping[str, Any], form: Form[Any]) -> None:
    """Write the attributes of a new group. Raises JobError where they exceed the limit of `form`.

    The zarr.json is written without Zarr, which would indent it: that takes eight times as long.
    """
    path = folder_of(group) / _METADATA
    document = {"attributes": attrs, "zarr_format": 3, "node_type": "group"}
    data = json.dumps(document, default=msgspec.to_builtins).encode()
    if len(data) > form.at_most:
        raise JobError(
            f"what {path.parent} says of its images has {len(data):,} bytes, of which at most "
            f"{form.at_most:,} can be read again: leave --keep-metadata out"
        )
    write_file(path, data)


def open_group(path: Location, form: Form[GroupDocument[T]]) -> Group[T]:
    """Open the group at `path` for reading.

    Raises StoreError where the metadata do not match the seal, or differ from what this package
    writes.
    """
    contents = check_seal(path, form)
    try:
        says = form.decode(contents.pop(_METADATA)).attributes
    except DamagedError as error:
        raise StoreError(f"{path} is damaged: {_METADATA}: {error}") from error
    documents = {}
    for place, data in contents.items():
        name = place.partition("/")[0]
        try:
            document = ARRAY.decode(data)
        except DamagedError as error:
            raise StoreError(f"{path} is damaged: {place}: {error}") from error
        if not _is_ours(name, document):
            raise StoreError(f"{path} is damaged: {place}: no store has such an array")
        documents[name] = data, document
    return Group(path, says, documents)


def read_root(path: Location, form: Form[GroupDocument[T]]) -> T:
    """Return the attributes of the group at `path`, whose members are groups and not arrays.

    Raises StoreError where the metadata do not match the seal, or are not of `form`.
    """
    try:
        return form.decode(check_seal(path, form)[_METADATA]).attributes
    except DamagedError as error:
        raise StoreError(f"{path} is damaged: {_METADATA}: {error}") from error


def _is_ours(name: str, document: ArrayDocument) -> bool:
    """Return whether an array has the layout that this package writes for arrays named `name`."""
    if name not in _layouts():
        return False
    dtypes, tail, whole = _layouts()[name]
    (length, *columns), (chunk, *across) = document.shape, document.chunks
    return (
        document.data_type in dtypes
        and tuple(columns) in ([tail] if tail is not None else [(3,), (4,)])
        and across == columns
        and (chunk == whole or length <= chunk < whole)
        and document.fill_value == 0
        and document.codecs == _codecs(np.dtype(document.data_type))
    )


def _codecs(dtype: np.dtype[Any]) -> tuple[Codec, ...]:
    """Return the codecs of an array of `dtype`: byte order, Blosc with LZ4, and a checksum.

    LZ4 was chosen by measurement: it takes half the time of fast zstd, and neither makes
    photographs smaller.
    """
    order: dict[str, str | int] = {"endian": "little"} if dtype.itemsize > 1 else {}
    blosc: dict[str, str | int] = {
        "typesize": dtype.itemsize,
        "cname": "lz4",
        "clevel": 1,
        "shuffle": "shuffle",
        "blocksize": 0,
    }
    return Codec("bytes", order), Codec("blosc", blosc), Codec("crc32c")


def check_seal(path: Location, form: Form[Any]) -> dict[str, bytes]:
    """Return the sealed metadata files of the group at `path`, as contents by path below `path`.

    form: the form of the group's own zarr.json, which limits its size

    Raises StoreError where a file does not match the seal, or is missing.
    """
    try:
        sealed = read_sealed(path / SEAL, SEALS)
    except FileNotFoundError as error:
        raise StoreError(f"{path} is damaged: it has lost {SEAL}") from error
    except (DamagedError, OSError) as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    if _METADATA not in sealed:
        raise StoreError(f"{path} is damaged: its seal is none")
    contents = {}
    for name, digest in sealed.items():
        at_most = form.at_most if name == _METADATA else ARRAY.at_most
        contents[name] = _read_document(path, name, at_most)
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise StoreError(f"{path} is damaged: {name} is not as it was written")
    return contents


def folder_of(node: zarr.Group | zarr.Array[Any]) -> Location:
    """Return the path or URL of a group or an array."""
    from kmeans_dask.store.chunks import CheckedStore
    from kmeans_dask.store.zarr_objects import Objects

    store = node.store_path.store
    if isinstance(store, CheckedStore):
        return store.place
    if isinstance(store, Objects):
        return store.bucket / node.path
    return Path(store.root, node.path)  # type: ignore[attr-defined]


def read(array: zarr.Array[Any], place: slice = slice(None)) -> NDArray[Any]:
    """Return a part of an array. Raises StoreError where a checksum fails, or it is unreadable."""
    path = folder_of(array)
    try:
        return np.asarray(array[place])
    except (ValueError, RuntimeError, OSError) as error:  # a checksum, a codec, the disk
        raise StoreError(f"{path} is damaged: {error}") from error


def check_group(path: Location, form: Form[GroupDocument[Any]]) -> None:
    """Read all arrays of a group, and raise StoreError where anything is damaged."""
    group = open_group(path, form)
    for name in group.documents:
        array = group.open(name)
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
    """Return a new array, whose chunks have checksums and are written even if all zero."""
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec
    from zarr.storage import MemoryStore

    blosc: Any = _codecs(dtype)[1]
    path, into, memory = folder_of(group), group, dict[str, Any]()
    if isinstance(path, ObjectPath):  # existing objects stay, as in `create_group`
        into = zarr.create_group(MemoryStore(memory), zarr_format=3)
    array = into.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        compressors=[BloscCodec(**blosc.configuration), Crc32cCodec()],
        config={"write_empty_chunks": True},
    )
    if isinstance(path, ObjectPath):
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
    """Write `values` as a new array."""
    length = max(1, min(CHUNK_COLORS, len(values)))
    array = create_array(group, name, values.shape, (length, *values.shape[1:]), values.dtype)
    if values.size:
        array[:] = values


def write_histogram(group: zarr.Group, histogram: ColorHistogram) -> None:
    """Write a histogram as two arrays, `codes` and `weights`."""
    write(group, "codes", histogram.codes)
    write(group, "weights", histogram.weights)


def read_histogram(
    group: Group[Any], pixels: int, start: int = 0, stop: int | None = None
) -> ColorHistogram:
    """Return the colours `start` to `stop` of the histogram of a group.

    pixels: the most pixels that the histogram may add up to

    Raises StoreError where there are more pixels, negative counts, or codes that do not ascend.
    """
    place = slice(start, stop)
    if group.shape("codes") == group.shape("weights") <= (pixels,):
        codes, weights = group.read("codes", place), group.read("weights", place)
        if is_weights(weights, pixels) and not bool((codes[1:] <= codes[:-1]).any()):
            return ColorHistogram(codes, weights)
    raise StoreError(f"{group.path} is damaged: this is no histogram of colours")


def is_weights(weights: NDArray[np.int64], at_most: int) -> bool:
    """Return whether no weight is negative and their sum, without overflow, is <= `at_most`."""
    few = float(weights.sum(dtype=np.float64)) < 2.0**62
    return few and bool((weights >= 0).all()) and int(weights.sum()) <= at_most
