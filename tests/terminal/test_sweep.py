"""The table of a sweep, with one weight and with several."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kmeans_dask.steps.sweep import Point, Sweep
from kmeans_dask.terminal.sweep import show_sweep


def shown(points: list[Point], suggested: int | None, lossy: float | None) -> list[str]:
    """Return the lines of the table of a sweep of four sampled images."""
    sweep = Sweep(9, 1000, 2000, 4, tuple(points), suggested, lossy, ())
    console = Console(file=io.StringIO(), width=120, highlight=False)
    console.print(show_sweep(sweep))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("weights", [(0.0,), (0.0, 2.5)])
def test_each_point_has_a_row_and_its_figures(weights: tuple[float, ...]) -> None:
    points = [
        Point(k, weight, k, 3, 30.0, 31.0, 50.0 + k, 4, 0.0123, 1000 + k, 1)
        for k in (4, 16)
        for weight in weights
    ]
    lines = shown(points, 16, weights[-1])
    rows = [line.split() for line in lines if line.strip()[:1].isdigit() and "dB" in line]
    assert len(rows) == len(points)
    last = ["16*", *(["2.5"] if len(weights) > 1 else []), "1.0", "kB", "50.8", "%", "1", "66.0"]
    assert rows[-1][: len(last)] == last
    assert any("lossy" in line for line in lines[:3]) is (len(weights) > 1)
    assert ("--lossy 2.5" in lines[-1]) is (len(weights) > 1)
    assert max(map(len, lines)) <= 120


def test_points_without_compressed_images_have_no_quality() -> None:
    lines = shown([Point(4, 0.0, 4, 3, None, None, None, 0, 0.0, 2000, 4)], None, None)
    assert lines[-1].split()[6:8] == ["-", "-"]
