"""The commands: what is said is checked, handed to the pipeline, and what came of it is shown."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

import kmeans_dask
from kmeans_dask.cli.options import (
    PALETTE,
    RUNNING,
    WRITING,
    Always,
    Colors,
    Dither,
    Effort,
    Fix,
    Format,
    Init,
    Inputs,
    Json,
    KeepMetadata,
    MaxIter,
    MaxPixels,
    MinPsnr,
    Output,
    Overwrite,
    OverwriteFile,
    PaletteName,
    PartitionPixels,
    Scheduler,
    Scope,
    Seed,
    Space,
    Starts,
    StorePath,
    Timeout,
    Tol,
    Weight,
    Workers,
    fixed_colors,
    named,
    numbers_of,
    refuse_given,
)
from kmeans_dask.cli.run import Run
from kmeans_dask.errors import UsageError
from kmeans_dask.settings import (
    MAX_PIXELS,
    PARTITION_PIXELS,
    PRIVATE_TOL,
    SCOPES,
    TOL,
    WORKER_TIMEOUT,
    DecodeSettings,
    EncodeSettings,
    FitSettings,
    check_together,
)

# Everything else is imported where it is used: --help and errors need no numba and no Dask.

_FIT, _ENCODE = FitSettings(), EncodeSettings()

app = typer.Typer(
    name="kmeans-dask",
    help="Compress collections of images by exact k-means colour quantisation, on Dask.",
    epilog="Example: kmeans-dask compress photos/ out/ --colors 64",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(kmeans_dask.__version__)  # noqa: T201
        raise typer.Exit


@app.command(epilog="Example: kmeans-dask compress photos/ out/ --colors 64")
def compress(
    context: typer.Context,
    inputs: Inputs,
    output: Output,
    colors: Colors = _FIT.colors,
    scope: Scope = SCOPES[0],
    min_psnr: MinPsnr = None,
    fix: Fix = "",
    palette_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Take this palette, and fit none: JSON, .gpl, .act, .pal, .hex or PNG.",
            rich_help_panel=PALETTE,
        ),
    ] = None,
    space: Space = _FIT.space,
    weight: Weight = _FIT.weight,
    starts: Starts = None,
    seed: Seed = _FIT.seed,
    init: Init = _FIT.init,
    max_iter: MaxIter = _FIT.max_iter,
    tol: Tol = None,
    format_: Format = _ENCODE.format,
    effort: Effort = _ENCODE.effort,
    dither: Dither = _ENCODE.dither,
    keep_metadata: KeepMetadata = False,
    always: Always = False,
    overwrite: Overwrite = False,
    store: Annotated[
        Path | None,
        typer.Option(
            help="Keep the store, pixels and colours, at this path.", rich_help_panel=WRITING
        ),
    ] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    timeout: Timeout = WORKER_TIMEOUT,
    partition_pixels: PartitionPixels = PARTITION_PIXELS,
    max_pixels: MaxPixels = MAX_PIXELS,
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
        starts,
        space,
        weight,
        fixed_colors(fix),
        min_psnr,
    )
    encode_settings = EncodeSettings(format_, effort, dither, always, keep_metadata)

    from kmeans_dask.imaging.encode import check_effort
    from kmeans_dask.pipeline import compress as job
    from kmeans_dask.pipeline.palettes import read_palette_file
    from kmeans_dask.pipeline.plan import make_plan
    from kmeans_dask.pipeline.record import record_of_job
    from kmeans_dask.views.report import write_report
    from kmeans_dask.views.summary import show_plan, show_summary, show_tokens

    check_effort(encode_settings)
    palette = None
    if palette_file:
        refuse_given(context, "--palette-file", _FITTED)
        palette = read_palette_file(palette_file)
    settings = job.JobSettings(
        fit_settings,
        encode_settings,
        DecodeSettings(max_pixels, encode_settings.flat, keep_metadata),
        scope,
        palette,
    )
    as_tokens = encode_settings.format == "tokens"
    if as_tokens:
        refuse_given(context, "--format tokens", ("store", "overwrite", "always"))
        job.check_new_store(inputs, output)
    else:
        job.check_output(inputs, output, overwrite=overwrite)
    if store:
        if not settings.is_shared:
            raise UsageError("--store holds a shared palette's images: leave it out, or --palette")
        job.check_new_store([*inputs, output], store)
    with Run(as_json) as run:
        run.progress.start("plan")
        plan = make_plan(inputs, partition_pixels=partition_pixels, max_pixels=max_pixels)
        run.progress.finish()
        if dry_run:
            run.show(plan.as_dict(), show_plan(plan))
            return int(bool(plan.failures))
        job.check_originals(plan, output)
        if as_tokens:
            with run.engine(scheduler, workers, timeout) as engine:
                tokens = job.compress_to_tokens(plan, output, engine, run.progress, settings)
            run.show(tokens.as_dict(), show_tokens(tokens))
            return int(tokens.failed > 0)
        with (
            nullcontext(store) if store else job.passing_store(output) as store_path,
            run.engine(scheduler, workers, timeout) as engine,
        ):
            summary = job.compress(plan, store_path, output, engine, run.progress, settings)
        record = record_of_job(
            summary, plan.inputs, output, scope=scope, fit=fit_settings, encode=encode_settings
        )
        write_report(output, record)
        run.show(summary.as_dict(), show_summary(summary))
    return int(summary.failed > 0)


# What makes no sense with a palette that is given.
_FITTED = ("colors", "scope", "fix", "weight", "starts", "seed", "init", "max_iter", "tol", "store")


@app.command(epilog="Example: kmeans-dask ingest photos/ photos.zarr")
def ingest(
    inputs: Inputs,
    store: StorePath,
    keep_metadata: KeepMetadata = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    timeout: Timeout = WORKER_TIMEOUT,
    partition_pixels: PartitionPixels = PARTITION_PIXELS,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
) -> int:
    """Decode images into a new store, and count their colours.

    The store can then be fitted with any number of colours without reading a pixel again.
    """
    from kmeans_dask.pipeline import compress as job
    from kmeans_dask.pipeline.plan import make_plan
    from kmeans_dask.views.summary import show_ingested

    job.check_new_store(inputs, store)
    settings = DecodeSettings(max_pixels, keep_metadata=keep_metadata)
    with Run(as_json) as run:
        run.progress.start("plan")
        plan = make_plan(inputs, partition_pixels=partition_pixels, max_pixels=max_pixels)
        run.progress.finish()
        with run.engine(scheduler, workers, timeout) as engine:
            ingested = job.ingest_and_count(plan, store, engine, run.progress, settings)
        run.show(ingested.as_dict(), show_ingested(ingested))
    return int(bool(ingested.failures))


@app.command(epilog="Example: kmeans-dask fit photos.zarr --colors 16")
def fit(
    store: StorePath,
    colors: Colors = _FIT.colors,
    min_psnr: MinPsnr = None,
    fix: Fix = "",
    space: Space = _FIT.space,
    weight: Weight = _FIT.weight,
    starts: Starts = None,
    seed: Seed = _FIT.seed,
    init: Init = _FIT.init,
    max_iter: MaxIter = _FIT.max_iter,
    tol: Tol = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    timeout: Timeout = WORKER_TIMEOUT,
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
        starts,
        space,
        weight,
        fixed_colors(fix),
        min_psnr,
        chunk_colors,
    )

    from kmeans_dask.pipeline.fit import fit as fit_store
    from kmeans_dask.store import Store
    from kmeans_dask.views.summary import show_fit

    opened = Store.open(store.absolute())
    opened.require_whole()
    with Run(as_json) as run:
        with run.engine(scheduler, workers, timeout) as engine:
            fitted = fit_store(opened, engine, run.progress, settings)
        run.show(fitted.as_dict(), show_fit(fitted, run.progress.seconds))
    return 0


@app.command(epilog="Example: kmeans-dask encode photos.zarr out/ --palette k16")
def encode(
    context: typer.Context,
    store: StorePath,
    output: Annotated[
        Path | None,
        typer.Argument(metavar="OUTPUT", help="The folder to write to; none for tokens."),
    ] = None,
    palette: Annotated[
        str | None,
        typer.Option(
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
    workers: Workers = None,
    scheduler: Scheduler = None,
    timeout: Timeout = WORKER_TIMEOUT,
    as_json: Json = False,
) -> int:
    """Write the images of a store with a palette that was fitted; or as tokens into the store."""
    settings = EncodeSettings(format_, effort, dither, always, keep_metadata)

    from kmeans_dask.imaging.encode import check_effort
    from kmeans_dask.pipeline import compress as job
    from kmeans_dask.pipeline.fit import read_fit
    from kmeans_dask.pipeline.record import record_of_job
    from kmeans_dask.store import Store
    from kmeans_dask.views.report import write_report
    from kmeans_dask.views.summary import show_summary, show_tokens

    check_effort(settings)
    opened = Store.open(store.absolute())
    opened.require_whole()
    fitted = read_fit(opened, palette)
    if settings.format == "tokens":
        refuse_given(context, "--format tokens", ("output", "overwrite", "always"))
        with Run(as_json) as run:
            with run.engine(scheduler, workers, timeout) as engine:
                tokens = job.tokenize(opened, fitted, engine, run.progress)
            run.show(tokens.as_dict(), show_tokens(tokens))
        return int(tokens.failed > 0)
    if output is None:
        raise UsageError("OUTPUT is missing: name a folder to write to")
    job.check_encoding(opened, fitted, settings)
    inputs = [Path(given) for given in opened.attrs["inputs"]]
    job.check_output([store, *inputs], output, overwrite=overwrite)
    with Run(as_json) as run:
        with run.engine(scheduler, workers, timeout) as engine:
            summary = job.encode_and_summarize(
                opened, output, fitted, engine, run.progress, settings
            )
        record = record_of_job(
            summary, map(str, inputs), output, scope="shared", fit=fitted.settings, encode=settings
        )
        write_report(output, record)
        run.show(summary.as_dict(), show_summary(summary))
    return int(summary.failed > 0)


@app.command(epilog="Example: kmeans-dask palette photos.zarr colors.gpl")
def palette(
    source: Annotated[
        Path, typer.Argument(metavar="STORE-or-FILE", help="A store, or a palette file.")
    ],
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="Where to write it, as .json, .gpl, .act, .pal, .hex or .png."
        ),
    ] = None,
    name: PaletteName = None,
    overwrite: OverwriteFile = False,
    as_json: Json = False,
) -> int:
    """Show a palette, or convert it: to and from GIMP, Adobe, JASC, hex lines, PNG and JSON."""
    from kmeans_dask.pipeline.palettes import convert_palette, read_any_palette
    from kmeans_dask.views.palette import show_palette

    found = read_any_palette(source, name)
    if target:
        convert_palette(found, target, overwrite=overwrite)
    Run(as_json).show(found.as_dict(), show_palette(found))
    return 0


@app.command(epilog="Example: kmeans-dask report photos.zarr")
def report(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="STORE-or-OUTPUT", help="A store, or the output of a job.")
    ],
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="Where to write the report of a store.",
            show_default="NAME-report.html, in this folder",
        ),
    ] = None,
    name: PaletteName = None,
    overwrite: OverwriteFile = False,
) -> int:
    """Make report.html again, from what a job left in its output; or write what a store holds."""
    from kmeans_dask.pipeline.exhibit import plain_name
    from kmeans_dask.pipeline.inventory import take_inventory
    from kmeans_dask.pipeline.record import read_record
    from kmeans_dask.pipeline.write import check_new_file
    from kmeans_dask.store import is_store
    from kmeans_dask.views.report import write_report
    from kmeans_dask.views.store_report import write_store_report

    if not is_store(source):
        refuse_given(context, "OUTPUT", ("name", "overwrite"))
        if target:
            raise UsageError("FILE is for the report of a store: an OUTPUT holds its own")
        write_report(source, read_record(source))
        return 0
    source = named(source.absolute())
    target = target or Path(f"{plain_name(source)}-report.html")
    check_new_file(target, overwrite=overwrite)
    write_store_report(target, take_inventory(source, name))
    return 0


@app.command(epilog="Example: kmeans-dask plot cathedral.jpg --colors 16")
def plot(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="IMAGE-or-STORE", help="An image, or a store with a palette.")
    ],
    colors: Annotated[
        int, typer.Option("--colors", "-k", min=2, max=256, help="Of the palette of an image.")
    ] = 16,
    seed: Seed = _FIT.seed,
    name: PaletteName = None,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder to write to.", show_default="this one")
    ] = Path(),
    overwrite: OverwriteFile = False,
    as_json: Json = False,
) -> int:
    """Draw the space of colours before and after, and images beside what becomes of them.

    Writes two PNG files: NAME-colours.png, and NAME-compressed.png, of a store with up to four of
    its images. Needs Matplotlib.
    """
    from kmeans_dask.views.plot import check_matplotlib, draw_colors, draw_pictures, show_plots

    check_matplotlib()

    from kmeans_dask.pipeline.exhibit import exhibit_image, exhibit_store, plain_name
    from kmeans_dask.pipeline.write import check_new_file, write_file

    source = named(source)
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file: name a folder to write to")
    files = [output / f"{plain_name(source)}-{what}.png" for what in ("colours", "compressed")]
    for file in files:
        check_new_file(file, "name another folder with --output", overwrite=overwrite)
    if source.is_dir():
        refuse_given(context, "STORE", ("colors", "seed"))
        found = exhibit_store(source, name)
    else:
        refuse_given(context, "IMAGE", ("name",))
        found = exhibit_image(source, FitSettings(colors, seed))
    for file, png in zip(files, (draw_colors(found), draw_pictures(found)), strict=True):
        write_file(file, png)
    data = {"files": list(map(str, files)), **found.as_dict()}
    Run(as_json).show(data, show_plots(found, files))
    return 0


@app.command(epilog="Example: kmeans-dask sweep photos/ --colors 2,4,8,16,32,64,128,256")
def sweep(
    inputs: Inputs,
    colors: Annotated[
        str, typer.Option("--colors", "-k", metavar="K,...", help="Numbers of colours to try.")
    ] = "2,4,8,16,32,64,128,256",
    space: Space = _FIT.space,
    weight: Weight = _FIT.weight,
    seed: Seed = _FIT.seed,
    format_: Format = _ENCODE.format,
    effort: Effort = _ENCODE.effort,
    dither: Dither = _ENCODE.dither,
    workers: Workers = None,
    scheduler: Scheduler = None,
    timeout: Timeout = WORKER_TIMEOUT,
    as_json: Json = False,
) -> int:
    """Show bytes and quality for several numbers of colours, from one counting pass.

    Quality is exact; bytes are those of a sample, scaled up. Writes nothing that stays.
    """
    numbers = numbers_of(colors)
    settings = FitSettings(seed=seed, space=space, weight=weight)
    encode_settings = EncodeSettings(format_, effort, dither)
    for number in numbers:
        check_together(replace(settings, colors=number), encode_settings)
    if encode_settings.format == "tokens":
        raise UsageError("--format tokens has no bytes to compare: choose png, webp or gif")

    from kmeans_dask.imaging.encode import check_effort
    from kmeans_dask.pipeline.compress import passing_folder
    from kmeans_dask.pipeline.plan import make_plan
    from kmeans_dask.pipeline.sweep import sweep as job
    from kmeans_dask.views.sweep import show_sweep

    check_effort(encode_settings)
    with Run(as_json) as run:
        run.progress.start("plan")
        plan = make_plan(inputs)
        run.progress.finish()
        with passing_folder() as folder, run.engine(scheduler, workers, timeout) as engine:
            found = job(
                plan,
                folder / "sweep.zarr",
                engine,
                run.progress,
                numbers,
                settings,
                encode_settings,
            )
        run.show(found.as_dict(), show_sweep(found))
    return int(bool(found.failures))


@app.command(epilog="Example: kmeans-dask estimate photos/ --colors 64")
def estimate(
    inputs: Inputs,
    colors: Colors = _FIT.colors,
    scope: Scope = SCOPES[0],
    min_psnr: MinPsnr = None,
    space: Space = _FIT.space,
    seed: Seed = _FIT.seed,
    format_: Format = _ENCODE.format,
    effort: Effort = _ENCODE.effort,
    dither: Dither = _ENCODE.dither,
    workers: Workers = None,
    scheduler: Scheduler = None,
    timeout: Timeout = WORKER_TIMEOUT,
    as_json: Json = False,
) -> int:
    """Predict size, quality, time and memory from a sample. Writes nothing that stays."""
    tol = PRIVATE_TOL if scope in ("folder", "image") else TOL
    fit_settings = FitSettings(colors, seed, space=space, min_psnr=min_psnr, tol=tol)
    encode_settings = EncodeSettings(format_, effort, dither)
    if encode_settings.format == "tokens":
        raise UsageError("--format tokens has no bytes to predict: choose png, webp or gif")

    from kmeans_dask.imaging.encode import check_effort
    from kmeans_dask.pipeline import compress as job
    from kmeans_dask.pipeline.estimate import estimate as predict
    from kmeans_dask.pipeline.estimate import sample_of
    from kmeans_dask.pipeline.plan import make_plan
    from kmeans_dask.views.estimate import show_estimate

    check_effort(encode_settings)
    settings = job.JobSettings(
        fit_settings, encode_settings, DecodeSettings(flat=encode_settings.flat), scope
    )
    with Run(as_json) as run:
        run.progress.start("plan")
        plan = make_plan(inputs)
        run.progress.finish()
        with job.passing_folder() as folder, run.engine(scheduler, workers, timeout) as engine:
            found = predict(
                plan,
                sample_of(plan),
                folder / "sample.zarr",
                folder / "out",
                engine,
                run.progress,
                settings,
            )
        run.show(found.as_dict(), show_estimate(found))
    return int(bool(found.failures))


@app.command(epilog="Example: kmeans-dask compare cathedral.jpg --colors 16")
def compare(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The image.")],
    colors: Annotated[int, typer.Option("--colors", "-k", min=2, max=256)] = 16,
    seed: Seed = _FIT.seed,
    as_json: Json = False,
) -> int:
    """Time this engine, a textbook's k-means, scikit-learn and others on the same pixels.

    From the same random pixels to the same stop; peers take part where they are installed.
    """
    from kmeans_dask.comparison import compare as run_all
    from kmeans_dask.views.comparison import show_comparison

    if seed < 0:
        raise UsageError(f"--seed is {seed}: choose 0 or more")
    found = run_all(image, colors, seed=seed)
    Run(as_json).show(found.as_dict(), show_comparison(found))
    return 0


@app.command(epilog="Example: kmeans-dask info photos.zarr")
def info(store: StorePath, as_json: Json = False) -> int:
    """Show what a store holds: images, colours, palettes, versions."""
    from kmeans_dask.pipeline.info import read_info
    from kmeans_dask.views.summary import show_info

    found = read_info(store.absolute())
    Run(as_json).show(asdict(found), show_info(found))
    return 0
