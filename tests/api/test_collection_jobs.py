"""Tests of the library's jobs over images: what they write, clients, progress and errors."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

import kmeans_dask as kd
from kmeans_dask.api import collection_jobs
from kmeans_dask.api.running import ProgressEvent
from kmeans_dask.errors import UsageError
from kmeans_dask.settings import PRIVATE_TOL, TOL
from tests.command import run_here, tree


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def test_the_functions_for_images_work_together(photos: Path, tmp_path: Path) -> None:
    image = photos / "astronaut.png"
    q = kd.quantize(image, 16)
    q.save(tmp_path / "photo.png")
    palette = kd.fit_palette([image], 64)
    palette.save(tmp_path / "brand.gpl")
    brand = kd.Palette.load(tmp_path / "brand.gpl")
    assert brand.map(image).psnr == palette.map(image).psnr
    summary = kd.compress(photos, tmp_path / "out", colors=64, palette="shared", progress=True)
    assert (summary.compressed + summary.kept, summary.failed) == (4, 0)
    assert (tmp_path / "out" / "report.html").is_file()
    assert kd.sweep(photos, colors=[4, 16]).points[0].colors == 4
    assert kd.estimate(photos, colors=16).output_bytes > 0


def test_the_library_writes_what_the_command_writes(photos: Path, tmp_path: Path) -> None:
    run_here("compress", photos, tmp_path / "command", "-k", "16", "--always", "--workers", "0")
    kd.compress(photos, tmp_path / "library", colors=16, always=True, workers=0)
    assert tree(tmp_path / "library") == tree(tmp_path / "command")


@pytest.mark.parametrize("how", ["given", "current"])
def test_a_client_is_used(how: str, client: Client, photos: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    with client.as_current() if how == "current" else nullcontext():
        summary = kd.compress(
            photos,
            tmp_path / "out",
            colors=8,
            progress=lambda event: seen.append(event.step),
            client=client if how == "given" else None,
        )
    assert summary.compressed + summary.kept == 4
    assert "count" in seen  # a step of jobs on a cluster, which have a store
    here = tmp_path / "here"
    kd.compress(photos, here, colors=8, workers=0)
    assert tree(here) == tree(tmp_path / "out")


def test_a_job_inside_a_task_stays_in_its_process(
    client: Client, photos: Path, tmp_path: Path
) -> None:
    def job(number: int) -> int:
        return kd.compress(photos, tmp_path / str(number), colors=8).failed

    futures = client.map(job, range(2), pure=False)
    assert client.gather(futures) == [0, 0]
    assert tree(tmp_path / "0") == tree(tmp_path / "1")


def test_a_call_under_a_dask_scheduler_of_threads_works(photos: Path, tmp_path: Path) -> None:
    with dask.config.set(scheduler="threads"):
        assert kd.compress(photos, tmp_path / "out", colors=8, workers=0).failed == 0


def test_progress_is_told_in_order(photos: Path, tmp_path: Path) -> None:
    events: list[ProgressEvent] = []
    kd.compress(photos, tmp_path / "out", colors=8, workers=0, progress=events.append)
    ingest = [event for event in events if event.step == "ingest"]
    assert (ingest[0].done, ingest[0].total, ingest[0].unit) == (0, 4, "images")
    assert [event.done for event in ingest] == sorted(event.done for event in ingest)
    assert (ingest[-1].done, ingest[-1].is_finished) == (4, True)


def test_steps_and_iterations_are_logged(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="kmeans_dask"):
        kd.compress(photos, tmp_path / "out", colors=300 // 2, workers=0)
    said = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("ingest begins: 4 images") for line in said)
    assert any(line.startswith("encode: 4 done") for line in said)


@pytest.mark.parametrize(
    ("scope", "tol"), [("shared", TOL), ("folder", PRIVATE_TOL), ("image", PRIVATE_TOL)]
)
def test_a_palette_of_few_images_stops_earlier(
    scope: str, tol: float, photos: Path, tmp_path: Path
) -> None:
    kd.compress(photos, tmp_path / "out", colors=4, palette=scope, workers=0)
    record = json.loads((tmp_path / "out" / "report.json").read_text())
    assert record["settings"]["fit"]["tol"] == tol


def test_a_finished_job_is_not_done_again(photos: Path, tmp_path: Path) -> None:
    first = kd.compress(photos, tmp_path / "out", colors=8, workers=0)
    again = kd.compress(photos, tmp_path / "out", colors=8, workers=0, resume=True)
    assert (first.was_finished, again.was_finished) == (False, True)
    assert again.as_dict() == first.as_dict()
    assert again.psnr == first.psnr


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "the output": ({"output": ""}, "OUTPUT"),
    "a palette's file": ({"palette": "brand.gpl"}, r"--palette-file, or in Python give Palette"),
    "the scope": ({"palette": "nonsense"}, "--palette is 'nonsense'"),
    "the colours": ({"colors": 1}, "--colors is 1"),
    "the format": ({"format": "tokens"}, "--format is 'tokens'"),
    "workers": ({"workers": -1}, "workers is -1"),
    "the memory": ({"memory_limit": "much"}, "memory_limit is 'much'"),
    "auto": ({"palette": "auto"}, "--min-psnr"),
    "keep_palette": ({"keep_palette": True}, "--store"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_request_is_refused_in_one_line_and_writes_nothing(
    name: str, photos: Path, tmp_path: Path
) -> None:
    given, says = REFUSED[name]
    words = dict(given)
    output = words.pop("output", None) or tmp_path / "out"
    if name == "the output":
        output = photos
    with pytest.raises(kd.UsageError, match=says) as caught:
        kd.compress(photos, output, **words)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_client_and_workers_exclude_each_other(
    client: Client, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(kd.UsageError, match="leave workers and memory_limit out"):
        kd.compress(photos, tmp_path / "out", client=client, workers=2)


def test_an_error_tells_whether_the_work_can_be_resumed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise kd.JobError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(collection_jobs, "write_report", fails)
        with pytest.raises(kd.JobError) as caught:
            kd.compress(photos, tmp_path / "out", colors=8, workers=0)
    assert caught.value.resumable
    assert kd.compress(photos, tmp_path / "out", colors=8, workers=0, resume=True).failed == 0


SCRIPT = """
import sys
import kmeans_dask as kd
print("ran")
kd.compress(sys.argv[1], sys.argv[2], colors=8, effort=6{more})
"""


@pytest.mark.parametrize("more", ["", ", workers=1"])
def test_a_script_without_a_guard_is_not_run_again_by_workers(
    more: str, photos: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(more=more))
    done = subprocess.run(
        [sys.executable, script, photos, tmp_path / "out"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.stdout == "ran\n"
    assert "if __name__ == '__main__':" in done.stderr.splitlines()[-1]
    if not more:
        assert done.stderr.count("\n") == 1
        assert (tmp_path / "out" / "report.html").is_file(), done.stderr


def test_a_sweep_takes_one_weight_or_several(photos: Path, tmp_path: Path) -> None:
    page = tmp_path / "new" / "sweep.html"
    found = kd.sweep(photos, colors=[4], lossy=[np.float64(9), 0], report=page, workers=0)
    assert [point.lossy for point in found.points] == [0, 9]
    assert page.is_file()
    assert found.points[:1] == kd.sweep(photos, colors=[4], workers=0).points
    assert found.points[1:] == kd.sweep(photos, colors=[4], lossy=9, workers=0).points
    for wrong in ("auto", (1, "auto"), (), (-1,), True, None):
        with pytest.raises(UsageError, match="--lossy"):
            kd.sweep(photos, colors=[4], lossy=wrong, workers=0)  # type: ignore[arg-type]


def test_a_notebook_shows_tables(photos: Path, tmp_path: Path) -> None:
    summary = kd.compress(photos, tmp_path / "out", colors=8, workers=0)
    shown = summary._repr_html_()
    assert "PSNR" in shown
    assert f"{summary.psnr:.2f} dB" in shown
    found = kd.sweep(photos, colors=[2, 4], workers=0)._repr_html_()
    assert found.count("<tr>") > 3
    hostile = kd.compress(photos, tmp_path / "<b>", colors=8, workers=0)
    assert "<b>" not in hostile._repr_html_()
