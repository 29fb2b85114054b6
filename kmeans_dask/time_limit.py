"""Time limits for images: a process whose decoder does not return in time is ended.

Decoders are written in C and cannot be interrupted. The process that has given work to this one
learns of the time limit from its end. Fetching over a network can be given up, so that it has the
same limit without ending the process.
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
    """Time limit of the block that a thread is in.

    seconds: the limit, for decoding and for fetching each
    stopwatch: time of decoding since the last fetch; None while something is fetched
    decoded: seconds of decoding before `stopwatch` was started
    fetched: seconds of fetching
    """

    seconds: float
    stopwatch: Stopwatch | None = None
    decoded: float = 0.0
    fetched: float = 0.0

    @property
    def is_over(self) -> bool:
        """Return whether decoding has taken longer than the limit."""
        stopwatch = self.stopwatch
        return stopwatch is not None and self.decoded + stopwatch.read() > self.seconds


_limits: dict[int, Limit] = {}  # by identifiers of threads
_started = threading.Lock()


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End this process if the block takes more than `seconds`, not counting time in `fetching`."""
    if _started.acquire(blocking=False):
        threading.Thread(target=_watch, name="watchdog", daemon=True).start()
    thread = threading.get_ident()
    _limits[thread] = Limit(seconds, Stopwatch())
    try:
        yield
    finally:
        del _limits[thread]


def is_limited() -> bool:
    """Return whether this thread is in a block of `time_limit`, that is, reads an image."""
    return threading.get_ident() in _limits


@contextmanager
def fetching() -> Iterator[Limit | None]:
    """Yield the time limit of this thread, or None without one; stop its clock in the block.

    Inside the block the caller has to keep to the limit itself.
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
        # Read all of them each time: a stopwatch has to be read regularly.
        overdue = [limit.is_over for limit in list(_limits.values())]
        if any(overdue):
            if "distributed" not in sys.modules:  # else the process that waits for this one says it
                sys.stderr.write(
                    "kmeans-dask: an image takes too long to decode: raise --image-timeout, or "
                    "run with worker processes, which can be spared\n"
                )
            os._exit(EXIT_CODE)
