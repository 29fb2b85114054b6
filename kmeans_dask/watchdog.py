"""An end to every wait for a decoder: a process whose decoder does not return, ends.

Decoders are C and cannot be interrupted. Who gave the process work finds out by its death.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from kmeans_dask.stopwatch import PACE, Stopwatch

EXIT_CODE = 3

_limits: dict[int, tuple[Stopwatch, float]] = {}  # of threads, in seconds
_started = threading.Lock()


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End this process if the block takes longer than that."""
    if _started.acquire(blocking=False):
        threading.Thread(target=_watch, name="watchdog", daemon=True).start()
    thread = threading.get_ident()
    _limits[thread] = Stopwatch(), seconds
    try:
        yield
    finally:
        del _limits[thread]


def _watch() -> None:
    while True:
        time.sleep(PACE)
        # All of them are read each time, as a stopwatch has to be.
        overdue = [stopwatch.read() > limit for stopwatch, limit in list(_limits.values())]
        if any(overdue):
            if "distributed" not in sys.modules:  # else whoever waits for this process says it
                sys.stderr.write(
                    "kmeans-dask: an image takes too long to decode: raise --image-timeout, or "
                    "run with worker processes, which can be spared\n"
                )
            os._exit(EXIT_CODE)
