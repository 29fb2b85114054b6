"""Jobs over collections: compress, ingest, fit, encode, tokenize, sweep, estimate, verify.

Each function checks what it was given, plans, holds locks, runs the steps on an engine, writes the
report and returns a typed summary. The command line calls these functions, and shows the summary.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from kmeans_dask.api.running import (
    ResumeHint,
    ShowProgress,
    choose_engine,
    engine_for,
    progress_for,
    timed_plan,
)
from kmeans_dask.color.palette import Palette
from kmeans_dask.errors import StoreError, UnreachableError, UsageError
from kmeans_dask.files import Location, ObjectPath, parse_location
from kmeans_dask.files.locks import locked
from kmeans_dask.files.retries import images_within
from kmeans_dask.files.targets import check_folder
from kmeans_dask.images import inspector
from kmeans_dask.images.encode import check_effort
from kmeans_dask.images.palette_files import hexes_of
from kmeans_dask.job.fit_result import FitResult, read_fit
from kmeans_dask.job.job_record import read_summary, record_of_job
from kmeans_dask.job.job_settings import JobSettings, check_scope
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.summary import IngestSummary, Summary, TokensSummary
from kmeans_dask.job.work_folder import WorkFolder, asked_for, open_work_folder
from kmeans_dask.option_checks import Flag, Limits, check_flags, check_options, checked
from kmeans_dask.plan.placement import is_quick, is_safe, is_small
from kmeans_dask.plan.plan import Plan, Search, make_plan
from kmeans_dask.plan.sample_files import documents_of, images_of
from kmeans_dask.report.job_page import write_report
from kmeans_dask.settings import (
    CHUNK_COLORS,
    IMAGE_SECONDS,
    MAX_PIXELS,
    PARTITION_PIXELS,
    PRIVATE_TOL,
    TOL,
    Color,
    DecodeSettings,
    EncodeSettings,
    FitSettings,
    White,
    check_together,
)
from kmeans_dask.steps import checks
from kmeans_dask.steps import compress as compressing
from kmeans_dask.steps import estimate as estimating
from kmeans_dask.steps import sweep as sweeping
from kmeans_dask.steps import verify as verifying
from kmeans_dask.steps.collection import Collection, ingest_and_count, open_collection
from kmeans_dask.steps.fit import fit as fit_colors
from kmeans_dask.steps.fit import has_checkpoint
from kmeans_dask.steps.store_info import Info, read_info
from kmeans_dask.store import Store

if TYPE_CHECKING:
    from distributed import Client

    from kmeans_dask.engine.choice import EngineChoice

AnyPath = str | os.PathLike[str] | ObjectPath  # a local path, or the URL of an object store
AnyPaths = AnyPath | Sequence[AnyPath]

_FIT = FitSettings()
DEFAULT_COLORS = _FIT.colors
_ENCODE = EncodeSettings()
_SWEPT = "several whole numbers, such as (4, 16, 64)"


@dataclass(frozen=True, kw_only=True)
class Input:
    """Images to find and to decode, and how. Raises UsageError where a value is out of range."""

    paths: tuple[Location, ...]
    search: Search
    decode: DecodeSettings
    partition_pixels: Annotated[int, Limits("1 or more", 1)] = PARTITION_PIXELS
    checksum: Flag = False

    def __post_init__(self) -> None:
        check_options(self)

    def plan(self, **known: object) -> Plan:
        """Return the plan of the images that are found; raises UsageError where there are none."""
        return make_plan(
            self.paths,
            partition_pixels=self.partition_pixels,
            max_pixels=self.decode.max_pixels,
            seconds=self.decode.seconds,
            search=self.search,
            hashed=self.checksum,
            **known,  # type: ignore[arg-type]
        )

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Have the inspector ready in the block, and apply the time limit of an image to reads."""
        inspector.start()
        with images_within(self.decode.seconds):
            yield


