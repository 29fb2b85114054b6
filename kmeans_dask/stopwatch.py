"""Stopwatch for time limits in a process that may be suspended.

Ctrl-Z and batch systems suspend processes. When such a process is continued, deadlines by the clock
have passed, although what the process waits for has had no time to come.
"""

from __future__ import annotations

import time

PACE = 0.5  # seconds between two readings of a stopwatch


class Stopwatch:
    """Stopwatch that does not count the time in which this process is suspended.

    The stopwatch has to be read every `pace` seconds. Where more than two paces have passed since
    the last reading, the process has probably been suspended, and one pace is counted.
    """

    def __init__(self, pace: float = PACE) -> None:
        self._pace = pace
        self._seconds = 0.0
        self._read_at = time.monotonic()

    def read(self) -> float:
        """Return the seconds since the start, without those of suspensions."""
        now = time.monotonic()
        passed, self._read_at = now - self._read_at, now
        self._seconds += passed if passed <= 2 * self._pace else self._pace
        return self._seconds


def pace_of(limit: float) -> float:
    """Return the seconds between readings of a stopwatch in a wait of at most `limit` seconds."""
    return min(PACE, limit / 4)
