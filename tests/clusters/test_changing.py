"""Clusters that grow and shrink while a job runs: the same bytes."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from distributed import Client

from tests.clusters.processes import KMEANS, Cluster, run, until
from tests.command import tree

COPIES = 12
WORDS = ("--colors", "8", "--partition-pixels", "1")  # a task for each image


@pytest.fixture(scope="module")
def many(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for i in range(COPIES):
        shutil.copytree(photos, folder / str(i))
    return folder


@pytest.fixture(scope="module")
def alone(many: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("alone") / "out"
    run("compress", many, out, *WORDS, "--workers", "0")
    return tree(out)


@contextmanager
def stopped(worker: subprocess.Popen[bytes]) -> Iterator[None]:
    """While this worker stands still, what it has is not done, so the job cannot end."""
    worker.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        worker.send_signal(signal.SIGCONT)


def n_ingested(out: Path) -> int:
    partitions = out / ".kmeans-dask" / "store.zarr" / "partitions"
    names = [path.name for path in partitions.iterdir()] if partitions.is_dir() else []
    return sum(name[0] != "." for name in names)


def is_running(client: Client, address: str) -> bool:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return address in workers and workers[address]["status"] == "running"


def begin(cluster: Cluster, many: Path, out: Path) -> subprocess.Popen[bytes]:
    job = cluster.start(
        [*KMEANS, "compress", many, out, *WORDS, "--scheduler-file", cluster.file], log="job.log"
    )
    until(lambda: n_ingested(out) > 0, "the first image")
    return job


def test_a_worker_that_joins_late_gets_work(
    lonely: Cluster, many: Path, alone: dict[str, str], tmp_path: Path
) -> None:
    first = lonely.start_worker()
    job = begin(lonely, many, tmp_path / "out")
    with stopped(first):
        lonely.start_worker()
        before = n_ingested(tmp_path / "out")
        assert before < 4 * COPIES
        until(lambda: n_ingested(tmp_path / "out") > before, "an image by the second worker")
    assert job.wait(60) == 0
    assert tree(tmp_path / "out") == alone


def test_a_worker_that_is_retired_loses_nothing(
    lonely: Cluster, many: Path, alone: dict[str, str], tmp_path: Path
) -> None:
    stays = lonely.start_worker("--name", "stays")
    goes = lonely.start_worker("--name", "goes")
    job = begin(lonely, many, tmp_path / "out")
    with Client(lonely.address, set_as_default=False) as client:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        [address] = [each for each, about in workers.items() if about["name"] == "goes"]
        # It hands on what it holds to the other one, which must be awake for that.
        retire = Thread(target=client.retire_workers, args=([address],))
        with stopped(stays):
            retire.start()
            until(lambda: not is_running(client, address), "its retirement")
            assert n_ingested(tmp_path / "out") < 4 * COPIES
        retire.join(60)
        assert goes.wait(60) == 0
        assert job.wait(60) == 0
    assert tree(tmp_path / "out") == alone


def test_a_worker_whose_lifetime_ends_loses_nothing(
    lonely: Cluster, many: Path, alone: dict[str, str], tmp_path: Path
) -> None:
    first = lonely.start_worker()
    job = begin(lonely, many, tmp_path / "out")
    with stopped(first):
        second = lonely.start_worker("--lifetime", "1s")
        until(lambda: b"worker-lifetime-reached" in lonely.log_of(second), "its lifetime's end")
        assert n_ingested(tmp_path / "out") < 4 * COPIES
    assert second.wait(60) == 0
    assert job.wait(60) == 0
    assert tree(tmp_path / "out") == alone
