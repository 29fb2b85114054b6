"""Choice of where a job runs, and the engine that comes of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kmeans_dask.engine.tls import Tls, is_unprotected
from kmeans_dask.errors import UsageError
from kmeans_dask.files.notices import notice
from kmeans_dask.interrupts import check_interrupted
from kmeans_dask.settings import WORKER_TIMEOUT
from kmeans_dask.stopwatch import Stopwatch

if TYPE_CHECKING:
    from distributed import Client

    from kmeans_dask.engine.engine import Engine

_PAUSE = 0.1  # seconds between looks for a file
_UNGUARDED = (
    "worker processes import the script that starts them: put its calls below "
    "`if __name__ == '__main__':`"
)


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """Choice of where a job runs: on a cluster that is there, or on this machine.

    client: Dask client of the cluster
    scheduler: address of the cluster's scheduler
    scheduler_file: file to which a scheduler writes its address
    workers: number of local worker processes; 0 for this process; None for this process where the
        job is small, and else for one worker process per core
    timeout: most seconds to wait for a scheduler, and to be without any worker
    memory: bytes of memory of each local worker; None for its share of the machine's
    tls: files for a scheduler that requires TLS; None for those of Dask's configuration
    """

    client: Client | None = None
    scheduler: str | None = None
    scheduler_file: Path | None = None
    workers: int | None = None
    timeout: float = WORKER_TIMEOUT
    memory: int | None = None
    tls: Tls | None = None

    @property
    def is_default(self) -> bool:
        """Return whether nothing but the timeout was chosen."""
        return self == EngineChoice(timeout=self.timeout)

    def find_scheduler(self) -> str | None:
        """Return the address of the scheduler that was chosen, or None where none was.

        Wait for the file that names it. Raises UsageError where it names none within the timeout.
        """
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


def _can_start_workers() -> bool:
    """Return whether a new process that imports the main module does not run its job again.

    Worker processes are spawned, and Python imports the main script in each of them. A script that
    never asks whether it is the main module would begin its job again there.
    """
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if path is None or getattr(main, "__spec__", None) is not None:
        return True
    try:
        return "__main__" in Path(path).read_text(errors="replace")
    except OSError:
        return True


def current_choice() -> EngineChoice:
    """Return the choice for a caller who made none: its Dask client, if it has one.

    Inside a Dask task it is this process, as a task that waits for others could wait for ever.
    """
    if "distributed" not in sys.modules:
        return EngineChoice()
    from distributed import default_client, get_worker

    with suppress(ValueError):  # raised where this is not a task
        get_worker()
        return EngineChoice(workers=0)
    with suppress(ValueError):  # raised where there is no client
        return EngineChoice(client=default_client())
    return EngineChoice()


@contextmanager
def open_engine(
    choice: EngineChoice,
    *,
    is_small: Callable[[], bool] = lambda: False,
    assigns: bool = False,
    warn: Callable[[str], None] = lambda scheduler: None,
) -> Iterator[Engine]:
    """Yield the engine of a choice.

    is_small: called where nothing was chosen; returns whether this process does the job sooner
        than worker processes, which have to start first
    assigns: whether the job assigns colours to centroids, with a kernel that takes long to compile
    warn: called with the address of a scheduler that others on an untrusted network could reach
    """
    from kmeans_dask.engine.connection import connect
    from kmeans_dask.kmeans.precompile import compiled_ahead

    scheduler = choice.find_scheduler()
    is_elsewhere = scheduler is not None or choice.client is not None
    workers = choice.workers
    if choice.is_default and is_small():
        workers = 0
    elif not is_elsewhere and workers != 0 and not _can_start_workers():
        if not choice.is_default:
            raise UsageError(f"{_UNGUARDED}, or choose workers=0")
        notice(f"{_UNGUARDED}; this job runs in one process meanwhile")
        workers = 0
    with (
        compiled_ahead() if assigns and not is_elsewhere else nullcontext(),
        connect(
            client=choice.client,
            scheduler=scheduler,
            workers=workers,
            timeout=choice.timeout,
            memory=choice.memory,
            tls=choice.tls,
        ) as engine,
    ):
        if scheduler and is_unprotected(scheduler):
            warn(scheduler)
        yield engine
