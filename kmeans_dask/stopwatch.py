"""Limits on waiting, in a process that may be suspended by Ctrl-Z, or by a batch system.

When it is continued any deadline has passed, and what it waits for has had no time to come.
"""

from __future__ import annotations

import time

PACE = 0.5  # seconds between looks at what is waited for


class Stopwatch:
    """Seconds since it was started, without those in which this process stood still.

    It has to be read every `pace` seconds. Who reads it much later could not do so before, and is
    charged for one pace.
    """

    def __init__(self, pace: float = PACE) -> None:
        self._pace = pace
        self._seconds = 0.0
        self._read_at = time.monotonic()

    def read(self) -> float:
        """Return the seconds until now."""
        now = time.monotonic()
        passed, self._read_at = now - self._read_at, now
        self._seconds += passed if passed <= 2 * self._pace else self._pace
        return self._seconds


def pace_of(limit: float) -> float:
    """Seconds between looks, so that a wait of at most `limit` seconds has some of them."""
    return min(PACE, limit / 4)
