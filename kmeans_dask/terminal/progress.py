"""Progress of a job on stderr: bars in a terminal or a notebook, else a line every ten seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from kmeans_dask.job.progress import Progress
from kmeans_dask.text import duration

_PAUSE = 10.0  # seconds between lines that go to no terminal


@contextmanager
def open_progress() -> Iterator[Progress]:
    """Yield a progress that is shown on stderr, or in the notebook that runs."""
    notebook = Console(highlight=False)
    console = notebook if notebook.is_jupyter else Console(stderr=True, highlight=False)
    if console.is_terminal or console.is_jupyter:
        with BarProgress(console) as bars:
            yield bars
    else:
        yield LineProgress(console)


class _Amount(ProgressColumn):
    """Column of a bar with the units done, their total, and the rate: `120/280 images, 41.3/s`."""

    def render(self, task: Task) -> Text:
        if not task.fields["unit"]:
            return Text()
        total = f"/{task.total:,.0f}" if task.total is not None else ""
        rate = task.finished_speed or task.speed
        speed = f", {rate:,.1f}/s" if rate else ""
        return Text(f"{task.completed:,.0f}{total} {task.fields['unit']}{speed}")


class BarProgress(Progress):
    """Progress that shows a bar for each step on `console`, inside its `with` block."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._bars = Bars(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description:7}"),
            BarColumn(bar_width=12),
            _Amount(table_column=Column(no_wrap=True)),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._task = TaskID(0)

    def __enter__(self) -> BarProgress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def start(self, step: str, total: int | None = None, unit: str = "") -> None:  # noqa: D102
        super().start(step, total, unit)
        self._task = self._bars.add_task(step, total=total, unit=unit, note="")

    def advance(self, n: int, failed: int = 0) -> None:  # noqa: D102
        super().advance(n, failed)
        self._bars.advance(self._task, n)

    def tell(self, text: str) -> None:  # noqa: D102
        super().tell(text)
        self._bars.update(self._task, note=text)

    def note(self, message: str) -> None:  # noqa: D102
        super().note(message)
        self._console.print(message, markup=False, soft_wrap=True)

    def finish(self) -> None:  # noqa: D102
        super().finish()
        task = next(task for task in self._bars.tasks if task.id == self._task)
        total = task.total if task.total is not None else max(task.completed, 1)
        self._bars.update(self._task, total=total, completed=total)


class LineProgress(Progress):
    """Progress for logs of batch jobs: a line every ten seconds of a step, with rate and time left.

    A line reads `ingest 1,200 of 8,000 images, 310/s, 22 s left`.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._total: int | None = None
        self._unit = ""
        self._began = self._shown = time.monotonic()

    def start(self, step: str, total: int | None = None, unit: str = "") -> None:  # noqa: D102
        super().start(step, total, unit)
        self._total, self._unit = total, unit
        self._began = self._shown = time.monotonic()

    def advance(self, n: int, failed: int = 0) -> None:  # noqa: D102
        super().advance(n, failed)
        now = time.monotonic()
        if now - self._shown >= _PAUSE:
            self._shown = now
            self._print(self._line(now - self._began))

    def note(self, message: str) -> None:  # noqa: D102
        super().note(message)
        self._print(message)

    def _line(self, spent: float) -> str:
        rate = self._done / spent
        of_all = f" of {self._total:,}" if self._total is not None else ""
        line = f"{self._step} {self._done:,}{of_all} {self._unit}, {rate:,.3g}/s"
        if self._failed:
            line += f", {self._failed:,} failed"
        if self._total is not None and rate:
            line += f", {duration((self._total - self._done) / rate)} left"
        return line

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)
