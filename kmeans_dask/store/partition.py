"""Partition of a store: a writer and a reader of its images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.errors import StoreError
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.store import zarr_groups
from kmeans_dask.store.records import PARTITION, Failure, ImageRecord, PartitionRecord
from kmeans_dask.store.zarr_groups import Group, create_array, describe, read

if TYPE_CHECKING:
    import zarr


class PartitionWriter:
    """Writer of a partition: of its pixels, chunk by chunk, and then of their description.

    A full chunk is compressed and written by a thread while the next one is filled.
    """

    def __init__(self, group: zarr.Group, n_pixels: int) -> None:
        chunk = max(1, min(zarr_groups.CHUNK_PIXELS, n_pixels))
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
        """Append pixels (n, 3) uint8 with alphas (n,) uint8, or None where all are opaque."""
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
        self, histogram: ColorHistogram, images: list[ImageRecord], failures: list[Failure]
    ) -> None:
        """Write the histogram, the images in the order of their pixels, and the failures."""
        zarr_groups.write_histogram(self._group, histogram)
        describe(self._group, PartitionRecord(images=images, failures=failures), PARTITION)

    def finish(self) -> None:
        """Write the last chunk, and cut the arrays by the room of planned images that failed."""
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


# pixels (n, 3) uint8, and alphas (n,) uint8, or None where all are opaque
Piece = tuple[NDArray[np.uint8], NDArray[np.uint8] | None]


def join_pieces(pieces: Iterable[Piece]) -> Piece:
    """Return all pixels of an image, and their alphas or None, from its pieces."""
    pixels, alphas = zip(*pieces, strict=True)
    if len(pixels) == 1:
        return pixels[0], alphas[0]
    masks = [piece for piece in alphas if piece is not None]
    return np.concatenate(pixels), np.concatenate(masks) if masks else None


class Partition:
    """Partition that is read: its images, in order, and the files that could not be read.

    Raises StoreError where the images and the arrays of pixels do not agree.
    """

    def __init__(self, group: Group[PartitionRecord]) -> None:
        self._group = group
        self.images, self.failures = group.says.images, group.says.failures
        self._n_pixels = 0
        for image in self.images:
            if image.offset != self._n_pixels:
                raise StoreError(f"{group.path} is damaged: its images do not follow each other")
            self._n_pixels += image.height * image.width
        has_alphas = "alphas" in group
        if {group.shape(name)[0] for name in ("pixels", "alphas")[: 1 + has_alphas]} != {
            self._n_pixels
        }:
            raise StoreError(f"{group.path} is damaged: its images are not of as many pixels")

    @property
    def histogram(self) -> ColorHistogram:
        """Return the histogram of all pixels, without fully transparent ones."""
        return zarr_groups.read_histogram(self._group, self._n_pixels)

    @property
    def pixels(self) -> zarr.Array[Any]:
        """Return all pixels, (n, 3) uint8, as a Zarr array."""
        return self._group.open("pixels")

    def read_images(self) -> Iterator[tuple[ImageRecord, Iterator[Piece]]]:
        """Yield the record of each image, and its pixels in order, at most a chunk at once.

        Read the pixels in this order, as each chunk is read once and not kept.
        """
        pixels = _ChunkReader(self.pixels)
        alphas = _ChunkReader(self._group.open("alphas")) if "alphas" in self._group else None
        for image in self.images:
            start = image.offset
            stop = start + image.height * image.width
            of_image = pixels.read(start, stop)
            if alphas and (image.transparent or image.translucent):
                yield image, zip(of_image, alphas.read(start, stop), strict=True)
            else:
                yield image, ((piece, None) for piece in of_image)


class _ChunkReader:
    """Reader of ascending ranges of an array, which holds one chunk of it in memory."""

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
                self._chunk, self._number = read(self._array, whole), number
            first = start - number * self._size
            piece = self._chunk[first : first + stop - start]
            yield piece
            start += len(piece)
