"""A job of many tasks, and where it is."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COPIES = 12  # of the photographs
IMAGES = 4 * COPIES
WORDS = ("--colors", "8", "--partition-pixels", "1")  # a task for each image


def n_ingested(out: Path) -> int:
    partitions = out / ".kmeans-dask" / "store.zarr" / "partitions"
    names = [path.name for path in partitions.iterdir()] if partitions.is_dir() else []
    return sum(name[0] != "." for name in names)


@contextmanager
def stopped(worker: subprocess.Popen[bytes]) -> Iterator[None]:
    """While this worker stands still, what it has is not done, so the job cannot end."""
    worker.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        worker.send_signal(signal.SIGCONT)
