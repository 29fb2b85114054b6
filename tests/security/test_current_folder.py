"""Tests that nothing in the current folder, or beside images, is run or read as settings."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clusters.processes import ROOT, open_cluster
from tests.security.traps import plain_environment, set_traps

BIN = Path(sys.executable).parent
KMEANS, DASK = str(BIN / "kmeans-dask"), str(BIN / "dask")

# In this order, as later commands read what earlier ones write: these each in a process of its
# own, those of MORE all in one.
COMMANDS = (
    "compress in out --colors 4 --workers 0",
    "compress in images --colors 4 --workers 0 --palette image",
)
MORE = (
    "estimate in --workers 0",
    "sweep in --colors 2,4 --workers 0",
    "ingest in store.zarr --workers 0",
    "fit store.zarr --colors 4 --workers 0",
    "encode store.zarr decoded --workers 0",
    "tokenize store.zarr --workers 0",
    "verify store.zarr --workers 0",
    "info store.zarr",
    "palette store.zarr colors.gpl",
    "report store.zarr",
    "report out",
    "plot store.zarr",
    "plot in/a.png",
    "compare in/a.png --colors 2",
)
EACH = """
import os, shlex, sys
from kmeans_dask import cli
told, *lines = sys.argv[1:]
for line in lines:
    code = cli._main(shlex.split(line))
    assert not code, (line, code)
    assert not os.path.exists(told), line
"""

FIT = """
import numpy
from kmeans_dask import KMeans
KMeans(2, n_init=1, random_state=0).fit(numpy.arange(300.0).reshape(100, 3))
"""
# For a process in which others, as in a notebook, have imported numba here before.
AFTER_OTHERS = f"import numba\nassert numba.config.CACHE_DIR == '.k'\n{FIT}"
FREE = "import numba; assert not numba.config.CACHE_DIR; assert numba.config.OPT == 3"
# Without this package, numba runs what lies here.
BY_NUMBA_ITSELF = """
import numba, numpy
from kmeans_dask.kmeans.morton_codes import _decode
codes, colors = numpy.zeros(1, numpy.uint32), numpy.zeros((1, 3), numpy.uint8)
numba.njit(cache=True)(_decode.py_func)(codes, colors)
"""


@dataclass(frozen=True)
class Trap:
    """A current folder full of traps, and the file that names each trap that was run."""

    here: Path
    told: Path

    def run(
        self, words: Sequence[str], codes: tuple[int, ...] = (0,), **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the folder and return it; its exit code must be one of `codes`."""
        done = subprocess.run(
            words,
            cwd=self.here,
            capture_output=True,
            text=True,
            timeout=240,
            env=plain_environment(**more),
        )
        assert done.returncode in codes, f"{words}\n{done.stdout}{done.stderr}"
        return done

    def assert_unsprung(self, what: object, said: str) -> None:
        """Check that nothing of the folder was run, and no library complained of its settings."""
        ran = self.told.read_text() if self.told.exists() else ""
        self.told.unlink(missing_ok=True)
        assert not ran, f"{what}: {ran}"
        for word in ("of_a_trap", "NUMBA_"):
            assert word not in said, f"{what}: {said}"


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Trap:
    folder = tmp_path_factory.mktemp("unpacked")
    set_traps(folder / "here", folder / "told")
    return Trap(folder / "here", folder / "told")


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_runs_nothing_and_takes_no_settings(line: str, trap: Trap) -> None:
    done = trap.run([KMEANS, *shlex.split(line)])
    trap.assert_unsprung(line, done.stdout + done.stderr)


def test_all_other_commands_run_nothing_and_take_no_settings(trap: Trap) -> None:
    done = trap.run([sys.executable, "-P", "-c", EACH, str(trap.told), *MORE])
    trap.assert_unsprung(MORE, done.stdout + done.stderr)


def test_these_are_all_commands() -> None:
    listed = subprocess.run([KMEANS, "--help"], capture_output=True, text=True, timeout=60).stdout
    commands = listed.split("─ Commands ─")[1].splitlines()[1:]
    named = {line.split()[1] for line in commands if line.startswith("│ ") and line[2] != " "}
    assert named == {line.split()[0] for line in (*COMMANDS, *MORE)}


@pytest.mark.parametrize("home", [None, "."])
def test_local_workers_run_nothing_and_take_no_settings(home: str | None, trap: Trap) -> None:
    """Check a relative home, too: Dask and others would look for their settings below it."""
    relative = {"HOME": home, "XDG_CACHE_HOME": ".k", "NUMBA_CACHE_DIR": ".k"} if home else {}
    out = f"../beside-{bool(home)}"
    words = ["compress", ".", out, "--colors", "4", "--workers", "1"]
    done = trap.run([KMEANS, *words], (0, 1), **relative)  # 1 where files are no images
    trap.assert_unsprung(words, done.stdout + done.stderr)


@pytest.mark.parametrize("before", ["", AFTER_OTHERS])
def test_the_library_takes_no_kernels_and_no_settings(before: str, trap: Trap) -> None:
    done = trap.run([sys.executable, "-P", "-W", "ignore", "-c", f"{before}\n{FIT}\n{FREE}"])
    trap.assert_unsprung(before, done.stdout + done.stderr)


def test_the_trap_is_sharp(tmp_path: Path) -> None:
    here, told = tmp_path / "here", tmp_path / "told"
    set_traps(here, told)
    trap = Trap(here, told)
    trap.run([sys.executable, "-P", "-W", "ignore", "-c", BY_NUMBA_ITSELF])
    assert told.read_text().startswith("unpickled")
    told.unlink()
    said = trap.run([sys.executable, "-P", "-c", "import matplotlib"]).stderr
    assert "of_a_trap" in said
    trap.run([sys.executable, "-c", "import numba"], (0, 1))
    assert "imported" in told.read_text()


@pytest.fixture(scope="module")
def scheduler(trap: Trap) -> Iterator[str]:
    """Yield the scheduler file of a scheduler and a worker with a nanny, started in the folder."""
    with open_cluster(trap.here) as cluster:
        env = plain_environment(PYTHONSAFEPATH="1")
        loopback = ("--host", "127.0.0.1", "--no-dashboard")
        page = ("--preload", "kmeans_dask.dashboard", "--port", "0")
        cluster.start([DASK, "scheduler", *loopback, *page, "--scheduler-file", cluster.file], env)
        place = ("--local-directory", trap.told.parent, "--scheduler-file", cluster.file)
        cluster.start([DASK, "worker", *loopback, *place, "--nthreads", "1"], env, log="worker.log")
        yield str(cluster.file)
        for log in trap.here.glob("*log"):
            trap.assert_unsprung(log.name, log.read_text())


@pytest.mark.parametrize(
    "line",
    [
        f"{DASK} kmeans compress in of-dask --colors 4",
        f"{sys.executable} {ROOT}/jobs/compress.py in of-jobs --colors 4",
    ],
)
def test_workers_run_nothing_and_take_no_settings(line: str, trap: Trap, scheduler: str) -> None:
    done = trap.run([*shlex.split(line), "--scheduler-file", scheduler])
    trap.assert_unsprung(line, done.stdout + done.stderr)
