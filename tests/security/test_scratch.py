"""Tests of the folder where Dask's processes on this machine write and look for modules."""

from __future__ import annotations

import os
import signal
import stat
import tempfile
from pathlib import Path

import dask
import pytest
from PIL import Image

from kmeans_dask.engine import connect
from tests.reliability.faults import Faults
from tests.reliability.jobs import started, until
from tests.steps.strategies import noise, save


def look() -> tuple[str, list[str]]:
    """Return the folder of the worker that runs this, and the paths where it looks for modules."""
    import sys

    from distributed import get_worker

    return get_worker().local_directory, sys.path


def test_it_is_private_to_the_user_and_the_job_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = os.umask(0)
    try:
        with connect(workers=1) as engine:
            [scratch] = tmp_path.iterdir()
            assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
            folder, places = engine.result(engine.submit("look", look))
            assert Path(folder).is_relative_to(scratch)
            known = Path(tempfile.gettempdir(), "dask-scratch-space")
            assert not [each for each in places if Path(each) == known]
            assert not known.exists()
    finally:
        os.umask(before)
    assert not list(tmp_path.iterdir())
    assert not dask.config.get("temporary-directory")


def test_the_scratch_folder_is_below_the_one_of_dasks_configuration(tmp_path: Path) -> None:
    with dask.config.set({"temporary-directory": str(tmp_path / "large")}):
        with connect(workers=1) as engine:
            folder, _ = engine.result(engine.submit("look", look))
        assert dask.config.get("temporary-directory") == str(tmp_path / "large")
    assert Path(folder).is_relative_to(tmp_path / "large")
    assert not list((tmp_path / "large").iterdir())


def test_it_is_removed_when_a_worker_was_killed_and_the_job_interrupted(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    for number in range(3):
        save(tmp_path / "in" / f"{number}.png", noise(number))
    Image.new("RGB", (20, 20), "red").save(tmp_path / "in" / "held.png")
    faults = Faults(tmp_path)
    environment = {**faults.environment, "TMPDIR": str(tmp_path / "tmp")}
    words = ("compress", tmp_path / "in", tmp_path / "out", "-k", "4", "--workers", "1")
    with started(*words, "--partition-pixels", "400", environment=environment) as job:
        assert until(lambda: bool(faults.workers()), job), job.said()
        assert list((tmp_path / "tmp").glob("kmeans-dask-*/dask-scratch-space/*"))
        os.kill(faults.workers()[0], signal.SIGKILL)
        assert until(lambda: len(faults.workers()) == 2, job), job.said()
        job.process.send_signal(signal.SIGTERM)
        assert job.wait() == 143, job.said()
        assert not job.strays()
        assert "resource_tracker" not in job.said()
    assert not list((tmp_path / "tmp").glob("kmeans-dask-*"))
