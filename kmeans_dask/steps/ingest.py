"""Step that decodes images into partitions of a store, and counts their colours."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import Any

from kmeans_dask.engine import Engine
from kmeans_dask.engine.memory_model import check_counting, check_decoding
from kmeans_dask.errors import ImageError, StoreError
from kmeans_dask.files import Location, parse_location
from kmeans_dask.images.decode import decode
from kmeans_dask.images.decoded_image import DecodedImage
from kmeans_dask.interrupts import check_interrupted
from kmeans_dask.job.previews import keep_preview
from kmeans_dask.job.progress import Progress
from kmeans_dask.kmeans.histogram import ColorCounter, merge_histograms
from kmeans_dask.plan.plan import Plan, Source
from kmeans_dask.settings import DecodeSettings
from kmeans_dask.steps.quarantine import WorkItem, quarantiner
from kmeans_dask.store import PixelSink, Store
from kmeans_dask.store.records import Failure, ImageRecord, MetadataRecord
from kmeans_dask.time_limit import time_limit

_thread = threading.local()  # a counter has a big dense table: each thread uses its own again


def ingest(
    plan: Plan,
    store: Store,
    engine: Engine,
    progress: Progress,
    settings: DecodeSettings,
    previews: Path | None = None,
) -> list[Failure]:
    """Decode the images of `plan` into partitions of `store`, and return the failures.

    Settled partitions are left alone. Other partitions of an earlier run are read, and made again
    where they are damaged.

    previews: folder for previews of large images, or None
    """
    task = functools.partial(ingest_partition, store.path, settings, previews=previews)
    items = [WorkItem(name, None, sources) for name, sources in plan.unsettled.items()]
    if not items:
        return []
    # the largest first, so that no worker is left alone with one at the end
    items.sort(key=lambda item: -item.n_pixels)
    failures: list[Failure] = []
    progress.start("ingest", sum(len(item.sources) for item in items), "images")
    for n_images, failed in engine.map("ingest", task, items, quarantiner(engine, settings)):
        failures += failed
        progress.advance(n_images + len(failed), len(failed))
    progress.finish()
    return failures


def ingest_partition(
    store_path: Location,
    settings: DecodeSettings,
    item: WorkItem[None],
    previews: Path | None = None,
) -> tuple[int, list[Failure]]:
    """Decode, count and store the images of a partition, as one task.

    Return the number of images, and the failures.
    """
    partition_id = item.name
    store = Store.open(store_path)
    if store.has_partition(partition_id):
        try:
            store.check_partition(partition_id)
            done = store.partition(partition_id)
        except StoreError:
            store.remove_partition(partition_id)
        else:
            return len(done.images), done.failures
    try:
        return _write_partition(store, settings, item, previews)
    except ImageError as error:  # all images together have too many colours
        sources = item.safe(item.sources)
        failures = [*item.quarantined, *(Failure(s.path, str(error)) for s in sources)]
        with store.writing_partition(partition_id, 0) as writer:
            writer.describe(merge_histograms([]), [], failures)
        return 0, failures


def _write_partition(
    store: Store, settings: DecodeSettings, item: WorkItem[None], previews: Path | None
) -> tuple[int, list[Failure]]:
    """Decode the images of `item`, count their colours, and store both as a partition.

    Return the number of images that were decoded, and the failures. Raises ImageError where the
    histogram of all of them takes too much memory.
    """
    with store.writing_partition(item.name, item.n_pixels) as writer:
        return decode_images(writer, item, settings, previews)


def decode_images(
    sink: PixelSink, item: WorkItem[Any], settings: DecodeSettings, previews: Path | None
) -> tuple[int, list[Failure]]:
    """Decode the images of `item` into `sink`, and count their colours.

    Return the number of images that were decoded, and the failures. Raises ImageError where the
    histogram of all of them takes too much memory.
    """
    counter = empty_counter()
    images: list[ImageRecord] = []
    failures = list(item.quarantined)
    for source in item.safe(item.sources):
        check_interrupted()
        try:
            images.append(_decode_image(source, sink, counter, settings, previews))
        except ImageError as error:
            failures.append(Failure(source.path, str(error)))
    check_counting(counter.count_distinct())
    sink.describe(counter.histogram(), images, failures)
    return len(images), failures


def _decode_image(
    source: Source,
    sink: PixelSink,
    counter: ColorCounter,
    settings: DecodeSettings,
    previews: Path | None,
) -> ImageRecord:
    decoded = read_image(source, settings, previews)
    offset = sink.n_pixels
    for band in decoded.bands():
        sink.append(band.pixels, band.alphas)
        counter.add(band.pixels, band.alphas)
    return record_of(source, decoded, settings, offset)


def read_image(
    source: Source, settings: DecodeSettings, previews: Path | None = None
) -> DecodedImage:
    """Return a planned image, decoded, and keep a preview of it if wanted.

    Raises ImageError where the image needs too much memory or time, has changed, or cannot be read.
    """
    check_decoding(source.n_pixels, source.pixel_bytes)
    with time_limit(settings.seconds):
        decoded = decode(
            parse_location(source.path),
            settings.max_pixels,
            flat=settings.flat,
            keep_metadata=settings.keep_metadata,
            white=settings.white,
        )
    if decoded.height * decoded.width != source.n_pixels:
        raise ImageError("the image changed while the job was running, or its header is wrong")
    if previews:
        keep_preview(previews, source.path, decoded, flat=settings.flat)
    return decoded


def record_of(
    source: Source, decoded: DecodedImage, settings: DecodeSettings, offset: int
) -> ImageRecord:
    """Return the record of an image, which is kept beside its pixels.

    offset: index of its first pixel in the partition
    """
    found = decoded.metadata
    return ImageRecord(
        path=source.path,
        kept_as=source.kept_as,
        stem=source.stem,
        n_bytes=source.n_bytes,
        modified=source.modified,
        digest=source.digest,
        height=decoded.height,
        width=decoded.width,
        transparent=decoded.transparent,
        translucent=decoded.translucent and not settings.flat,
        composited=decoded.translucent and settings.flat,
        brightest=decoded.brightest,
        indexed=decoded.indexed,
        metadata=MetadataRecord(**vars(found)) if found else None,
        offset=offset,
    )


def empty_counter() -> ColorCounter:
    """Return the colour counter of this thread, emptied of what a failed task may have left."""
    if not hasattr(_thread, "counter"):
        _thread.counter = ColorCounter()
    counter: ColorCounter = _thread.counter
    counter.histogram()
    return counter
