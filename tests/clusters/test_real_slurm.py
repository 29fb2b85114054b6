"""jobs/slurm on a Slurm of one node, where Debian's package slurm-wlm is installed."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.clusters.many import n_ingested
from tests.clusters.processes import KMEANS, PATIENCE, environment, run, until
from tests.clusters.test_documents import SBATCH
from tests.clusters.test_slurm import command
from tests.command import tree

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "squeue")
_LACK = [name for name in PROGRAMS if not shutil.which(name)]
pytestmark = [
    pytest.mark.skipif(bool(_LACK), reason="needs Slurm, Debian's package slurm-wlm"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to start Slurm"),
]

# Of a machine that may have fewer cores, and less memory, than the script asks for.
CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=32000
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(words: list[str], folder: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with (folder / f"{Path(words[0]).name}.log").open("wb") as log:
        return subprocess.Popen(words, env=dict(env), stdout=log, stderr=log)


def asked(env: Mapping[str, str], *words: str) -> str:
    """What Slurm answers."""
    done = subprocess.run(words, env=dict(env), capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An environment whose `sbatch` submits to a Slurm of one node, which ends with the tests."""
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("bin", "munge", "state", "spool"):
        (folder / name).mkdir(mode=0o700)
    command(folder, "kmeans-dask", f'#!/bin/sh\nexec {" ".join(KMEANS)} "$@"\n')
    host = socket.gethostname().partition(".")[0]
    conf = CONF.format(folder=folder, host=host, ports=free_ports(2))
    (folder / "slurm.conf").write_text(conf)
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    key = folder / "munge" / "key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    found = environment(SLURM_CONF=str(folder / "slurm.conf"), SBATCH_WAIT="1")
    found["PATH"] = f"{folder / 'bin'}:{found['PATH']}"
    munge = [f"--{name}={folder}/munge/{name}" for name in ("socket", "pid-file", "seed-file")]
    munged = ["munged", "--foreground", "--force", f"--key-file={key}", *munge]
    started = []
    try:
        started.append(start(munged, folder, found))
        until((folder / "munge" / "socket").exists, "munged")
        for words in (["slurmctld", "-D", "-i"], ["slurmd", "-D"]):
            started.append(start(words, folder, found))
        until(lambda: is_idle(found), f"Slurm, in {folder}")
        yield found
    finally:
        for each in reversed(started):
            each.terminate()
            each.wait(60)


def is_idle(env: Mapping[str, str]) -> bool:
    words = ["sinfo", "--noheader", "--format=%T"]
    done = subprocess.run(words, env=dict(env), capture_output=True, text=True, timeout=PATIENCE)
    return done.stdout.strip() == "idle"


@pytest.fixture
def place(tmp_path: Path, env: Mapping[str, str]) -> Iterator[Path]:
    """Where jobs are submitted from; none is left."""
    (tmp_path / "jobs").symlink_to(Path(__file__).parents[2] / "jobs")
    yield tmp_path
    asked(env, "scancel", "--user=root")
    until(lambda: not asked(env, "squeue", "--noheader"), "the end of all jobs")


def submitted(command: str, place: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """The line of jobs/README.md, at work. It ends as its job does."""
    words = command.replace("/data/", f"{place}/data/")
    return subprocess.Popen(["bash", "-c", words], cwd=place, env=dict(env))


def log_of(place: Path) -> str:
    return "".join(path.read_text() for path in place.glob("slurm-*.out"))


def test_the_command_of_the_jobs_readme_runs_as_it_stands(
    env: Mapping[str, str], place: Path, photos: Path, local: dict[str, str]
) -> None:
    shutil.copytree(photos, place / "data" / "photos")
    job = submitted(SBATCH, place, {**env, "WORDS": "--colors 8"})
    assert job.wait(PATIENCE) == 0, log_of(place)
    assert tree(place / "data" / "out") == local
    assert not list(place.glob("kmeans-dask-*"))


def test_a_requeued_job_resumes_to_the_same_bytes(
    env: Mapping[str, str], place: Path, many: Path
) -> None:
    shutil.copytree(many, place / "data" / "photos")
    words = ("--colors", "256", "--effort", "9", "--partition-pixels", "1")
    job = submitted(SBATCH, place, {**env, "WORDS": " ".join(words)})
    out = place / "data" / "out"
    until(lambda: n_ingested(out) > 0 or job.poll() is not None, "the first image")
    [number] = re.findall(r"\d+", asked(env, "squeue", "--noheader", "--format=%i"))
    asked(env, "scancel", "--signal=USR1", "--batch", number)  # as before the wall time's end
    until(lambda: "BeginTime" in asked(env, "squeue", "--noheader", "--format=%r"), "the queue")
    assert "interrupted; what is done is kept" in log_of(place)
    assert not list(place.glob("kmeans-dask-*"))
    assert "Restarts=1 " in asked(env, "scontrol", "show", "job", number)
    # The node has revoked all credentials of the job that were issued up to this second.
    until(lambda: is_idle(env), "the end of the first run on its node")
    revoked = int(time.time())
    until(lambda: time.time() >= revoked + 2, "the next second")
    asked(env, "scontrol", "update", f"JobId={number}", "StartTime=now")
    assert job.wait(PATIENCE) == 0, log_of(place)
    run("compress", "data/photos", "local", *words, "--workers", "0", cwd=place)
    assert tree(out) == tree(place / "local")
    assert not list(place.glob("kmeans-dask-*"))
