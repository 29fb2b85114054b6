"""Sweep over numbers of colours and weights of bits: bytes and quality of each pair of them.

All palettes are fitted to one histogram. The images of a sample are mapped once to each palette,
and encoded with each weight.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence, Set
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any, NamedTuple

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
from kmeans_dask.steps.crops import Crop, Window, choose_windows, find_windows
from kmeans_dask.steps.fit import fit
from kmeans_dask.steps.lossy_image import LossyImages
from kmeans_dask.steps.scored_images import choose_names, scored_rows
from kmeans_dask.steps.write_image import RemappedImage, better_file
from kmeans_dask.store import Piece, Store, join_pieces
from kmeans_dask.store.records import Failure, ImageRecord
from kmeans_dask.store.tally import Tally

_SAMPLE_PIXELS = 1 << 23  # pixels of the images that are encoded to predict bytes, about
_SAMPLE_IMAGES = 12  # of these images, at least, where there are so many


@dataclass(frozen=True)
class Point:
    """Point of a sweep: one palette and one weight, with their size in bytes and their quality.

    colors: number of colours asked for
    lossy: weight of bits, as in `EncodeSettings`; 0 where each pixel has its nearest entry
    entries: number of entries of the palette, a transparent one included
    iterations: number of iterations of the fit
    psnr: over the compressed images of a sample, in dB, as in the summary of a job; None where
        nothing is lost, or no image is compressed
    palette_psnr: over all pixels of all images, each with its nearest entry, in dB, exact; None
        where nothing is lost
    ssimulacra2: mean SSIMULACRA2 score of those images of the sample that are scored and that a job
        would compress, at most 100; None where it would compress none of them
    scored: number of these images
    oklab: mean distance of all pixels to their entries in Oklab, where black and white are 1 apart
    n_bytes: bytes of all images as a job would leave them, predicted from those of the sample
    kept: number of images of the sample that a job would keep as they are
    """

    colors: int
    lossy: float
    entries: int
    iterations: int
    psnr: float | None
    palette_psnr: float | None
    ssimulacra2: float | None
    scored: int
    oklab: float
    n_bytes: int
    kept: int


@dataclass(frozen=True)
class Sweep(NotebookTable):
    """Result of a sweep, with the fewest colours first, and of these the smallest weight.

    images, pixels, input_bytes: of the whole collection
    sampled: number of images that were encoded to predict bytes
    suggested: number of colours at the knee of the rate-distortion curve; None where there is none.
        The curve is bytes against palette PSNR where one weight was tried, and else the upper hull
        of all points, bytes against SSIMULACRA2
    suggested_lossy: weight of bits there
    crops: parts of images of the sample, before and after, for the report
    """

    images: int
    pixels: int
    input_bytes: int
    sampled: int
    points: tuple[Point, ...]
    suggested: int | None
    suggested_lossy: float | None
    failures: tuple[Failure, ...]
    crops: tuple[Crop, ...] = ()

    @property
    def weights(self) -> list[float]:
        """Return the weights of bits that were tried, in order."""
        return sorted({point.lossy for point in self.points})

    def as_dict(self) -> dict[str, Any]:
        """Return all figures, ready for JSON, without the crops."""
        figures = asdict(replace(self, crops=()))
        del figures["crops"]
        return figures


def sweep(
    plan: Plan,
    store_path: Location,
    engine: Engine,
    progress: Progress,
    colors: Sequence[int],
    weights: Sequence[float],
    settings: FitSettings,
    encode: EncodeSettings,
    decode: DecodeSettings,
    n_crops: int = 0,
) -> Sweep:
    """Return the sweep of the numbers `colors` and the weights of bits over the images of `plan`.

    The images are decoded into a store at `store_path`, which may be removed afterwards.

    encode: how images are written; its `lossy` does not count
    n_crops: number of crops for the report, at most
    """
    ingested = ingest_and_count(open_or_create(store_path, plan, decode), engine, progress)
    store, tally = ingested.store, ingested.tally
    sample = Sample.of(store, quick=not any(weights))
    fits = []
    for k in sorted(set(colors)):
        fits.append(fit(store, engine, progress, replace(settings, colors=k)))
        check_palette(fits[-1].palette, encode)
    windows: Sequence[Window] = ()
    if n_crops:
        middle = fits[len(fits) // 2]  # neither few nor many colours: errors are where it matters
        progress.start("crops")
        task = functools.partial(find_windows, store.path, middle)
        windows = choose_windows(engine.map("crops", task, sample.chosen), n_crops)
        progress.finish()
    points, befores = [], dict[int, bytes]()
    afters: list[dict[int, bytes | None]] = []
    tried_weights = tuple(sorted(set(weights)))
    for fitted in fits:
        progress.start("encode")
        oklab = engine.submit("evaluate", oklab_distance, store.path, fitted)
        trial = Trial(fitted, tried_weights, encode, sample.scored, tuple(windows), not befores)
        done = list(engine.map("encode", functools.partial(trial.run, store.path), sample.chosen))
        befores |= {number: file for each in done for number, file in each.before.items()}
        for number, weight in enumerate(tried_weights):
            tried = Tried.total(each.tried[number] for each in done)
            afters.append({at: file for each in done for at, file in each.after[number].items()})
            points.append(
                Point(
                    fitted.settings.colors,
                    weight,
                    len(fitted.palette),
                    fitted.iterations,
                    psnr(tried.squared_error, tried.pixels),
                    fitted.psnr,
                    tried.score / 1000 / tried.scored if tried.scored else None,
                    tried.scored,
                    engine.result(oklab),
                    _scaled(tried.output_bytes, tally.n_bytes, tried.input_bytes),
                    tried.kept,
                )
            )
        progress.finish()
    suggested = suggest(points)
    return Sweep(
        tally.images,
        tally.pixels,
        tally.n_bytes,
        sum(len(numbers) for _, numbers in sample.chosen),
        tuple(points),
        None if suggested is None else suggested.colors,
        None if suggested is None else suggested.lossy,
        ingested.failures,
        tuple(
            Crop(window, befores[number], tuple(after[number] for after in afters))
            for number, window in enumerate(windows)
        ),
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
    pixels, squared_error, scored, score: of the images that are not kept, as in `EncodeTotals`
    """

    kept: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    pixels: int = 0
    squared_error: int = 0
    scored: int = 0
    score: int = 0

    @classmethod
    def total(cls, parts: Iterable[Tried]) -> Tried:
        """Return the sums over all parts."""
        return cls(*map(sum, zip(*map(astuple, [cls(), *parts]), strict=True)))