def compress(
    inputs: AnyPaths,
    output: AnyPath,
    *,
    colors: int = _FIT.colors,
    palette: str | Palette = "shared",
    min_psnr: float | None = None,
    fixed_colors: Sequence[Color] = (),
    color_space: str = _FIT.space,
    weight: str = _FIT.weight,
    n_init: int | None = None,
    seed: int = _FIT.seed,
    init: str = _FIT.init,
    max_iter: int | None = None,
    tol: float | None = None,
    format: str = _ENCODE.format,  # noqa: A002 - Pillow's name for it
    effort: int = _ENCODE.effort,
    dither: float = _ENCODE.dither,
    lossy: float = _ENCODE.lossy,
    keep_metadata: bool = False,
    always: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    store: AnyPath | None = None,
    keep_palette: bool = False,
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
) -> Summary:
    """Compress images with one exact palette for all of them, or for each image or folder.

    Write each image with at most `colors` colours below `output`, in the folders it came from, with
    `palette.json`, `report.html` and, where images failed, `failures.jsonl` beside them.

    inputs: images, or folders that are searched for images: paths or URLs, one or several
    output: folder to write to
    colors: palette entries, 2 to 256
    palette: images that share a palette: "shared" (all), "folder", "image", or "auto" (an image
        that the shared palette serves badly gets its own); or a `Palette`, so that none is fitted
    min_psnr: quality in dB to reach with the fewest colours; images that do not reach it are kept
    fixed_colors: colours (r, g, b), 0 to 255, that the palette has in any case
    color_space: space in which distances are measured, "rgb" or "oklab"
    weight: "pixels" or "images": which of them all count the same in the fit
    n_init, seed, init, max_iter, tol: starts of k-means and its end, as in `KMeans`
    format: "png", "webp" (lossless) or "gif"
    effort: 0 to 9; more takes more time, for fewer bytes
    dither: strength of Floyd-Steinberg dithering, 0 (none) to 1
    lossy: squared error (8-bit levels, summed over channels) that one bit less is worth: pixels get
        entries that take fewer bytes; 0 for the nearest entry; 1 to 4 is hard to see
    keep_metadata: keep EXIF, pixel density and text
    always: write an image even where its input file is smaller
    overwrite: write into `output` although it is not empty
    resume: continue a run that was stopped or killed
    store: path of a store that is kept, and to which new images are added
    keep_palette: take the palette of `store`, so that only new images are written
    partition_pixels: pixels that one task decodes and encodes
    max_pixels: most pixels of an image; a larger one fails
    white: the 16-bit sample that becomes white, or "auto"; None for 65535
    include, exclude: patterns (globs) of files in folders to take, and to skip
    image_timeout: most seconds that one image may take; a slower one fails
    checksum: compare images with an earlier run by their bytes, not by size and time
    client: Dask client of the cluster to run on; by default the current client, if there is one
    workers: number of local worker processes; 0 for this process; by default it is chosen
    memory_limit: memory of each local worker, as "2GB"
    progress: True for progress bars, or a function that is called with each `ProgressEvent`

    Raises UsageError where the request cannot be carried out (nothing was written then), and
    JobError where the job broke off; `error.resumable` tells whether `resume` continues it.

    >>> summary = compress("photos", "out", colors=64)  # doctest: +SKIP
    >>> summary.output_bytes, summary.psnr  # doctest: +SKIP
    """
    check_flags(overwrite=overwrite, resume=resume, keep_palette=keep_palette)
    scope, given = "shared", None
    if isinstance(palette, Palette):
        given = Palette(palette.entries)  # without what only a notebook shows of it
    else:
        scope = palette
    settings = JobSettings(
        FitSettings(
            colors,
            seed=seed,
            init=init,
            max_iter=max_iter,
            tol=tol_of(scope) if tol is None else tol,
            n_init=n_init,
            space=color_space,
            weight=weight,
            fixed=fixed_colors,
            min_psnr=min_psnr,
        ),
        EncodeSettings(
            format,
            effort=effort,
            dither=dither,
            lossy=lossy,
            always=always,
            keep_metadata=keep_metadata,
        ),
        DecodeSettings(
            max_pixels,
            flat=format == "gif",
            keep_metadata=keep_metadata,
            white=white,
            seconds=image_timeout,
        ),
        scope,
        given,
    )
    check_effort(settings.encode)
    source = Input(
        paths=locations(inputs),
        search=_search(include, exclude),
        decode=settings.decode,
        partition_pixels=partition_pixels,
        checksum=checksum,
    )
    target = parse_location(output)
    kept_store = None if store is None else parse_location(store)
    check_folder(target, "OUTPUT")
    checks.check_outside(source.paths, target, "OUTPUT")
    if kept_store:
        if not settings.is_shared:
            raise UsageError("--store holds a shared palette's images: leave it out, or --palette")
        check_folder(kept_store, "--store")
        checks.check_store_path([*source.paths, target], kept_store)
    if keep_palette and not kept_store:
        raise UsageError("--keep-palette takes the palette of a store: name it with --store")
    choice = choose_engine(client, workers, memory_limit)
    with (
        progress_for(progress) as shown,
        source.reading(),
        open_work_folder(
            target, settings.as_asked(), resume=resume or keep_palette, overwrite=overwrite
        ) as work,
        ResumeHint(lambda error: work.is_kept) as kept,
    ):
        find = partial(timed_plan, shown, source.plan)
        if kept_store:
            with open_collection(
                kept_store, lambda known: find(known=known), settings.decode, resume=resume
            ) as held:
                kept.is_kept = lambda error: True
                return _compress(
                    shown, choice, held.plan, work, settings, held, keep_palette=keep_palette
                )
        plan = work.settle(lambda known: find(known=known))
        if not work.is_fresh and work.is_finished:
            return read_summary(target)
        return _compress(shown, choice, plan, work, settings)


