"""Schedulers and workers as processes of their own, on loopback, each ended by its test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import kmeans_dask
from tests.command import run_here

ROOT = Path(kmeans_dask.__file__).parents[1]
BIN = Path(sys.executable).parent
_UNSET = ("DASK_SCHEDULER_ADDRESS", "DASK_KMEANS__TRUSTED_NETWORK")
PATIENCE = 600  # seconds, after which a test stops waiting and fails


def environment(*paths: Path | str, **more: str) -> dict[str, str]:
    """Of a process that finds `paths`, then this checkout, before what is installed."""
    mine = {name: value for name, value in os.environ.items() if name not in _UNSET}
    python_path = os.pathsep.join([*map(str, paths), str(ROOT)])
    return mine | {"PYTHONPATH": python_path, "PATH": f"{BIN}:{os.environ['PATH']}"} | more


def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for what must come to be."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.05)


class Cluster:
    """A scheduler and what is started for it, in a folder."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.file = folder / "scheduler.json"
        self._stack = stack
        self._n_workers = 0
        self._logs: dict[int, Path] = {}
        self._scheduler: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return str(json.loads(self.file.read_text())["address"])

    def start(
        self,
        words: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        log: str = "log",
    ) -> subprocess.Popen[bytes]:
        """A process that ends with the cluster."""
        with (self.folder / log).open("wb") as file:
            process = subprocess.Popen(
                [*prefix, *map(str, words)],
                cwd=self.folder,
                env=dict(env or environment()),
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self._stack.callback(_end, process)
        self._logs[process.pid] = self.folder / log
        return process

    def log_of(self, process: subprocess.Popen[bytes]) -> bytes:
        """What it has said."""
        return self._logs[process.pid].read_bytes()

    def start_scheduler(
        self,
        *words: str | Path,
        env: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
        prefix: Sequence[str] = (),
    ) -> None:
        given = ["--host", host, "--port", "0", "--dashboard-address", "127.0.0.1:0", *words]
        module = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
        words = (*module, *given, "--scheduler-file", self.file)
        self._scheduler = self.start(words, env, prefix, "scheduler.log")
        until(self.is_named, "the scheduler file")

    def kill_scheduler(self) -> None:
        """Kill the scheduler, which can tell neither workers nor clients, and remove its file."""
        assert self._scheduler
        self._scheduler.kill()
        self._scheduler.wait()
        self.file.unlink()

    def is_named(self) -> bool:
        try:
            return bool(self.address)
        except (OSError, ValueError):
            return False

    def start_worker(
        self,
        *words: str | Path,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        python: Sequence[str] = (sys.executable,),
    ) -> subprocess.Popen[bytes]:
        """A worker of one thread, in another folder than the job; returns when it has joined."""
        self._n_workers += 1
        folder = self.folder / f"worker-{self._n_workers}"
        folder.mkdir()
        log = f"worker-{self._n_workers}.log"
        given = ["--no-nanny", "--nthreads", "1", "--no-dashboard", *words]
        given += ["--local-directory", folder, "--scheduler-file", self.file]
        module = [*python, "-m", "distributed.cli.dask_worker"]
        process = self.start([*module, *given], env, prefix, log)
        until(
            lambda: (
                b"Registered to" in (self.folder / log).read_bytes() or process.poll() is not None
            ),
            "a worker",
        )
        assert process.poll() is None, (self.folder / log).read_text()
        return process


@contextmanager
def open_cluster(folder: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(folder, stack)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.send_signal(signal.SIGCONT)  # a suspended process would not end
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run(
    *words: str | Path,
    code: int = 0,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command, by default `kmeans-dask`; it must end with `code` and no traceback."""
    first = [] if str(words[0]).startswith(("/", "dask", "bash")) else KMEANS
    done = subprocess.run(
        [*first, *map(str, words)],
        cwd=cwd,
        env=dict(env or environment()),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr, done.stderr
    return done


KMEANS = [sys.executable, "-m", "kmeans_dask"]


def refused(*words: object) -> str:
    """What `kmeans-dask` says, in this process, that cannot be carried out."""
    return one_line(run_here(*map(str, words), code=2))


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a command says that failed: one line, below how far it came."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("kmeans-dask: ")]
    assert len(lines) == 1, done.stderr
    assert done.stderr.splitlines()[-1] == lines[0], done.stderr
    return lines[0]
