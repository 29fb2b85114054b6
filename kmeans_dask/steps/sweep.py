"""Sweep over numbers of colours: the bytes and the quality of each, from one histogram."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

import numpy as np

from kmeans_dask.color.oklab import UNIT, to_oklab
from kmeans_dask.color.psnr import psnr
from kmeans_dask.color.remap import Remapper, nearest_entries
from kmeans_dask.engine import Engine
from kmeans_dask.files import Location
from kmeans_dask.job.fit_result import FitResult
from kmeans_dask.job.job_settings import check_palette
from kmeans_dask.job.notebook import NotebookTable
from kmeans_dask.job.progress import Progress
from kmeans_dask.plan.plan import Plan
from kmeans_dask.settings import DecodeSettings, EncodeSettings, FitSettings, Targets
from kmeans_dask.steps.collection import ingest_and_count, open_or_create
from kmeans_dask.steps.fit import fit
from kmeans_dask.steps.lossy_image import LossyImages
from kmeans_dask.steps.write_image import RemappedImage, better_file
from kmeans_dask.store import Store, join_pieces
from kmeans_dask.store.records import Failure, ImageRecord
from kmeans_dask.store.tally import Tally

_SAMPLE_PIXELS = 1 << 23  # pixels of the images that are encoded to predict bytes, about
_SAMPLE_IMAGES = 12  # of these images, at least, where there are so many


@dataclass(frozen=True)
class Point:
    """Point of a sweep: one palette, with its size in bytes and its quality.

    colors: number of colours asked for
    entries: number of entries of the palette, a transparent one included
    iterations: number of iterations of the fit
    psnr: over the compressed images of a sample, in dB, as in the summary of a job; None where
        nothing is lost, or no image is compressed
    palette_psnr: over all pixels of all images, each with its nearest entry, in dB, exact; None
        where nothing is lost
    oklab: mean distance of all pixels to their entries in Oklab, where black and white are 1 apart
    n_bytes: bytes of all images as a job would leave them, predicted from those of the sample
    kept: number of images of the sample that a job would keep as they are
    """

    colors: int
    entries: int
    iterations: int
    psnr: float | None
    palette_psnr: float | None
    oklab: float
    n_bytes: int
    kept: int


@dataclass(frozen=True)
class Sweep(NotebookTable):
    """Result of a sweep, with the fewest colours first.

    images, pixels, input_bytes: of the whole collection
    sampled: number of images that were encoded to predict bytes
    suggested: number of colours at the knee of the rate-distortion curve; None where there is none
    """

    images: int
    pixels: int
    input_bytes: int
    sampled: int
    points: tuple[Point, ...]
    suggested: int | None
    failures: tuple[Failure, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return all figures, ready for JSON."""
        return asdict(self)


def sweep(
    plan: Plan,
    store_path: Location,
    engine: Engine,
    progress: Progress,
    colors: Sequence[int],
    settings: FitSettings,
    encode: EncodeSettings,
    decode: DecodeSettings,
) -> Sweep:
    """Return the sweep of the numbers `colors` over the images of `plan`.

    The images are decoded into a store at `store_path`, which may be removed afterwards.
    """
    ingested = ingest_and_count(open_or_create(store_path, plan, decode), engine, progress)
    store, tally = ingested.store, ingested.tally
    chosen = _choose(store)
    points = []
    for k in sorted(set(colors)):
        fitted = fit(store, engine, progress, replace(settings, colors=k))
        check_palette(fitted.palette, encode)
        progress.start("encode")
        oklab = engine.submit("evaluate", oklab_distance, store.path, fitted)
        task = functools.partial(encode_sample, store.path, fitted, encode)
        tried = Tried.total(engine.map("encode", task, chosen))
        points.append(
            Point(
                k,
                len(fitted.palette),
                fitted.iterations,
                psnr(tried.squared_error, tried.pixels),
                fitted.psnr,
                engine.result(oklab),
                _scaled(tried.output_bytes, tally.n_bytes, tried.input_bytes),
                tried.kept,
            )
        )
        progress.finish()
    return Sweep(
        tally.images,
        tally.pixels,
        tally.n_bytes,
        sum(len(numbers) for _, numbers in chosen),
        tuple(points),
        knee(
            [(point.n_bytes, point.palette_psnr) for point in points],
            [point.colors for point in points],
        ),
        ingested.failures,
    )


