"""Tests of workers, jobs and schedulers that stand still or are restarted while a job runs."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from distributed import Client

from kmeans_dask.engine import connect
from tests.clusters.many import IMAGES, WORDS, n_ingested
from tests.clusters.processes import KMEANS, PATIENCE, Cluster, run, until
from tests.clusters.tasks import hold, leave
from tests.command import tree

SHORT = 8  # seconds of --timeout, after which a silent worker is given up
LOST = "the connection to the scheduler is lost: is it still running?"
OUT_OF_WORKERS = "do they hang, or are they suspended?"


def begin(cluster: Cluster, many: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start a job, and return its process when the first image is ingested."""
    words: list[str | Path] = [*KMEANS, "compress", many, out, *WORDS, *more]
    job = cluster.start([*words, "--scheduler-file", cluster.file], log="job.log")
    until(lambda: n_ingested(out) > 0, "the first image")
    return job


def last_line(cluster: Cluster, job: subprocess.Popen[bytes]) -> str:
    """Return the last line of a job that failed, the only one that begins with our name."""
    said = cluster.log_of(job).decode()
    assert "Traceback" not in said, said
    lines = [line for line in said.splitlines() if line.startswith("kmeans-dask: ")]
    assert lines == said.splitlines()[-1:], said
    assert lines[0].endswith("; what is done is kept: --resume goes on from there")
    return lines[0]


def test_a_worker_that_stands_still_loses_its_work_to_others(
    lonely: Cluster, many: Path, alone: dict[str, str], tmp_path: Path
) -> None:
    still, _ = lonely.start_worker(), lonely.start_worker()
    job = begin(lonely, many, tmp_path / "out", "--timeout", str(SHORT))
    still.send_signal(signal.SIGSTOP)
    assert n_ingested(tmp_path / "out") < IMAGES
    assert job.wait(PATIENCE) == 0, lonely.log_of(job).decode()
    assert tree(tmp_path / "out") == alone
    assert still.poll() is None
    still.send_signal(signal.SIGCONT)
    assert still.wait(PATIENCE) == 0  # the worker learns that it was given up, and ends


def test_a_worker_that_stands_still_before_a_job_holds_up_nobody(
    lonely: Cluster, photos: Path, local: dict[str, str], tmp_path: Path
) -> None:
    still, _ = lonely.start_worker(), lonely.start_worker()
    still.send_signal(signal.SIGSTOP)
    words = ("--colors", "8", "--scheduler-file", lonely.file, "--timeout", str(SHORT))
    run("compress", photos, tmp_path / "out", *words)
    assert tree(tmp_path / "out") == local


def test_a_job_whose_workers_all_stand_still_ends_and_names_them(
    lonely: Cluster, many: Path, alone: dict[str, str], tmp_path: Path
) -> None:
    workers = [lonely.start_worker("--name", name) for name in ("a", "b")]
    job = begin(lonely, many, tmp_path / "out", "--timeout", str(SHORT))
    for each in workers:
        each.send_signal(signal.SIGSTOP)
    assert job.wait(PATIENCE) == 3
    with Client(lonely.address, set_as_default=False) as client:
        addresses = client.scheduler_info(n_workers=-1)["workers"]
    said = last_line(lonely, job)
    assert OUT_OF_WORKERS in said
    assert f"({', '.join(sorted(addresses))})" in said
    for each in workers:
        each.send_signal(signal.SIGCONT)
    there = ("--scheduler-file", lonely.file)
    run("compress", many, tmp_path / "out", *WORDS, *there, "--resume")  # they work again
    assert tree(tmp_path / "out") == alone


def test_a_result_that_a_silent_worker_holds_is_made_again_by_another(
    lonely: Cluster, tmp_path: Path
) -> None:
    first = lonely.start_worker()
    trace, gate = tmp_path / "trace", tmp_path / "gate"
    with connect(scheduler=lonely.address, timeout=SHORT) as engine:
        made = engine.submit("leave", leave, str(trace))
        until(lambda: made.done(), "its result")
        engine.submit("hold", hold, str(gate))
        until(gate.with_suffix(".held").exists, "the second task")
        trace.unlink()
        first.send_signal(signal.SIGSTOP)
        lonely.start_worker()
        assert engine.result(engine.submit("again", str.upper, made)) == str(trace).upper()
        assert engine.result(made) == str(trace)
        assert trace.exists()
        gate.touch()


def test_a_job_that_is_suspended_alone_goes_on(
    lonely: Cluster, many: Path, alone: dict[str, str], tmp_path: Path
) -> None:
    lonely.start_worker()
    job = begin(lonely, many, tmp_path / "out", "--timeout", str(SHORT))
    job.send_signal(signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        job.wait(1.5 * SHORT)
    job.send_signal(signal.SIGCONT)
    assert job.wait(PATIENCE) == 0, lonely.log_of(job).decode()
    assert tree(tmp_path / "out") == alone


def restarted_process(cluster: Cluster) -> None:
    """Kill the scheduler, and start another one at its address."""
    address = cluster.address
    cluster.kill_scheduler()
    cluster.start_scheduler("--port", address.rpartition(":")[2])
    assert cluster.address == address


def killed(cluster: Cluster) -> None:
    cluster.kill_scheduler()


def restarted_by_someone(cluster: Cluster) -> None:
    with Client(cluster.address, set_as_default=False) as client:
        client.restart(wait_for_workers=False)


@pytest.mark.parametrize(
    ("restart", "what"),
    [
        (killed, LOST),
        (restarted_process, LOST),
        (restarted_by_someone, "the cluster was restarted by someone, and has forgotten"),
    ],
)
def test_a_job_whose_scheduler_is_gone_or_begins_anew_ends_in_one_line(
    restart: Callable[[Cluster], None],
    what: str,
    lonely: Cluster,
    many: Path,
    alone: dict[str, str],
    tmp_path: Path,
) -> None:
    worker = lonely.start_worker()
    job = begin(lonely, many, tmp_path / "out", "--timeout", str(SHORT))
    worker.send_signal(signal.SIGSTOP)  # so that the job cannot end before the restart
    restart(lonely)
    assert job.wait(PATIENCE) == 3
    assert what in last_line(lonely, job)
    worker.kill()
    run("compress", many, tmp_path / "out", *WORDS, "--workers", "0", "--resume")
    assert tree(tmp_path / "out") == alone
