"""Step that remaps the images of a store to a palette, and writes them as images or tokens."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.color_lookup import squared_error
from kmeans_dask.color.remap import Remapper, nearest_entries
from kmeans_dask.engine import Engine, local_threads
from kmeans_dask.errors import ImageError, StoreError
from kmeans_dask.files import Location
from kmeans_dask.interrupts import check_interrupted
from kmeans_dask.job.encode_totals import EncodeTotals
from kmeans_dask.job.fit_result import FitResult
from kmeans_dask.job.gallery import CLOUD, Cloud, cloud_of
from kmeans_dask.job.job_settings import check_palette
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.work_folder import recorded
from kmeans_dask.plan.name_checks import check_distinct
from kmeans_dask.plan.output_names import OUR_FILES
from kmeans_dask.plan.plan import Plan, Source
from kmeans_dask.settings import MAX_COLORS, EncodeSettings, FitSettings, Targets
from kmeans_dask.steps.ingest import empty_counter
from kmeans_dask.steps.lossy_image import LossyImages
from kmeans_dask.steps.quantize import quantize_histogram
from kmeans_dask.steps.scored_images import choose_scored, scored_rows
from kmeans_dask.steps.write_image import RemappedImage, is_nine_patch, outputs_of, write_image
from kmeans_dask.store import Partition, Piece, PixelSource, Store, join_pieces
from kmeans_dask.store.records import Failure, ImageRecord
from kmeans_dask.store.tally import Tally


def encode(
    store: Store,
    output: Location,
    records: Location,
    fitted: FitResult,
    engine: Engine,
    progress: Progress,
    settings: EncodeSettings,
    private: FitSettings | None = None,
    scored: Set[str] | None = None,
) -> EncodeTotals:
    """Write every image of `store` below `output`, except those that are written already.

    records: folder for the record of each finished partition
    private: settings of the fit of a palette to an image for which the shared one is not good
        enough; None for no such palettes
    scored: names (`kept_as`) of the images that get a score; None for some of the store
    """
    store.require_whole()
    check_palette(fitted.palette, settings)
    plan = Plan.of_record(store.plan)
    check_distinct((outputs_of(source, settings) for source in plan.sources), OUR_FILES)
    output.mkdir(parents=True, exist_ok=True)
    task = functools.partial(
        encode_partition,
        store.path,
        output.absolute(),
        records.absolute(),
        fitted,
        settings,
        private,
        choose_scored(plan) if scored is None else scored,
    )
    progress.start("encode", Tally.read(store).images, "images")
    total = sum_up(engine.map("encode", task, sorted(plan.partitions.items())), progress)
    progress.finish()
    cloud = engine.result(engine.submit("cloud", sample_cloud, store.path, fitted))
    failures = (*store.plan.failures, *total.failures)
    return replace(total.with_cloud(cloud), failures=in_order(failures))


def sum_up(
    parts: Iterable[EncodeTotals], progress: Progress, *, failed: bool = False
) -> EncodeTotals:
    """Return the sum of `parts`, and advance the running step by their images.

    failed: whether failed images advance the step as well
    """
    total, failures = EncodeTotals(), list[Failure]()
    for part in parts:
        failures += part.failures  # kept out of the sum: there may be very many
        total += replace(part, failures=())
        n_failed = len(part.failures) if failed else 0
        progress.advance(part.images + n_failed, n_failed)
    return replace(total, failures=tuple(failures))


def sample_cloud(store_path: Location, fitted: FitResult) -> Cloud:
    """Return a sample of all pixels with their palette entries, undithered, as one task."""
    histogram = Store.open(store_path).read_colors()
    entries = nearest_entries(histogram, fitted.palette, fitted.settings.space)
    return cloud_of(histogram, entries, fitted.palette, CLOUD)


def encode_partition(
    store_path: Location,
    output: Location,
    records: Location,
    fitted: FitResult,
    settings: EncodeSettings,
    private: FitSettings | None,
    scored: Set[str],
    planned: tuple[str, Sequence[Source]],
) -> EncodeTotals:
    """Remap, encode and write the images of a partition, as one task, unless that is done.

    planned: id of the partition, and the images that are planned for it

    Raises StoreError where the partition has other images.
    """
    partition_id, sources = planned
    partition = Store.open(store_path).partition(partition_id)
    _check_planned(partition, sources)
    return recorded(
        records / f"{partition_id}.json",
        output,
        partition.images,
        lambda: encode_images(
            partition,
            Remapper(partition.histogram, fitted.palette, fitted.settings.space, settings.dither),
            output,
            settings,
            fit=fitted.settings,
            private=private,
            scored=scored,
        ),
    )


def _check_planned(partition: Partition, sources: Sequence[Source]) -> None:
    """Raise StoreError unless all images of `partition` are among `sources`, in the same order."""
    expected = iter(sources)
    for image in partition.images:
        source = next((each for each in expected if each.path == image.path), None)
        is_same = source and (source.kept_as, source.stem, source.n_bytes, source.n_pixels) == (
            *(image.kept_as, image.stem, image.n_bytes),
            image.height * image.width,
        )
        if not is_same:
            raise StoreError(f"the store is damaged: {image.path!r} was never planned so")


def encode_images(
    partition: PixelSource,
    remapper: Remapper,
    output: Location,
    settings: EncodeSettings,
    *,
    fit: FitSettings,
    private: FitSettings | None = None,
    is_own: bool = False,
    scored: Set[str] = frozenset(),
) -> EncodeTotals:
    """Remap the images of a partition to a palette, and write them below `output`.

    fit: settings of the palette; of an image that misses its targets, the input file is kept
    private: settings of the fit of a palette to an image that misses them
    is_own: whether the palette belongs to a single image
    scored: names (`kept_as`) of the images that get a score; lossy images all get one
    """
    palette, targets = remapper.palette, Targets.of(fit, settings)
    parts = [EncodeTotals(failures=tuple(partition.failures))]
    for record, pieces in partition.read_images():
        check_interrupted()
        image = _Image(record, pieces)
        rows = scored_rows(record) if record.kept_as in scored else range(0)
        # All pixels are held at once only where they are needed together, or twice.
        if settings.dither or settings.lossy or private or is_nine_patch(record):
            pixels, alphas = image.whole()
            indices = remapper.map(pixels, alphas, record.width)
            remapped = RemappedImage.of(record, pixels, alphas, indices, palette, private=is_own)
            if private and not remapped.reaches(replace(targets, min_ssimulacra2=None)):
                try:
                    remapped = _map_privately(record, pixels, alphas, private)
                except ImageError as error:
                    parts.append(EncodeTotals(failures=(Failure(record.path, str(error)),)))
                    continue
            if settings.lossy:
                chosen = private if private and remapped.private else fit
                refit = functools.partial(_refit, record, pixels, alphas, chosen)
                own = refit if remapped.private else None
                lossy = LossyImages(record, (pixels, alphas), settings, chosen, own)
                remapped = lossy.smaller(remapped)
                if remapped.score is None:
                    remapped = remapped.scored(pixels, alphas, rough=True)
            elif rows:
                some = slice(rows.start * record.width, rows.stop * record.width)
                of_some = None if alphas is None else alphas[some]
                remapped = remapped.scored(pixels[some], of_some, rows, rough=True)
        else:
            remapped = replace(_map_pieces(image, remapper, rows), private=is_own)
        parts.append(write_image(record, remapped, output, settings, targets))
    return EncodeTotals.total(parts)


@dataclass(frozen=True)
class _Image:
    """Image of a store, with pixels that can be read once."""

    record: ImageRecord
    pieces: Iterator[Piece]

    def whole(self) -> Piece:
        """Return all pixels of the image at once."""
        return join_pieces(self.pieces)


def _map_pieces(image: _Image, remapper: Remapper, rows: range) -> RemappedImage:
    """Return a remapped image, mapped piece by piece so that its pixels are never held at once.

    rows: rows that are scored, and held for that; none for no score
    """
    height, width = image.record.height, image.record.width
    indices = np.empty(height * width, np.uint8)
    entries = remapper.palette.entries
    start = n = error = largest = 0
    held: list[Piece] = []
    first, last = rows.start * width, rows.stop * width
    for pixels, alphas in image.pieces:
        if rows:
            held.append(_copy_part((pixels, alphas), first - start, last - start))
        found = remapper.map(pixels, alphas, width)
        indices[start : start + len(pixels)] = found
        start += len(pixels)
        n += len(pixels) if alphas is None else int(np.count_nonzero(alphas))
        of_piece = squared_error(pixels, alphas, found, entries)
        error, largest = error + of_piece.total, max(largest, of_piece.largest)
    shaped = indices.reshape(height, width)
    remapped = RemappedImage(shaped, remapper.palette, n, error, largest)
    return remapped.scored(*join_pieces(held), rows, rough=True) if rows else remapped


def _copy_part(piece: Piece, start: int, stop: int) -> Piece:
    """Return a copy of the pixels of a piece from `start` to `stop`, of which it may lack some."""
    pixels, alphas = piece
    some = slice(max(0, start), max(0, stop))
    return pixels[some].copy(), None if alphas is None else alphas[some].copy()


def _refit(
    record: ImageRecord,
    pixels: NDArray[np.uint8],
    alphas: NDArray[np.uint8] | None,
    settings: FitSettings,
    k: int,
) -> RemappedImage:
    """Return an image mapped to a palette of k colours that is fitted to it alone."""
    colors = k + record.transparent
    return _map_privately(record, pixels, alphas, replace(settings, colors=colors, fewest=False))


def _map_privately(
    record: ImageRecord,
    pixels: NDArray[np.uint8],
    alphas: NDArray[np.uint8] | None,
    settings: FitSettings,
) -> RemappedImage:
    """Return an image mapped to a palette that is fitted to it alone.

    Raises ImageError where that fit needs more memory than the task may take.
    """
    counter = empty_counter()
    counter.add(pixels, alphas)
    histogram = counter.histogram()
    with local_threads(1) as thread:
        found, entries = quantize_histogram(
            histogram, settings, thread, transparent=record.transparent
        )
    remapper = Remapper(histogram, found.palette, settings.space, entries=entries)
    indices = remapper.map(pixels, alphas, record.width)
    return RemappedImage.of(record, pixels, alphas, indices, found.palette, private=True)


def write_tokens(
    store: Store, fitted: FitResult, engine: Engine, progress: Progress
) -> tuple[np.dtype[Any], tuple[Failure, ...]]:
    """Write the palette index of every pixel into the store.

    Return the data type of the indices, and the failures.
    """
    store.require_whole()
    store.start_indices(fitted.name)
    dtype = np.dtype(np.uint8 if len(fitted.palette) <= MAX_COLORS else np.uint16)
    failures = store.plan.failures
    progress.start("tokens", Tally.read(store).images, "images")
    task = functools.partial(tokens_of_partition, store.path, fitted, dtype)
    for n_images, failed in engine.map("tokens", task, store.partition_ids):
        failures += failed
        progress.advance(n_images)
    progress.finish()
    return dtype, in_order(failures)


def tokens_of_partition(
    store_path: Location, fitted: FitResult, dtype: np.dtype[Any], partition_id: str
) -> tuple[int, tuple[Failure, ...]]:
    """Write the palette index of each pixel of a partition, as one task.

    Return the number of its images, and its failures.
    """
    store = Store.open(store_path)
    partition = store.partition(partition_id)
    if store.has_indices(fitted.name, partition_id):
        return len(partition.images), tuple(partition.failures)
    remapper = Remapper(partition.histogram, fitted.palette, fitted.settings.space)
    n_pixels = partition.pixels.shape[0]
    with store.writing_indices(fitted.name, partition_id, n_pixels, dtype) as append:
        for record, pieces in partition.read_images():
            for pixels, alphas in pieces:
                append(remapper.map(pixels, alphas, record.width))
    return len(partition.images), tuple(partition.failures)


def in_order(failures: Sequence[Failure]) -> tuple[Failure, ...]:
    """Return the failures in the order of their paths."""
    return tuple(sorted(failures, key=lambda failure: failure.path))
