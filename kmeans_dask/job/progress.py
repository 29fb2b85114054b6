"""How far a job is, and how long each step took."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any


class Progress:
    """Keeps the time, and shows nothing. A view overrides what it wants to show.

    seconds: per finished step, in order; of a step that was done several times, all together
    announce: is told of everything as well, as `kmeans_dask.dashboard` wants to hear it
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.announce: Callable[[dict[str, Any]], None] = _nobody
        self._step = ""
        self._since = 0.0
        self._done = self._failed = 0

    def start(self, step: str, total: int | None = None, unit: str = "") -> None:
        """A step begins, with `total` units of work; None where nobody knows."""
        self._step, self._since = step, time.perf_counter()
        self._done = self._failed = 0
        self.announce({"kind": "step", "step": step, "total": total, "unit": unit})

    def advance(self, n: int, failed: int = 0) -> None:
        """`n` more units of the step are done, `failed` of them in vain."""
        self._done, self._failed = self._done + n, self._failed + failed
        done, failed = self._done, self._failed
        self.announce({"kind": "advance", "step": self._step, "done": done, "failed": failed})

    def iterate(self, event: Mapping[str, Any]) -> None:
        """An iteration of a fit: its number, inertia, shift, seconds, and colors, as #rrggbb."""
        self.tell(f"inertia {event['inertia']:.6g}")
        self.advance(1)
        figures = {name: value for name, value in event.items() if name != "colors"}
        self.announce({"kind": "iteration", **figures})
        self.announce({"kind": "palette", "colors": event["colors"]})

    def tell(self, text: str) -> None:
        """What the step is doing just now."""

    def finish(self) -> None:
        """The step is done."""
        spent = time.perf_counter() - self._since
        self.seconds[self._step] = self.seconds.get(self._step, 0.0) + spent
        self.announce({"kind": "finish", "step": self._step, "seconds": spent})


def _nobody(event: dict[str, Any]) -> None:
    pass
