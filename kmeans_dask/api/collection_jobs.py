"""Jobs over collections of images: compress, plan, sweep, estimate.

Each function checks what it was given, plans, holds locks, runs the steps on an engine, writes the
report and returns a typed summary. The command line calls these functions, and shows the summary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

from kmeans_dask.api.job_input import AnyPath, AnyPaths, Input
from kmeans_dask.api.running import (
    ResumeHint,
    ShowProgress,
    choose_engine,
    engine_for,
    is_small_job,
    progress_for,
)
from kmeans_dask.color.palette import Palette
from kmeans_dask.errors import UsageError
from kmeans_dask.files import parse_location
from kmeans_dask.files.targets import beginning, check_folder
from kmeans_dask.images.encode import check_effort
from kmeans_dask.job.job_record import read_summary, record_of_job
from kmeans_dask.job.job_settings import JobSettings, check_scope
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.summary import Summary
from kmeans_dask.job.work_folder import WorkFolder, open_work_folder
from kmeans_dask.option_checks import Limits, check_flags, checked
from kmeans_dask.plan.plan import Plan
from kmeans_dask.plan.sample_files import images_of
from kmeans_dask.report.job_page import write_report
from kmeans_dask.report.sweep_page import (
    CompressCommand,
    check_report,
    crops_for,
    write_sweep_report,
)
from kmeans_dask.settings import (
    IMAGE_SECONDS,
    MAX_LOSSY,
    MAX_PIXELS,
    PARTITION_PIXELS,
    PRIVATE_TOL,
    TOL,
    Color,
    DecodeSettings,
    EncodeSettings,
    FitSettings,
    Lossy,
    White,
    check_together,
)
from kmeans_dask.steps import checks
from kmeans_dask.steps import compress as compressing
from kmeans_dask.steps import estimate as estimating
from kmeans_dask.steps import sweep as sweeping
from kmeans_dask.steps.budget import spend_total_size
from kmeans_dask.steps.collection import Collection, open_collection

if TYPE_CHECKING:
    from distributed import Client

    from kmeans_dask.engine.choice import EngineChoice

_FIT = FitSettings()
_ENCODE = EncodeSettings()
_WEIGHTS = f"weights of 0 to {MAX_LOSSY:,}, such as (0, 1, 2, 4)"
_SWEPT = "several whole numbers, such as (4, 16, 64)"


def compress(
    inputs: AnyPaths,
    output: AnyPath,
    *,
    colors: int = _FIT.colors,
    palette: str | Palette = "shared",
    min_psnr: float | None = None,
    max_error: float | None = None,
    min_ssimulacra2: float | None = None,
    total_size: str | int | None = None,
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
    lossy: Lossy = _ENCODE.lossy,
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
    max_error: largest error of a pixel (root mean square over its channels, 0 to 255): colours that
        would be farther off get entries of their own; images that do not reach it are kept
    min_ssimulacra2: SSIMULACRA2 score, at most 99, that each image reaches with the fewest bytes,
        by lossy indices; images that do not reach it with all `colors` are kept
    total_size: bytes that all images together may take, such as "20MB" or "0.3B/pixel": `lossy`
        is chosen so that they take no more, and hardly less, with the least error
    fixed_colors: colours (r, g, b), 0 to 255, that the palette has in any case
    color_space: space in which distances are measured, "rgb" or "oklab"
    weight: "pixels" or "images": which of them all count the same in the fit
    n_init: number of starts of plain k-means, of which the best is kept; None for a start that
        breathing k-means searches for
    seed, init, max_iter, tol: start of k-means and its end, as in `KMeans`
    format: "png", "webp" (lossless) or "gif"
    effort: 0 to 9; more takes more time, for fewer bytes
    dither: strength of Floyd-Steinberg dithering, 0 (none) to 1
    lossy: squared error (8-bit levels, summed over channels) that one bit less is worth: pixels get
        entries that take fewer bytes; 0 for the nearest entry; 1 to 4 is hard to see; "auto" for
        as much as the targets allow, with all `colors` or, in palettes of one image, fewer
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
    if min_ssimulacra2 is not None and not lossy:
        lossy = "auto"
    if total_size is not None and lossy:
        raise UsageError("--total-size chooses --lossy: leave --lossy out")
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
            tol=_tol_of(scope) if tol is None else tol,
            n_init=n_init,
            space=color_space,
            weight=weight,
            fixed=fixed_colors,
            min_psnr=min_psnr,
            max_error=max_error,
            fewest=lossy != "auto",
        ),
        EncodeSettings(
            format,
            effort=effort,
            dither=dither,
            lossy=lossy,
            min_ssimulacra2=min_ssimulacra2,
            total_size=total_size,
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
    source = Input.of(
        inputs,
        settings.decode,
        include=include,
        exclude=exclude,
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
        find = partial(source.plan, shown)
        if kept_store:
            with open_collection(kept_store, find, settings.decode, resume=resume) as held:
                kept.is_kept = lambda error: True
                return _compress(
                    shown, choice, held.plan, work, settings, held, keep_palette=keep_palette
                )
        plan = work.settle(find)
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
        if settings.encode.total_size is not None:
            settings = spend_total_size(
                plan, work, engine, progress, settings, held, keep_palette=keep_palette
            )
        summary = compressing.compress(
            plan, work, engine, progress, settings, held, keep_palette=keep_palette
        )
        if settings.encode.total_size is not None:
            assert not isinstance(settings.encode.lossy, str)
            summary = replace(summary, weight=settings.encode.lossy)
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
    source = Input.of(
        inputs,
        DecodeSettings(max_pixels, seconds=image_timeout),
        include=include,
        exclude=exclude,
        partition_pixels=partition_pixels,
        checksum=checksum,
    )
    with progress_for(progress) as shown, source.reading():
        return source.plan(shown)


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
    lossy: Lossy | Sequence[Lossy] = 0.0,
    always: bool = False,
    max_pixels: int = MAX_PIXELS,
    white: White = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    report: AnyPath | None = None,
    overwrite: bool = False,
    client: Client | EngineChoice | None = None,
    workers: int | None = None,
    memory_limit: str | int | None = None,
    progress: ShowProgress = False,
) -> sweeping.Sweep:
    """Return bytes and quality for several numbers of colours, and weights of bits (`lossy`).

    Bytes, PSNR and SSIMULACRA2 are those of `compress`, estimated from a sample of the images; the
    PSNR of the palette and the distance in Oklab are exact, over all pixels. Nothing that stays is
    written but the report.

    colors: numbers of colours to try
    lossy: weights to try with each of them, one or several; not "auto"
    report: file for a page with a chart, crops before and after, and the command of each point
    overwrite: replace a file that is there

    The other parameters are those of `compress`. Raises UsageError and JobError.
    """
    colors = checked("--colors", colors, Annotated[Sequence[int], Limits(_SWEPT)])
    weights = _weights_of(lossy)
    check_flags(overwrite=overwrite)
    settings = FitSettings(seed=seed, space=color_space, weight=weight)
    writing = EncodeSettings(format, effort=effort, dither=dither, always=always)
    for number in colors:
        check_together(replace(settings, colors=number), writing)
    for each in weights:
        replace(writing, lossy=each)  # which refuses what excludes each other
    n_points = len(set(colors)) * len(set(weights))
    if not n_points:
        raise UsageError("--colors and --lossy name nothing to try: write numbers, as 4,16,64")
    check_effort(writing)
    file = None if report is None else parse_location(report)
    if file is not None:
        check_report(file, n_points, overwrite=overwrite)
    decode = DecodeSettings(max_pixels, flat=writing.flat, white=white)
    source = Input.of(inputs, decode, include=include, exclude=exclude)
    choice = choose_engine(client, workers, memory_limit)
    with progress_for(progress) as shown, source.reading():
        what = source.plan(shown)
        with (
            compressing.temporary_folder() as folder,
            engine_for(
                choice, shown, is_small=is_small_job(what, decode, writing), assigns=True
            ) as engine,
            engine.sharing([folder], images_of(what)),
        ):
            found = sweeping.sweep(
                what,
                folder / "sweep.zarr",
                engine,
                shown,
                colors,
                weights,
                settings,
                writing,
                decode,
                crops_for(n_points) if file is not None else 0,
            )
        if file is not None:
            command = CompressCommand(
                source.paths,
                settings,
                writing,
                decode,
                include=source.search.include,
                exclude=source.search.exclude,
            )
            with beginning(f"--report {file}", "name another file"):
                write_sweep_report(file, found, command)
        return found


def estimate(
    inputs: AnyPaths,
    *,
    colors: int = _FIT.colors,
    palette: str = "shared",
    min_psnr: float | None = None,
    max_error: float | None = None,
    color_space: str = _FIT.space,
    seed: int = _FIT.seed,
    format: str = _ENCODE.format,  # noqa: A002 - Pillow's name for it
    effort: int = _ENCODE.effort,
    dither: float = _ENCODE.dither,
    lossy: Lossy = _ENCODE.lossy,
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
        FitSettings(
            colors,
            seed=seed,
            space=color_space,
            min_psnr=min_psnr,
            max_error=max_error,
            fewest=lossy != "auto",
            tol=_tol_of(palette),
        ),
        EncodeSettings(format, effort=effort, dither=dither, lossy=lossy, always=always),
        DecodeSettings(max_pixels, flat=format == "gif", white=white),
        palette,
    )
    check_effort(settings.encode)
    source = Input.of(inputs, settings.decode, include=include, exclude=exclude)
    choice = choose_engine(client, workers, memory_limit)
    with progress_for(progress) as shown, source.reading():
        what = source.plan(shown)
        with (
            compressing.temporary_folder() as folder,
            open_work_folder(folder / "out", {}, resume=False, overwrite=False) as work,
            engine_for(
                choice,
                shown,
                is_small=is_small_job(what, settings.decode, settings.encode),
                assigns=True,
            ) as engine,
            engine.sharing([work.path], images_of(what)),
        ):
            work.begin()
            sample = estimating.sample_of(what)
            return estimating.estimate(what, sample, work, engine, shown, settings)


def _weights_of(lossy: object) -> tuple[float, ...]:
    """Return the weights that a sweep tries, one or several. Raises UsageError."""
    several = [lossy] if isinstance(lossy, int | float | str) else lossy
    if isinstance(several, Sequence) and "auto" in several:
        raise UsageError("--lossy auto has no place in a sweep: write weights, as 0,1,2,4")
    weights: tuple[float, ...] = checked(
        "--lossy", several, Annotated[Sequence[float], Limits(_WEIGHTS, 0, MAX_LOSSY)]
    )
    return weights


def _tol_of(scope: str) -> float:
    """Return the default `tol` of a fit whose palette is shared by the images of `scope`.

    Raises UsageError where there is no such scope.
    """
    check_scope(scope)
    return PRIVATE_TOL if scope in ("folder", "image") else TOL
