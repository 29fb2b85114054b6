"""A cluster of several hosts, each with an address and a cable of its own; one is cut off."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.clusters.hosts import Host, open_hosts, why_not
from tests.clusters.many import IMAGES, WORDS, n_ingested, stopped
from tests.clusters.processes import (
    KMEANS,
    PATIENCE,
    Cluster,
    environment,
    open_cluster,
    run,
    until,
)
from tests.command import tree

# Seconds after which Dask takes a connection for dead that answers nothing; it allows no fewer.
SILENCE = 11
ASK = """
import json, sys
from distributed import Client
with Client(sys.argv[1]) as client:
    done = client.run(lambda dask_worker: dask_worker.state.executed_count)
print(json.dumps(done))
"""


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    """Of a scheduler, of two workers, and of a job."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with open_hosts(4) as opened:
        yield opened


@pytest.fixture
def cluster(hosts: Sequence[Host], tmp_path: Path) -> Iterator[Cluster]:
    """Its scheduler."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    with open_cluster(folder) as opened:
        opened.start_scheduler(env=impatient(), host=hosts[0].address, prefix=hosts[0].prefix)
        yield opened


def impatient() -> dict[str, str]:
    return environment(DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP=f"{SILENCE}s")


def join(cluster: Cluster, host: Host) -> subprocess.Popen[bytes]:
    """A worker on `host`."""
    return cluster.start_worker("--host", host.address, env=impatient(), prefix=host.prefix)


def begin(
    cluster: Cluster, host: Host, many: Path, out: Path, *more: str
) -> subprocess.Popen[bytes]:
    """A job on `host`, at work."""
    words: list[str | Path] = [*KMEANS, "compress", many, out, *WORDS, *more]
    words += ["--scheduler-file", cluster.file]
    job = cluster.start(words, impatient(), host.prefix, "job.log")
    until(lambda: n_ingested(out) > 0, "the first image")
    return job


def executed(cluster: Cluster, host: Host) -> dict[str, int]:
    """By the workers' addresses, how many tasks each has done; asked on `host`."""
    done = run(*host.prefix, sys.executable, "-c", ASK, cluster.address)
    found: dict[str, int] = json.loads(done.stdout)
    return found


def test_several_hosts_give_the_same_bytes(
    hosts: Sequence[Host],
    cluster: Cluster,
    many: Path,
    alone: dict[str, str],
    tmp_path: Path,
) -> None:
    _, *workers, last = hosts
    for each in workers:
        join(cluster, each)
    job = begin(cluster, last, many, tmp_path / "out")
    assert job.wait(PATIENCE) == 0
    said = cluster.log_of(job).decode()
    assert f"the cluster at tcp://{hosts[0].address}:" in said
    assert "is used without TLS" in said  # this network is one
    assert tree(tmp_path / "out") == alone
    counts = executed(cluster, last)
    assert {address.rpartition(":")[0] for address in counts} == {
        f"tcp://{each.address}" for each in workers
    }
    assert all(counts.values()), counts


def test_a_host_that_is_cut_off_loses_nothing(
    hosts: Sequence[Host],
    cluster: Cluster,
    many: Path,
    alone: dict[str, str],
    tmp_path: Path,
) -> None:
    _, stays, goes, last = hosts
    first, second = join(cluster, stays), join(cluster, goes)
    out = tmp_path / "out"
    job = begin(cluster, last, many, out)
    log = cluster.folder / "scheduler.log"
    removed = f"Remove worker addr: tcp://{goes.address}:".encode()
    with stopped(first):  # so that the job cannot end before the other host is missed
        goes.cut_off()
        assert removed not in log.read_bytes()
        until(lambda: removed in log.read_bytes(), "that the host is missed")
        assert n_ingested(out) < IMAGES
        assert job.poll() is None
    assert job.wait(PATIENCE) == 0, cluster.log_of(job).decode()
    assert second.wait(PATIENCE) == 0  # a worker without a scheduler ends
    assert tree(out) == alone


def test_a_job_whose_scheduler_is_cut_off_ends_in_time(
    hosts: Sequence[Host],
    cluster: Cluster,
    many: Path,
    alone: dict[str, str],
    tmp_path: Path,
) -> None:
    first, second, _, last = hosts
    worker = join(cluster, second)
    out = tmp_path / "out"
    job = begin(cluster, last, many, out, "--timeout", "5")
    with stopped(worker):  # so that the job cannot end before
        first.cut_off()
    assert job.wait(PATIENCE) == 3
    assert worker.wait(PATIENCE) == 0
    *before, said = cluster.log_of(job).decode().splitlines()
    assert said.startswith("kmeans-dask: ")
    assert "is it still running?" in said
    assert said.endswith("what is done is kept: --resume goes on from there")
    assert len(before) == 2, before  # of TLS, and where it works: nothing of Dask's
    # With another cluster, or none, it does.
    run("compress", many, out, *WORDS, "--workers", "0", "--resume")
    assert tree(out) == alone
