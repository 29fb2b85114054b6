"""Words to calls.

Exit codes: 0 all done, 1 some images failed, 2 the request cannot be carried out (nothing was
written), 3 the job broke off, 130 or 143 interrupted by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import kmeans_dask
from kmeans_dask import interrupts
from kmeans_dask.errors import JobError, KMeansDaskError, StoreError, UsageError
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
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kmeans_dask.cluster import Engine

# Everything else is imported where it is used: --help and errors need no numba and no Dask.

_FIT, _ENCODE = FitSettings(), EncodeSettings()
_PALETTE, _WRITING, _RUNNING = "Palette", "Output", "Where and how it runs"  # panels of the help

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

Inputs = Annotated[
    list[Path], typer.Argument(metavar="INPUT...", help="Images, or folders searched for images.")
]
StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="The store, a folder.")]
Output = Annotated[Path, typer.Argument(metavar="OUTPUT", help="The folder to write to.")]
Colors = Annotated[
    int,
    typer.Option(
        "--colors",
        "-k",
        help="Palette entries, 2 to 256; to 65536 with --format tokens.",
        rich_help_panel=_PALETTE,
    ),
]
Seed = Annotated[
    int, typer.Option(help="Same seed, same images: same result.", rich_help_panel=_PALETTE)
]
Init = Annotated[
    str,
    typer.Option(help="Where to start: k-means++, or random (pixels).", rich_help_panel=_PALETTE),
]
Starts = Annotated[
    int | None,
    typer.Option(
        help="Starts, of which the best is kept.",
        show_default="64 by the number of colours",
        rich_help_panel=_PALETTE,
    ),
]
MaxIter = Annotated[
    int, typer.Option(help="Iterations of a start at most.", rich_help_panel=_PALETTE)
]
Tol = Annotated[
    float | None,
    typer.Option(
        help="Stop when the centroids' squared shift is at most this part of the colours' "
        "variance; 0: at the fixed point.",
        show_default=f"{TOL}, or {PRIVATE_TOL} for a palette for each image or folder",
        rich_help_panel=_PALETTE,
    ),
]
Space = Annotated[
    str,
    typer.Option(
        help="In which colours are near: rgb, or oklab (as they look).", rich_help_panel=_PALETTE
    ),
]
Weight = Annotated[
    str,
    typer.Option(help="What counts the same: all pixels, or all images.", rich_help_panel=_PALETTE),
]
Fix = Annotated[
    str,
    typer.Option(
        metavar="HEX,...",
        help='Colours that the palette has in any case: "#ff0000,#fff".',
        rich_help_panel=_PALETTE,
    ),
]
MinPsnr = Annotated[
    float | None,
    typer.Option(
        "--min-psnr",
        metavar="DB",
        help="Take the fewest colours, of --colors, that reach this quality; keep images that do "
        "not as they are.",
        rich_help_panel=_PALETTE,
    ),
]
Format = Annotated[
    str,
    typer.Option("--format", help="png, webp (lossless), gif or tokens.", rich_help_panel=_WRITING),
]
Effort = Annotated[
    int, typer.Option(help="0 to 9: time for fewer bytes.", rich_help_panel=_WRITING)
]
Dither = Annotated[
    float,
    typer.Option(
        help="Floyd-Steinberg, 0 (none) to 1: how much of an error neighbours make up for.",
        rich_help_panel=_WRITING,
    ),
]
KeepMetadata = Annotated[
    bool,
    typer.Option(
        "--keep-metadata",
        help="Keep EXIF, pixel density and text.",
        rich_help_panel=_WRITING,
    ),
]
Always = Annotated[
    bool,
    typer.Option(
        "--always",
        help="Write an image even where the input file is smaller.",
        rich_help_panel=_WRITING,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Write into OUTPUT though it is not empty; other files in it stay.",
        rich_help_panel=_WRITING,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Local worker processes; 0: this process.",
        show_default="one per core",
        rich_help_panel=_RUNNING,
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Run on the Dask cluster at this address; else DASK_SCHEDULER_ADDRESS, if it is set.",
        rich_help_panel=_RUNNING,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        min=0.1,
        max=86400,
        help="Seconds to wait for a scheduler, or without a worker.",
        rich_help_panel=_RUNNING,
    ),
]
PartitionPixels = Annotated[
    int,
    typer.Option(min=1, help="Pixels that one task decodes and encodes.", rich_help_panel=_RUNNING),
]
MaxPixels = Annotated[
    int,
    typer.Option(min=1, help="Refuse images of more pixels than this.", rich_help_panel=_RUNNING),
]
Json = Annotated[bool, typer.Option("--json", help="The summary as one JSON object on stdout.")]


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
    scope: Annotated[
        str,
        typer.Option(
            "--palette",
            help="One for all (shared), for each folder, for each image, or auto: for images of "
            "which the shared one is not good enough.",
            rich_help_panel=_PALETTE,
        ),
    ] = SCOPES[0],
    min_psnr: MinPsnr = None,
    fix: Fix = "",
    palette_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Take this palette, and fit none: JSON, .gpl, .act, .pal, .hex or PNG.",
            rich_help_panel=_PALETTE,
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
            help="Keep the store, pixels and colours, at this path.", rich_help_panel=_WRITING
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
        _fixed(fix),
        min_psnr,
    )
    encode_settings = EncodeSettings(format_, effort, dither, always, keep_metadata)

    from kmeans_dask.imaging.encode import check_effort
    from kmeans_dask.pipeline import compress as job
    from kmeans_dask.pipeline.palettes import read_palette_file
    from kmeans_dask.pipeline.plan import make_plan
    from kmeans_dask.views.summary import show_plan, show_summary, show_tokens

    check_effort(encode_settings)
    palette = None
    if palette_file:
        _refuse_given(context, "--palette-file", _FITTED)
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
        _refuse_given(context, "--format tokens", ("store", "overwrite", "always"))
        job.check_new_store(inputs, output)
    else:
        job.check_output(inputs, output, overwrite=overwrite)
    if store:
        if not settings.is_shared:
            raise UsageError("--store holds a shared palette's images: leave it out, or --palette")
        job.check_new_store([*inputs, output], store)
    with _Run(as_json) as run:
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
        run.show(summary.as_dict(), show_summary(summary))
    return int(summary.failed > 0)


# What makes no sense with a palette that is given.
_FITTED = ("colors", "scope", "fix", "weight", "starts", "seed", "init", "max_iter", "tol", "store")


def _refuse_given(context: typer.Context, option: str, names: tuple[str, ...]) -> None:
    """Raise UsageError where one of the parameters `names` was given beside `option`."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source and source.name == "COMMANDLINE":
            raise UsageError(f"{option} and {parameter.opts[0]} exclude each other: leave one out")


