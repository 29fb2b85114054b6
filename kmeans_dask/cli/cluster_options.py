"""Options of all commands that run on workers: where they run, and what they show."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmeans_dask.cli.options import RUNNING, Json
from kmeans_dask.cli.session import Session, open_session
from kmeans_dask.errors import UsageError
from kmeans_dask.settings import WORKER_TIMEOUT

if TYPE_CHECKING:
    from kmeans_dask.engine.tls import Tls

CLUSTER = "cluster"  # object in the Typer context of a command that is submitted to a cluster


def placed(command: Callable[..., int]) -> Callable[..., int]:
    """Return `command` with options for where it runs in place of its parameter `session`."""
    signature = inspect.signature(command, eval_str=True)
    own = [each for each in signature.parameters.values() if each.name != "session"]
    options = list(inspect.signature(_session, eval_str=True).parameters.values())
    names = {each.name for each in options} - {"context"}
    takes_context = any(each.name == "context" for each in own)
    more = [each for each in options if each.name != "context" or not takes_context]
    shown = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *more)]

    @functools.wraps(command)
    def with_options(context: typer.Context, **given: Any) -> int:
        opened = _session(context=context, **{name: given.pop(name) for name in names})
        if takes_context:
            given["context"] = context
        with opened as session:
            return command(session=session, **given)

    vars(with_options)["__signature__"] = signature.replace(parameters=shown)
    with_options.__annotations__ = {each.name: each.annotation for each in shown}
    return with_options


def _session(
    context: typer.Context,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Number of local worker processes; 0 to work in this process.",
            show_default="one per core, or 0 for a small job",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of the scheduler of a Dask cluster to run on; by default that in "
            "DASK_SCHEDULER_ADDRESS, if it is set.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    scheduler_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to which the scheduler of a Dask cluster to run on has written its address.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Certificate of the authority that signs the cluster's certificates, for a "
            "scheduler at tls://.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Certificate of this client for --tls-ca.", rich_help_panel=RUNNING
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Private key of the certificate.", rich_help_panel=RUNNING
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            max=86400,
            help="Seconds that the job waits for a scheduler, or for any worker to answer.",
            rich_help_panel=RUNNING,
        ),
    ] = WORKER_TIMEOUT,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory-limit",
            metavar="SIZE",
            help="Memory that each local worker may use, such as 2GB; images that need more are "
            "refused and named.",
            show_default="its share of the machine's memory",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show errors and warnings only.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log each step and iteration to stderr.")
    ] = False,
    as_json: Json = False,
) -> AbstractContextManager[Session]:
    """Return the session that the options ask for.

    Raises UsageError where one option excludes another, or needs one that is missing.
    """
    if workers is not None and (scheduler or scheduler_file):
        which = "--scheduler" if scheduler else "--scheduler-file"
        raise UsageError(f"--workers and {which} exclude each other: leave one out")
    if scheduler and scheduler_file:
        raise UsageError("--scheduler and --scheduler-file exclude each other: leave one out")
    if workers is None and not scheduler_file:
        scheduler = scheduler or os.environ.get("DASK_SCHEDULER_ADDRESS")
    is_elsewhere = bool(scheduler or scheduler_file)
    if context.obj == CLUSTER and not is_elsewhere:
        raise UsageError(
            "a submitted job starts no workers: name a cluster with --scheduler, --scheduler-file "
            "or DASK_SCHEDULER_ADDRESS, and leave --workers out"
        )
    if memory and is_elsewhere:
        raise UsageError("--memory-limit is for local workers: others have a limit of their own")

    from kmeans_dask.api.running import parse_size
    from kmeans_dask.engine.choice import EngineChoice

    files = [file for file in (tls_ca, tls_cert, tls_key) if file]
    choice = EngineChoice(
        scheduler=scheduler or None,
        scheduler_file=scheduler_file,
        workers=workers,
        timeout=timeout,
        memory=parse_size(memory, "--memory-limit") if memory else None,
        tls=_tls(files, is_elsewhere=is_elsewhere) if files else None,
    )
    return open_session(choice, as_json=as_json, quiet=quiet, verbose=verbose)


def _tls(files: list[Path], *, is_elsewhere: bool) -> Tls:
    """Return the CA, the certificate and the key.

    Raises UsageError where one of them is missing, or no cluster is named.
    """
    from kmeans_dask.engine.tls import OPTIONS, Tls

    if not is_elsewhere:
        raise UsageError(f"{OPTIONS} are for a scheduler: name it with --scheduler")
    if len(files) < 3:
        raise UsageError(f"TLS needs all three of {OPTIONS}")
    return Tls(*files)
