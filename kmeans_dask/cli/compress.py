"""Commands that compress: what is said is checked, done, and what came of it is shown."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from kmeans_dask.cli.app import app
from kmeans_dask.cli.cluster_options import ClusterOptions, placed
from kmeans_dask.cli.options import (
    PALETTE,
    RUNNING,
    WRITING,
    Always,
    Colors,
    ColorSpace,
    Dither,
    Effort,
    Exclude,
    FixedColors,
    Format,
    Hashed,
    ImageTimeout,
    Include,
    Init,
    Inputs,
    Json,
    KeepMetadata,
    Location,
    MaxIter,
    MaxPixels,
    MinPsnr,
    NInit,
    Output,
    Overwrite,
    PartitionPixels,
    Resume,
    Scope,
    Seed,
    StorePath,
    Tol,
    Weight,
    White,
    parse_fixed_colors,
    parse_white,
    refuse_given,
)
from kmeans_dask.cli.session import Session
from kmeans_dask.errors import UnreachableError, UsageError
from kmeans_dask.files import parse_location
from kmeans_dask.files.retries import images_within
from kmeans_dask.files.targets import check_folder
from kmeans_dask.settings import (
    IMAGE_SECONDS,
    MAX_PIXELS,
    PARTITION_PIXELS,
    PRIVATE_TOL,
    SCOPES,
    TOL,
    DecodeSettings,
    EncodeSettings,
    FitSettings,
)

if TYPE_CHECKING:
    from kmeans_dask.engine import Engine
    from kmeans_dask.job.job_settings import JobSettings
    from kmeans_dask.job.work_folder import WorkFolder
    from kmeans_dask.plan.plan import Plan
    from kmeans_dask.steps.collection import Collection

    Connect = Callable[[Callable[[], bool]], AbstractContextManager[Engine]]

# Everything else is imported where it is used: --help and errors need no numba and no Dask.

_FIT, _ENCODE = FitSettings(), EncodeSettings()


@app.command(epilog="Example: kmeans-dask compress photos/ out/ --colors 64")
@placed
def compress(
    context: typer.Context,
    where: ClusterOptions,
    inputs: Inputs,
    output: Output,
    colors: Colors = _FIT.colors,
    scope: Scope = SCOPES[0],
    min_psnr: MinPsnr = None,
    fixed_colors: FixedColors = "",
    palette_file: Annotated[
        Location | None,
        typer.Option(
            parser=parse_location,
            metavar="FILE",
            help="Take this palette, and fit none: JSON, .gpl, .act, .pal, .hex or PNG.",
            rich_help_panel=PALETTE,
        ),
    ] = None,
    color_space: ColorSpace = _FIT.space,
    weight: Weight = _FIT.weight,
    n_init: NInit = None,
    seed: Seed = _FIT.seed,
    init: Init = _FIT.init,
    max_iter: MaxIter = None,
    tol: Tol = None,
    format_: Format = _ENCODE.format,
    effort: Effort = _ENCODE.effort,
    dither: Dither = _ENCODE.dither,
    keep_metadata: KeepMetadata = False,
    always: Always = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
    store: Annotated[
        Location | None,
        typer.Option(
            parser=parse_location,
            help="Keep the store, pixels and colours, at this path; to one that is there, images "
            "that are new are added.",
            rich_help_panel=WRITING,
        ),
    ] = None,
    keep_palette: Annotated[
        bool,
        typer.Option(
            "--keep-palette",
            help="Take the palette that --store has, so that none but new images are written.",
            rich_help_panel=PALETTE,
        ),
    ] = False,
    partition_pixels: PartitionPixels = PARTITION_PIXELS,
    max_pixels: MaxPixels = MAX_PIXELS,
    white: White = None,
    include: Include = None,
    exclude: Exclude = None,
    image_timeout: ImageTimeout = IMAGE_SECONDS,
    hashed: Hashed = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done; write nothing.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Compress images with one exact palette for all of them, or for each.

    Writes each image with at most that many colours, in the folders it came from, and
    palette.json beside them. A file that cannot be read is named in the summary and in
    failures.jsonl, and the rest is done. With --format tokens, OUTPUT is a store.
    """
    fit_settings = FitSettings(
        colors,
        seed,
        init,
        max_iter,
        (PRIVATE_TOL if scope in ("folder", "image") else TOL) if tol is None else tol,
        n_init,
        color_space,
        weight,
        parse_fixed_colors(fixed_colors),
        min_psnr,
    )
    encode_settings = EncodeSettings(format_, effort, dither, always, keep_metadata)

    from kmeans_dask.images.encode import check_effort
    from kmeans_dask.job.job_record import read_record
    from kmeans_dask.job.job_settings import JobSettings
    from kmeans_dask.job.work_folder import open_work_folder
    from kmeans_dask.plan.plan import Search, make_plan
    from kmeans_dask.steps import checks
    from kmeans_dask.steps.collection import open_collection
    from kmeans_dask.steps.palettes import read_palette_file
    from kmeans_dask.terminal.summary import show_plan

    check_effort(encode_settings)
    palette = None
    if palette_file:
        refuse_given(context, "--palette-file", _FITTED)
        palette = read_palette_file(palette_file)
    settings = JobSettings(
        fit_settings,
        encode_settings,
        DecodeSettings(
            max_pixels=max_pixels,
            flat=encode_settings.flat,
            keep_metadata=keep_metadata,
            white=parse_white(white),
            seconds=image_timeout,
        ),
        scope,
        palette,
    )
    as_tokens = encode_settings.format == "tokens"
    check_folder(output, "OUTPUT")
    checks.check_outside(inputs, output, "OUTPUT")
    if as_tokens:
        refuse_given(context, "--format tokens", ("store", "overwrite", "always", "keep_palette"))
        checks.check_store_path(inputs, output)
    if store:
        if not settings.is_shared:
            raise UsageError("--store holds a shared palette's images: leave it out, or --palette")
        check_folder(store, "--store")
        checks.check_store_path([*inputs, output], store)
    if keep_palette and not store:
        raise UsageError("--keep-palette takes the palette of a store: name it with --store")
    find = partial(
        make_plan,
        inputs,
        partition_pixels=partition_pixels,
        max_pixels=max_pixels,
        seconds=image_timeout,
        search=Search(tuple(include or ()), tuple(exclude or ())),
        hashed=hashed,
    )
    with Session(as_json, reads=True) as run, images_within(image_timeout):
        if dry_run:
            plan = run.planned(find)
            run.show(plan.as_dict(), show_plan(plan))
            return int(bool(plan.failures))
        engine = partial(run.engine, where, assigns=True)
        if as_tokens:
            return _compress_to_tokens(run, engine, find, output, settings, resume=resume)
        with open_work_folder(
            output, settings.as_asked(), resume=resume or keep_palette, overwrite=overwrite
        ) as work:
            run.keeps = lambda error: work.is_kept
            if store:
                with open_collection(
                    store, run.planning(find), settings.decode, resume=resume
                ) as held:
                    run.keeps = lambda error: True
                    return _compress(
                        run, engine, held.plan, work, settings, held, keep_palette=keep_palette
                    )
            plan = work.settle(run.planning(find))
            if not work.is_fresh and work.is_finished:
                return run.show_finished(read_record(output)["summary"], output)
            return _compress(run, engine, plan, work, settings)


