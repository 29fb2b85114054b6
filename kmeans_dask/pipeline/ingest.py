"""Files to pixels in the store, colours counted on the way."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kmeans_dask.cluster import Engine
from kmeans_dask.clustering.counts import ColorCounter
from kmeans_dask.errors import ImageError
from kmeans_dask.imaging.decode import DecodedImage, decode
from kmeans_dask.pipeline.plan import Failure, Plan, Source
from kmeans_dask.pipeline.progress import Progress
from kmeans_dask.settings import DecodeSettings
from kmeans_dask.store import PartitionWriter, Store

_thread = threading.local()  # a counter's dense table is big: one per thread, used again


def ingest(
    plan: Plan, store: Store, engine: Engine, progress: Progress, settings: DecodeSettings
) -> list[Failure]:
    """Decode the images of `plan` into partitions of `store`; returns those that cannot be read."""
    task = functools.partial(ingest_partition, store.path, settings)
    partitions = [(f"{number:06d}", sources) for number, sources in enumerate(plan.partitions)]
    # the largest first, so that no worker is left alone with one at the end
    partitions.sort(key=lambda item: -sum(source.n_pixels for source in item[1]))
    failures: list[Failure] = []
    progress.start("ingest", plan.n_images, "images")
    for n_images, failed in engine.map("ingest", task, partitions):
        failures += failed
        progress.advance(n_images + len(failed), len(failed))
    progress.finish()
    return failures


def ingest_partition(
    store_path: Path, settings: DecodeSettings, partition: tuple[str, Sequence[Source]]
) -> tuple[int, list[Failure]]:
    """One task: decode, count and store a partition's images; how many, and what cannot be read."""
    partition_id, sources = partition
    counter = empty_counter()
    images: list[dict[str, Any]] = []
    failures: list[Failure] = []
    store = Store.open(store_path)
    n_pixels = sum(source.n_pixels for source in sources)
    with store.writing_partition(partition_id, n_pixels) as writer:
        for source in sources:
            try:
                images.append(_ingest_image(source, writer, counter, settings))
            except ImageError as error:
                failures.append(Failure(source.path, str(error)))
        writer.describe(counter.counts(), images, [asdict(failure) for failure in failures])
    return len(images), failures


def _ingest_image(
    source: Source, writer: PartitionWriter, counter: ColorCounter, settings: DecodeSettings
) -> dict[str, Any]:
    decoded = read_image(source, settings)
    offset = writer.n_pixels
    for band in decoded.bands():
        writer.append(band.pixels, band.alphas)
        counter.add(band.pixels, band.alphas)
    return {**record_of(source, decoded, settings), "offset": offset}


def read_image(source: Source, settings: DecodeSettings) -> DecodedImage:
    """Decode an image that was planned. Raises ImageError."""
    decoded = decode(
        Path(source.path),
        settings.max_pixels,
        flat=settings.flat,
        keep_metadata=settings.keep_metadata,
    )
    if decoded.height * decoded.width != source.n_pixels:
        raise ImageError("the image changed while the job was running, or its header is wrong")
    return decoded


def record_of(source: Source, decoded: DecodedImage, settings: DecodeSettings) -> dict[str, Any]:
    """What is kept of an image beside its pixels."""
    return {
        "path": source.path,
        "kept_as": source.kept_as,
        "stem": source.stem,
        "n_bytes": source.n_bytes,
        "height": decoded.height,
        "width": decoded.width,
        "transparent": decoded.transparent,
        "translucent": decoded.translucent and not settings.flat,
        "composited": decoded.translucent and settings.flat,
        "metadata": decoded.metadata.as_dict() if decoded.metadata else None,
    }


def empty_counter() -> ColorCounter:
    """The thread's own, without what a task that failed half-way may have left."""
    if not hasattr(_thread, "counter"):
        _thread.counter = ColorCounter()
    counter: ColorCounter = _thread.counter
    counter.counts()
    return counter
