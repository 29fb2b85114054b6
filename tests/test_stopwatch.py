from __future__ import annotations

import time

import pytest

from kmeans_dask.stopwatch import Stopwatch


@pytest.mark.parametrize(
    ("passing", "counted"),
    [
        ([0.5, 0.5, 0.5], 1.5),
        ([0.1, 0.9], 1.0),
        ([1.0], 1.0),  # read late, by two paces: the process was running
        ([1.01], 0.5),
        ([0.5, 3600, 0.5], 1.5),  # suspended for an hour
        ([3600] * 4, 2.0),  # a limit is reached even if every read is late
    ],
)
def test_suspended_time_counts_as_one_pace(
    passing: list[float], counted: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 7.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stopwatch = Stopwatch(pace=0.5)
    assert stopwatch.read() == 0
    for seconds in passing:
        now += seconds
        found = stopwatch.read()
    assert found == pytest.approx(counted)