class Some(NamedTuple):
    """Some images of a partition: its id, and their places in it."""

    partition_id: str
    places: tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """Sample of the images of a store.

    chosen: images of the sample
    scored: names (`kept_as`) of those that are scored
    """

    chosen: tuple[Some, ...]
    scored: frozenset[str]

    @classmethod
    def of(cls, store: Store, *, quick: bool) -> Sample:
        """Return a sample that is spread evenly over the store.

        quick: whether few images are scored, as in a plain job; see `choose_names`
        """
        tally = Tally.read(store)
        wanted = max(_SAMPLE_IMAGES, tally.images * _SAMPLE_PIXELS // max(1, tally.pixels))
        step = max(1, tally.images // wanted)
        chosen, found, number = list[Some](), list[ImageRecord](), step // 2
        for partition_id in store.partition_ids:
            images = store.partition(partition_id).images
            places = tuple(range(number, len(images), step))
            if places:
                chosen.append(Some(partition_id, places))
                found += [images[place] for place in places]
            number = (places[-1] + step if places else number) - len(images)
        named = ((image.kept_as, image.height * image.width) for image in found)
        return cls(tuple(chosen), choose_names(named, quick=quick))


class Done(NamedTuple):
    """Result of a trial with some images.

    tried: sums for each weight
    before: file of each crop of these images as they were, by its number, where asked for
    after: for each weight, file of each crop as it becomes; None where the image would be kept
    """

    tried: tuple[Tried, ...]
    before: dict[int, bytes]
    after: tuple[dict[int, bytes | None], ...]


@dataclass(frozen=True)
class Trial:
    """Trial of a palette with several weights of bits.

    settings: how images are written, but for the weight
    scored: names (`kept_as`) of the images that are scored
    windows: where crops are cut
    with_before: whether the crops of the images as they were are asked for, too
    """

    fitted: FitResult
    weights: tuple[float, ...]
    settings: EncodeSettings
    scored: Set[str]
    windows: tuple[Window, ...]
    with_before: bool

    def run(self, store_path: Location, some: Some) -> Done:
        """Encode some images as a job would, as one task, with each weight."""
        partition = Store.open(store_path).partition(some.partition_id)
        fitted = self.fitted
        remapper = Remapper(
            partition.histogram, fitted.palette, fitted.settings.space, self.settings.dither
        )
        sums: list[list[Tried]] = [[] for _ in self.weights]
        before, after = dict[int, bytes](), tuple(dict[int, bytes | None]() for _ in self.weights)
        for place, (record, pieces) in enumerate(partition.read_images()):
            if place not in some.places:
                continue  # its pixels are not read
            pixels, alphas = join_pieces(pieces)
            indices = remapper.map(pixels, alphas, record.width)
            plain = RemappedImage.of(record, pixels, alphas, indices, fitted.palette)
            mine = [
                (number, window)
                for number, window in enumerate(self.windows)
                if (window.partition_id, window.place) == (some.partition_id, place)
            ]
            if self.with_before:
                before |= {number: window.cut(pixels, alphas, record) for number, window in mine}
            for number, weight in enumerate(self.weights):
                image, kept = self._encode(record, (pixels, alphas), plain, weight, sums[number])
                for at, window in mine:
                    after[number][at] = None if kept else window.cut_remapped(image)
        return Done(tuple(map(Tried.total, sums)), before, after)

    def _encode(
        self,
        record: ImageRecord,
        piece: Piece,
        plain: RemappedImage,
        weight: float,
        sums: list[Tried],
    ) -> tuple[RemappedImage, bool]:
        """Return an image with a weight, and whether a job would keep it; append it to `sums`."""
        settings, image = replace(self.settings, lossy=weight), plain
        if weight:
            image = LossyImages(record, piece, settings, self.fitted.settings).smaller(plain)
        before, file = record.n_bytes, better_file(record, image, settings, Targets())
        if file is None:
            sums.append(Tried(1, before, before))
            return image, True
        rows = scored_rows(record) if record.kept_as in self.scored else range(0)
        if rows:
            some = slice(rows.start * record.width, rows.stop * record.width)
            pixels, alphas = piece
            of_some = None if alphas is None else alphas[some]
            image = image.scored(pixels[some], of_some, rows, rough=True)
        score = round(1000 * (image.score or 0.0))
        error = image.squared_error
        sums.append(Tried(0, before, len(file), image.pixels, error, bool(rows), score))
        return image, False


def oklab_distance(store_path: Location, fitted: FitResult) -> float:
    """Return the mean distance of all pixels to their palette entries in Oklab, as one task."""
    histogram = Store.open(store_path).read_colors()
    if not len(histogram):
        return 0.0
    entries = nearest_entries(histogram, fitted.palette, fitted.settings.space)
    after = to_oklab(np.ascontiguousarray(fitted.palette.entries[:, :3]))[entries]
    apart = np.sqrt(((to_oklab(histogram.colors) - after) ** 2).sum(axis=1))
    return float(np.average(apart, weights=histogram.weights)) / UNIT


def suggest(points: Sequence[Point]) -> Point | None:
    """Return the point at the knee of the rate-distortion curve, or None where it has none.

    points: with the fewest colours first; the curve is that of `Sweep.suggested`
    """
    if len({point.lossy for point in points}) == 1:
        curve = [(float(point.n_bytes), point.palette_psnr) for point in points]
        found = knee(curve, range(len(points)))
    else:
        scores = [
            (float(point.n_bytes), point.ssimulacra2, number)
            for number, point in enumerate(points)
            if point.ssimulacra2 is not None and point.psnr is not None
        ]
        best = upper_hull(scores)
        found = knee([(x, y) for x, y, _ in best], [number for _, _, number in best])
    return None if found is None else points[found]


def upper_hull(points: Sequence[tuple[float, float, int]]) -> list[tuple[float, float, int]]:
    """Return those points that no mixture of others beats, with more bytes for more quality.

    points: bytes, quality and name of each

    >>> upper_hull([(1, 20.0, 0), (2, 21.0, 1), (3, 40.0, 2), (4, 30.0, 3), (9, 41.0, 4)])
    [(1, 20.0, 0), (3, 40.0, 2), (9, 41.0, 4)]
    """
    hull: list[tuple[float, float, int]] = []
    for x, y, name in sorted(points, key=lambda point: (point[0], -point[1], point[2])):
        if hull and y <= hull[-1][1]:
            continue
        while len(hull) > 1:
            (x0, y0, _), (x1, y1, _) = hull[-2:]
            if (y1 - y0) * (x - x0) > (y - y0) * (x1 - x0):
                break
            hull.pop()
        hull.append((x, y, name))
    return hull


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