def _compress(
    run: Session,
    connect: Connect,
    plan: Plan,
    work: WorkFolder,
    settings: JobSettings,
    held: Collection | None = None,
    *,
    keep_palette: bool = False,
) -> int:
    """To images, with a store that is kept or without."""
    from kmeans_dask.job.job_record import record_of_job
    from kmeans_dask.plan.sample_files import images_of
    from kmeans_dask.report.job_page import write_report
    from kmeans_dask.steps.checks import check_originals
    from kmeans_dask.steps.compress import compress
    from kmeans_dask.terminal.summary import show_summary

    if held and keep_palette and f"k{settings.fit.colors}" not in held.store.palette_names:
        raise UsageError(
            f"{held.store.path} has no palette for {settings.fit.colors} colours: leave "
            "--keep-palette out"
        )
    check_originals(plan, work.output)
    folders = [work.path, held.store.path] if held else [work.path]
    small = partial(_is_small, plan, settings.decode, settings.encode)
    with connect(small) as engine, engine.sharing(folders, images_of(plan)):
        work.begin(None if held else plan)
        summary = compress(
            plan, work, engine, run.progress, settings, held, keep_palette=keep_palette
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
    run.show(summary.as_dict(), show_summary(summary))
    return int(summary.failed > 0)


def _compress_to_tokens(
    run: Session,
    connect: Connect,
    find: Callable[..., Plan],
    output: Location,
    settings: JobSettings,
    *,
    resume: bool,
) -> int:
    from kmeans_dask.plan.sample_files import images_of
    from kmeans_dask.steps.checks import check_originals
    from kmeans_dask.steps.collection import open_collection
    from kmeans_dask.steps.compress import compress_to_tokens
    from kmeans_dask.terminal.summary import show_tokens

    with open_collection(output, run.planning(find), settings.decode, resume=resume) as held:
        run.keeps = lambda error: True
        check_originals(held.plan, output)
        small = partial(_is_small, held.plan, settings.decode)
        with connect(small) as engine, engine.sharing([held.store.path], images_of(held.plan)):
            tokens = compress_to_tokens(held, engine, run.progress, settings)
    run.show(tokens.as_dict(), show_tokens(tokens))
    return int(tokens.failed > 0)


def _is_small(
    plan: Plan, decode: DecodeSettings | None = None, encode: EncodeSettings | None = None
) -> bool:
    """Whether no worker processes are needed: the work is little, and no image ends a process.

    decode, encode: how its images are, if they are
    """
    from kmeans_dask.plan.placement import is_quick, is_safe, is_small

    is_little = is_small(plan) and (encode is None or is_quick(encode))
    return is_little and (decode is None or is_safe(plan, decode))


def _can_ask(error: BaseException) -> bool:
    """Return False where `error` means that a store cannot be reached, else True."""
    return not isinstance(error, UnreachableError)


# What makes no sense with a palette that is given.
_FITTED = (
    "colors",
    "scope",
    "fixed_colors",
    "weight",
    "n_init",
    "seed",
    "init",
    "max_iter",
    "tol",
    "store",
)


@app.command(epilog="Example: kmeans-dask ingest photos/ photos.zarr")
@placed
def ingest(
    where: ClusterOptions,
    inputs: Inputs,
    store: StorePath,
    keep_metadata: KeepMetadata = False,
    resume: Resume = False,
    partition_pixels: PartitionPixels = PARTITION_PIXELS,
    max_pixels: MaxPixels = MAX_PIXELS,
    white: White = None,
    include: Include = None,
    exclude: Exclude = None,
    image_timeout: ImageTimeout = IMAGE_SECONDS,
    hashed: Hashed = False,
    as_json: Json = False,
) -> int:
    """Decode images into a store, and count their colours; what the store has already, stays.

    The store can then be fitted with any number of colours without reading a pixel again.
    """
    from kmeans_dask.plan.plan import Search, make_plan
    from kmeans_dask.plan.sample_files import images_of
    from kmeans_dask.steps.checks import check_store_path
    from kmeans_dask.steps.collection import ingest_and_count, open_collection
    from kmeans_dask.terminal.summary import show_ingested

    check_folder(store, "STORE")
    check_store_path(inputs, store)
    settings = DecodeSettings(
        max_pixels=max_pixels,
        keep_metadata=keep_metadata,
        white=parse_white(white),
        seconds=image_timeout,
    )
    find = partial(
        make_plan,
        inputs,
        partition_pixels=partition_pixels,
        max_pixels=max_pixels,
        seconds=image_timeout,
        search=Search(tuple(include or ()), tuple(exclude or ())),
        hashed=hashed,
    )
    with Session(as_json, reads=True) as run, images_within(image_timeout):
        with open_collection(store, run.planning(find), settings, resume=resume) as held:
            run.keeps = lambda error: True
            with (
                run.engine(where, partial(_is_small, held.plan, settings)) as engine,
                engine.sharing([held.store.path], images_of(held.plan)),
            ):
                ingested = ingest_and_count(held, engine, run.progress)
        run.show(ingested.as_dict(), show_ingested(ingested))
    return int(ingested.failed > 0)


@app.command(epilog="Example: kmeans-dask fit photos.zarr --colors 16")
@placed
def fit(
    where: ClusterOptions,
    store: StorePath,
    colors: Colors = _FIT.colors,
    min_psnr: MinPsnr = None,
    fixed_colors: FixedColors = "",
    color_space: ColorSpace = _FIT.space,
    weight: Weight = _FIT.weight,
    n_init: NInit = None,
    seed: Seed = _FIT.seed,
    init: Init = _FIT.init,
    max_iter: MaxIter = None,
    tol: Tol = None,
    resume: Resume = False,
    chunk_colors: Annotated[
        int,
        typer.Option(
            help="With more distinct colours, iterations are tasks on all workers.",
            rich_help_panel=RUNNING,
        ),
    ] = _FIT.chunk_colors,
    as_json: Json = False,
) -> int:
    """Fit a palette to the colours of a store; it stays there under the name kN, for N colours."""
    settings = FitSettings(
        colors,
        seed,
        init,
        max_iter,
        TOL if tol is None else tol,
        n_init,
        color_space,
        weight,
        parse_fixed_colors(fixed_colors),
        min_psnr,
        chunk_colors,
    )

    from kmeans_dask.files.locks import locked
    from kmeans_dask.plan.plan import Plan
    from kmeans_dask.steps.fit import fit as fit_store
    from kmeans_dask.steps.fit import has_checkpoint
    from kmeans_dask.store import Store
    from kmeans_dask.terminal.summary import show_fit

    opened = Store.open(store.absolute())
    with Session(as_json) as run:
        run.keeps = lambda error: _can_ask(error) and has_checkpoint(opened, settings)
        with (
            locked(Store.lock_file(opened.path), str(store)),
            run.engine(
                where, lambda: _is_small(Plan.of_record(opened.plan)), assigns=True
            ) as engine,
            engine.sharing([opened.path]),
        ):
            fitted = fit_store(opened, engine, run.progress, settings, resume=resume)
        run.show(fitted.as_dict(), show_fit(fitted, run.progress.seconds))
    return 0


@app.command(epilog="Example: kmeans-dask encode photos.zarr out/ --palette k16")
@placed
def encode(
    context: typer.Context,
    where: ClusterOptions,
    store: StorePath,
    output: Annotated[
        Location | None,
        typer.Argument(
            parser=parse_location, metavar="OUTPUT", help="The folder to write to; none for tokens."
        ),
    ] = None,
    palette: Annotated[
        str | None,
        typer.Option(
            "--palette-name",
            help="Name of the palette.",
            show_default="the one fitted last",
            rich_help_panel=PALETTE,
        ),
    ] = None,
    format_: Format = _ENCODE.format,
    effort: Effort = _ENCODE.effort,
    dither: Dither = _ENCODE.dither,
    keep_metadata: KeepMetadata = False,
    always: Always = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
    as_json: Json = False,
) -> int:
    """Write the images of a store with a palette that was fitted; or as tokens into the store."""
    settings = EncodeSettings(format_, effort, dither, always, keep_metadata)

    from kmeans_dask.files.locks import locked
    from kmeans_dask.images.encode import check_effort
    from kmeans_dask.images.palette_files import hexes_of
    from kmeans_dask.job.fit_result import read_fit
    from kmeans_dask.job.job_record import record_of_job
    from kmeans_dask.job.work_folder import asked_for, open_work_folder
    from kmeans_dask.plan.plan import Plan
    from kmeans_dask.plan.sample_files import documents_of, images_of
    from kmeans_dask.report.job_page import write_report
    from kmeans_dask.steps import checks
    from kmeans_dask.steps import compress as job
    from kmeans_dask.store import Store
    from kmeans_dask.terminal.summary import show_summary, show_tokens

    check_effort(settings)
    opened = Store.open(store.absolute())
    opened.require_whole()
    fitted = read_fit(opened, palette)
    plan = Plan.of_record(opened.plan)
    if settings.format == "tokens":
        refuse_given(context, "--format tokens", ("output", "overwrite", "always"))
        with Session(as_json) as run:
            run.keeps = lambda error: (
                _can_ask(error)
                and any(opened.has_indices(fitted.name, each) for each in opened.partition_ids)
            )
            with (
                locked(Store.lock_file(opened.path), str(store)),
                run.engine(where, partial(_is_small, plan), assigns=True) as engine,
                engine.sharing([opened.path]),
            ):
                tokens = job.tokenize(opened, fitted, engine, run.progress)
            run.show(tokens.as_dict(), show_tokens(tokens))
        return int(tokens.failed > 0)
    if output is None:
        raise UsageError("OUTPUT is missing: name a folder to write to")
    check_folder(output, "OUTPUT")
    checks.check_encoding(opened, fitted, settings)
    inputs = [parse_location(given) for given in opened.plan["inputs"]]
    checks.check_outside([store, *inputs], output, "OUTPUT")
    asked = asked_for(
        "encode", store=str(opened.path), palette=hexes_of(fitted.palette.entries), encode=settings
    )
    checks.check_originals(plan, output)
    checks.check_partitions(opened)
    with Session(as_json) as run:
        with open_work_folder(output, asked, resume=resume, overwrite=overwrite) as work:
            run.keeps = lambda error: work.is_kept
            with (
                locked(Store.lock_file(opened.path), str(store), shared=True),
                run.engine(
                    where, partial(_is_small, plan, encode=settings), assigns=True
                ) as engine,
                engine.sharing([work.path], [*documents_of(opened.path), *images_of(plan)]),
            ):
                work.begin()
                summary = job.encode_and_summarize(
                    opened, work, fitted, engine, run.progress, settings
                )
                record = record_of_job(
                    summary,
                    map(str, inputs),
                    output,
                    scope="shared",
                    fit=fitted.settings,
                    encode=settings,
                )
                write_report(output, record)
            work.finish()
        run.show(summary.as_dict(), show_summary(summary))
    return int(summary.failed > 0)
