"""The store: a Zarr v3 group, and the only file that knows how it is laid out.

    name.zarr/                attrs: format, format_version, versions, n_partitions, settings
      partitions/<id>/        attrs: images, failures (a partition exists only once it is whole)
        pixels                (n, 3) uint8, straight sRGB, image after image
        alphas                (n,) uint8; only where some pixel is not opaque
        codes, weights        the partition's colour counts: (u,) uint32, (u,) int64
      colors/                 attrs: sums over all images
        codes, weights        the counts of all partitions together
      weighed/                weights: (u,) int64, of these colours, where images count the same
      palettes/<name>/        attrs: what fitted it, and how well
        centroids             (k, 3) float64
        entries, weights      (k, 4) uint8, straight sRGB and alpha; (k,) int64
      indices/<name>/<id>     (n,) uint8 or uint16: a partition's pixels as entries of a palette

Colour codes are those of `kmeans_dask.clustering.codes`, ascending. One group per
partition makes the unit of work the unit of commit: it is written aside and renamed into place,
so no two writers share a chunk, and a partition that is there is whole.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from kmeans_dask.clustering.counts import ColorCounts
from kmeans_dask.errors import StoreError

FORMAT = "kmeans-dask"
FORMAT_VERSION = 2
CHUNK_PIXELS = 1 << 22  # 12 MiB of RGB
_CHUNK_COLORS = 1 << 20

_VERSIONS_OF = ("kmeans-dask", "numpy", "numba", "pillow", "zarr")


@dataclass(frozen=True)
class StoredPalette:
    """What a fit left in the store.

    centroids: (k, 3) float64
    entries: (e, 4) uint8, straight sRGB and alpha, in index order
    weights: (e,) int64, pixels of each entry
    attrs: how it was fitted
    """

    centroids: NDArray[np.float64]
    entries: NDArray[np.uint8]
    weights: NDArray[np.int64]
    attrs: Mapping[str, Any]


class Store:
    """A store at a local path. Make one with `create`, or `open` one that is there."""

    def __init__(self, path: Path, root: zarr.Group) -> None:
        self.path = path
        self._root = root

    @classmethod
    def create(cls, path: Path, *, n_partitions: int, attrs: Mapping[str, Any]) -> Store:
        """A new, empty store. Raises StoreError where there is something already."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise StoreError(f"{path} exists already: choose another path or remove it first")
        versions = {name: metadata.version(name) for name in _VERSIONS_OF}
        root = zarr.create_group(
            path,
            zarr_format=3,
            attributes={
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "versions": versions,
                "n_partitions": n_partitions,
                **attrs,
            },
        )
        root.create_group("partitions")
        root.create_group("palettes")
        root.create_group("indices")
        return cls(path, root)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the store at `path`. Raises StoreError where there is none that we can read."""
        if not is_store(path):
            raise StoreError(f"{path} is no store: make one with `kmeans-dask ingest INPUT {path}`")
        try:
            root = zarr.open_group(path, mode="r+", zarr_format=3)
            kind, version = root.attrs["format"], root.attrs["format_version"]
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise StoreError(f"{path} is not a store of kmeans-dask") from error
        if kind != FORMAT or version != FORMAT_VERSION:
            raise StoreError(
                f"{path} has format {kind} {version}; this version reads {FORMAT} {FORMAT_VERSION}"
            )
        return cls(path, root)

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the whole store."""
        return dict(self._root.attrs)

    # -- partitions ---------------------------------------------------------------------------

    @property
    def partition_ids(self) -> list[str]:
        """Ids of the partitions that are there, ascending."""
        return _members(self.path / "partitions")

    @property
    def is_counted(self) -> bool:
        """Whether the partitions have been added up: the last thing that ingestion does."""
        return (self.path / "colors").is_dir()

    def require_whole(self) -> None:
        """Raise StoreError unless ingestion is finished: all partitions, and their total."""
        expected = int(self.attrs["n_partitions"])
        done = len(self.partition_ids)
        if done < expected:
            raise StoreError(
                f"{self.path} is unfinished: {expected - done} of {expected} partitions are "
                "missing; remove it and run `kmeans-dask ingest` again"
            )
        if not self.is_counted:
            raise StoreError(
                f"{self.path} is unfinished: its colours were never added up; remove it and run "
                "`kmeans-dask ingest` again"
            )

    @contextmanager
    def writing_partition(self, partition_id: str, n_pixels: int) -> Iterator[PartitionWriter]:
        """Write a partition of at most `n_pixels`; it is in the store when the block ends well.

        Where it got there first by another attempt, whose bytes are the same, that one stays.
        """
        with (
            self._aside("partitions", partition_id) as group,
            PartitionWriter(group, n_pixels) as writer,
        ):
            yield writer
            writer.finish()

    def partition(self, partition_id: str) -> Partition:
        """A partition that is there."""
        return Partition(_open(self.path / "partitions" / partition_id))

    # -- colours ------------------------------------------------------------------------------

    def write_colors(self, counts: ColorCounts, attrs: Mapping[str, Any]) -> None:
        """Store the total of all partitions' counts, and what else was added up."""
        with self._aside("", "colors") as group:
            _write_counts(group, counts)
            group.attrs.update(attrs)

    def read_colors(self, start: int = 0, stop: int | None = None) -> ColorCounts:
        """Colours `start` to `stop` of the total."""
        return _read_counts(_open(self.path / "colors"), start, stop)

    def write_weighed(self, weights: NDArray[np.int64]) -> None:
        """Store what the total's colours weigh where every image counts the same."""
        with self._aside("", "weighed", replace=True) as group:
            _write(group, "weights", weights)

    @property
    def is_weighed(self) -> bool:
        """Whether that is there."""
        return (self.path / "weighed").is_dir()

    def read_weighed(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """What colours `start` to `stop` of the total weigh, (u,) int64."""
        return _read(_array(_open(self.path / "weighed"), "weights"), slice(start, stop))

    @property
    def colors_attrs(self) -> dict[str, Any]:
        """What was stored with the total."""
        return dict(_open(self.path / "colors").attrs)

    @property
    def n_colors(self) -> int:
        """Distinct colours in the total."""
        return _array(_open(self.path / "colors"), "codes").shape[0]

    # -- palettes -----------------------------------------------------------------------------

    @property
    def palette_names(self) -> list[str]:
        """Names of the palettes that are there, the latest last."""
        return sorted(_members(self.path / "palettes"), key=self._palette_number)

    def _palette_number(self, name: str) -> int:
        number = _open(self.path / "palettes" / name).attrs["number"]
        assert isinstance(number, int)
        return number

    def write_palette(self, name: str, palette: StoredPalette) -> None:
        """Store a palette in place of one of the same name, whose indices go with it."""
        self._remove_indices(name)
        number = max(map(self._palette_number, self.palette_names), default=0) + 1
        with self._aside("palettes", name, replace=True) as group:
            _write(group, "centroids", palette.centroids)
            _write(group, "entries", palette.entries)
            _write(group, "weights", palette.weights)
            group.attrs.update({**palette.attrs, "number": number})

    def read_palette(self, name: str) -> StoredPalette:
        """The palette `name`. Raises StoreError where there is none."""
        if name not in self.palette_names:
            names = ", ".join(self.palette_names) or "none: run `kmeans-dask fit` first"
            raise StoreError(f"{self.path} has no palette {name}; it has {names}")
        group = _open(self.path / "palettes" / name)
        attrs = {key: value for key, value in group.attrs.items() if key != "number"}
        return StoredPalette(
            _read(_array(group, "centroids")),
            _read(_array(group, "entries")),
            _read(_array(group, "weights")),
            attrs,
        )

    # -- indices ------------------------------------------------------------------------------

    def start_indices(self, palette: str) -> None:
        """Make room for indices into `palette`; what was there before goes."""
        self._remove_indices(palette)
        self._root.create_group(f"indices/{palette}")

    def _remove_indices(self, palette: str) -> None:
        shutil.rmtree(self.path / "indices" / palette, ignore_errors=True)

    @contextmanager
    def writing_indices(
        self, palette: str, partition_id: str, n_pixels: int, dtype: np.dtype[Any]
    ) -> Iterator[Callable[[NDArray[Any]], None]]:
        """Append a partition's indices; they are in the store when the block ends well."""
        with self._aside(f"indices/{palette}", partition_id, replace=True) as group:
            chunk = max(1, min(CHUNK_PIXELS, n_pixels))
            array = _create(group, "indices", (n_pixels,), (chunk,), dtype)
            buffer, done, filled = np.empty(chunk, dtype), 0, 0

            def append(indices: NDArray[Any]) -> None:
                nonlocal done, filled
                start = 0
                while start < len(indices):
                    size = min(len(indices) - start, chunk - filled)
                    buffer[filled : filled + size] = indices[start : start + size]
                    start, filled = start + size, filled + size
                    if filled == chunk:
                        array[done : done + chunk] = buffer
                        done, filled = done + chunk, 0

            yield append
            if filled:
                array[done : done + filled] = buffer[:filled]

    def indices(self, palette: str) -> list[zarr.Array[Any]]:
        """Each partition's indices into `palette`, (n,). Raises StoreError for missing ones."""
        folder = self.path / "indices" / palette
        done = _members(folder) if folder.is_dir() else []
        missing = len(set(self.partition_ids) - set(done))
        if missing or not done:
            raise StoreError(
                f"{self.path} lacks the indices of palette {palette}: run `kmeans-dask encode "
                f"{self.path} --format tokens`"
            )
        return [_array(_open(folder / name), "indices") for name in self.partition_ids]

    # -----------------------------------------------------------------------------------------

    @contextmanager
    def _aside(self, folder: str, name: str, *, replace: bool = False) -> Iterator[zarr.Group]:
        """A group under a passing name, renamed to `name` when the block ends well."""
        parent = self.path / folder
        aside = parent / f".{name}-{secrets.token_hex(4)}"
        try:
            yield zarr.create_group(aside, zarr_format=3)
            old = parent / f"{aside.name}-old"
            if replace and (parent / name).exists():
                (parent / name).rename(old)
            try:
                aside.rename(parent / name)
            except OSError:
                if old.exists():
                    old.rename(parent / name)
                    raise
                if not (parent / name).is_dir():  # else another attempt was first
                    raise
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


class PartitionWriter:
    """Appends pixels to a partition, a chunk at a time, and then what is known of them.

    A full chunk is compressed and written by a thread while the next one is filled.
    """

    def __init__(self, group: zarr.Group, n_pixels: int) -> None:
        chunk = max(1, min(CHUNK_PIXELS, n_pixels))
        self._group, self._planned = group, n_pixels
        self._pixels = _create(group, "pixels", (n_pixels, 3), (chunk, 3), np.dtype(np.uint8))
        self._alphas: zarr.Array[Any] | None = None
        self._buffer, self._over = np.empty((chunk, 3), np.uint8), np.empty(chunk, np.uint8)
        self._spare = self._buffer.copy(), self._over.copy()
        self._filled = 0
        self.n_pixels = 0
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    def __enter__(self) -> PartitionWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown()

    def append(self, pixels: NDArray[np.uint8], alphas: NDArray[np.uint8] | None = None) -> None:
        """Pixels (n, 3) uint8; alphas (n,) uint8, None where all is opaque."""
        if alphas is not None and self._alphas is None:
            chunk = len(self._over)
            self._alphas = _create(
                self._group, "alphas", (self._planned,), (chunk,), np.dtype(np.uint8)
            )
            self._alphas[: self.n_pixels - self._filled] = 255
        start = 0
        while start < len(pixels):
            size = min(len(pixels) - start, len(self._buffer) - self._filled)
            into = slice(self._filled, self._filled + size)
            self._buffer[into] = pixels[start : start + size]
            self._over[into] = 255 if alphas is None else alphas[start : start + size]
            self._filled += size
            self.n_pixels += size
            start += size
            if self._filled == len(self._buffer):
                self._flush()

    def describe(
        self, counts: ColorCounts, images: list[dict[str, Any]], failures: list[dict[str, Any]]
    ) -> None:
        """The partition's colours, its images in order, and those that could not be read."""
        _write_counts(self._group, counts)
        self._group.attrs.update({"images": images, "failures": failures})

    def finish(self) -> None:
        """Write what is left, and cut off the room of images that were planned but failed."""
        if self._filled:
            self._flush()
        self._wait()
        self._pixels.resize((self.n_pixels, 3))
        if self._alphas is not None:
            self._alphas.resize((self.n_pixels,))

    def _flush(self) -> None:
        self._wait()
        self._writing = self._thread.submit(
            self._write,
            slice(self.n_pixels - self._filled, self.n_pixels),
            self._buffer[: self._filled],
            self._over[: self._filled] if self._alphas is not None else None,
        )
        (self._buffer, self._over), self._spare = self._spare, (self._buffer, self._over)
        self._filled = 0

    def _wait(self) -> None:
        if self._writing:
            self._writing.result()

    def _write(
        self, place: slice, pixels: NDArray[np.uint8], alphas: NDArray[np.uint8] | None
    ) -> None:
        self._pixels[place] = pixels
        if alphas is not None and self._alphas is not None:
            self._alphas[place] = alphas


def is_store(path: Path) -> bool:
    """Whether `path` looks like a store, or like another Zarr group."""
    return (path / "zarr.json").is_file()


# pixels (n, 3) uint8, and alphas (n,) uint8, None where all is opaque
Piece = tuple[NDArray[np.uint8], NDArray[np.uint8] | None]


def join_pieces(pieces: Iterable[Piece]) -> Piece:
    """All of an image at once."""
    pixels, alphas = zip(*pieces, strict=True)
    masks = [piece for piece in alphas if piece is not None]
    return np.concatenate(pixels), np.concatenate(masks) if masks else None


class Partition:
    """A partition to read."""

    def __init__(self, group: zarr.Group) -> None:
        self._group = group
        attrs = dict(group.attrs)
        self.images: list[dict[str, Any]] = attrs["images"]  # type: ignore[assignment]
        self.failures: list[dict[str, Any]] = attrs["failures"]  # type: ignore[assignment]

    @property
    def counts(self) -> ColorCounts:
        """Colour counts of all pixels but fully transparent ones."""
        return _read_counts(self._group)

    @property
    def pixels(self) -> zarr.Array[Any]:
        """All pixels, (n, 3) uint8, as a Zarr array."""
        return _array(self._group, "pixels")

    def read_images(self) -> Iterator[tuple[dict[str, Any], Iterator[Piece]]]:
        """Each image's record, and its pixels from first to last, a chunk at most at a time.

        To be read in this order: each chunk is read once, and then forgotten.
        """
        pixels = _ChunkReader(self.pixels)
        alphas = _ChunkReader(_array(self._group, "alphas")) if "alphas" in self._group else None
        for image in self.images:
            start = image["offset"]
            stop = start + image["height"] * image["width"]
            of_image = pixels.read(start, stop)
            if alphas and (image["transparent"] or image["translucent"]):
                yield image, zip(of_image, alphas.read(start, stop), strict=True)
            else:
                yield image, ((piece, None) for piece in of_image)


class _ChunkReader:
    """Reads ascending ranges of an array, holding one chunk of it."""

    def __init__(self, array: zarr.Array[Any]) -> None:
        self._array = array
        self._size = array.chunks[0]
        self._number = -1
        self._chunk: NDArray[Any] = np.empty(0)

    def read(self, start: int, stop: int) -> Iterator[NDArray[Any]]:
        while start < stop:
            number = start // self._size
            if number != self._number:
                whole = slice(number * self._size, (number + 1) * self._size)
                self._chunk, self._number = _read(self._array, whole), number
            first = start - number * self._size
            piece = self._chunk[first : first + stop - start]
            yield piece
            start += len(piece)


def _members(folder: Path) -> list[str]:
    return sorted(
        entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."
    )


def _open(path: Path) -> zarr.Group:
    try:
        return zarr.open_group(path, mode="r", zarr_format=3)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise StoreError(f"{path} is damaged: {error}") from error


def _read(array: zarr.Array[Any], place: slice = slice(None)) -> NDArray[Any]:
    try:
        return np.asarray(array[place])
    except (ValueError, RuntimeError, OSError) as error:  # a checksum, a codec, the disk
        raise StoreError(f"{array.store_path} is damaged: {error}") from error


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    assert isinstance(array, zarr.Array)
    missing = array.nchunks - array.nchunks_initialized
    if missing:  # Zarr would read zeros
        raise StoreError(f"{array.store_path} is damaged: {missing} of its chunks are missing")
    return array


def _create(
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


def _write(group: zarr.Group, name: str, values: NDArray[Any]) -> None:
    length = max(1, min(_CHUNK_COLORS, len(values)))
    array = _create(group, name, values.shape, (length, *values.shape[1:]), values.dtype)
    if values.size:
        array[:] = values


def _write_counts(group: zarr.Group, counts: ColorCounts) -> None:
    _write(group, "codes", counts.codes)
    _write(group, "weights", counts.weights)


def _read_counts(group: zarr.Group, start: int = 0, stop: int | None = None) -> ColorCounts:
    place = slice(start, stop)
    return ColorCounts(_read(_array(group, "codes"), place), _read(_array(group, "weights"), place))
