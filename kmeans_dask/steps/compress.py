"""Compression of a collection: all steps of a job, one after the other."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from kmeans_dask.engine import Engine
from kmeans_dask.engine.memory_model import bytes_to_fit, pixels_within
from kmeans_dask.errors import ImageError, UsageError
from kmeans_dask.files import Location
from kmeans_dask.images.palette_files import hexes_of
from kmeans_dask.job.encode_totals import EncodeTotals
from kmeans_dask.job.fit_result import FitResult, read_fit
from kmeans_dask.job.gallery import CLOUD
from kmeans_dask.job.job_settings import JobSettings
from kmeans_dask.job.output_folder import write_failures, write_palette
from kmeans_dask.job.previews import previews_for
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.summary import Summary, TokensSummary, summarize
from kmeans_dask.job.work_folder import WorkFolder
from kmeans_dask.plan.placement import fits_in_memory
from kmeans_dask.plan.plan import Plan, cut, numbered
from kmeans_dask.settings import (
    PARTITION_PIXELS,
    EncodeSettings,
    FitSettings,
)
from kmeans_dask.steps.collection import Collection, ingest_and_count, recreate
from kmeans_dask.steps.encode import encode, write_tokens
from kmeans_dask.steps.fit import drift_of, fit
from kmeans_dask.steps.in_memory import compress_in_memory
from kmeans_dask.steps.per_group import (
    Group,
    Job,
    compress_groups,
    groups_by_folder,
    groups_of_one,
)
from kmeans_dask.steps.scored_images import choose_scored
from kmeans_dask.store import Store
from kmeans_dask.store.records import Failure
from kmeans_dask.store.tally import Tally


@contextmanager
def temporary_folder() -> Iterator[Location]:
    """Yield a temporary folder in the current one, which workers are likeliest to see as well."""
    folder = Path.cwd() / f".kmeans-dask-{secrets.token_hex(4)}"
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def compress(
    plan: Plan,
    work: WorkFolder,
    engine: Engine,
    progress: Progress,
    settings: JobSettings,
    collection: Collection | None = None,
    *,
    keep_palette: bool = False,
) -> Summary:
    """Compress the images of `plan` into the output of `work`, except those that are done already.

    collection: store to keep; where None, a store is made only if it is needed, and is temporary
    keep_palette: use the palette that the store has, and fit none
    """
    is_plain = settings.is_shared and settings.scope == "shared"
    if collection is None and is_plain and fits_in_memory(plan, engine):
        encoded, fitted = compress_in_memory(plan, work, engine, progress, settings)
        return _conclude(encoded, work, fitted, progress, plan.skipped, one_palette=True)
    if settings.is_shared:
        held = collection or recreate(work.store_path, plan, settings.decode)
        ingest_and_count(held, engine, progress, previews_for(plan, work.output))
        if keep_palette:
            fitted = read_fit(held.store, f"k{settings.fit.colors}")
            fitted = replace(fitted, drift=drift_of(held.store, fitted, engine))
        else:
            fitted = fit(held.store, engine, progress, settings.fit, resume=True)
        private = settings.fit if settings.scope == "auto" else None
        summary = encode_and_summarize(
            held.store, work, fitted, engine, progress, settings.encode, private
        )
        return replace(summary, changes=held.changes)
    return _compress_private(plan, work, engine, progress, settings)


def encode_and_summarize(
    store: Store,
    work: WorkFolder,
    fitted: FitResult,
    engine: Engine,
    progress: Progress,
    settings: EncodeSettings,
    private: FitSettings | None = None,
) -> Summary:
    """Encode the images of `store`, and return the summary of the job.

    private: settings of the fit of a palette to an image for which `fitted` is not good enough
    """
    colors = hexes_of(fitted.palette.entries)
    records = work.stage("encode", store.path, colors, fitted.settings, settings, private)
    encoded = encode(store, work.output, records, fitted, engine, progress, settings, private)
    return _conclude(
        encoded, work, fitted, progress, store.plan.skipped, one_palette=private is None
    )


def _conclude(
    encoded: EncodeTotals,
    work: WorkFolder,
    fitted: FitResult,
    progress: Progress,
    skipped: Mapping[str, int],
    *,
    one_palette: bool,
) -> Summary:
    """Write the palette and the failures beside the images, and return the summary."""
    if encoded.images:
        write_palette(work.output, fitted.palette, fitted.weights)
    write_failures(work.output, encoded.failures)
    return summarize(encoded, progress, skipped, fitted, one_palette=one_palette)


def _compress_private(
    plan: Plan, work: WorkFolder, engine: Engine, progress: Progress, settings: JobSettings
) -> Summary:
    """Compress the images of `plan`, with a palette for each image or folder, or a given one."""
    by_folder = settings.scope == "folder" and settings.palette is None
    groups = groups_by_folder(plan) if by_folder else groups_of_one(plan)
    within = pixels_within(engine.memory)
    most = PARTITION_PIXELS if within is None else min(PARTITION_PIXELS, within)
    small = [group for group in groups if not by_folder or group.n_pixels <= most]
    job = Job(
        work.output.absolute(),
        work.stage("compress").absolute(),
        settings.fit,
        settings.encode,
        settings.decode,
        settings.palette,
        max(4, CLOUD // plan.n_images),
        previews_for(plan, work.output),
        choose_scored(plan),
    )
    encoded = compress_groups(small, job, engine, progress) if small else EncodeTotals()
    for group in groups:
        if by_folder and group.n_pixels > most:
            encoded += _compress_folder(group, work, engine, progress, settings, job)
    if settings.palette and encoded.images:
        write_palette(work.output, settings.palette)
    failures = sorted([*plan.failures, *encoded.failures], key=lambda failure: failure.path)
    write_failures(work.output, failures)
    encoded = replace(encoded, failures=tuple(failures))
    is_given = settings.palette is not None
    return summarize(encoded, progress, plan.skipped, one_palette=is_given)


def _compress_folder(
    group: Group,
    work: WorkFolder,
    engine: Engine,
    progress: Progress,
    settings: JobSettings,
    job: Job,
) -> EncodeTotals:
    """Compress a folder with too many pixels for one task, by way of a temporary store."""
    assert group.folder is not None
    done = work.read_folder(group.folder)
    if done:
        return done
    partitions = numbered(cut(group.sources, PARTITION_PIXELS))
    plan = Plan((), partitions, (), {}, first_free=len(partitions))
    try:
        held = recreate(work.store_path, plan, settings.decode)
        ingest_and_count(held, engine, progress, job.previews)
        fitted = fit(held.store, engine, progress, settings.fit, resume=True)
        records = work.stage("folder", group.folder)
        encoded = encode(
            *(held.store, work.output, records, fitted, engine, progress, settings.encode),
            scored=job.scored,
        )
        if encoded.images:
            file = write_palette(work.output, fitted.palette, fitted.weights, group.folder)
            opaque = Tally.read(held.store).translucent == 0
            needed = bytes_to_fit(fitted.distinct_colors, opaque=opaque)
            encoded = replace(encoded, files=(file,), colors_bytes=needed)
    except (ImageError, UsageError) as error:  # no room for transparency, or for the palette
        failures = tuple(Failure(source.path, str(error)) for source in group.sources)
        return EncodeTotals(failures=failures)
    work.write_folder(group.folder, encoded)
    return encoded.without_files()


def compress_to_tokens(
    collection: Collection, engine: Engine, progress: Progress, settings: FitSettings
) -> TokensSummary:
    """Fit a palette to the images of a collection, and write every pixel as its palette index."""
    ingest_and_count(collection, engine, progress)
    fitted = fit(collection.store, engine, progress, settings, resume=True)
    return tokenize(collection.store, fitted, engine, progress)


def tokenize(store: Store, fitted: FitResult, engine: Engine, progress: Progress) -> TokensSummary:
    """Write every pixel of `store` as its index into a fitted palette; return the summary."""
    dtype, failures = write_tokens(store, fitted, engine, progress)
    tally = Tally.read(store)
    return TokensSummary(
        images=tally.images,
        failed=len(failures),
        skipped=store.plan.skipped,
        pixels=tally.pixels,
        dtype=dtype.name,
        fitted=fitted,
        seconds=dict(progress.seconds),
        failures=failures,
    )
