"""Tests of local jobs that are suspended and continued, and of workers that are stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from PIL import Image

from tests.command import run_here, tree
from tests.reliability.faults import Faults
from tests.reliability.jobs import started, until

LIMIT = 8  # seconds of --image-timeout, and of --timeout for a sign of life of a worker
WORDS = ("-k", "16", "--partition-pixels", "6000", "--timeout", f"{LIMIT}")


@pytest.fixture
def held(pictures: Path, tmp_path: Path) -> Path:
    """Return a folder of pictures, one of which is not decoded before the test allows it."""
    folder = Path(shutil.copytree(pictures, tmp_path / "in"))
    Image.new("RGB", (20, 20), "red").save(folder / "held.png")
    return folder


def quiet(folder: Path, tmp_path: Path) -> dict[str, str]:
    """Return the output of the same job where nothing disturbs it."""
    run_here("compress", folder, tmp_path / "quiet", *WORDS, "--workers", "0")
    return tree(tmp_path / "quiet")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_job_that_is_suspended_goes_on_when_it_is_continued(
    workers: int, held: Path, tmp_path: Path
) -> None:
    faults = Faults(tmp_path)
    words = ("compress", held, tmp_path / "out", *WORDS, "--workers", str(workers))
    limit = ("--image-timeout", f"{LIMIT}")
    with started(*words, *limit, environment=faults.environment) as job:
        assert until(lambda: bool(faults.said()), job), job.said()
        os.killpg(job.process.pid, signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            job.wait(1.5 * LIMIT)  # until every limit has passed
        os.killpg(job.process.pid, signal.SIGCONT)
        with pytest.raises(subprocess.TimeoutExpired):
            job.wait(LIMIT / 4)  # a job that took the limits for passed would act on them by now
        faults.gate.touch()
        assert job.wait() == 0, job.said()
        assert not job.strays()
        assert len(faults.workers()) == 1, "its decoder was not let go on"
        assert "unresponsive" not in job.said()
    assert tree(tmp_path / "out") == quiet(held, tmp_path)


def test_a_worker_that_is_stopped_is_replaced(held: Path, tmp_path: Path) -> None:
    faults = Faults(tmp_path)
    words = ("compress", held, tmp_path / "out", *WORDS, "--workers", "2")
    with started(*words, environment=faults.environment) as job:
        assert until(lambda: bool(faults.workers()), job), job.said()
        stopped = psutil.Process(faults.workers()[0])
        stopped.suspend()
        assert until(lambda: len(faults.workers()) > 1, job), job.said()
        faults.gate.touch()
        assert job.wait() == 0, job.said()
        assert not stopped.is_running()
        assert not job.strays()
    assert tree(tmp_path / "out") == quiet(held, tmp_path)
