"""The images of one partition: to be written, and to be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.clustering.counts import ColorCounts
from kmeans_dask.errors import StoreError
from kmeans_dask.storage.files import is_path
from kmeans_dask.store.groups import (
    Document,
    create_array,
    describe,
    folder_of,
    open_array,
    read,
    read_counts,
    write_counts,
)

if TYPE_CHECKING:
    import zarr


CHUNK_PIXELS = 1 << 22  # 12 MiB of RGB
_MOST = 1 << 62  # of any number that is read
_OF_IMAGE = {
    "path": str, "kept_as": str, "stem": str, "n_bytes": int,
    "offset": int, "height": int, "width": int,
    "transparent": bool, "translucent": bool, "composited": bool, "indexed": bool,
}  # fmt: skip


class PartitionWriter:
    """Appends pixels to a partition, a chunk at a time, and then what is known of them.

    A full chunk is compressed and written by a thread while the next one is filled.
    """

    def __init__(self, group: zarr.Group, n_pixels: int) -> None:
        chunk = max(1, min(CHUNK_PIXELS, n_pixels))
        self._group, self._planned = group, n_pixels
        self._pixels = create_array(group, "pixels", (n_pixels, 3), (chunk, 3), np.dtype(np.uint8))
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
            self._alphas = create_array(
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
        write_counts(self._group, counts)
        describe(self._group, {"images": images, "failures": failures})

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
        attrs = Document(group.attrs)
        self.images: list[dict[str, Any]] = _records(attrs["images"])
        self.failures: list[dict[str, Any]] = _records(attrs["failures"])
        if not (all(map(_is_image, self.images)) and all(map(is_failure, self.failures))):
            raise StoreError("the store is damaged: a partition says nonsense of its images")

    @property
    def counts(self) -> ColorCounts:
        """Colour counts of all pixels but fully transparent ones."""
        return read_counts(self._group)

    @property
    def pixels(self) -> zarr.Array[Any]:
        """All pixels, (n, 3) uint8, as a Zarr array."""
        return open_array(self._group, "pixels")

    def read_images(self) -> Iterator[tuple[dict[str, Any], Iterator[Piece]]]:
        """Each image's record, and its pixels from first to last, a chunk at most at a time.

        To be read in this order: each chunk is read once, and then forgotten.
        """
        array = self.pixels
        pixels = _ChunkReader(array)
        alphas = (
            _ChunkReader(open_array(self._group, "alphas")) if "alphas" in self._group else None
        )
        for image in self.images:
            place = start, height, width = image["offset"], image["height"], image["width"]
            if any(type(number) is not int or number < 0 for number in place):
                raise StoreError("the store is damaged: an image of it has no place")
            stop = start + height * width
            if stop > array.shape[0]:
                raise StoreError(f"{folder_of(array)} is damaged: it ends within an image")
            of_image = pixels.read(start, stop)
            if alphas and (image["transparent"] or image["translucent"]):
                yield image, zip(of_image, alphas.read(start, stop), strict=True)
            else:
                yield image, ((piece, None) for piece in of_image)


def is_failure(record: Any) -> bool:
    """Whether that tells of a file that could not be read."""
    return (
        isinstance(record, dict)
        and record.keys() == {"path", "reason"}
        and all(isinstance(each, str) for each in record.values())
    )


def _is_image(record: dict[str, Any]) -> bool:
    """Whether what is said of an image has the types and sizes that it should."""
    return all(
        type(record[name]) is kind
        and (kind is not int or 0 <= record[name] < _MOST)
        and (kind is not str or is_path(record[name]))
        for name, kind in _OF_IMAGE.items()
        if name in record
    )


def _records(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise StoreError("the store is damaged: a partition has no list of its images")
    return [Document(each) for each in value]


class _ChunkReader:
    """Reads ascending ranges of an array, holding one chunk of it."""

    def __init__(self, array: zarr.Array[Any]) -> None:
        self._array = array
        self._size = array.chunks[0]
        self._number = -1
        self._chunk: NDArray[Any] = np.empty(0)

    def read(self, start: int, stop: int) -> Iterator[NDArray[Any]]:
        if stop > self._array.shape[0]:
            raise StoreError(f"{folder_of(self._array)} is damaged: it ends within an image")
        while start < stop:
            number = start // self._size
            if number != self._number:
                whole = slice(number * self._size, (number + 1) * self._size)
                self._chunk, self._number = read(self._array, whole), number
            first = start - number * self._size
            piece = self._chunk[first : first + stop - start]
            yield piece
            start += len(piece)
