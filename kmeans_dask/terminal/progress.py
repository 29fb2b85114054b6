"""Progress of a job in a terminal: a bar for each step, with rate and time left."""

from __future__ import annotations

import sys

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


class _Amount(ProgressColumn):
    """Column of a bar with the units done, their total, and the rate: `120/280 images, 41.3/s`."""

    def render(self, task: Task) -> Text:
        if not task.fields["unit"]:
            return Text()
        total = f"/{task.total:,.0f}" if task.total is not None else ""
        rate = task.finished_speed or task.speed
        speed = f", {rate:,.1f}/s" if rate else ""
        return Text(f"{task.completed:,.0f}{total} {task.fields['unit']}{speed}")


class TerminalProgress(Progress):
    """Progress that shows bars on `console` inside its `with` block, if stderr is a terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._bars = Bars(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description:7}"),
            BarColumn(bar_width=12),
            _Amount(table_column=Column(no_wrap=True)),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not sys.stderr.isatty(),
        )
        self._task = TaskID(0)

    def __enter__(self) -> TerminalProgress:
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

    def finish(self) -> None:  # noqa: D102
        super().finish()
        task = next(task for task in self._bars.tasks if task.id == self._task)
        total = task.total if task.total is not None else max(task.completed, 1)
        self._bars.update(self._task, total=total, completed=total)
