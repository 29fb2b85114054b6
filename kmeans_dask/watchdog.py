"""An end to every wait for a decoder: a process whose decoder does not return, ends.

Decoders are C and cannot be interrupted. Who gave the process work finds out by its death. What
is fetched over a network can be given up: that has the same limit, and ends no process.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kmeans_dask.stopwatch import PACE, Stopwatch

EXIT_CODE = 3


@dataclass
class Limit:
    """The limit of the block that a thread is in.

    stopwatch: of decoding since something was fetched last; None while something is fetched
    decoded, fetched: seconds of either before that
    """

    seconds: float
    stopwatch: Stopwatch | None = None
    decoded: float = 0.0
    fetched: float = 0.0

    @property
    def is_over(self) -> bool:
        """Return whether decoding has taken longer."""
        stopwatch = self.stopwatch
        return stopwatch is not None and self.decoded + stopwatch.read() > self.seconds


_limits: dict[int, Limit] = {}  # of threads
_started = threading.Lock()


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End this process if the block takes longer than that."""
    if _started.acquire(blocking=False):
        threading.Thread(target=_watch, name="watchdog", daemon=True).start()
    thread = threading.get_ident()
    _limits[thread] = Limit(seconds, Stopwatch())
    try:
        yield
    finally:
        del _limits[thread]


def is_limited() -> bool:
    """Return whether this thread is in such a block: at work on an image."""
    return threading.get_ident() in _limits


@contextmanager
def fetching() -> Iterator[Limit | None]:
    """The limit of this thread, None without any; its clock stands still inside the block.

    Whoever fetches keeps to it by itself.
    """
    limit = _limits.get(threading.get_ident())
    if limit is None or limit.stopwatch is None:
        yield limit
        return
    limit.decoded += limit.stopwatch.read()
    limit.stopwatch = None
    try:
        yield limit
    finally:
        limit.stopwatch = Stopwatch()


def _watch() -> None:
    while True:
        time.sleep(PACE)
        # All of them are read each time, as a stopwatch has to be.
        overdue = [limit.is_over for limit in list(_limits.values())]
        if any(overdue):
            if "distributed" not in sys.modules:  # else whoever waits for this process says it
                sys.stderr.write(
                    "kmeans-dask: an image takes too long to decode: raise --image-timeout, or "
                    "run with worker processes, which can be spared\n"
                )
            os._exit(EXIT_CODE)
