"""Compression of a small collection in this process, with all its images in memory.

A store is for images that one task cannot hold; for a small collection it costs more than it saves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from functools import partial

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.color_lookup import Indices
from kmeans_dask.color.remap import Remapper
from kmeans_dask.engine import Engine, local_threads
from kmeans_dask.errors import ImageError, JobError
from kmeans_dask.files import Location
from kmeans_dask.images.palette_files import hexes_of
from kmeans_dask.job.encode_totals import EncodeTotals
from kmeans_dask.job.fit_result import FitResult
from kmeans_dask.job.gallery import CLOUD, cloud_of
from kmeans_dask.job.job_settings import JobSettings, check_palette
from kmeans_dask.job.previews import previews_for
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.work_folder import WorkFolder, recorded
from kmeans_dask.kmeans.histogram import ColorHistogram, merge_histograms
from kmeans_dask.plan.plan import Plan, Source, cut, numbered
from kmeans_dask.steps.count import image_weight, image_weights
from kmeans_dask.steps.encode import encode_images, in_order, sum_up
from kmeans_dask.steps.fit import check_room, result_of
from kmeans_dask.steps.ingest import decode_images
from kmeans_dask.steps.quantize import PaletteFit, quantize_histogram
from kmeans_dask.steps.quarantine import WorkItem
from kmeans_dask.steps.scored_images import choose_scored
from kmeans_dask.store import MemoryPartition
from kmeans_dask.store.tally import Tally

_PARTITIONS = 4  # for each core: short ones, so that all cores end at about the same time
_LEAST = 1 << 16  # pixels, below which no partition is cut

Partitions = Mapping[str, MemoryPartition]


def compress_in_memory(
    plan: Plan, work: WorkFolder, engine: Engine, progress: Progress, settings: JobSettings
) -> tuple[EncodeTotals, FitResult]:
    """Compress the images of `plan`, which one task can hold, with one palette.

    Raises UsageError where the palette has no entry left for transparency.
    """
    with local_threads(engine.cores) as threads:
        partitions = _decode(plan, work, threads, progress, settings)
        histogram = merge_histograms([each.histogram for each in partitions.values()])
        found, entries = _fit(partitions, histogram, threads, progress, settings)
        fitted = result_of(found, len(histogram), settings.fit)
        check_palette(found.palette, settings.encode)
        remapper = Remapper(
            histogram, found.palette, settings.fit.space, settings.encode.dither, entries
        )
        records = work.stage(
            "encode", hexes_of(found.palette.entries), settings.fit, settings.encode
        )
        scored = choose_scored(plan)
        encode = partial(_encode, remapper, work.output, records, settings, scored)
        progress.start("encode", sum(len(each.images) for each in partitions.values()), "images")
        total = sum_up(threads.map("encode", encode, partitions.items()), progress)
        progress.finish()
    cloud = cloud_of(histogram, entries, found.palette, CLOUD)
    failures = in_order([*plan.failures, *total.failures])
    return total.with_cloud(cloud).with_failures(failures), fitted


def _decode(
    plan: Plan, work: WorkFolder, threads: Engine, progress: Progress, settings: JobSettings
) -> Partitions:
    previews = previews_for(plan, work.output)

    def decode(planned: tuple[str, Sequence[Source]]) -> tuple[str, MemoryPartition]:
        name, sources = planned
        partition = MemoryPartition()
        decode_images(partition, WorkItem(name, None, tuple(sources)), settings.decode, previews)
        return name, partition

    most = max(_LEAST, plan.n_pixels // (_PARTITIONS * threads.cores))
    planned = numbered(cut(list(plan.sources), min(most, plan.partition_pixels)))
    partitions = {}
    progress.start("ingest", plan.n_images, "images")
    for name, partition in threads.map("ingest", decode, planned.items()):
        partitions[name] = partition
        n_failed = len(partition.failures)
        progress.advance(len(partition.images) + n_failed, n_failed)
    progress.finish()
    return partitions


def _fit(
    partitions: Partitions,
    histogram: ColorHistogram,
    threads: Engine,
    progress: Progress,
    settings: JobSettings,
) -> tuple[PaletteFit, Indices]:
    """Return the fit of a palette, and the palette entry of each colour of `histogram`, (u,)."""
    tally = Tally.total([Tally.of(each) for each in partitions.values()])
    check_room(settings.fit, transparent=tally.transparent > 0)
    weights: NDArray[np.int64] | None = None
    if settings.fit.weight == "images":
        weight = image_weight(tally.images)
        weights = merge_histograms(
            [image_weights(each, weight) for each in partitions.values()]
        ).weights
    progress.start("fit", None, "iterations")
    try:
        found = quantize_histogram(
            histogram,
            settings.fit,
            threads,
            transparent=tally.transparent > 0,
            weights=weights,
            on_event=progress.iterate,
        )
    except ImageError as error:
        raise JobError(str(error)) from error
    progress.finish()
    return found


def _encode(
    remapper: Remapper,
    output: Location,
    records: Location,
    settings: JobSettings,
    scored: Set[str],
    named: tuple[str, MemoryPartition],
) -> EncodeTotals:
    """Remap, encode and write the images of a partition, as one task, unless that is done."""
    name, partition = named
    return recorded(
        records / f"{name}.json",
        output,
        partition.images,
        lambda: encode_images(
            partition, remapper, output, settings.encode, fit=settings.fit, scored=scored
        ),
    )