def _fixed(hexes: str) -> tuple[tuple[int, int, int], ...]:
    """The colours of --fix."""
    if not hexes:
        return ()
    from kmeans_dask.imaging.palette_files import parse_hexes

    entries = parse_hexes(hexes)
    if (entries[:, 3] < 255).any():
        raise UsageError("--fix takes opaque colours: write them as #rrggbb")
    return tuple((r, g, b) for r, g, b, _ in entries.tolist())


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
    with _Run(as_json) as run:
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
            rich_help_panel=_RUNNING,
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
        _fixed(fix),
        min_psnr,
        chunk_colors,
    )

    from kmeans_dask.pipeline.fit import fit as fit_store
    from kmeans_dask.store import Store
    from kmeans_dask.views.summary import show_fit

    opened = Store.open(store.absolute())
    opened.require_whole()
    with _Run(as_json) as run:
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
            rich_help_panel=_PALETTE,
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
    from kmeans_dask.store import Store
    from kmeans_dask.views.summary import show_summary, show_tokens

    check_effort(settings)
    opened = Store.open(store.absolute())
    opened.require_whole()
    fitted = read_fit(opened, palette)
    if settings.format == "tokens":
        _refuse_given(context, "--format tokens", ("output", "overwrite", "always"))
        with _Run(as_json) as run:
            with run.engine(scheduler, workers, timeout) as engine:
                tokens = job.tokenize(opened, fitted, engine, run.progress)
            run.show(tokens.as_dict(), show_tokens(tokens))
        return int(tokens.failed > 0)
    if output is None:
        raise UsageError("OUTPUT is missing: name a folder to write to")
    job.check_encoding(opened, fitted, settings)
    inputs = [Path(given) for given in opened.attrs["inputs"]]
    job.check_output([store, *inputs], output, overwrite=overwrite)
    with _Run(as_json) as run:
        with run.engine(scheduler, workers, timeout) as engine:
            summary = job.encode_and_summarize(
                opened, output, fitted, engine, run.progress, settings
            )
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
    name: Annotated[
        str | None,
        typer.Option(help="Which palette of a store.", show_default="the one fitted last"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write FILE though it is there already.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Show a palette, or convert it: to and from GIMP, Adobe, JASC, hex lines, PNG and JSON."""
    from kmeans_dask.pipeline.palettes import convert_palette, read_any_palette
    from kmeans_dask.views.palette import show_palette

    found = read_any_palette(source, name)
    if target:
        convert_palette(found, target, overwrite=overwrite)
    _Run(as_json).show(found.as_dict(), show_palette(found))
    return 0


@app.command(epilog="Example: kmeans-dask info photos.zarr")
def info(store: StorePath, as_json: Json = False) -> int:
    """Show what a store holds: images, colours, palettes, versions."""
    from kmeans_dask.pipeline.info import read_info
    from kmeans_dask.views.summary import show_info

    found = read_info(store.absolute())
    _Run(as_json).show(asdict(found), show_info(found))
    return 0


class _Run:
    """One command at work: its progress on stderr, its engine, its summary on stdout."""

    def __init__(self, as_json: bool) -> None:
        from rich.console import Console

        from kmeans_dask.views.progress import TerminalProgress

        self._as_json = as_json
        self._console = Console(stderr=True, highlight=False)
        self.progress = TerminalProgress(self._console)

    def __enter__(self) -> _Run:
        self.progress.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.__exit__(*error)

    @contextmanager
    def engine(
        self, scheduler: str | None, workers: int | None, timeout: float
    ) -> Iterator[Engine]:
        """Connect, and say where the job can be watched."""
        from kmeans_dask.cluster import connect

        if workers is None:
            scheduler = scheduler or os.environ.get("DASK_SCHEDULER_ADDRESS")
        elif scheduler:
            raise UsageError("--workers and --scheduler exclude each other: leave one out")
        self.progress.start("start")
        with connect(scheduler=scheduler, workers=workers, timeout=timeout) as engine:
            self.progress.finish()
            if engine.dashboard:
                where = f"{engine.place}, dashboard: {engine.dashboard}"
                self._console.print(where, markup=False, soft_wrap=True)
            try:
                yield engine
            except StoreError as error:  # by now something has been written
                raise JobError(str(error)) from error

    def show(self, data: dict[str, Any], text: RenderableType) -> None:
        """The summary: one JSON object, or text."""
        from rich.console import Console

        self.progress.__exit__()
        if self._as_json:
            sys.stdout.write(json.dumps(data, allow_nan=False) + "\n")
        else:
            Console(highlight=False, soft_wrap=True).print(text)


def main() -> None:
    """Run the command line, and exit."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character shows its code
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with interrupts.interruptible():
        code = _main()
    sys.exit(code)


def _main() -> int:
    try:
        code: int = app(standalone_mode=False) or 0
        # typer turns a KeyboardInterrupt into this code
        return _fail("interrupted", interrupts.exit_code()) if code == 130 else code
    except JobError as error:
        return _fail(str(error), 3)
    except KMeansDaskError as error:
        return _fail(str(error), 2)
    except typer.TyperException as error:
        return _fail(error.format_message(), error.exit_code)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror or error or type(error).__name__}{where}", 3)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", interrupts.exit_code())
    except Exception as error:
        if os.environ.get("KMEANS_DASK_DEBUG"):
            raise
        what = f"{type(error).__name__}: {error}"
        return _fail(f"a defect, please report it: {what} (KMEANS_DASK_DEBUG=1 shows where)", 3)


def _fail(message: str, code: int) -> int:
    from kmeans_dask.views.text import printable

    if message:
        sys.stderr.write(f"kmeans-dask: {printable(message)}\n")
    return code
