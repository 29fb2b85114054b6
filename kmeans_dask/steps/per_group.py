"""Compression with a palette for each image or folder, or a given one: all steps in one task.

The images of a group are decoded, counted, fitted, remapped and written in one pass, without a
store.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.color_lookup import Indices
from kmeans_dask.color.palette import Palette
from kmeans_dask.color.remap import Remapper, nearest_entries
from kmeans_dask.engine import Engine, local_threads
from kmeans_dask.engine.memory_model import bytes_to_fit
from kmeans_dask.errors import ImageError
from kmeans_dask.files import Location
from kmeans_dask.job.encode_totals import EncodeTotals
from kmeans_dask.job.gallery import Cloud, cloud_of
from kmeans_dask.job.output_folder import write_palette
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.work_folder import recorded
from kmeans_dask.plan.plan import Plan, Source
from kmeans_dask.settings import (
    MAX_COLORS,
    PARTITION_PIXELS,
    DecodeSettings,
    EncodeSettings,
    FitSettings,
)
from kmeans_dask.steps.count import image_weight, image_weights
from kmeans_dask.steps.encode import encode_images, sum_up
from kmeans_dask.steps.ingest import decode_images
from kmeans_dask.steps.quantize import quantize_histogram
from kmeans_dask.steps.quarantine import WorkItem, quarantiner
from kmeans_dask.store import MemoryPartition
from kmeans_dask.store.records import MAX_IMAGES, Failure
from kmeans_dask.store.tally import Tally

_TASKS = 32  # of a small collection: enough to keep some workers busy
_LEAST = 1 << 17  # pixels, below which groups are put together in a task


@dataclass(frozen=True)
class Group:
    """Group of images that share a palette.

    folder: folder below the output that the palette is written to; None to write no palette
    """

    sources: tuple[Source, ...]
    folder: str | None = None

    @property
    def n_pixels(self) -> int:
        """Return the number of pixels of all images."""
        return sum(source.n_pixels for source in self.sources)


@dataclass(frozen=True)
class Job:
    """Settings of a job with a palette for each group of images, and the folders it writes to.

    records: folder for the record of each finished task
    palette: palette for all images; None to fit one for each group
    cloud: number of pixels of each image to sample for the report
    previews: folder for previews of large images, or None
    scored: names (`kept_as`) of the images that get a score, where none is lossy
    """

    output: Location
    records: Location
    fit: FitSettings
    encode: EncodeSettings
    decode: DecodeSettings
    palette: Palette | None = None
    cloud: int = 0
    previews: Path | None = None
    scored: Set[str] = frozenset()


def groups_by_folder(plan: Plan) -> list[Group]:
    """Return one group for each folder of the output, with all images in the folder."""
    folders: dict[str, list[Source]] = defaultdict(list)
    for source in plan.sources:
        folders[str(PurePosixPath(source.kept_as).parent)].append(source)
    return [Group(tuple(sources), folder) for folder, sources in sorted(folders.items())]


def groups_of_one(plan: Plan) -> list[Group]:
    """Return one group for each image."""
    return [Group((source,)) for source in plan.sources]


def compress_groups(
    groups: Sequence[Group],
    job: Job,
    engine: Engine,
    progress: Progress,
) -> EncodeTotals:
    """Compress the images of each group, many small groups in a task, unless that is done."""
    task_pixels = min(max(_pixels(groups) // _TASKS, _LEAST), PARTITION_PIXELS)
    # the largest first, so that no worker is left alone with one at the end
    batches = sorted(
        (
            WorkItem(f"{number:06d}", batch, tuple(s for group in batch for s in group.sources))
            for number, batch in enumerate(_batches(groups, task_pixels))
        ),
        key=lambda item: -item.n_pixels,
    )
    progress.start("compress", sum(len(group.sources) for group in groups), "images")
    task = functools.partial(compress_batch, job)
    done = engine.map("compress", task, batches, quarantiner(engine, job.decode))
    total = sum_up(done, progress, failed=True)
    progress.finish()
    return total


def _pixels(groups: Sequence[Group]) -> int:
    return sum(group.n_pixels for group in groups)


def _batches(groups: Sequence[Group], task_pixels: int) -> Iterator[tuple[Group, ...]]:
    """Yield runs of groups of at most `task_pixels` together, or of one larger group."""
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
    """Compress some groups, one after the other, as one task, unless that is done."""

    def compress() -> EncodeTotals:
        parts = [EncodeTotals(failures=batch.quarantined)]
        for group in batch.work:
            safe = replace(group, sources=tuple(batch.safe(group.sources)))
            parts += _compress_group(job, batch.name, safe)
        return EncodeTotals.total(parts)

    return recorded(job.records / f"{batch.name}.json", job.output, batch.work, compress)


def _compress_group(job: Job, name: str, group: Group) -> Iterator[EncodeTotals]:
    """Decode, count, fit, remap and write the images of a group; yield parts of the totals."""
    partition = MemoryPartition()
    try:
        decode_images(partition, WorkItem(name, None, group.sources), job.decode, job.previews)
    except ImageError as error:  # all images together have too many colours
        yield EncodeTotals(failures=tuple(Failure(s.path, str(error)) for s in group.sources))
        return
    if not partition.images:
        yield EncodeTotals(failures=tuple(partition.failures))
        return
    try:
        palette, entries, pixels = _palette_of(partition, job)
        if group.folder is not None:
            written = write_palette(job.output, palette, pixels, group.folder)
            yield EncodeTotals(files=(written,))
    except ImageError as error:  # no image of the group can be written
        failures = (Failure(image.path, str(error)) for image in partition.images)
        yield EncodeTotals(failures=(*failures, *partition.failures))
        return
    n_colors = 0 if job.palette else len(partition.histogram)
    needed = bytes_to_fit(n_colors, opaque=partition.histogram.is_opaque)
    cloud: Cloud = ()
    if entries is not None and not job.encode.dither:  # a dithered pixel depends on where it is
        n = job.cloud * len(partition.images)
        cloud = cloud_of(partition.histogram, entries, palette, n)
    yield EncodeTotals(colors_bytes=needed).with_cloud(cloud)
    yield encode_images(
        partition,
        Remapper(partition.histogram, palette, job.fit.space, job.encode.dither, entries),
        job.output,
        job.encode,
        fit=job.fit,
        is_own=group.folder is None and job.palette is None,
        scored=job.scored,
    )


class _GroupPalette(NamedTuple):
    """Palette of a group, given or fitted.

    entries: (u,), palette index of each colour of the group; None for a given palette with
        dithering, which chooses by position as well
    pixels: (k,) int64, pixels of each colour of a fitted palette; None for a given one
    """

    palette: Palette
    entries: Indices | None
    pixels: NDArray[np.int64] | None


def _palette_of(partition: MemoryPartition, job: Job) -> _GroupPalette:
    """Return the palette of a group, given or fitted.

    Raises ImageError where the palette has no entry left for transparency, and where the fit needs
    more memory than the calling task may take.
    """
    tally, histogram = Tally.of(partition), partition.histogram
    transparent = tally.transparent > 0
    if transparent and _is_full(job):
        raise ImageError(f"transparent, and all {job.fit.colors} colours of the palette are taken")
    if job.palette:
        palette = job.palette.with_clear() if transparent else job.palette
        dithers = job.encode.dither > 0
        entries = None if dithers else nearest_entries(histogram, palette, job.fit.space)
        return _GroupPalette(palette, entries, None)
    weights = None
    if job.fit.weight == "images" and tally.images > 1:
        weights = image_weights(partition, image_weight(tally.images)).weights
    with local_threads(1) as thread:
        found, entries = quantize_histogram(
            histogram, job.fit, thread, transparent=transparent, weights=weights
        )
    return _GroupPalette(found.palette, entries, found.evaluation.weights)


def _is_full(job: Job) -> bool:
    """Return whether the palette of `job` has no entry left for transparency."""
    if job.palette:
        return len(job.palette.with_clear()) > MAX_COLORS
    return len(job.fit.fixed) >= job.fit.colors
