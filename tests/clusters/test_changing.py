"""Clusters that grow and shrink while a job runs: the same bytes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from threading import Thread

from distributed import Client

from tests.clusters.many import IMAGES, WORDS, n_ingested, stopped
from tests.clusters.processes import KMEANS, PATIENCE, Cluster, until
from tests.command import tree


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
        assert before < IMAGES
        until(lambda: n_ingested(tmp_path / "out") > before, "an image by the second worker")
    assert job.wait(PATIENCE) == 0
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
            assert n_ingested(tmp_path / "out") < IMAGES
        retire.join(PATIENCE)
        assert goes.wait(PATIENCE) == 0
        assert job.wait(PATIENCE) == 0
    assert tree(tmp_path / "out") == alone


def test_a_worker_whose_lifetime_ends_loses_nothing(
    lonely: Cluster, many: Path, alone: dict[str, str], tmp_path: Path
) -> None:
    first = lonely.start_worker()
    job = begin(lonely, many, tmp_path / "out")
    with stopped(first):
        second = lonely.start_worker("--lifetime", "10s")
        until(lambda: b"worker-lifetime-reached" in lonely.log_of(second), "its lifetime's end")
        assert n_ingested(tmp_path / "out") < IMAGES
    assert second.wait(PATIENCE) == 0
    assert job.wait(PATIENCE) == 0
    assert tree(tmp_path / "out") == alone