def _compress(
    progress: Progress,
    choice: EngineChoice,
    plan: Plan,
    work: WorkFolder,
    settings: JobSettings,
    held: Collection | None = None,
    *,
    keep_palette: bool = False,
) -> Summary:
    """Compress the images of `plan`, with a store that is kept or without, and write the report."""
    if held and keep_palette and f"k{settings.fit.colors}" not in held.store.palette_names:
        raise UsageError(
            f"{held.store.path} has no palette for {settings.fit.colors} colours: leave "
            "--keep-palette out"
        )
    checks.check_originals(plan, work.output)
    folders = [work.path, held.store.path] if held else [work.path]
    small = is_small_job(plan, settings.decode, settings.encode)
    with (
        engine_for(choice, progress, is_small=small, assigns=True) as engine,
        engine.sharing(folders, images_of(plan)),
    ):
        work.begin(None if held else plan)
        summary = compressing.compress(
            plan, work, engine, progress, settings, held, keep_palette=keep_palette
        )
        record = record_of_job(
            summary,
            plan.inputs,
            work.output,
            scope=settings.scope,
            fit=settings.fit,
            encode=settings.encode,
        )
        write_report(work.output, record)
    work.finish()
    return summary


def plan(
    inputs: AnyPaths,
    *,
    partition_pixels: int = PARTITION_PIXELS,
    max_pixels: int = MAX_PIXELS,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    image_timeout: float = IMAGE_SECONDS,
    checksum: bool = False,
    progress: ShowProgress = False,
) -> Plan:
    """Return the plan of a job over `inputs`: the images found, and what would fail. Write nothing.

    The parameters are those of `compress`. Raises UsageError where no image is found.
    """
    source = Input(
        paths=locations(inputs),
        search=_search(include, exclude),
        decode=DecodeSettings(max_pixels, seconds=image_timeout),
        partition_pixels=partition_pixels,
        checksum=checksum,
    )
    with progress_for(progress) as shown, source.reading():
        return timed_plan(shown, source.plan)


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
    source = Input(
        paths=locations(inputs),
        search=_search(include, exclude),
        decode=DecodeSettings(
            max_pixels, keep_metadata=keep_metadata, white=white, seconds=image_timeout
        ),
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
        open_collection(
            target,
            lambda known: timed_plan(shown, source.plan, known=known),
            source.decode,
            resume=resume,
        ) as held,
        ResumeHint(lambda error: True),
        engine_for(choice, shown, is_small=is_small_job(held.plan, source.decode)) as engine,
        engine.sharing([held.store.path], images_of(held.plan)),
    ):
        return ingest_and_count(held, engine, shown)


