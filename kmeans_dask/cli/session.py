"""One command at work."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from kmeans_dask.errors import JobError, StoreError

_PIPED = 120  # columns of tables that go to no terminal
_IN_THE_CLEAR = (
    "kmeans-dask: warning: {} is used without TLS: whoever can reach it can run code as its user. "
    "See docs/tls.md; where you trust the network, set DASK_KMEANS__TRUSTED_NETWORK=true"
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kmeans_dask.cli.cluster_options import ClusterOptions
    from kmeans_dask.engine import Engine
    from kmeans_dask.files import Location
    from kmeans_dask.plan.plan import Plan


class Session:
    """Run of one command: its progress on stderr, its engine, and its summary on stdout.

    keeps: called with the error where the run breaks off; returns whether the run leaves work
        that `--resume` continues from
    leaves: the value that `keeps` returned for the last run, False where that run succeeded
    """

    leaves: ClassVar[bool] = False

    def __init__(self, as_json: bool, *, reads: bool = False) -> None:
        """Prepare the progress display; with `reads`, start the process that inspects images."""
        from rich.console import Console

        from kmeans_dask.images import inspector
        from kmeans_dask.terminal.progress import TerminalProgress

        Session.leaves = False
        self.keeps: Callable[[BaseException], bool] = lambda error: False
        if reads:
            inspector.start()
        self._as_json = as_json
        self._console = Console(stderr=True, highlight=False)
        self.progress = TerminalProgress(self._console)

    def __enter__(self) -> Session:
        self.progress.__enter__()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.progress.__exit__(kind, error, trace)
        Session.leaves = error is not None and self.keeps(error)

    @contextmanager
    def engine(
        self,
        where: ClusterOptions,
        is_small: Callable[[], bool] = lambda: False,
        *,
        assigns: bool = False,
    ) -> Iterator[Engine]:
        """Connect, and say where the job can be watched.

        is_small: whether this process does it, where nothing was said of where
        assigns: whether colours are assigned to centroids, by a kernel that takes long to compile
        """
        from kmeans_dask.engine import connect
        from kmeans_dask.kmeans.precompile import compiled_ahead

        self.progress.start("start")
        scheduler = where.find_scheduler()
        with (
            compiled_ahead() if assigns and not scheduler else nullcontext(),
            connect(
                scheduler=scheduler,
                workers=0 if where.is_open and is_small() else where.workers,
                timeout=where.timeout,
                memory=where.memory,
                tls=where.tls,
            ) as engine,
        ):
            self.progress.finish()
            if scheduler and where.is_unsafe(scheduler):
                self._console.print(_IN_THE_CLEAR.format(scheduler), markup=False, soft_wrap=True)
            if engine.dashboard:
                place = f"{engine.place}, dashboard: {engine.dashboard}"
                self._console.print(place, markup=False, soft_wrap=True)
            self.progress.announce = engine.announce
            # Others may look at a scheduler's page: no message, as it could name a file.
            end: dict[str, Any] = {"kind": "end", "ok": False, "why": "failed"}
            try:
                yield engine
                end = {"kind": "end", "ok": True}
            except KeyboardInterrupt:
                end["why"] = "interrupted"
                raise
            except StoreError as error:  # by now something has been written
                raise JobError(str(error)) from error
            finally:
                engine.announce(end)

    def planned(self, make_plan: Callable[..., Plan], **known: Any) -> Plan:
        """A plan; finding images is a step of the job."""
        self.progress.start("plan")
        plan = make_plan(**known)
        self.progress.finish()
        return plan

    def planning(self, make_plan: Callable[..., Plan]) -> Callable[..., Plan]:
        """The same, later, when it is known which images are there already."""
        return lambda known: self.planned(make_plan, known=known)

    def show_finished(self, data: dict[str, Any], output: Location) -> int:
        """What a job did that had been finished before; returns its exit code."""
        from rich.text import Text

        from kmeans_dask.terminal.text import printable

        self.show(data, Text(f"{printable(str(output))} is finished already: nothing to do"))
        return int(data["failed"] > 0)

    def show(self, data: dict[str, Any], text: RenderableType) -> None:
        """The summary: one JSON object, or text."""
        from rich.console import Console

        self.progress.__exit__()
        if self._as_json:
            sys.stdout.write(json.dumps(data, allow_nan=False) + "\n")
        else:
            wide = None if sys.stdout.isatty() else _PIPED
            Console(highlight=False, soft_wrap=True, width=wide).print(text)
