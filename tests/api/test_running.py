"""How a command that is at work ends, as the page on its scheduler hears of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import LocalCluster
from PIL import Image

from kmeans_dask.api.running import engine_for
from kmeans_dask.dashboard import TOPIC, install
from kmeans_dask.engine.choice import EngineChoice
from kmeans_dask.errors import ClusterError, JobError, StoreError, UsageError
from kmeans_dask.job.progress import Progress
from tests.command import run

TIMEOUT = 30.0


@pytest.fixture(scope="module")
def scheduler() -> Iterator[Any]:
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        assert install(cluster.scheduler)
        yield cluster.scheduler


def board(scheduler: Any) -> Any:
    return scheduler.plugins[TOPIC]._board.state()


def at(address: str) -> EngineChoice:
    return EngineChoice(scheduler=address, timeout=TIMEOUT)


def break_off(address: str, error: BaseException, between: Callable[[], object] = int) -> None:
    """A job that does a little and then raises `error`; half-way it calls `between`."""
    progress = Progress()
    with engine_for(at(address), progress) as engine:
        progress.start("work", 1000)
        engine.result(engine.submit("work", str, 1))
        between()
        for _ in range(1000):
            progress.advance(1)
        raise error


@pytest.mark.parametrize(
    ("raised", "arrives", "why"),
    [
        (UsageError("no room in /home/me"), UsageError, "failed"),
        (ClusterError("lost"), ClusterError, "failed"),
        (StoreError("/home/me/a.zarr is damaged"), JobError, "failed"),
        (OSError(28, "No space left on device", "/home/me/b.png"), OSError, "failed"),
        (ZeroDivisionError("a defect"), ZeroDivisionError, "failed"),
        (KeyboardInterrupt(), KeyboardInterrupt, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_the_page_learns_that_a_job_broke_off_and_the_error_arrives_as_it_is(
    scheduler: Any, raised: BaseException, arrives: type[BaseException], why: str
) -> None:
    with pytest.raises(arrives) as caught:
        break_off(scheduler.address, raised)
    assert str(caught.value) == str(raised)
    state = board(scheduler)
    assert (state.step, state.finished, state.ok, state.why) == ("work", True, False, why)
    assert "/home/me" not in str(scheduler.get_events())


def test_the_page_learns_that_a_job_went_well(scheduler: Any) -> None:
    progress = Progress()
    with engine_for(at(scheduler.address), progress):
        progress.start("work", 5000)
        for _ in range(5000):
            progress.advance(1)
        progress.finish()
    state = board(scheduler)
    assert (state.finished, state.ok, state.why) == (True, True, "")
    assert [(step.name, step.done) for step in state.steps] == [("work", 5000)]


def test_the_page_learns_that_a_command_could_not_be_carried_out(
    scheduler: Any, tmp_path: Path
) -> None:
    image, store = tmp_path / "half clear.png", tmp_path / "a.zarr"
    Image.fromarray(np.tile(np.array([[9, 9, 9, 255], [0] * 4], np.uint8), (8, 1, 1))).save(image)
    run("ingest", image, store, "--scheduler", scheduler.address)
    before = board(scheduler)
    assert (before.ok, [step.name for step in before.steps]) == (True, ["ingest", "count"])
    words = ("-k", "2", "--fixed-colors", "#000,#fff", "--scheduler", scheduler.address)
    assert "has no room" in run("fit", store, *words, code=2).stderr
    after = board(scheduler)
    assert after.run != before.run
    assert (after.finished, after.ok, after.why) == (True, False, "failed")


@contextmanager
def dask(program: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{program}", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_frozen_scheduler_neither_holds_up_a_job_nor_hides_its_error(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    with dask("scheduler", *words) as process:
        until = time.monotonic() + 60
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        with dask("worker", address, "--no-nanny"), pytest.raises(ZeroDivisionError):
            break_off(address, ZeroDivisionError(), lambda: process.send_signal(signal.SIGSTOP))
