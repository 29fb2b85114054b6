"""The command line in processes that are ended without being asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import psutil

_MARK = "KMEANS_DASK_TEST_JOB"  # in the environment of a job and of all that it starts
LONG = 600.0  # seconds, after which a test stops waiting for a job


@dataclass
class Job:
    """A job at work, the first process of a group."""

    process: subprocess.Popen[bytes]
    mark: str
    errors: IO[bytes]
    since: float = field(default_factory=time.monotonic)

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def wait(self, seconds: float = LONG) -> int:
        """Its exit code. Raises TimeoutExpired."""
        return self.process.wait(seconds)

    def said(self) -> str:
        """All of stderr until now."""
        data = os.pread(self.errors.fileno(), 1 << 24, 0)  # to seek would move the job's place, too
        return data.decode(errors="backslashreplace")

    def processes(self) -> list[psutil.Process]:
        """The job's first process and all that came of it, whoever is their parent by now."""
        return [process for process in psutil.process_iter() if _has_mark(process, self.mark)]

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        return [each for each in self.processes() if _is_worker(each)]

    def kill(self, *, group: bool = True) -> None:
        """SIGKILL to all of it, or to the first process only."""
        if group:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait(LONG)

    def strays(self, seconds: float = LONG) -> list[psutil.Process]:
        """What is still there of it after so long, at most."""
        until = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < until:
            time.sleep(0.1)
        return left


def _has_mark(process: psutil.Process, mark: str) -> bool:
    try:
        is_there = process.status() != psutil.STATUS_ZOMBIE
        return is_there and bool(process.environ().get(_MARK) == mark)
    except psutil.Error:
        return False


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:
        return False


@contextmanager
def started(*words: str | Path, environment: Mapping[str, str] | None = None) -> Iterator[Job]:
    """`kmeans-dask` with `words` at work; nothing of it is left when the block ends."""
    mark = os.urandom(8).hex()
    given = {k: v for k, v in os.environ.items() if k != "DASK_SCHEDULER_ADDRESS"}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "kmeans_dask", *map(str, words)],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            env={**given, **(environment or {}), _MARK: mark},
        )
        job = Job(process, mark, errors)
        try:
            yield job
        finally:
            job.kill()
            for stray in job.strays(0):
                with suppress(psutil.Error):
                    stray.kill()


def until(holds: Callable[[], bool], job: Job, seconds: float = LONG) -> bool:
    """Wait until something holds, or the job has ended; whether it holds."""
    end = time.monotonic() + seconds
    while not holds():
        if not job.is_running or time.monotonic() > end:
            return holds()
        time.sleep(0.01)
    return True


def peaks_while_at_work(*words: str | Path) -> tuple[int, dict[int, float], str]:
    """Run a job; return its exit code, the peak MB of each worker by process ID, and its stderr."""
    peaks: dict[int, float] = {}
    with started(*words) as job:
        while job.is_running and time.monotonic() - job.since < LONG:
            for worker in job.workers():
                try:
                    status = Path(f"/proc/{worker.pid}/status").read_text()
                    peaks[worker.pid] = int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
                except (OSError, IndexError):
                    continue  # the worker has ended
            time.sleep(0.1)
        return job.wait(1), peaks, job.said()


def killed_after(seconds: float, rng: np.random.Generator, *words: str | Path) -> int | None:
    """Run a job and kill it after so long: all its processes, or the first only.

    Returns its exit code where it had ended before. No process of it is left.
    """
    with started(*words) as job:
        with suppress(subprocess.TimeoutExpired):
            code = job.wait(seconds)
            assert "Traceback" not in job.said(), job.said()
            return code
        job.kill(group=bool(rng.integers(2)))
        assert not job.strays(), "processes outlive their job"
    return None


def store_bytes(path: Path) -> dict[str, bytes]:
    """Every file of a store, but for the lock."""
    return {
        str(each.relative_to(path)): each.read_bytes()
        for each in sorted(path.rglob("*"))
        if each.is_file() and each.name != ".lock"
    }
