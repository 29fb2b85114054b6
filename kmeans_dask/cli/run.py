"""One command at work."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kmeans_dask.errors import JobError, StoreError, UsageError

_PIPED = 120  # columns of tables that go to no terminal

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kmeans_dask.cluster import Engine


class Run:
    """Its progress on stderr, its engine, its summary on stdout."""

    def __init__(self, as_json: bool) -> None:
        from rich.console import Console

        from kmeans_dask.views.progress import TerminalProgress

        self._as_json = as_json
        self._console = Console(stderr=True, highlight=False)
        self.progress = TerminalProgress(self._console)

    def __enter__(self) -> Run:
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

    def show(self, data: dict[str, Any], text: RenderableType) -> None:
        """The summary: one JSON object, or text."""
        from rich.console import Console

        self.progress.__exit__()
        if self._as_json:
            sys.stdout.write(json.dumps(data, allow_nan=False) + "\n")
        else:
            wide = None if sys.stdout.isatty() else _PIPED
            Console(highlight=False, soft_wrap=True, width=wide).print(text)