def _scaled(of_sample: int, of_all: int, part: int) -> int:
    """Return a sum over a sample, scaled from the size `part` of the sample to that of all images.

    The result is rounded to the nearest integer.
    """
    return (2 * of_sample * of_all + part) // (2 * part) if part else 0


@dataclass(frozen=True)
class Tried:
    """Sums over the images of a sample, which were encoded but not written.

    kept: number of images that a job would keep as they are
    input_bytes, output_bytes: bytes of all images, before and after
    pixels, squared_error: of the images that are not kept, as in `EncodeTotals`
    """

    kept: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    pixels: int = 0
    squared_error: int = 0

    @classmethod
    def total(cls, parts: Iterable[Tried]) -> Tried:
        """Return the sums over all parts."""
        return cls(*map(sum, zip(*map(astuple, [cls(), *parts]), strict=True)))


def _choose(store: Store) -> list[tuple[str, tuple[int, ...]]]:
    """Return a sample spread evenly over the store: ids of partitions, and places in each."""
    tally = Tally.read(store)
    wanted = max(_SAMPLE_IMAGES, tally.images * _SAMPLE_PIXELS // max(1, tally.pixels))
    step = max(1, tally.images // wanted)
    chosen, number = [], step // 2
    for partition_id in store.partition_ids:
        n = len(store.partition(partition_id).images)
        places = tuple(range(number, n, step))
        if places:
            chosen.append((partition_id, places))
        number = (places[-1] + step if places else number) - n
    return chosen


def encode_sample(
    store_path: Location,
    fitted: FitResult,
    settings: EncodeSettings,
    chosen: tuple[str, tuple[int, ...]],
) -> Tried:
    """Encode some images of a partition as a job would, as one task, and return sums over them."""
    partition_id, places = chosen
    partition = Store.open(store_path).partition(partition_id)
    remapper = Remapper(partition.histogram, fitted.palette, fitted.settings.space, settings.dither)
    parts = []
    for number, (record, pieces) in enumerate(partition.read_images()):
        if number not in places:
            continue  # its pixels are not read
        pixels, alphas = join_pieces(pieces)
        indices = remapper.map(pixels, alphas, record.width)
        image = RemappedImage.of(record, pixels, alphas, indices, fitted.palette)
        if settings.lossy:
            lossy = LossyImages(record, (pixels, alphas), settings, fitted.settings)
            image = lossy.smaller(image)
        parts.append(_try(record, image, settings))
    return Tried.total(parts)


def _try(record: ImageRecord, remapped: RemappedImage, settings: EncodeSettings) -> Tried:
    before = record.n_bytes
    file = better_file(record, remapped, settings, Targets())
    if file is None:
        return Tried(1, before, before)
    return Tried(0, before, len(file), remapped.pixels, remapped.squared_error)


def oklab_distance(store_path: Location, fitted: FitResult) -> float:
    """Return the mean distance of all pixels to their palette entries in Oklab, as one task."""
    histogram = Store.open(store_path).read_colors()
    if not len(histogram):
        return 0.0
    entries = nearest_entries(histogram, fitted.palette, fitted.settings.space)
    after = to_oklab(np.ascontiguousarray(fitted.palette.entries[:, :3]))[entries]
    apart = np.sqrt(((to_oklab(histogram.colors) - after) ** 2).sum(axis=1))
    return float(np.average(apart, weights=histogram.weights)) / UNIT


def knee(curve: Sequence[tuple[float, float | None]], names: Sequence[int]) -> int | None:
    """Return the name of the knee of a rate-distortion curve, or None where it has none.

    The knee is the point farthest above the chord, where more bytes begin to buy less quality:
    Satopaa et al. 2011, "Finding a kneedle in a haystack", ICDCSW, section 3. Points without loss
    are left out; a curve of less than three other points has no knee.

    curve: bytes and quality of each point; the quality is None where nothing is lost
    names: name of each point

    >>> knee([(1, 20.0), (2, 30.0), (3, 32.0), (4, 33.0)], [2, 4, 8, 16])
    4
    """
    lossy = [(x, y, name) for (x, y), name in zip(curve, names, strict=True) if y is not None]
    if len(lossy) < 3:
        return None
    (x0, y0, _), (x1, y1, _) = lossy[0], lossy[-1]
    if x1 <= x0 or y1 <= y0:
        return None
    above = [(y - y0) / (y1 - y0) - (x - x0) / (x1 - x0) for x, y, _ in lossy]
    return lossy[above.index(max(above))][2]
