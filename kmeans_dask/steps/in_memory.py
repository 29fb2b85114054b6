"""A small collection in this process, all at once: its images are held, and none is stored.

A store that is not kept is for what one task cannot hold; else it costs more than it saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.color_lookup import Indices
from kmeans_dask.color.remap import Remapper
from kmeans_dask.engine import Engine, local_threads
from kmeans_dask.engine.memory_model import check_colors
from kmeans_dask.errors import ImageError, JobError
from kmeans_dask.files import Location
from kmeans_dask.images.palette_files import hexes_of
from kmeans_dask.interrupts import check_interrupted
from kmeans_dask.job.encode_totals import EncodeTotals
from kmeans_dask.job.fit_result import FitResult
from kmeans_dask.job.gallery import CLOUD, cloud_of
from kmeans_dask.job.job_settings import JobSettings, check_palette
from kmeans_dask.job.previews import previews_for
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.work_folder import WorkFolder, recorded
from kmeans_dask.kmeans.histogram import ColorHistogram, merge_histograms
from kmeans_dask.plan.plan import Failure, Plan, Source, cut, numbered
from kmeans_dask.settings import DecodeSettings
from kmeans_dask.steps.count import image_weight, weighed
from kmeans_dask.steps.encode import in_order
from kmeans_dask.steps.fit import check_room, event_of, result_of
from kmeans_dask.steps.ingest import empty_counter, read_image, record_of
from kmeans_dask.steps.quantize import LocalColors, PaletteFit, quantize
from kmeans_dask.steps.write_image import RemappedImage, write_image

_PIECES = 4  # of the images, for each core: what is left at the end is short then
_LEAST = 1 << 16  # pixels that are worth a piece


class _Picture(NamedTuple):
    """A decoded image: its record, pixels (n, 3), alphas (n,) or None.

    counts: of its colours, where each image is to weigh the same
    """

    record: dict[str, Any]
    pixels: NDArray[np.uint8]
    alphas: NDArray[np.uint8] | None
    counts: ColorHistogram | None


@dataclass(frozen=True)
class _Piece:
    """Some of the images, decoded; the colours of all of them; and those that cannot be read."""

    name: str
    pictures: list[_Picture]
    counts: ColorHistogram
    failures: list[Failure]


def compress_at_once(
    plan: Plan, work: WorkFolder, engine: Engine, progress: Progress, settings: JobSettings
) -> tuple[EncodeTotals, FitResult]:
    """Compress the images of `plan`, which one task holds, with one palette.

    Raises UsageError where the palette has no room for transparency.
    """
    with local_threads(engine.cores) as threads:
        pieces = _decode_all(plan, previews_for(plan, work.output), threads, progress, settings)
        counts = merge_histograms([piece.counts for piece in pieces])
        found, entries = _fit(pieces, counts, threads, progress, settings)
        fitted = result_of(found, len(counts), settings.fit)
        check_palette(found.palette, settings.encode)
        mapper = Remapper(
            counts, found.palette, settings.fit.space, settings.encode.dither, entries
        )
        records = work.stage(
            "encode", hexes_of(found.palette.entries), settings.fit, settings.encode
        )
        write = partial(_write, mapper, work.output, records, settings)
        progress.start("encode", sum(len(piece.pictures) for piece in pieces), "images")
        parts = []
        for part in threads.map("encode", write, pieces):
            parts.append(part)
            progress.advance(part.images)
        progress.finish()
    encoded = EncodeTotals.total(parts)
    unread = [failure for piece in pieces for failure in piece.failures]
    failures = in_order([*plan.failures, *unread, *encoded.failures])
    cloud = cloud_of(counts, entries, found.palette, CLOUD)
    gallery = replace(encoded.gallery, cloud=cloud)
    return replace(encoded, failures=failures, gallery=gallery), fitted


def _decode_all(
    plan: Plan, previews: Path | None, threads: Engine, progress: Progress, settings: JobSettings
) -> list[_Piece]:
    most = max(_LEAST, plan.n_pixels // (_PIECES * threads.cores))
    runs = numbered(cut(list(plan.sources), min(most, plan.partition_pixels)))
    decode = partial(_decode, settings.decode, settings.fit.weight == "images", previews)
    progress.start("ingest", plan.n_images, "images")
    pieces = []
    for piece in threads.map("ingest", decode, runs.items()):
        pieces.append(piece)
        failed = len(piece.failures)
        progress.advance(len(piece.pictures) + failed, failed)
    progress.finish()
    return pieces


def _fit(
    pieces: Sequence[_Piece],
    counts: ColorHistogram,
    threads: Engine,
    progress: Progress,
    settings: JobSettings,
) -> tuple[PaletteFit, Indices]:
    """A palette, and its entry for each of the colours."""
    pictures = [picture for piece in pieces for picture in piece.pictures]
    transparent = any(picture.record["transparent"] for picture in pictures)
    check_room(settings.fit, transparent=transparent)
    try:
        check_colors(len(counts), opaque=counts.is_opaque)
    except ImageError as error:
        raise JobError(str(error)) from error
    weights = _weights(pictures) if settings.fit.weight == "images" else None
    progress.start("fit", None, "iterations")
    colors = LocalColors(counts, settings.fit, threads, weights)
    found = quantize(
        colors,
        settings.fit,
        transparent=transparent,
        on_iteration=lambda iteration: progress.iterate(event_of(iteration, colors.space)),
    )
    entries = colors.entries(found.palette)
    progress.finish()
    return found, entries


def _decode(
    settings: DecodeSettings, each: bool, previews: Path | None, run: tuple[str, Sequence[Source]]
) -> _Piece:
    """One task: decode and count. With `each` every image by itself."""
    name, sources = run
    counter = empty_counter()
    pictures, failures, tables = [], [], []
    for source in sources:
        check_interrupted()
        try:
            decoded = read_image(source, settings, previews)
        except ImageError as error:
            failures.append(Failure(source.path, str(error)))
            continue
        band = decoded.whole()
        counter.add(band.pixels, band.alphas)
        counts = None
        if each:
            tables.append(counts := counter.counts())
        record = record_of(source, decoded, settings)
        pictures.append(_Picture(record, band.pixels, band.alphas, counts))
    return _Piece(name, pictures, merge_histograms([*tables, counter.counts()]), failures)


def _weights(pictures: Sequence[_Picture]) -> NDArray[np.int64]:
    """What each colour weighs where each image weighs the same."""
    weight = image_weight(len(pictures))
    tables = [weighed(picture.counts, weight) for picture in pictures if picture.counts]
    return merge_histograms(tables).weights


def _write(
    mapper: Remapper, output: Location, records: Location, settings: JobSettings, piece: _Piece
) -> EncodeTotals:
    """One task: map, deflate and write, unless that is done."""

    def write() -> EncodeTotals:
        parts = []
        for record, pixels, alphas, _ in piece.pictures:
            check_interrupted()
            indices = mapper.map(pixels, alphas, record["width"])
            mapped = RemappedImage.of(record, pixels, alphas, indices, mapper.palette)
            parts.append(
                write_image(record, mapped, output, settings.encode, settings.fit.min_psnr)
            )
        return EncodeTotals.total(parts)

    of = [picture.record for picture in piece.pictures]
    return recorded(records / f"{piece.name}.json", output, of, write)
