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

EXIT_CODE = 3


@dataclass
class Limit:
    """The limit of the block that a thread is in.

    deadline: of decoding, by the monotonic clock; None while something is fetched
    fetched: seconds of the limit that went for what was fetched
    """

    seconds: float
    deadline: float | None
    fetched: float = 0.0


_limits: dict[int, Limit] = {}  # of threads
_started = threading.Lock()


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End this process if the block takes longer than that."""
    if _started.acquire(blocking=False):
        threading.Thread(target=_watch, name="watchdog", daemon=True).start()
    thread = threading.get_ident()
    _limits[thread] = Limit(seconds, time.monotonic() + seconds)
    try:
        yield
    finally:
        del _limits[thread]


def is_limited() -> bool:
    """Whether this thread is in such a block: at work on an image."""
    return threading.get_ident() in _limits


@contextmanager
def fetching() -> Iterator[Limit | None]:
    """The limit of this thread, whose clock stands still inside the block; None without any.

    Whoever fetches keeps to it by itself.
    """
    limit = _limits.get(threading.get_ident())
    if limit is None or limit.deadline is None:
        yield limit
        return
    left = limit.deadline - time.monotonic()
    limit.deadline = None
    try:
        yield limit
    finally:
        limit.deadline = time.monotonic() + left


def _watch() -> None:
    while True:
        time.sleep(0.5)
        now = time.monotonic()
        deadlines = [limit.deadline for limit in list(_limits.values())]
        if any(deadline is not None and deadline < now for deadline in deadlines):
            if "distributed" not in sys.modules:  # else whoever waits for this process says it
                sys.stderr.write(
                    "kmeans-dask: an image takes too long to decode: raise --image-timeout, or "
                    "run with worker processes, which can be spared\n"
                )
            os._exit(EXIT_CODE)
