"""Which jobs are done without worker processes, where nobody says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmeans_dask.plan import placement
from kmeans_dask.plan.placement import is_quick, is_safe, is_small
from kmeans_dask.plan.plan import Plan, Source
from kmeans_dask.settings import PARTITION_PIXELS, DecodeSettings, EncodeSettings
from kmeans_dask.store.records import MAX_IMAGES
from tests.command import run_here
from tests.steps.strategies import noise, save

HERE, WORKERS = "", "local worker processes"


def plan_of(*n_pixels: int) -> Plan:
    sources = tuple(
        Source(f"/{n}", f"{n}", f"{n}", 1, 1, pixels, 14) for n, pixels in enumerate(n_pixels)
    )
    return Plan((), {"000000": sources}, (), {})


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (plan_of(), True),
        (plan_of(PARTITION_PIXELS), True),
        (plan_of(PARTITION_PIXELS, 1), False),
        (plan_of(*[1] * MAX_IMAGES), True),
        (plan_of(*[1] * MAX_IMAGES, 1), False),
    ],
)
def test_a_job_of_one_task_is_small(plan: Plan, expected: bool) -> None:
    assert is_small(plan) is expected


@pytest.mark.parametrize(("effort", "expected"), [(0, True), (3, True), (4, False), (9, False)])
def test_a_high_effort_is_not_quick(effort: int, expected: bool) -> None:
    assert is_quick(EncodeSettings(effort=effort)) is expected


def test_an_unreadable_file_is_safe_to_read_in_this_process(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(b"none")
    source = Source(str(tmp_path / "0"), "0", "0", 4, 1, 1, 14)
    assert is_safe(Plan((), {"000000": (source,)}, (), {}), DecodeSettings())


@pytest.mark.parametrize(
    ("words", "place"),
    [((), HERE), (("--workers", "1"), WORKERS), (("--memory-limit", "1GB"), WORKERS)],
)
def test_a_small_job_runs_in_this_process_unless_workers_are_requested(
    words: tuple[str, ...], place: str, tmp_path: Path
) -> None:
    image, store = save(tmp_path / "a.png", noise(1)), tmp_path / "s.zarr"
    lines = [
        ("compress", image, tmp_path / "out", "-k", "4"),
        ("ingest", image, store),
        ("fit", store, "-k", "4"),
        ("encode", store, tmp_path / "out2"),
        ("tokenize", store),
        ("verify", store),
        ("verify", store, "--repair"),
        ("estimate", image),
        ("sweep", image, "--colors", "2,4"),
    ]
    for line in lines if place == HERE else lines[:1]:
        said = run_here(*line, *words).stderr
        assert (WORKERS in said) is (place == WORKERS)


def test_a_job_of_more_has_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = save(tmp_path / "a.png", noise(1))
    monkeypatch.setattr(placement, "PARTITION_PIXELS", 1)
    assert WORKERS in run_here("compress", image, tmp_path / "out", "-k", "4").stderr
