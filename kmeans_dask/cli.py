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
from kmeans_dask.settings import MAX_PIXELS, PARTITION_PIXELS, WORKER_TIMEOUT, FitSettings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kmeans_dask.cluster import Engine

# Everything else is imported where it is used: --help and errors need no numba and no Dask.

_FIT = FitSettings()

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
Colors = Annotated[int, typer.Option("--colors", "-k", help="Palette entries, 2 to 256.")]
Seed = Annotated[int, typer.Option(help="Same seed, same images: same result.")]
Init = Annotated[str, typer.Option(help="Where to start: k-means++, or random pixels.")]
MaxIter = Annotated[int, typer.Option(help="Iterations at most.")]
Tol = Annotated[
    float,
    typer.Option(
        help="Stop when the centroids' squared shift is at most this part of the colours' "
        "variance; 0: at the fixed point."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0, help="Local worker processes; 0: this process.", show_default="one per core"
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Run on the Dask cluster at this address; else DASK_SCHEDULER_ADDRESS, if it is set."
    ),
]
Timeout = Annotated[
    float,
    typer.Option(min=0.1, max=86400, help="Seconds to wait for a scheduler, or without a worker."),
]
Always = Annotated[
    bool, typer.Option("--always", help="Write a PNG even where the input file is smaller.")
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Write into OUTPUT though it is not empty; other files in it stay."
    ),
]
PartitionPixels = Annotated[
    int, typer.Option(min=1, help="Pixels that one task decodes and encodes.")
]
MaxPixels = Annotated[int, typer.Option(min=1, help="Refuse images of more pixels than this.")]
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
    inputs: Inputs,
    output: Output,
    colors: Colors = _FIT.colors,
    seed: Seed = _FIT.seed,
    init: Init = _FIT.init,
    max_iter: MaxIter = _FIT.max_iter,
    tol: Tol = _FIT.tol,
    workers: Workers = None,
    scheduler: Scheduler = None,
    timeout: Timeout = WORKER_TIMEOUT,
    store: Annotated[
        Path | None, typer.Option(help="Keep the store, pixels and colours, at this path.")
    ] = None,
    always: Always = False,
    overwrite: Overwrite = False,
    partition_pixels: PartitionPixels = PARTITION_PIXELS,
    max_pixels: MaxPixels = MAX_PIXELS,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done; write nothing.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Compress images with one exact palette for all of them.

    Writes each image as an indexed PNG, in the folders it came from, and palette.json beside
    them. A file that cannot be read is named in the summary and in failures.jsonl, and the rest
    is done.
    """
    settings = FitSettings(colors, seed, init, max_iter, tol)

    from kmeans_dask.pipeline import compress as job
    from kmeans_dask.pipeline.plan import make_plan
    from kmeans_dask.views.summary import show_plan, show_summary

    job.check_output(inputs, output, overwrite=overwrite)
    if store:
        job.check_new_store([*inputs, output], store)
    with _Run(as_json) as run:
        run.progress.start("plan")
        plan = make_plan(inputs, partition_pixels=partition_pixels, max_pixels=max_pixels)
        run.progress.finish()
        if dry_run:
            run.show(plan.as_dict(), show_plan(plan))
            return int(bool(plan.failures))
        job.check_originals(plan, output)
        with (
            nullcontext(store) if store else job.passing_store(output) as store_path,
            run.engine(scheduler, workers, timeout) as engine,
        ):
            summary = job.compress(
                plan,
                store_path,
                output,
                engine,
                run.progress,
                fit_settings=settings,
                always=always,
                max_pixels=max_pixels,
            )
        run.show(summary.as_dict(), show_summary(summary))
    return int(summary.failed > 0)


@app.command(epilog="Example: kmeans-dask ingest photos/ photos.zarr")
def ingest(
    inputs: Inputs,
    store: StorePath,
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
    with _Run(as_json) as run:
        run.progress.start("plan")
        plan = make_plan(inputs, partition_pixels=partition_pixels, max_pixels=max_pixels)
        run.progress.finish()
        with run.engine(scheduler, workers, timeout) as engine:
            ingested = job.ingest_and_count(
                plan, store, engine, run.progress, max_pixels=max_pixels
            )
        run.show(ingested.as_dict(), show_ingested(ingested))
    return int(bool(ingested.failures))


@app.command(epilog="Example: kmeans-dask fit photos.zarr --colors 16")
def fit(
    store: StorePath,
    colors: Colors = _FIT.colors,
    seed: Seed = _FIT.seed,
    init: Init = _FIT.init,
    max_iter: MaxIter = _FIT.max_iter,
    tol: Tol = _FIT.tol,
    workers: Workers = None,
    scheduler: Scheduler = None,
    timeout: Timeout = WORKER_TIMEOUT,
    chunk_colors: Annotated[
        int, typer.Option(help="With more distinct colours, iterations are tasks on all workers.")
    ] = _FIT.chunk_colors,
    as_json: Json = False,
) -> int:
    """Fit a palette to the colours of a store; it stays there under the name kN, for N colours."""
    settings = FitSettings(colors, seed, init, max_iter, tol, chunk_colors)

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
    store: StorePath,
    output: Output,
    palette: Annotated[
        str | None, typer.Option(help="Name of the palette.", show_default="the one fitted last")
    ] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    timeout: Timeout = WORKER_TIMEOUT,
    always: Always = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> int:
    """Write the images of a store as indexed PNGs with a palette that was fitted."""
    from kmeans_dask.pipeline import compress as job
    from kmeans_dask.pipeline.fit import read_fit
    from kmeans_dask.store import Store
    from kmeans_dask.views.summary import show_summary

    opened = Store.open(store.absolute())
    opened.require_whole()
    fitted = read_fit(opened, palette)
    inputs = [Path(given) for given in opened.attrs["inputs"]]
    job.check_output([store, *inputs], output, overwrite=overwrite)
    with _Run(as_json) as run:
        with run.engine(scheduler, workers, timeout) as engine:
            summary = job.encode_and_summarize(
                opened, output, fitted, engine, run.progress, always=always
            )
        run.show(summary.as_dict(), show_summary(summary))
    return int(summary.failed > 0)


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
