"""jobs/slurm, with stand-ins for Slurm's commands."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.clusters.processes import KMEANS, PATIENCE, ROOT, environment, run, until
from tests.command import tree

SBATCH = ROOT / "jobs" / "slurm" / "compress.sbatch"
SRUN = """#!/bin/bash
# Starts a command --ntasks times here, passes SIGTERM on, and writes down that it came.
trap 'kill $(jobs -p) 2>/dev/null; wait; echo "$what" >>"$SLURM_SUBMIT_DIR/ended"; exit 143' TERM
while [[ $1 == --* ]]; do [[ $1 == --ntasks=* ]] && n=${1#*=}; shift; done
what=$2
[[ $what == worker && -n ${NO_WORKERS:-} ]] && exit 0
for _ in $(seq "$n"); do "$@" & done
wait
"""
# Dask logs, as information and with a traceback, that one worker left while another did.
QUIET = "logging:\n  distributed.batched: warning\n"
# In place of dask and of kmeans-dask, where it is the script alone that matters.
DASK = """#!/bin/sh
echo "$1" >>"$SLURM_SUBMIT_DIR/up"
exec sleep 600
"""
JOB = """#!/bin/bash
trap 'echo job >>"$SLURM_SUBMIT_DIR/ended"; exit 143' TERM
trap 'exit 0' USR2
[[ -z ${STUBBORN:-} ]] || trap '' TERM
echo job >>"$SLURM_SUBMIT_DIR/up"
for _ in $(seq 12000); do sleep 0.05; done
"""


def slurm(folder: Path, photos: Path, **more: str) -> dict[str, str]:
    """An allocation of three tasks."""
    (folder / "bin").mkdir()
    command(folder, "srun", SRUN)
    command(folder, "scontrol", f'#!/bin/sh\necho "$@" >> {folder}/scontrol\n')
    command(folder, "kmeans-dask", f'#!/bin/sh\nexec {" ".join(KMEANS)} "$@"\n')
    (folder / "dask.yaml").write_text(QUIET)
    env = environment(
        DASK_CONFIG=str(folder / "dask.yaml"), SLURM_SUBMIT_DIR=str(folder), SLURM_JOB_ID="7",
        SLURM_NTASKS="3", INPUT=str(photos), OUTPUT=str(folder / "out"), TMPDIR=str(folder),
        WORDS="--colors 8", **more,
    )  # fmt: skip
    return env | {"PATH": f"{folder / 'bin'}:{env['PATH']}"}


def command(folder: Path, name: str, text: str) -> None:
    path = folder / "bin" / name
    path.write_text(text)
    path.chmod(0o755)


@contextmanager
def submitted(folder: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("wb") as log:
        script = subprocess.Popen(["bash", SBATCH], env=env, cwd=folder, stdout=log, stderr=log)
        try:
            yield script
        finally:
            script.kill()
            script.wait()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def check_end(folder: Path, script: subprocess.Popen[bytes], code: int, *, queued: bool) -> None:
    assert script.wait(PATIENCE) == code, (folder / "log").read_text()
    assert lines(folder / "scontrol") == ["requeue 7"] * queued
    assert not list(folder.glob("kmeans-dask-7-*"))


@pytest.fixture
def stubs(tmp_path: Path) -> dict[str, str]:
    """The same, in which nothing is real but the script."""
    env = slurm(tmp_path, tmp_path / "in", GRACE="30")
    command(tmp_path, "dask", DASK)
    command(tmp_path, "kmeans-dask", JOB)
    return env


def all_up(folder: Path) -> bool:
    return sorted(lines(folder / "up")) == ["job", "scheduler", "worker", "worker"]


def job_of(script: subprocess.Popen[bytes]) -> psutil.Process:
    """The process of the command."""
    [found] = [
        child
        for child in psutil.Process(script.pid).children()
        if any(word.endswith("/kmeans-dask") for word in child.cmdline())
    ]
    return found


def test_the_script_runs_a_job_and_leaves_nothing_behind(
    photos: Path, tmp_path: Path, local: dict[str, str]
) -> None:
    env = slurm(tmp_path, photos)
    done = run("bash", SBATCH, env=env, cwd=tmp_path)
    assert "warning" not in done.stderr
    assert tree(tmp_path / "out") == local
    # Dask's worker writes a traceback where a job ends while it registers: here it has none.
    done = run("bash", SBATCH, env=env | {"NO_WORKERS": "1"}, cwd=tmp_path)
    assert "finished already" in done.stdout
    assert not list(tmp_path.glob("kmeans-dask-7-*"))
    assert not (tmp_path / "scontrol").exists()


SIGNALS = [(signal.SIGUSR1, True), (signal.SIGTERM, False)]


@pytest.mark.parametrize(("number", "queued"), SIGNALS)
def test_a_job_is_queued_again_at_the_end_of_its_time(
    number: signal.Signals, queued: bool, photos: Path, tmp_path: Path
) -> None:
    env = slurm(tmp_path, photos, NO_WORKERS="1")
    with submitted(tmp_path, env) as script:
        until((tmp_path / "out" / ".kmeans-dask" / "lock").exists, "the job")
        script.send_signal(number)
        check_end(tmp_path, script, 143, queued=queued)
    assert "kmeans-dask: interrupted" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(("number", "queued"), SIGNALS)
def test_the_job_ends_first_then_the_workers_then_the_scheduler(
    number: signal.Signals, queued: bool, stubs: dict[str, str], tmp_path: Path
) -> None:
    with submitted(tmp_path, stubs) as script:
        until(lambda: all_up(tmp_path), "all processes")
        script.send_signal(number)
        check_end(tmp_path, script, 143, queued=queued)
    assert lines(tmp_path / "ended") == ["job", "worker", "scheduler"]


@pytest.mark.parametrize(
    ("number", "code", "queued"), [(signal.SIGTERM, 143, True), (signal.SIGUSR2, 0, False)]
)
def test_a_job_that_ends_when_the_signal_comes_has_its_own_code(
    number: signal.Signals, code: int, queued: bool, stubs: dict[str, str], tmp_path: Path
) -> None:
    with submitted(tmp_path, stubs) as script:
        until(lambda: all_up(tmp_path), "all processes")
        process, job = psutil.Process(script.pid), job_of(script)
        process.suspend()  # so that both come to it at once
        until(lambda: process.status() == psutil.STATUS_STOPPED, "the script to stop")
        script.send_signal(signal.SIGUSR1)
        job.send_signal(number)
        until(lambda: job.status() == psutil.STATUS_ZOMBIE, "the job to end")
        process.resume()
        check_end(tmp_path, script, code, queued=queued)


@pytest.mark.parametrize(("number", "queued"), SIGNALS)
def test_a_signal_before_the_job_ends_the_script_without_starting_it(
    number: signal.Signals, queued: bool, stubs: dict[str, str], tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    command(
        tmp_path,
        "mktemp",  # which the script calls before it starts anything
        f"#!/bin/sh\nuntil [ -s {pid} ]; do sleep 0.05; done\nkill -{number} $(cat {pid})\n"
        f'exec {shutil.which("mktemp")} "$@"\n',
    )
    with submitted(tmp_path, stubs) as script:
        pid.write_text(f"{script.pid}\n")
        check_end(tmp_path, script, 143, queued=queued)
    assert "job" not in lines(tmp_path / "up")


def test_a_job_that_ignores_the_signal_is_killed(stubs: dict[str, str], tmp_path: Path) -> None:
    with submitted(tmp_path, stubs | {"GRACE": "1", "STUBBORN": "1"}) as script:
        until(lambda: all_up(tmp_path), "all processes")
        job = job_of(script)
        script.send_signal(signal.SIGUSR1)
        check_end(tmp_path, script, 137, queued=True)
        assert not job.is_running()


def seconds(text: str) -> int:
    hours, minutes, rest = map(int, text.split(":"))
    return (hours * 60 + minutes) * 60 + rest


def test_the_time_limits_of_the_script_are_consistent() -> None:
    subprocess.run(["bash", "-n", SBATCH], check=True, timeout=60)
    text = SBATCH.read_text()
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", text, re.MULTILINE))
    assert "requeue" in asked
    assert asked["open-mode"] == "append"
    assert asked["cpus-per-task"] == "1"
    [lifetime] = map(int, re.findall(r'LIFETIME:-"(\d+) minutes"', text))
    [stagger] = map(int, re.findall(r'STAGGER:-"(\d+) minutes"', text))
    [grace] = map(int, re.findall(r"GRACE:-(\d+)}", text))
    before = int(asked["signal"].removeprefix("B:USR1@"))
    left = seconds(asked["time"]) - before
    [timeout] = map(int, re.findall(r"--timeout (\d+)", text))
    # The last worker leaves before the signal, and the job waits for longer than that.
    assert (lifetime + stagger) * 60 <= left
    assert left - (lifetime - stagger) * 60 < timeout
    assert '--lifetime "$LIFETIME" --lifetime-stagger "$STAGGER"' in text
    assert 3 * grace < before  # job, workers, scheduler
