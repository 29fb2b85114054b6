"""Exhibits: colours and images before and after, for the plots of an image or of a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.color_lookup import squared_error
from kmeans_dask.color.palette import Palette
from kmeans_dask.color.psnr import psnr
from kmeans_dask.color.remap import Remapper
from kmeans_dask.engine import local_threads
from kmeans_dask.errors import ImageError, UsageError
from kmeans_dask.files import Location
from kmeans_dask.images.decode import decode
from kmeans_dask.images.encode import encode_image
from kmeans_dask.images.thumbnail import thumbnail
from kmeans_dask.job.fit_result import read_fit
from kmeans_dask.job.gallery import CLOUD, Cloud, cloud_of
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.settings import MAX_COLORS, EncodeSettings, FitSettings
from kmeans_dask.steps.encode import sample_cloud
from kmeans_dask.steps.ingest import empty_counter
from kmeans_dask.steps.quantize import LocalColors, quantize
from kmeans_dask.store import Piece, Store, join_pieces
from kmeans_dask.store.records import ImageRecord
from kmeans_dask.store.tally import Tally

_PICTURES = 4  # images of a store that are shown
_SIDE = 1000  # pixels of the longer side of a shown image


@dataclass(frozen=True)
class Picture:
    """Picture: an image before and after, scaled down, with its figures.

    name: name of the file
    width, height: size of the image in pixels
    before, after: (h, w, 4) uint8, straight sRGB and alpha, scaled down
    psnr: PSNR in dB over pixels that are not fully transparent; None where nothing is lost
    input_bytes, output_bytes: bytes of the file, and of the PNG that it becomes
    """

    name: str
    width: int
    height: int
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    psnr: float | None
    input_bytes: int
    output_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Return the figures of the picture, ready for JSON."""
        names = ("name", "width", "height", "psnr", "input_bytes", "output_bytes")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Exhibit:
    """Exhibit: what the plots of an image, or of a collection, and of its palette show.

    Fully transparent pixels do not count, and are not among the points.

    name: name of the file or store
    points: (n, 3) uint8, colours of sampled pixels
    distinct_colors: number of distinct colours of all pixels
    palette: palette with which the image or the collection is written
    weights: (c,) int64, number of pixels of each colour of the palette
    psnr: PSNR over all pixels, in dB; None where nothing is lost
    pictures: the image, or some images of the collection
    """

    name: str
    points: NDArray[np.uint8]
    distinct_colors: int
    palette: Palette
    weights: NDArray[np.int64]
    psnr: float | None
    pictures: tuple[Picture, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures of the exhibit, ready for JSON."""
        return {
            "name": self.name,
            "distinct_colors": self.distinct_colors,
            "colors": len(self.palette),
            "psnr": self.psnr,
            "images": [picture.as_dict() for picture in self.pictures],
        }


def exhibit_image(path: Location, settings: FitSettings) -> Exhibit:
    """Return the exhibit of the image at `path`, with a palette that this function fits to it.

    Raises UsageError where the image cannot be read, or all its pixels are transparent.
    """
    try:
        decoded = decode(path)
        n_bytes = path.stat().st_size
    except (ImageError, OSError) as error:
        raise UsageError(f"{path}: {error}") from error
    band = decoded.whole()
    shape = decoded.height, decoded.width
    histogram = _count(band.pixels, band.alphas)
    with local_threads() as engine:
        colors = LocalColors(histogram, settings, engine)
        found = quantize(colors, settings, transparent=decoded.transparent)
        entries = colors.entries(found.palette)
    remapper = Remapper(histogram, found.palette, settings.space, entries=entries)
    return Exhibit(
        name=path.name,
        points=_points(path, cloud_of(histogram, entries, found.palette, CLOUD)),
        distinct_colors=len(histogram),
        palette=found.palette,
        weights=found.evaluation.weights,
        psnr=psnr(found.evaluation.squared_error, histogram.pixels),
        pictures=(_picture(path.name, n_bytes, shape, (band.pixels, band.alphas), remapper),),
    )


def exhibit_store(path: Location, name: str | None = None) -> Exhibit:
    """Return the exhibit of the store at `path`, with some of its images.

    name: name of the palette; None for the one fitted last

    Raises StoreError where the store is damaged or incomplete, or has no such palette; UsageError
    where the palette has more entries than an image holds, or all pixels are transparent.
    """
    store = Store.open(path)
    store.require_whole()
    fitted = read_fit(store, name)
    if len(fitted.palette) > MAX_COLORS:
        raise UsageError(
            f"palette {fitted.name} has {len(fitted.palette)} entries, an image holds "
            f"{MAX_COLORS}: choose a smaller one with --palette-name, or fit one"
        )
    pictures = []
    for record, piece in _some_images(store):
        remapper = Remapper(_count(*piece), fitted.palette, fitted.settings.space)
        shape = record.height, record.width
        named = Path(record.kept_as).name
        pictures.append(_picture(named, record.n_bytes, shape, piece, remapper))
    return Exhibit(
        name=path.name,
        points=_points(path, sample_cloud(path, fitted)),
        distinct_colors=fitted.distinct_colors,
        palette=fitted.palette,
        weights=fitted.weights,
        psnr=fitted.psnr,
        pictures=tuple(pictures),
    )


def plain_name(path: Location) -> str:
    """Return the name of a store or an image without its suffix.

    >>> plain_name(Path("a/photos.v2.zarr")), plain_name(Path("a/b.c.jpg"))
    ('photos.v2', 'b.c')
    """
    return path.name.removesuffix(".zarr") if path.is_dir() else path.stem


def _points(path: Location, cloud: Cloud) -> NDArray[np.uint8]:
    if not cloud:
        raise UsageError(f"{path} has no pixel that is not clear: there is nothing to plot")
    return np.array(cloud, np.uint8)[:, :3]


def _count(pixels: NDArray[np.uint8], alphas: NDArray[np.uint8] | None) -> ColorHistogram:
    counter = empty_counter()
    counter.add(pixels, alphas)
    return counter.histogram()


def _picture(
    name: str, n_bytes: int, shape: tuple[int, int], piece: Piece, remapper: Remapper
) -> Picture:
    pixels, alphas = piece
    height, width = shape
    palette = remapper.palette
    indices = remapper.map(pixels, alphas, width)
    error = squared_error(pixels, alphas, indices, palette.entries).total
    seen = len(pixels) if alphas is None else int(np.count_nonzero(alphas))
    shaped = indices.reshape(height, width)
    opaque = np.full(len(pixels), 255, np.uint8)
    rgba = np.column_stack([pixels, opaque if alphas is None else alphas])
    return Picture(
        name=name,
        width=width,
        height=height,
        before=thumbnail(rgba.reshape(height, width, 4), _SIDE),
        after=thumbnail(palette.entries[shaped], _SIDE),
        psnr=psnr(error, seen),
        input_bytes=n_bytes,
        output_bytes=len(encode_image(shaped, palette, EncodeSettings())),
    )


def _some_images(store: Store) -> Iterator[tuple[ImageRecord, Piece]]:
    """Yield record and pixels of some images, evenly spread over the store.

    Pixels of other images are not read.
    """
    n = Tally.read(store).images
    wanted = min(_PICTURES, n)
    places = {number * n // wanted for number in range(wanted)}
    images = chain.from_iterable(
        store.partition(partition_id).read_images() for partition_id in store.partition_ids
    )
    for place, (record, pieces) in enumerate(images):
        if place in places:
            yield record, join_pieces(pieces)
