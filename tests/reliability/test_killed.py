"""Jobs that are killed, wholly or in part, at any moment: what comes of them is what would have."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.command import run_here, tree
from tests.reliability.figures import Figures
from tests.reliability.jobs import LONG, killed_after, started, store_bytes, until
from tests.reliability.pictures import save_pictures

Times = Callable[[int, int], int]
PARTITIONS = ("--partition-pixels", "6000")
OURS = {"lock", "job.json", "plan.json", "done"}


@dataclass(frozen=True)
class Kind:
    """A kind of job, which works on a store, or makes an output, at `place`.

    words: for a folder of images and that place
    """

    words: Callable[[Path, Path], list[str | Path]]
    is_store: bool = False
    prepare: Callable[[Path, Path], object] = lambda pictures, place: None

    def outcome(self, place: Path) -> dict[str, str] | dict[str, bytes]:
        return store_bytes(place) if self.is_store else tree(place)


def compress_with(*words: str) -> Callable[[Path, Path], list[str | Path]]:
    return lambda pictures, place: ["compress", pictures, place, *PARTITIONS, *words]


def tokenize_with(*words: str) -> Callable[[Path, Path], list[str | Path]]:
    return lambda pictures, place: ["tokenize", pictures, place, *PARTITIONS, *words]


def ingest_half(pictures: Path, place: Path) -> None:
    """A store of some of the images, with a palette."""
    run_here("ingest", pictures / "birds", place, *PARTITIONS, "--workers", "0")
    run_here("fit", place, "-k", "8", "--workers", "0")


def ingest_all(pictures: Path, place: Path) -> None:
    run_here("ingest", pictures, place, *PARTITIONS, "--workers", "0")


def encode_store(pictures: Path, place: Path) -> None:
    """Beside the output."""
    store = place.with_name("encoded.zarr")
    ingest_half(pictures, store)


KINDS = {
    "shared": Kind(compress_with("-k", "16", "--tol", "0")),
    "auto": Kind(compress_with("-k", "16", "--palette", "auto", "--min-psnr", "30")),
    "folder": Kind(compress_with("-k", "16", "--palette", "folder")),
    "image": Kind(compress_with("-k", "16", "--palette", "image")),
    "tokens": Kind(tokenize_with("-k", "300"), is_store=True),
    "growth": Kind(
        lambda pictures, place: ["ingest", pictures, place, *PARTITIONS],
        is_store=True,
        prepare=ingest_half,
    ),
    "fit": Kind(
        lambda pictures, place: [
            "fit", place, "-k", "24", "--tol", "0", "--weight", "images", "--chunk-colors", "9000",
        ],
        is_store=True,
        prepare=ingest_all,
    ),
    "encode": Kind(
        lambda pictures, place: ["encode", place.with_name("encoded.zarr"), place],
        prepare=encode_store,
    ),
}  # fmt: skip


def assert_tidy(output: Path) -> None:
    """Nothing is left in an output but what belongs there, and nothing half-written."""
    assert {path.name for path in (output / ".kmeans-dask").iterdir()} == OURS - (
        set() if (output / ".kmeans-dask" / "plan.json").exists() else {"plan.json"}
    )
    hidden = {path.name for path in output.rglob(".*")} | {
        path.name for path in output.rglob("*") if path.name.endswith(".partial")
    }
    assert hidden == {".kmeans-dask"}
    done = (output / ".kmeans-dask" / "done").rglob("*")
    assert all(path.is_dir() or path.suffix == ".json" for path in done)


def assert_tidy_store(store: Path) -> None:
    names = {path.name for path in store.rglob("*")}
    assert {name for name in names if name[0] == "." or name.endswith(".partial")} == {".lock"}
    assert not list((store / "fits").glob("*"))
    found = run_here("verify", store, "--workers", "0")
    assert "as they were written" in found.stdout


def prepared(kind: Kind, pictures: Path, place: Path) -> list[str | Path]:
    kind.prepare(pictures, place)
    return kind.words(pictures, place)


@pytest.mark.parametrize("name", KINDS)
def test_a_job_killed_anywhere_resumes_to_the_same_output(
    name: str, pictures: Path, tmp_path: Path, times: Times, figures: Figures
) -> None:
    if name == "auto" and not times(0, 1):
        pytest.skip("is tried in the long form")
    kind = KINDS[name]
    rng = np.random.default_rng(sum(name.encode()))
    quiet, place = tmp_path / "quiet" / "place", tmp_path / "killed" / "place"
    quiet.parent.mkdir()
    run_here(*prepared(kind, pictures, quiet), "--workers", "0")
    if kind.is_store:
        before = tmp_path / "before"
        place.parent.mkdir()
        kind.prepare(pictures, place)
        if place.exists():
            shutil.copytree(place, before)
    # how long it takes is learnt on the way, so that kills fall everywhere
    longest, kills, same = 4.0, 0, 0
    rounds = times(1, 20 if name == "shared" else 10)
    for _ in range(rounds):
        shutil.rmtree(place.parent, ignore_errors=True)
        place.parent.mkdir()
        if kind.is_store:
            if before.exists():
                shutil.copytree(before, place)
            words = kind.words(pictures, place)
        else:
            words = prepared(kind, pictures, place)
        workers = ("--workers", str(rng.integers(0, 3)))
        code = None
        for _ in range(int(rng.integers(1, times(2, 3)))):
            since, killed_at = time.monotonic(), rng.uniform(0.5, longest)
            code = killed_after(killed_at, rng, *words, *workers, "--resume")
            if code is not None:
                longest = time.monotonic() - since
                break
            kills += 1
        if code is None:
            run_here(*words, "--workers", "0", "--resume")
        assert code in (None, 0)
        assert kind.outcome(place) == kind.outcome(quiet)
        assert_tidy_store(place) if kind.is_store else assert_tidy(place)
        same += 1
    figures.note(f"{name}, killed and gone on with", f"{same} of {rounds} identical, {kills} kills")


def test_workers_that_are_killed_all_the_time_end_no_job(
    pictures: Path, tmp_path: Path, times: Times, figures: Figures
) -> None:
    rng = np.random.default_rng(2)
    words = ("--palette", "image", "-k", "64") if times(0, 1) else ("-k", "16")
    if times(0, 1):  # work for a while
        pictures = save_pictures(tmp_path / "in", 3000, seed=2, side=120)
    run_here("compress", pictures, tmp_path / "quiet", *words, *PARTITIONS, "--workers", "0")
    pause, most = times(1, 2), times(3, 1000)
    with started(
        "compress", pictures, tmp_path / "out", *words, *PARTITIONS, "--workers", "2"
    ) as job:
        kills = 0
        while job.is_running and "dashboard:" not in job.said():
            time.sleep(0.05)  # a cluster whose workers die while it starts is tried few times
        next_kill = time.monotonic()
        while job.is_running and time.monotonic() - job.since < LONG:
            time.sleep(0.05)
            if kills < most and time.monotonic() >= next_kill and (workers := job.workers()):
                with suppress(psutil.Error):
                    workers[rng.integers(len(workers))].kill()
                    kills += 1
                next_kill = time.monotonic() + pause
        assert job.wait() == 0, job.said()
        assert not job.strays()
    assert kills
    assert tree(tmp_path / "out") == tree(tmp_path / "quiet")
    assert_tidy(tmp_path / "out")
    figures.note("workers killed every 2 s", f"{kills} kills, output identical")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_is_asked_to_end_ends_and_can_be_resumed(
    number: signal.Signals, pictures: Path, tmp_path: Path, times: Times, figures: Figures
) -> None:
    rng = np.random.default_rng(number)
    words = ("compress", pictures, tmp_path / "out", "-k", "16", *PARTITIONS)
    run_here(*words[:2], tmp_path / "quiet", *words[3:], "--workers", "0")
    slowest = 0.0
    for _ in range(times(1, 5)):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        with started(*words, "--workers", "2") as job:
            assert until((tmp_path / "out" / ".kmeans-dask" / "job.json").exists, job), job.said()
            time.sleep(rng.uniform(0, 1.5))
            job.process.send_signal(number)
            since = time.monotonic()
            code = job.wait()
            slowest = max(slowest, time.monotonic() - since)
            assert code in (0, 128 + number), job.said()  # it may have ended before the signal
            assert code == 0 or "--resume goes on from there" in job.said()
            assert not job.strays()
        run_here(*words, "--resume", "--workers", "0")
        assert tree(tmp_path / "out") == tree(tmp_path / "quiet")
        assert_tidy(tmp_path / "out")
    figures.note(f"seconds from {number.name} to the end, at most", f"{slowest:.1f}")
