"""Images that share a palette with few others or none: all steps in one pass, in one task.

What is decoded is counted, fitted, mapped and written at once; nothing else is stored.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.color_lookup import Indices
from kmeans_dask.color.evaluation import Evaluation, evaluate
from kmeans_dask.color.palette import Palette
from kmeans_dask.color.remap import Remapper
from kmeans_dask.engine import Engine, local_threads
from kmeans_dask.engine.memory_model import bytes_to_fit, check_colors, check_counting
from kmeans_dask.errors import ImageError
from kmeans_dask.files import Location
from kmeans_dask.job.encode_totals import EncodeTotals
from kmeans_dask.job.gallery import cloud_of
from kmeans_dask.job.output_folder import write_palette
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.work_folder import recorded
from kmeans_dask.kmeans.histogram import ColorHistogram, merge_histograms
from kmeans_dask.plan.plan import Failure, Plan, Source
from kmeans_dask.settings import (
    MAX_COLORS,
    PARTITION_PIXELS,
    DecodeSettings,
    EncodeSettings,
    FitSettings,
)
from kmeans_dask.steps.count import image_weight, weighed
from kmeans_dask.steps.ingest import empty_counter, read_image, record_of
from kmeans_dask.steps.quantize import LocalColors, quantize
from kmeans_dask.steps.quarantine import WorkItem, quarantiner
from kmeans_dask.steps.write_image import RemappedImage, keeps_frame, write_image
from kmeans_dask.store.records import MAX_IMAGES

_TASKS = 32  # of a collection that is not large: enough to keep some workers busy
_LEAST = 1 << 17  # pixels that are worth a task


@dataclass(frozen=True)
class Group:
    """Images with one palette.

    folder: below the output, where the palette is written; None where it is the image's own
    """

    sources: tuple[Source, ...]
    folder: str | None = None

    @property
    def n_pixels(self) -> int:
        """Of all images."""
        return sum(source.n_pixels for source in self.sources)


@dataclass(frozen=True)
class Job:
    """What to do with each group, and where.

    records: a folder, where it is noted what came of each task
    palette: given, so that none is fitted
    cloud: pixels of each image that are looked at
    previews: a folder for those, if any
    """

    output: Location
    records: Location
    fit: FitSettings
    encode: EncodeSettings
    decode: DecodeSettings
    palette: Palette | None = None
    cloud: int = 0
    previews: Path | None = None


def groups_by_folder(plan: Plan) -> list[Group]:
    """Return one group for each folder of the output, with all images in the folder."""
    folders: dict[str, list[Source]] = defaultdict(list)
    for source in plan.sources:
        folders[str(PurePosixPath(source.kept_as).parent)].append(source)
    return [Group(tuple(sources), folder) for folder, sources in sorted(folders.items())]


def groups_of_one(plan: Plan) -> list[Group]:
    """Each image by itself."""
    return [Group((source,)) for source in plan.sources]


def compress_groups(
    groups: Sequence[Group],
    job: Job,
    engine: Engine,
    progress: Progress,
) -> EncodeTotals:
    """Compress the images of each group, many small groups in a task, unless that is done."""
    total, failures = EncodeTotals(), list[Failure]()
    task_pixels = min(max(_pixels(groups) // _TASKS, _LEAST), PARTITION_PIXELS)
    # the largest first, so that no worker is left alone with one at the end
    batches = sorted(
        (
            WorkItem(f"{number:06d}", batch, tuple(s for group in batch for s in group.sources))
            for number, batch in enumerate(_batches(groups, task_pixels))
        ),
        key=lambda portion: -portion.n_pixels,
    )
    progress.start("compress", sum(len(group.sources) for group in groups), "images")
    task = functools.partial(compress_batch, job)
    for encoded in engine.map("compress", task, batches, quarantiner(engine, job.decode)):
        failures += encoded.failures  # not in the sum: there may be very many
        total += replace(encoded, failures=())
        failed = len(encoded.failures)
        progress.advance(encoded.images + failed, failed)
    progress.finish()
    return replace(total, failures=tuple(failures))


def _pixels(groups: Sequence[Group]) -> int:
    return sum(group.n_pixels for group in groups)


def _batches(groups: Sequence[Group], task_pixels: int) -> Iterator[tuple[Group, ...]]:
    """Runs of groups of at most so many pixels together, or of one group."""
    run: list[Group] = []
    images = pixels = 0
    for group in groups:
        images, pixels = images + len(group.sources), pixels + group.n_pixels
        if run and (pixels > task_pixels or images > MAX_IMAGES):
            yield tuple(run)
            run, images, pixels = [], len(group.sources), group.n_pixels
        run.append(group)
    if run:
        yield tuple(run)


def compress_batch(job: Job, batch: WorkItem[Sequence[Group]]) -> EncodeTotals:
    """One task: all steps for some groups, one after the other, unless that is done."""

    def compress() -> EncodeTotals:
        parts = [EncodeTotals(failures=batch.quarantined)]
        for group in batch.work:
            safe = replace(group, sources=tuple(batch.safe(group.sources)))
            parts += _compress_group(job, safe)
        return EncodeTotals.total(parts)

    return recorded(job.records / f"{batch.name}.json", job.output, batch.work, compress)


class _Picture(NamedTuple):
    """A decoded image: its record, pixels (n, 3), alphas (n,) or None, and colours."""

    record: dict[str, Any]
    pixels: NDArray[np.uint8]
    alphas: NDArray[np.uint8] | None
    counts: ColorHistogram


def _compress_group(job: Job, group: Group) -> Iterator[EncodeTotals]:
    pictures, failures = [], []
    for source in group.sources:
        try:
            pictures.append(_read(source, job))
        except ImageError as error:
            failures.append(Failure(source.path, str(error)))
    yield EncodeTotals(failures=tuple(failures))
    if not pictures:
        return
    transparent = any(picture.record["transparent"] for picture in pictures)
    if transparent and _is_full(job):
        reason = f"transparent, and all {job.fit.colors} colours of the palette are taken"
        yield EncodeTotals(failures=_failures(pictures, reason))
        return
    counts = merge_histograms([picture.counts for picture in pictures])
    fitted = 0 if job.palette else len(counts)
    yield EncodeTotals(colors_bytes=bytes_to_fit(fitted, opaque=counts.is_opaque))
    try:
        check_colors(fitted, opaque=counts.is_opaque)
    except ImageError as error:
        yield EncodeTotals(failures=_failures(pictures, str(error)))
        return
    known: _Known | None = None
    if job.palette:
        palette = job.palette.with_clear() if transparent else job.palette
        mapper = Remapper(counts, palette, job.fit.space, job.encode.dither)
    else:
        with local_threads(1) as thread:
            colors = LocalColors(counts, job.fit, thread, _weights(pictures, job.fit))
            found = quantize(colors, job.fit, transparent=transparent)
        palette, entries = found.palette, colors.entries(found.palette)
        mapper = Remapper(counts, palette, job.fit.space, job.encode.dither, entries)
        if group.folder is None:
            known = _Known(entries, found.evaluation)
        else:
            try:
                written = write_palette(job.output, palette, found.evaluation.weights, group.folder)
                yield EncodeTotals(files=(written,))
            except ImageError as error:  # no image of the folder can be written either
                yield EncodeTotals(failures=_failures(pictures, str(error)))
                return
    for picture in pictures:
        mapped = _map(picture, mapper, job, known)
        yield write_image(picture.record, mapped, job.output, job.encode, job.fit.min_psnr)


def _is_full(job: Job) -> bool:
    """Return whether the palette of `job` has no room for a transparent entry."""
    if job.palette:
        return len(job.palette.with_clear()) > MAX_COLORS
    return len(job.fit.fixed) >= job.fit.colors


def _failures(pictures: Sequence[_Picture], reason: str) -> tuple[Failure, ...]:
    return tuple(Failure(picture.record["path"], reason) for picture in pictures)


class _Known(NamedTuple):
    """Palette entry of each distinct colour of an image, and the errors that these entries make."""

    entries: Indices
    evaluation: Evaluation


def _map(picture: _Picture, mapper: Remapper, job: Job, known: _Known | None) -> RemappedImage:
    """Map an image to a palette; `known` where that is its own."""
    record, pixels, alphas, counts = picture
    palette, own = mapper.palette, known is not None
    indices = mapper.map(pixels, alphas, record["width"])
    if job.encode.dither:  # what a colour becomes hangs on where it is
        return RemappedImage.of(record, pixels, alphas, indices, palette, private=own)
    if known is None:
        entries = mapper.map(counts.colors, counts.alphas, 1)
        known = _Known(entries, evaluate(counts, entries, palette))
    shaped = indices.reshape(record["height"], record["width"])
    cloud = cloud_of(counts, known.entries, palette, job.cloud)
    frame = keeps_frame(record, pixels, alphas, indices, palette)
    evaluation = known.evaluation
    return RemappedImage(
        shaped,
        palette,
        counts.pixels,
        evaluation.squared_error,
        evaluation.largest_error,
        own,
        cloud,
        frame,
    )


def _read(source: Source, job: Job) -> _Picture:
    decoded = read_image(source, job.decode, job.previews)
    band = decoded.whole()
    counter = empty_counter()
    counter.add(band.pixels, band.alphas)
    check_counting(counter.count_distinct())
    record = record_of(source, decoded, job.decode)
    return _Picture(record, band.pixels, band.alphas, counter.counts())


def _weights(pictures: Sequence[_Picture], settings: FitSettings) -> NDArray[np.int64] | None:
    if settings.weight == "pixels" or len(pictures) == 1:
        return None
    weight = image_weight(len(pictures))
    return merge_histograms([weighed(picture.counts, weight) for picture in pictures]).weights
