"""A real scheduler under as many tasks as a large collection has: what each costs.

    python -m benchmarks.scheduler [--tasks 100000] [--threads 2,64,512] [--images 16]

Tasks do nothing, and are as long, in bytes, as those that ingest so many images; they go through
the engine as a job's do, to `dask scheduler` and two `dask worker` processes on this machine. With
more threads more tasks are under way at a time. CPU time tells what the scheduler and the client
can do at most; time, what they did beside the workers, on the cores of this machine. Memory is
shown as the tasks go by. All but the first number of threads get a tenth of the tasks.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.common import versions
from kmeans_dask.engine import connect
from kmeans_dask.plan.plan import Source
from kmeans_dask.steps.quarantine import WorkItem
from kmeans_dask.store.records import Failure

WORKERS = 2
PATIENCE = 60.0  # seconds, for processes to start
SHOWN = 5  # times that memory is shown


def nothing(item: WorkItem[None]) -> tuple[int, list[Failure]]:
    """As a task that ingests."""
    return len(item.sources), []


def item_of(number: int, n_images: int) -> WorkItem[None]:
    first = number * n_images
    sources = tuple(
        Source(
            f"/data/photos/{i:09d}.jpg", f"{i:09d}.jpg", f"{i:09d}", 300_000 + i, i, 1_000_000, 14
        )
        for i in range(first, first + n_images)
    )
    return WorkItem(f"{number:06d}", None, sources)


@contextmanager
def cluster(threads: int) -> Iterator[tuple[str, psutil.Process, list[psutil.Process]]]:
    """The address of a scheduler, its process, and those of its workers."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        python = [sys.executable, "-m"]
        log = (Path(folder) / "log").open("wb")
        here = ["--host", "127.0.0.1", "--scheduler-file", str(file)]
        words = {
            "dask_scheduler": ["--port", "0", "--dashboard-address", "127.0.0.1:0"],
            "dask_worker": ["--no-nanny", "--no-dashboard", "--nthreads", str(threads // WORKERS)],
        }
        started = []
        for name in ("dask_scheduler", *["dask_worker"] * WORKERS):
            command = [*python, f"distributed.cli.{name}", *words[name], *here]
            started.append(subprocess.Popen(command, cwd=folder, stdout=log, stderr=log))
        try:
            end = time.monotonic() + PATIENCE
            while not file.exists() and time.monotonic() < end:
                time.sleep(0.1)
            scheduler, *workers = (psutil.Process(each.pid) for each in started)
            yield json.loads(file.read_text())["address"], scheduler, workers
        finally:
            for each in reversed(started):
                each.terminate()
                each.wait()
            log.close()


def spent(process: psutil.Process) -> float:
    """Seconds of CPU time."""
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(n_tasks: int, threads: int, n_images: int) -> None:
    own = psutil.Process()
    with cluster(threads) as (address, scheduler, workers), connect(scheduler=address) as engine:
        while engine.threads < threads:
            time.sleep(0.1)
        items = (item_of(number, n_images) for number in range(n_tasks))
        sides = {"scheduler": [scheduler], "client": [own], "workers": workers}
        before = {name: sum(map(spent, each)) for name, each in sides.items()}
        since = time.monotonic()
        print(f"{threads} threads, {3 * threads} tasks under way, {n_tasks:,} in all")
        done = images = 0
        for n, _ in engine.map("ingest", nothing, items):
            done, images = done + 1, images + n
            if done % (n_tasks // SHOWN) == 0:
                mb = {name: each[0].memory_info().rss / 1e6 for name, each in sides.items()}
                print(f"  {done:9,} done; MB: " + ", ".join(f"{n} {x:.0f}" for n, x in mb.items()))
        took = time.monotonic() - since
        each = {name: sum(map(spent, side)) - before[name] for name, side in sides.items()}
    assert images == n_tasks * n_images
    print(f"  ms a task: {1000 * took / n_tasks:.2f}; of CPU time: "
          + ", ".join(f"{name} {1000 * x / n_tasks:.2f}" for name, x in each.items()))  # fmt: skip


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--tasks", type=int, default=100_000)
    words.add_argument("--threads", default="2,64,512")
    words.add_argument("--images", type=int, default=16)
    args = words.parse_args()
    print(versions("dask", "distributed"))
    for i, threads in enumerate(map(int, args.threads.split(","))):
        measure(args.tasks if i == 0 else args.tasks // 10, threads, args.images)


if __name__ == "__main__":
    main()
