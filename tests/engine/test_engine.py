"""The engines: real workers, real schedulers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client, LocalCluster

from kmeans_dask.engine import Engine, connect, emit
from kmeans_dask.errors import ClusterError, StoreError, UsageError
from kmeans_dask.job.job_settings import JobSettings
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.work_folder import open_work_folder
from kmeans_dask.plan.plan import make_plan
from kmeans_dask.settings import DecodeSettings, EncodeSettings, FitSettings
from kmeans_dask.steps.compress import compress


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A scheduler with one worker of two threads."""
    with LocalCluster(
        n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(params=["this process", "workers"])
def engine(request: pytest.FixtureRequest, address: str) -> Iterator[Engine]:
    scheduler = address if request.param == "workers" else None
    with connect(scheduler=scheduler, workers=0) as connected:
        yield connected


def double(x: int) -> int:
    return 2 * x


def add(values: list[int]) -> int:
    return sum(values)


def fail(reason: str) -> None:
    raise StoreError(reason)


def shout(topic: str, n: int) -> int:
    for i in range(n):
        emit(topic, {"i": i})
    return n


def die(_: int) -> None:
    os._exit(1)


def doze(seconds: float) -> None:
    time.sleep(seconds)


def test_handles_of_results_are_arguments_of_later_tasks(engine: Engine) -> None:
    parts = [engine.submit("double", double, x) for x in range(5)]
    assert engine.result(engine.submit("add", add, parts)) == 20


def test_mapping_gives_every_result_once(engine: Engine) -> None:
    assert sorted(engine.map("double", double, range(100))) == list(range(0, 200, 2))


def test_what_a_task_raises_arrives_as_it_is(engine: Engine) -> None:
    with pytest.raises(StoreError, match="this is why"):
        engine.result(engine.submit("fail", fail, "this is why"))
    with pytest.raises(StoreError, match="this is why"):
        list(engine.map("fail", fail, ["this is why"]))


def test_events_reach_who_listens_and_nobody_after(engine: Engine) -> None:
    heard: list[dict[str, Any]] = []
    with engine.listening(heard.append):
        assert engine.result(engine.submit("shout", shout, engine.topic, 3)) == 3
        until = time.monotonic() + 600
        while len(heard) < 3 and time.monotonic() < until:
            time.sleep(0.01)
    assert [event["i"] for event in heard] == [0, 1, 2]
    engine.result(engine.submit("shout", shout, engine.topic, 2))
    assert len(heard) == 3


def test_items_are_taken_only_as_tasks_finish(address: str) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(200):
            taken += 1
            yield item

    with connect(scheduler=address) as engine:
        for done, _ in enumerate(engine.map("double", double, items())):
            assert taken - done <= 6  # three for each of two threads


def test_tasks_bear_the_names_of_the_steps_and_no_names_of_files(
    address: str, photos: Path, tmp_path: Path
) -> None:
    plan = make_plan([photos])
    settings = FitSettings(4, chunk_colors=5000)
    with connect(scheduler=address) as engine:
        for name, chosen in (("a", settings), ("b", FitSettings(4))):
            job = JobSettings(chosen, EncodeSettings(), DecodeSettings())
            with open_work_folder(tmp_path / name, {}, resume=False, overwrite=False) as work:
                compress(plan, work, engine, Progress(), job)

    def names(dask_scheduler: Any) -> tuple[set[str], set[str]]:
        keys = {str(transition[0]) for transition in dask_scheduler.transition_log}
        return set(dask_scheduler.task_prefixes), keys

    with Client(address) as client:
        prefixes, keys = client.run_on_scheduler(names)
    steps = {"ingest", "merge-histograms", "seed", "build-points", "partial-sums", "merge-partials"}
    assert prefixes >= steps | {"fit", "encode"}
    assert any(key.startswith("ingest-") for key in keys)
    assert not [key for key in keys if "astronaut" in key]


def test_a_local_cluster_listens_on_this_machine_only() -> None:
    with connect(workers=1) as engine:
        assert engine.dashboard is not None
        assert engine.dashboard.startswith("http://127.0.0.1:")
        own = psutil.Process()
        sockets = [
            connection.laddr.ip
            for process in (own, *own.children(recursive=True))
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
    assert len(sockets) >= 3  # the scheduler, the dashboard, the worker
    assert set(sockets) == {"127.0.0.1"}


@pytest.mark.parametrize("scheduler", ["tcp://127.0.0.1:9", "nonsense://", "", "no port"])
def test_an_address_without_a_scheduler_is_an_error_in_time(scheduler: str) -> None:
    with pytest.raises(UsageError), connect(scheduler=scheduler or "127.0.0.1", timeout=0.5):
        pass


def test_a_port_that_says_nothing_is_an_error_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        since = time.monotonic()
        with pytest.raises(UsageError), connect(scheduler=address, timeout=1):
            pass
    assert time.monotonic() - since < 20


@pytest.mark.parametrize("scheme", ["tcp", "ws"])
def test_a_connection_that_is_given_up_is_closed(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"{scheme}://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(UsageError), connect(scheduler=address, timeout=0.5):
            pass
        mute.setblocking(False)  # all connections that there were are in its queue
        n_closed = 0
        with suppress(BlockingIOError):
            while True:
                peer, _ = mute.accept()
                with peer, suppress(ConnectionResetError):
                    peer.settimeout(600)
                    while peer.recv(1 << 16):
                        pass
                n_closed += 1
    assert n_closed


def test_a_scheduler_that_freezes_is_an_error_in_time(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 600
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        worker = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with connect(scheduler=address, timeout=30) as engine:
                assert engine.result(engine.submit("double", double, 4)) == 8
                engine._workers._timeout = 2  # type: ignore[attr-defined]
                handle = engine.submit("doze", doze, 600)
                process.send_signal(signal.SIGSTOP)
                with pytest.raises(ClusterError, match="not answered for 2 s"):
                    engine.result(handle)
        finally:
            worker.kill()
            worker.wait()
    finally:
        process.kill()
        process.wait()


def test_tasks_that_kill_their_workers_are_an_error() -> None:
    with connect(workers=1) as engine, pytest.raises(ClusterError, match="died"):
        engine.result(engine.submit("die", die, 0))


def test_a_cluster_that_loses_its_workers_is_an_error_in_time() -> None:
    with LocalCluster(n_workers=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster:
        address = cluster.scheduler_address
        with connect(scheduler=address, timeout=3) as engine:
            handle = engine.submit("doze", doze, 600)
            cluster.scale(0)
            with pytest.raises(ClusterError, match="no worker for 3 s"):
                engine.result(handle)