def fit(
    store: AnyPath,
    *,
    colors: int = _FIT.colors,
    min_psnr: float | None = None,
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
    lossy: float = _ENCODE.lossy,
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
    opened = Store.open(path.absolute())
    opened.require_whole()
    fitted = read_fit(opened, palette_name)
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
    )
    decode = DecodeSettings(max_pixels, white=white, seconds=image_timeout)
    source = Input(
        paths=locations(inputs),
        search=_search(include, exclude),
        decode=decode,
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
        open_collection(
            target,
            lambda known: timed_plan(shown, source.plan, known=known),
            decode,
            resume=resume,
        ) as held,
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
    opened = Store.open(path.absolute())
    opened.require_whole()
    fitted = read_fit(opened, palette_name)
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


def sweep(
    inputs: AnyPaths,
    *,
    colors: Sequence[int] = (2, 4, 8, 16, 32, 64, 128, 256),
    color_space: str = _FIT.space,
    weight: str = _FIT.weight,
    seed: int = _FIT.seed,
    format: str = _ENCODE.format,  # noqa: A002 - Pillow's name for it
    effort: int = _ENCODE.effort,
    dither: float = _ENCODE.dither,
    lossy: float = _ENCODE.lossy,
    always: bool = False,
    max_pixels: int = MAX_PIXELS,
    white: White = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    client: Client | EngineChoice | None = None,
    workers: int | None = None,
    memory_limit: str | int | None = None,
    progress: ShowProgress = False,
) -> sweeping.Sweep:
    """Return bytes and quality for several numbers of colours. Write nothing that stays.

    Bytes and PSNR are those of `compress`, estimated from a sample of the images; the PSNR of the
    palette and the distance in Oklab are exact, over all pixels.

    colors: numbers of colours to try

    The other parameters are those of `compress`. Raises UsageError and JobError.
    """
    colors = checked("--colors", colors, Annotated[Sequence[int], Limits(_SWEPT)])
    settings = FitSettings(seed=seed, space=color_space, weight=weight)
    writing = EncodeSettings(format, effort=effort, dither=dither, lossy=lossy, always=always)
    for number in colors:
        check_together(replace(settings, colors=number), writing)
    check_effort(writing)
    source = Input(
        paths=locations(inputs),
        search=_search(include, exclude),
        decode=DecodeSettings(max_pixels, flat=writing.flat, white=white),
    )
    choice = choose_engine(client, workers, memory_limit)
    with progress_for(progress) as shown, source.reading():
        what = timed_plan(shown, source.plan)
        with (
            compressing.temporary_folder() as folder,
            engine_for(
                choice,
                shown,
                is_small=is_small_job(what, source.decode, writing),
                assigns=True,
            ) as engine,
            engine.sharing([folder], images_of(what)),
        ):
            return sweeping.sweep(
                what,
                folder / "sweep.zarr",
                engine,
                shown,
                colors,
                settings,
                writing,
                source.decode,
            )


def estimate(
    inputs: AnyPaths,
    *,
    colors: int = _FIT.colors,
    palette: str = "shared",
    min_psnr: float | None = None,
    color_space: str = _FIT.space,
    seed: int = _FIT.seed,
    format: str = _ENCODE.format,  # noqa: A002 - Pillow's name for it
    effort: int = _ENCODE.effort,
    dither: float = _ENCODE.dither,
    lossy: float = _ENCODE.lossy,
    always: bool = False,
    max_pixels: int = MAX_PIXELS,
    white: White = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    client: Client | EngineChoice | None = None,
    workers: int | None = None,
    memory_limit: str | int | None = None,
    progress: ShowProgress = False,
) -> estimating.Estimate:
    """Return the size, quality, time and memory of a job, predicted from a sample of its images.

    Write nothing that stays. The parameters are those of `compress`. Raises UsageError and
    JobError.
    """
    settings = JobSettings(
        FitSettings(colors, seed=seed, space=color_space, min_psnr=min_psnr, tol=tol_of(palette)),
        EncodeSettings(format, effort=effort, dither=dither, lossy=lossy, always=always),
        DecodeSettings(max_pixels, flat=format == "gif", white=white),
        palette,
    )
    check_effort(settings.encode)
    source = Input(
        paths=locations(inputs),
        search=_search(include, exclude),
        decode=settings.decode,
    )
    choice = choose_engine(client, workers, memory_limit)
    with progress_for(progress) as shown, source.reading():
        what = timed_plan(shown, source.plan)
        with (
            compressing.temporary_folder() as folder,
            open_work_folder(folder / "out", {}, resume=False, overwrite=False) as work,
            engine_for(
                choice,
                shown,
                is_small=is_small_job(what, source.decode, settings.encode),
                assigns=True,
            ) as engine,
            engine.sharing([work.path], images_of(what)),
        ):
            work.begin()
            sample = estimating.sample_of(what)
            return estimating.estimate(what, sample, work, engine, shown, settings)


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


def tol_of(scope: str) -> float:
    """Return the default `tol` of a fit whose palette is shared by the images of `scope`.

    Raises UsageError where there is no such scope.
    """
    check_scope(scope)
    return PRIVATE_TOL if scope in ("folder", "image") else TOL


def locations(inputs: AnyPaths) -> tuple[Location, ...]:
    """Return `inputs`, one path or several, as locations. Raises UsageError where there is none."""
    given: Any = inputs
    is_one = isinstance(given, str | os.PathLike) or not isinstance(given, Iterable)
    several = tuple(map(parse_location, [given] if is_one else given))
    if not several:
        raise UsageError("no input is given: name images, or folders of images")
    return several


def _search(include: str | Sequence[str], exclude: str | Sequence[str]) -> Search:
    """Return the search for files by patterns; a text is one pattern."""
    return Search(*([each] if isinstance(each, str) else each for each in (include, exclude)))


def images_at(paths: Sequence[AnyPath], decode: DecodeSettings) -> Input:
    """Return the input of a job over the images at `paths`, files or folders."""
    return Input(paths=locations(paths), search=Search((), ()), decode=decode)


def is_small_job(
    plan: Plan, decode: DecodeSettings | None = None, encode: EncodeSettings | None = None
) -> Callable[[], bool]:
    """Return a function that tells whether this process does a job sooner than workers would.

    decode: settings with which the images are still to be decoded, if they are
    encode: settings with which the images are written, if they are
    """

    def is_for_this_process() -> bool:
        is_little = is_small(plan) and (encode is None or is_quick(encode))
        return is_little and (decode is None or is_safe(plan, decode))

    return is_for_this_process


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
