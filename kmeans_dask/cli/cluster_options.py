"""Where a command runs, as it is said: the same options for all commands that run somewhere."""

from __future__ import annotations

import functools
import inspect
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kmeans_dask.cli.options import RUNNING
from kmeans_dask.errors import UsageError
from kmeans_dask.interrupts import check_interrupted
from kmeans_dask.settings import PROCESS_BYTES, WORKER_TIMEOUT
from kmeans_dask.stopwatch import Stopwatch

if TYPE_CHECKING:
    from kmeans_dask.engine.tls import Tls

_PAUSE = 0.1  # seconds between looks for a file


@dataclass(frozen=True)
class ClusterOptions:
    """A cluster that is there, or one of this machine.

    workers: local processes, 0 for this one, None for one per core, or where that is sooner 0
    scheduler: address of a cluster; scheduler_file: a file that a scheduler writes it to
    timeout: seconds to wait; memory: bytes of a local worker
    """

    workers: int | None = None
    scheduler: str | None = None
    scheduler_file: Path | None = None
    timeout: float = WORKER_TIMEOUT
    memory: int | None = None
    tls: Tls | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing was said."""
        return self == ClusterOptions(timeout=self.timeout)

    def find_scheduler(self) -> str | None:
        """The address of the scheduler, if one is meant. Waits for its file, if it is in one."""
        if self.scheduler_file is None:
            return self.scheduler
        stopwatch, address = Stopwatch(), None
        while address is None:
            try:
                address = json.loads(self.scheduler_file.read_text())["address"]
            except (OSError, ValueError, KeyError, TypeError) as error:  # it may be half written
                if stopwatch.read() > self.timeout:
                    raise UsageError(
                        f"{self.scheduler_file} names no scheduler within {self.timeout:g} s: "
                        "start one with `dask scheduler --scheduler-file`"
                    ) from error
                check_interrupted()
                time.sleep(_PAUSE)
        return str(address)

    def is_unsafe(self, scheduler: str) -> bool:
        """Whether others on a network, which nobody said to be trusted, could listen or meddle."""
        from dask import config

        from kmeans_dask.engine.tls import is_exposed

        return is_exposed(scheduler) and not config.get("kmeans.trusted-network", False)


def placed(command: Callable[..., int]) -> Callable[..., int]:
    """`command` with options in place of its parameter `where`."""
    signature = inspect.signature(command, eval_str=True)
    own = [each for each in signature.parameters.values() if each.name != "where"]
    options = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(_where, eval_str=True).parameters.values()
    ]
    names = {each.name for each in options}
    takes_context = any(each.name == "context" for each in own)
    shown = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    # Before --json, which every command has last.
    shown[-1:-1] = [each for each in options if each.name != "context" or not takes_context]

    @functools.wraps(command)
    def with_options(context: typer.Context, **given: Any) -> int:
        where = _where(context=context, **{name: given.pop(name) for name in names - {"context"}})
        if takes_context:
            given["context"] = context
        return command(where=where, **given)

    vars(with_options)["__signature__"] = signature.replace(parameters=shown)
    with_options.__annotations__ = {each.name: each.annotation for each in shown}
    return with_options


def _where(
    context: typer.Context,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Local worker processes; 0: this process.",
            show_default="one per core; for a small job 0",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Run on the Dask cluster at this address; else DASK_SCHEDULER_ADDRESS, if it is "
            "set.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    scheduler_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The same, at the address that a scheduler has written to this file.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="For a scheduler at tls://: who signs the cluster's certificates.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With it: this client's certificate.", rich_help_panel=RUNNING
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With it: the certificate's key.", rich_help_panel=RUNNING
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            max=86400,
            help="Seconds to wait for a scheduler, or without a worker that answers.",
            rich_help_panel=RUNNING,
        ),
    ] = WORKER_TIMEOUT,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory-limit",
            metavar="SIZE",
            help="That a local worker may take, as 2GB; images that need more are refused by name.",
            show_default="its share of the machine's",
            rich_help_panel=RUNNING,
        ),
    ] = None,
) -> ClusterOptions:
    """What was said. Raises UsageError where one excludes another, or only half is said."""
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
    files = [file for file in (tls_ca, tls_cert, tls_key) if file]
    return ClusterOptions(
        workers,
        scheduler or None,
        scheduler_file,
        timeout,
        _parse_size(memory) if memory else None,
        _tls(files, is_elsewhere=is_elsewhere) if files else None,
    )


def _tls(files: list[Path], *, is_elsewhere: bool) -> Tls:
    """CA, certificate and key. Raises UsageError where one is missing, or no cluster is named."""
    from kmeans_dask.engine.tls import OPTIONS, Tls

    if not is_elsewhere:
        raise UsageError(f"{OPTIONS} are for a scheduler: name it with --scheduler")
    if len(files) < 3:
        raise UsageError(f"TLS needs all three of {OPTIONS}")
    return Tls(*files)


CLUSTER = "cluster"  # what a command is given as its context's object where it is submitted


def _parse_size(text: str) -> int:
    """Bytes: `2GB` and `1500MiB`, say. Raises UsageError."""
    from dask.utils import parse_bytes

    try:
        size = int(parse_bytes(text))
    except ValueError:
        raise UsageError(f"--memory-limit is {text!r}: write a size as 2GB") from None
    if size <= PROCESS_BYTES:
        least = PROCESS_BYTES / 1e6
        raise UsageError(
            f"--memory-limit is {text!r}: a worker takes {least:,.0f} MB before any image"
        )
    return size
