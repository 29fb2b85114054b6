"""Tests of the lines that a job without a terminal writes about its progress."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from kmeans_dask.terminal.progress import LineProgress, open_progress


class Clock:
    """Clock that a test sets."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    return clock


def test_a_line_is_written_every_ten_seconds(clock: Clock) -> None:
    file = io.StringIO()
    shown = LineProgress(Console(file=file, width=200))
    shown.start("ingest", 8000, "images")
    for seconds, n in ((3.0, 900), (0.9, 300), (6.1, 1800), (9.9, 100), (0.1, 100)):
        clock.now += seconds
        shown.advance(n, n // 900)
    shown.finish()
    shown.note("this process, dashboard: http://[::1]:8787")
    assert file.getvalue().splitlines() == [
        "ingest 3,000 of 8,000 images, 300/s, 3 failed, 17 s left",
        "ingest 3,200 of 8,000 images, 160/s, 3 failed, 30 s left",
        "this process, dashboard: http://[::1]:8787",
    ]


def test_a_step_of_unknown_length_has_no_time_left(clock: Clock) -> None:
    file = io.StringIO()
    shown = LineProgress(Console(file=file, width=200))
    shown.start("fit", None, "iterations")
    clock.now += 20
    shown.advance(5)
    assert file.getvalue() == "fit 5 iterations, 0.25/s\n"


def test_without_a_terminal_there_are_lines() -> None:
    with open_progress() as shown:
        assert isinstance(shown, LineProgress)
