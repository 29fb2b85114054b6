"""Jobs over a store: ingest, fit, encode, tokenize, verify, info.

Each function checks what it was given, plans, holds locks, runs the steps on an engine, writes the
report and returns a typed summary. The command line calls these functions, and shows the summary.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from kmeans_dask.api.job_input import AnyPath, AnyPaths, Input
from kmeans_dask.api.running import (
    ResumeHint,
    ShowProgress,
    choose_engine,
    engine_for,
    is_small_job,
    progress_for,
)
from kmeans_dask.errors import StoreError, UnreachableError, UsageError
from kmeans_dask.files import Location, parse_location
from kmeans_dask.files.locks import locked
from kmeans_dask.files.targets import check_folder
from kmeans_dask.images.encode import check_effort
from kmeans_dask.images.palette_files import hexes_of
from kmeans_dask.job.fit_result import FitResult, read_fit
from kmeans_dask.job.job_record import record_of_job
from kmeans_dask.job.summary import IngestSummary, Summary, TokensSummary
from kmeans_dask.job.work_folder import asked_for, open_work_folder
from kmeans_dask.option_checks import check_flags
from kmeans_dask.plan.placement import is_small
from kmeans_dask.plan.plan import Plan
from kmeans_dask.plan.sample_files import documents_of, images_of
from kmeans_dask.report.job_page import write_report
from kmeans_dask.settings import (
    CHUNK_COLORS,
    IMAGE_SECONDS,
    MAX_PIXELS,
    PARTITION_PIXELS,
    TOL,
    Color,
    DecodeSettings,
    EncodeSettings,
    FitSettings,
    Lossy,
    White,
)
from kmeans_dask.steps import checks
from kmeans_dask.steps import compress as compressing
from kmeans_dask.steps import verify as verifying
from kmeans_dask.steps.collection import ingest_and_count, open_collection
from kmeans_dask.steps.fit import fit as fit_colors
from kmeans_dask.steps.fit import has_checkpoint
from kmeans_dask.steps.store_info import Info, read_info
from kmeans_dask.store import Store

if TYPE_CHECKING:
    from distributed import Client

    from kmeans_dask.engine.choice import EngineChoice

_FIT = FitSettings()
_ENCODE = EncodeSettings()


def ingest(
    inputs: AnyPaths,
    store: AnyPath,
    *,
    keep_metadata: bool = False,
    resume: bool = False,
    partition_pixels: int = PARTITION_PIXELS,
    max_pixels: int = MAX_PIXELS,
    white: White = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    image_timeout: float = IMAGE_SECONDS,
    checksum: bool = False,
    client: Client | EngineChoice | None = None,
    workers: int | None = None,
    memory_limit: str | int | None = None,
    progress: ShowProgress = False,
) -> IngestSummary:
    """Decode images into a store and count their colours; images that it has already stay.

    The parameters are those of `compress`. Raises UsageError and JobError as `compress` does.
    """
    check_flags(resume=resume)
    decode = DecodeSettings(
        max_pixels, keep_metadata=keep_metadata, white=white, seconds=image_timeout
    )
    source = Input.of(
        inputs,
        decode,
        include=include,
        exclude=exclude,
        partition_pixels=partition_pixels,
        checksum=checksum,
    )
    target = parse_location(store)
    check_folder(target, "STORE")
    checks.check_store_path(source.paths, target)
    choice = choose_engine(client, workers, memory_limit)
    with (
        progress_for(progress) as shown,
        source.reading(),
        open_collection(target, partial(source.plan, shown), decode, resume=resume) as held,
        ResumeHint(lambda error: True),
        engine_for(choice, shown, is_small=is_small_job(held.plan, decode)) as engine,
        engine.sharing([held.store.path], images_of(held.plan)),
    ):
        return ingest_and_count(held, engine, shown)


def fit(
    store: AnyPath,
    *,
    colors: int = _FIT.colors,
    min_psnr: float | None = None,
    max_error: float | None = None,
    fixed_colors: Sequence[Color] = (),
    color_space: str = _FIT.space,
    weight: str = _FIT.weight,
    n_init: int | None = None,
    seed: int = _FIT.seed,
    init: str = _FIT.init,
    max_iter: int | None = None,
    tol: float | None = None,
    resume: bool = False,
    chunk_colors: int = CHUNK_COLORS,
    client: Client | EngineChoice | None = None,
    workers: int | None = None,
    memory_limit: str | int | None = None,
    progress: ShowProgress = False,
) -> FitResult:
    """Fit a palette to the colours of a store, and keep it there under the name `k<colors>`.

    chunk_colors: with more distinct colours, each iteration runs one task for each such chunk

    The other parameters are those of `compress`. Raises UsageError, StoreError and JobError.
    """
    check_flags(resume=resume)
    settings = FitSettings(
        colors,
        seed=seed,
        init=init,
        max_iter=max_iter,
        tol=TOL if tol is None else tol,
        n_init=n_init,
        space=color_space,
        weight=weight,
        fixed=fixed_colors,
        min_psnr=min_psnr,
        max_error=max_error,
        chunk_colors=chunk_colors,
    )
    path = parse_location(store)
    opened = Store.open(path.absolute())
    choice = choose_engine(client, workers, memory_limit)
    with (
        progress_for(progress) as shown,
        ResumeHint(lambda error: _can_ask(error) and has_checkpoint(opened, settings)),
        locked(Store.lock_file(opened.path), str(path)),
        engine_for(
            choice, shown, is_small=lambda: is_small(Plan.of_record(opened.plan)), assigns=True
        ) as engine,
        engine.sharing([opened.path]),
    ):
        return fit_colors(opened, engine, shown, settings, resume=resume)


def encode(
    store: AnyPath,
    output: AnyPath,
    *,
    palette_name: str | None = None,
    format: str = _ENCODE.format,  # noqa: A002 - Pillow's name for it
    effort: int = _ENCODE.effort,
    dither: float = _ENCODE.dither,
    lossy: Lossy = _ENCODE.lossy,
    keep_metadata: bool = False,
    always: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    client: Client | EngineChoice | None = None,
    workers: int | None = None,
    memory_limit: str | int | None = None,
    progress: ShowProgress = False,
) -> Summary:
    """Write the images of a store with a palette that was fitted to it.

    palette_name: name of the palette; None for the one that was fitted last

    The other parameters are those of `compress`. Raises UsageError, StoreError and JobError.
    """
    check_flags(overwrite=overwrite, resume=resume)
    settings = EncodeSettings(
        format,
        effort=effort,
        dither=dither,
        lossy=lossy,
        always=always,
        keep_metadata=keep_metadata,
    )
    check_effort(settings)
    path, target = parse_location(store), parse_location(output)
    opened, fitted = _open_fitted(path, palette_name)
    what = Plan.of_record(opened.plan)
    check_folder(target, "OUTPUT")
    checks.check_encoding(opened, fitted, settings)
    inputs = [parse_location(given) for given in opened.plan.inputs]
    checks.check_outside([path, *inputs], target, "OUTPUT")
    asked = asked_for(
        "encode", store=str(opened.path), palette=hexes_of(fitted.palette.entries), encode=settings
    )
    checks.check_originals(what, target)
    checks.check_partitions(opened)
    choice = choose_engine(client, workers, memory_limit)
    with (
        progress_for(progress) as shown,
        open_work_folder(target, asked, resume=resume, overwrite=overwrite) as work,
        ResumeHint(lambda error: work.is_kept),
    ):
        with (
            locked(Store.lock_file(opened.path), str(path), shared=True),
            engine_for(
                choice, shown, is_small=is_small_job(what, encode=settings), assigns=True
            ) as engine,
            engine.sharing([work.path], [*documents_of(opened.path), *images_of(what)]),
        ):
            work.begin()
            summary = compressing.encode_and_summarize(
                opened, work, fitted, engine, shown, settings
            )
            record = record_of_job(
                summary,
                map(str, inputs),
                target,
                scope="shared",
                fit=fitted.settings,
                encode=settings,
            )
            write_report(target, record)
        work.finish()
    return summary


def tokenize(
    inputs: AnyPaths,
    store: AnyPath,
    *,
    colors: int = _FIT.colors,
    min_psnr: float | None = None,
    max_error: float | None = None,
    fixed_colors: Sequence[Color] = (),
    color_space: str = _FIT.space,
    weight: str = _FIT.weight,
    n_init: int | None = None,
    seed: int = _FIT.seed,
    init: str = _FIT.init,
    max_iter: int | None = None,
    tol: float | None = None,
    resume: bool = False,
    partition_pixels: int = PARTITION_PIXELS,
    max_pixels: int = MAX_PIXELS,
    white: White = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    image_timeout: float = IMAGE_SECONDS,
    checksum: bool = False,
    client: Client | EngineChoice | None = None,
    workers: int | None = None,
    memory_limit: str | int | None = None,
    progress: ShowProgress = False,
) -> TokensSummary:
    """Write every pixel of images into a store as the index of its palette entry, its token.

    colors: palette entries, 2 to 65536

    The other parameters are those of `compress`. Raises UsageError, StoreError and JobError.
    """
    check_flags(resume=resume)
    settings = FitSettings(
        colors,
        seed=seed,
        init=init,
        max_iter=max_iter,
        tol=TOL if tol is None else tol,
        n_init=n_init,
        space=color_space,
        weight=weight,
        fixed=fixed_colors,
        min_psnr=min_psnr,
        max_error=max_error,
    )
    decode = DecodeSettings(max_pixels, white=white, seconds=image_timeout)
    source = Input.of(
        inputs,
        decode,
        include=include,
        exclude=exclude,
        partition_pixels=partition_pixels,
        checksum=checksum,
    )
    target = parse_location(store)
    check_folder(target, "OUTPUT")
    checks.check_outside(source.paths, target, "OUTPUT")
    checks.check_store_path(source.paths, target)
    choice = choose_engine(client, workers, memory_limit)
    with (
        progress_for(progress) as shown,
        source.reading(),
        open_collection(target, partial(source.plan, shown), decode, resume=resume) as held,
        ResumeHint(lambda error: True),
    ):
        checks.check_originals(held.plan, target)
        with (
            engine_for(
                choice, shown, is_small=is_small_job(held.plan, decode), assigns=True
            ) as engine,
            engine.sharing([held.store.path], images_of(held.plan)),
        ):
            return compressing.compress_to_tokens(held, engine, shown, settings)


def tokenize_fitted(
    store: AnyPath,
    *,
    palette_name: str | None = None,
    client: Client | EngineChoice | None = None,
    workers: int | None = None,
    memory_limit: str | int | None = None,
    progress: ShowProgress = False,
) -> TokensSummary:
    """Write every pixel of a store as the index of its entry in a palette that was fitted to it.

    palette_name: name of the palette; None for the one that was fitted last

    The other parameters are those of `compress`. Raises UsageError, StoreError and JobError.
    """
    path = parse_location(store)
    opened, fitted = _open_fitted(path, palette_name)
    choice = choose_engine(client, workers, memory_limit)

    def has_tokens(error: BaseException) -> bool:
        names = opened.partition_ids if _can_ask(error) else ()
        return any(opened.has_indices(fitted.name, each) for each in names)

    with (
        progress_for(progress) as shown,
        ResumeHint(has_tokens),
        locked(Store.lock_file(opened.path), str(path)),
        engine_for(
            choice, shown, is_small=is_small_job(Plan.of_record(opened.plan)), assigns=True
        ) as engine,
        engine.sharing([opened.path]),
    ):
        return compressing.tokenize(opened, fitted, engine, shown)


def verify(
    store: AnyPath,
    *,
    repair: bool = False,
    client: Client | EngineChoice | None = None,
    workers: int | None = None,
    memory_limit: str | int | None = None,
    progress: ShowProgress = False,
) -> verifying.VerifyResult:
    """Read every byte of a store, and name each part that is not as it was written.

    repair: restore damaged parts, from copies or from the images

    The other parameters are those of `compress`. Raises UsageError, StoreError and JobError.
    """
    check_flags(repair=repair)
    path = parse_location(store).absolute()
    if not Store.is_at(path):
        raise UsageError(f"{store} is no store")
    choice = choose_engine(client, workers, memory_limit)
    with (
        progress_for(progress) as shown,
        locked(Store.lock_file(path), str(store), shared=not repair),
        engine_for(choice, shown, is_small=lambda: _is_small_store(path, decodes=repair)) as engine,
        engine.sharing([path] * repair, documents_of(path)),
    ):
        if repair:
            return verifying.repair(path, engine, shown)
        return verifying.verify(path, engine, shown)


def info(store: AnyPath) -> Info:
    """Return what a store holds: its images, colours, palettes and versions."""
    return read_info(parse_location(store).absolute())


def _open_fitted(path: Location, palette_name: str | None) -> tuple[Store, FitResult]:
    """Return the store at `path`, which must be whole, and a palette that was fitted to it.

    palette_name: name of the palette; None for the one that was fitted last
    """
    opened = Store.open(path.absolute())
    opened.require_whole()
    fitted = read_fit(opened, palette_name)
    return opened, fitted


def _is_small_store(path: Location, *, decodes: bool) -> bool:
    """Return whether this process verifies the store at `path` sooner than workers would.

    decodes: whether images may be decoded again, to repair the store

    Return False for a store that is too damaged to tell.
    """
    try:
        store = Store.open(path)
        settings = DecodeSettings.of_record(store.attrs.decode) if decodes else None
        return is_small_job(Plan.of_record(store.plan), settings)()
    except StoreError:
        return False


def _can_ask(error: BaseException) -> bool:
    """Return False where `error` means that a store cannot be reached, else True."""
    return not isinstance(error, UnreachableError)
