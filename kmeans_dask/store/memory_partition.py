"""Partition whose pixels stay in memory, for jobs that need no store.

It has what the steps use of `partition.Partition` and `partition.PartitionWriter`, so that images
are decoded, remapped and written by the same code, wherever their pixels are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kmeans.histogram import ColorHistogram, merge_histograms
from kmeans_dask.store.partition import Piece
from kmeans_dask.store.records import Failure, ImageRecord


class PixelSink(Protocol):
    """Destination of the decoded images of a partition: a store, or memory."""

    n_pixels: int

    def append(self, pixels: NDArray[np.uint8], alphas: NDArray[np.uint8] | None = None) -> None:
        """Append pixels (n, 3) uint8 with alphas (n,) uint8, or None where all are opaque."""
        ...

    def describe(
        self, histogram: ColorHistogram, images: list[ImageRecord], failures: list[Failure]
    ) -> None:
        """Set the histogram, the images in the order of their pixels, and the failures."""
        ...


class PixelSource(Protocol):
    """Images of a partition that can be read: from a store, or from memory."""

    @property
    def images(self) -> Sequence[ImageRecord]:
        """Return the records of the images, in the order of their pixels."""
        ...

    @property
    def failures(self) -> Sequence[Failure]:
        """Return the records of the files that could not be read."""
        ...

    @property
    def histogram(self) -> ColorHistogram:
        """Return the histogram of all pixels, without fully transparent ones."""
        ...

    def read_images(self) -> Iterator[tuple[ImageRecord, Iterator[Piece]]]:
        """Yield the record of each image, and its pixels from first to last."""
        ...


@dataclass
class MemoryPartition:
    """Partition in memory: a `PixelSink` while images are decoded, then a `PixelSource`."""

    images: list[ImageRecord] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    histogram: ColorHistogram = field(default_factory=lambda: merge_histograms([]))
    n_pixels: int = 0
    _pieces: list[Piece] = field(default_factory=list)

    def append(self, pixels: NDArray[np.uint8], alphas: NDArray[np.uint8] | None = None) -> None:
        """Append pixels (n, 3) uint8 with alphas (n,) uint8, or None where all are opaque."""
        self._pieces.append((pixels, alphas))
        self.n_pixels += len(pixels)

    def describe(
        self, histogram: ColorHistogram, images: list[ImageRecord], failures: list[Failure]
    ) -> None:
        """Set the histogram, the images in the order of their pixels, and the failures."""
        self.histogram, self.images, self.failures = histogram, images, failures

    def read_images(self) -> Iterator[tuple[ImageRecord, Iterator[Piece]]]:
        """Yield the record of each image, and its pixels from first to last."""
        pieces = iter(self._pieces)
        for image in self.images:
            left = image.height * image.width
            of_image = []
            while left:
                of_image.append(next(pieces))
                left -= len(of_image[-1][0])
            yield image, iter(_with_masks(of_image))


def _with_masks(pieces: list[Piece]) -> list[Piece]:
    """Return `pieces` with alphas for all of them, or for none."""
    if all(alphas is None for _, alphas in pieces):
        return pieces
    return [
        (pixels, np.full(len(pixels), 255, np.uint8) if alphas is None else alphas)
        for pixels, alphas in pieces
    ]
