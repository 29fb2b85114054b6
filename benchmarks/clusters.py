"""Where a job runs, and where its files are: whole jobs beside each other, start-up left out.

    python -m benchmarks.clusters workers [INPUT...] [--runs 3] [-- WORD...]
    python -m benchmarks.clusters remote  [INPUT...] [--runs 3] [-- WORD...]
    python -m benchmarks.clusters objects [INPUT...] [--runs 3] [-- WORD...]

workers: two worker processes against one. remote: a scheduler and two workers that are there
already, as processes of their own, against two that the job starts. objects: input and output in
moto's S3 server on this machine, whose processor time is the workers' loss, against files. WORDS
go to `kmeans-dask compress`. All sides of a table run in turn, after one run of each that does not
count; that all make the same bytes is checked.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import SHARED, photographs, versions
from tests.command import tree
from tests.files.server import Bucket, started

PATIENCE = 60.0  # seconds, for processes to start


@dataclass(frozen=True)
class Side:
    """Words for a job, and the environment in which it runs."""

    inputs: list[str]
    words: list[str]
    environment: Mapping[str, str]

    def run(self, output: str) -> float:
        """Seconds of a job, from when its workers are there until its output is."""
        command = [sys.executable, "-m", "kmeans_dask", "compress", *self.inputs, output]
        done = subprocess.run(
            [*command, *self.words, "--json", "--overwrite"],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            check=True,
        )
        seconds: dict[str, float] = json.loads(done.stdout)["seconds"]
        return sum(seconds.values()) - seconds["start"]


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """The address of a scheduler with two workers."""
    file, log = folder / "scheduler.json", (folder / "log").open("wb")
    here = ["--host", "127.0.0.1", "--scheduler-file", str(file)]
    with log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{name}", *words, *here],
                stdout=log,
                stderr=log,
            )
            for name, words in (
                ("scheduler", ["--port", "0", "--dashboard-address", "127.0.0.1:0"]),
                ("worker", ["--nworkers", "2", "--nthreads", "1"]),
            )
        ]
        try:
            end = time.monotonic() + PATIENCE
            while not file.exists() and time.monotonic() < end:
                time.sleep(0.1)
            yield json.loads(file.read_text())["address"]
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait()


@contextmanager
def sides_of(
    table: str, inputs: list[Path], words: list[str], folder: Path
) -> Iterator[tuple[dict[str, Side], Bucket | None]]:
    paths = [str(path) for path in inputs]
    two = Side(paths, [*words, "--workers", "2"], {})
    if table == "workers":
        yield {"two workers": two, "one worker": Side(paths, [*words, "--workers", "1"], {})}, None
    elif table == "remote":
        with cluster(folder) as address:
            remote = Side(paths, [*words, "--scheduler", address], {})
            yield {"workers of the job": two, "a scheduler that is there": remote}, None
    else:
        with started() as server:
            bucket = server.bucket("photos")
            there = [bucket.upload(path, f"in/{path.name}") for path in inputs]
            objects = Side(there, [*words, "--workers", "2"], server.environment)
            yield {"files": two, "objects": objects}, bucket


def main() -> None:
    given, _, words = " ".join(sys.argv[1:]).partition(" -- ")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=("workers", "remote", "objects"))
    parser.add_argument("inputs", nargs="*", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args(given.split())
    shared = [SHARED / "photos", SHARED / "large"]
    default = shared if SHARED.is_dir() else [photographs()[0].parent]
    inputs = [path.absolute() for path in args.inputs or default]
    print(versions("dask", "distributed", "obstore"))
    print(" ".join(["compress", *(path.name for path in inputs), words]))
    with (
        tempfile.TemporaryDirectory() as name,
        sides_of(args.table, inputs, words.split(), Path(name)) as (sides, bucket),
    ):
        folder = Path(name)
        seconds: dict[str, list[float]] = {each: [] for each in sides}
        made: dict[str, Any] = {}
        for _ in range(args.runs + 1):
            for number, (each, side) in enumerate(sides.items()):
                is_remote = bucket is not None and side.environment
                output = bucket.url("out") if bucket and is_remote else str(folder / f"{number}")
                seconds[each].append(side.run(output))
                made[each] = bucket.tree("out") if bucket and is_remote else tree(Path(output))
                if not is_remote:
                    shutil.rmtree(output)
                made[each].pop("failures.jsonl", None)  # names its files
    first, *others = made.values()
    assert all(each == first for each in others), "other bytes"
    ours = median(next(iter(seconds.values()))[1:])
    for each, runs in seconds.items():
        shown = ", ".join(f"{second:.2f}" for second in runs[1:])
        print(f"  {each:28} {median(runs[1:]):7.2f} s {median(runs[1:]) / ours:5.2f} x ({shown})")


if __name__ == "__main__":
    main()
