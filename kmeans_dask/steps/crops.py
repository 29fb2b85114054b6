"""Crops of images before and after, cut where a palette makes the largest errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.remap import Remapper
from kmeans_dask.files import Location
from kmeans_dask.images.encode import encode_image
from kmeans_dask.images.thumbnail import exact_webp
from kmeans_dask.job.fit_result import FitResult
from kmeans_dask.settings import EncodeSettings
from kmeans_dask.steps.write_image import RemappedImage
from kmeans_dask.store import Store, join_pieces
from kmeans_dask.store.records import ImageRecord

SIDE = 192  # pixels of a side of a crop, or fewer where the image has fewer
_BLOCK = 32  # pixels of a side of the blocks that errors are summed over
_OF_IMAGE = 4  # windows of an image that are proposed
_FILE = EncodeSettings("webp")  # lossless, and smaller than PNG


@dataclass(frozen=True)
class Window:
    """Window of an image of a store.

    partition_id, place: partition of the image, and its place there
    name: name of the image (`kept_as`)
    left, top, width, height: in pixels
    """

    partition_id: str
    place: int
    name: str
    left: int
    top: int
    width: int
    height: int

    def cut(
        self, pixels: NDArray[np.uint8], alphas: NDArray[np.uint8] | None, record: ImageRecord
    ) -> bytes:
        """Return a file of the window of an image with pixels (n, 3) and alphas (n,)."""
        shape = record.height, record.width
        over = np.full(len(pixels), 255, np.uint8) if alphas is None else alphas
        inside = self._inside
        parts = pixels.reshape(*shape, 3)[inside], over.reshape(*shape, 1)[inside]
        return exact_webp(np.concatenate(parts, axis=2))

    def cut_remapped(self, image: RemappedImage) -> bytes:
        """Return a file of the window of a remapped image."""
        indices = np.ascontiguousarray(image.indices[self._inside])
        return encode_image(indices, image.palette, _FILE)

    @property
    def _inside(self) -> tuple[slice, slice]:
        rows, columns = (self.top, self.height), (self.left, self.width)
        return slice(rows[0], sum(rows)), slice(columns[0], sum(columns))


@dataclass(frozen=True)
class Crop:
    """Part of an image before and after, as lossless WebP files.

    after: for each point of a sweep; None where a job would keep the image as it is
    """

    window: Window
    before: bytes
    after: tuple[bytes | None, ...]


class Proposal(NamedTuple):
    """Window that may become a crop.

    rank: place among the windows of its image, of which the first has the largest error
    error: sum of the squared errors in it
    """

    rank: int
    error: int
    window: Window


def find_windows(
    store_path: Location, fitted: FitResult, some: tuple[str, tuple[int, ...]]
) -> list[Proposal]:
    """Return the windows of largest error of some images of a partition, as one task.

    some: id of the partition, and the places of the images
    """
    partition_id, places = some
    partition = Store.open(store_path).partition(partition_id)
    palette = fitted.palette
    remapper = Remapper(partition.histogram, palette, fitted.settings.space)
    found = []
    for place, (record, pieces) in enumerate(partition.read_images()):
        if place not in places:
            continue  # its pixels are not read
        pixels, alphas = join_pieces(pieces)
        indices = remapper.map(pixels, alphas, record.width)
        shape = record.height, record.width
        after = palette.entries[:, :3], indices.reshape(shape)
        over = None if alphas is None else alphas.reshape(shape)
        blocks = _errors_of_blocks(pixels.reshape(*shape, 3), over, after)
        for rank, (left, top, error) in enumerate(_places(blocks, *shape)):
            size = min(SIDE, record.width), min(SIDE, record.height)
            window = Window(partition_id, place, record.kept_as, left, top, *size)
            found.append(Proposal(rank, error, window))
    return found


def choose_windows(proposals: Iterable[Iterable[Proposal]], n: int) -> tuple[Window, ...]:
    """Return at most `n` windows of the largest errors, of different images if there are so many.

    The same windows are chosen, whatever the order of the proposals is.
    """
    every = [proposal for some in proposals for proposal in some]
    every.sort(key=lambda each: (each.rank, -each.error, each.window.name, each.window.top))
    return tuple(each.window for each in every[:n])


def _errors_of_blocks(
    pixels: NDArray[np.uint8],
    alphas: NDArray[np.uint8] | None,
    after: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> NDArray[np.int64]:
    """Return the sums of squared errors of blocks, (h / block, w / block), rounded up.

    pixels: (h, w, 3); alphas: (h, w), or None; clear pixels have no error
    after: colours of the palette (k, 3), and indices (h, w)
    """
    height, width = pixels.shape[:2]
    colors, indices = after
    columns = np.arange(0, width, _BLOCK)
    sums = []
    for top in range(0, height, _BLOCK):
        strip = slice(top, top + _BLOCK)
        apart = pixels[strip].astype(np.int64) - colors[indices[strip]]
        errors = (apart * apart).sum(axis=2)
        if alphas is not None:
            errors[alphas[strip] == 0] = 0
        sums.append(np.add.reduceat(errors.sum(axis=0), columns))
    return np.array(sums)


def _places(blocks: NDArray[np.int64], height: int, width: int) -> list[tuple[int, int, int]]:
    """Return left, top and error of the windows of largest error that do not overlap."""
    n = SIDE // _BLOCK
    sums = np.zeros(np.add(blocks.shape, 1), np.int64)
    sums[1:, 1:] = blocks.cumsum(axis=0).cumsum(axis=1)
    # places of windows, in blocks, at which whole windows fit; one place along a short side
    rows, columns = (max(0, length - SIDE) // _BLOCK + 1 for length in (height, width))
    down, across = (min(n, length) for length in blocks.shape)
    errors = (
        sums[down : down + rows, across : across + columns]
        - sums[:rows, across : across + columns]
        - sums[down : down + rows, :columns]
        + sums[:rows, :columns]
    )
    found: list[tuple[int, int, int]] = []
    while len(found) < _OF_IMAGE and errors.max() >= 0:
        row, column = (int(each) for each in np.unravel_index(errors.argmax(), errors.shape))
        found.append((column * _BLOCK, row * _BLOCK, int(errors[row, column])))
        near = slice(max(0, row - n + 1), row + n), slice(max(0, column - n + 1), column + n)
        errors[near] = -1
    return found
