"""Progress of a job: how far its steps are, and how long they took."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

_log = logging.getLogger("kmeans_dask")


class Progress:
    """Progress of a job, which measures time and shows nothing; subclasses show what they want.

    seconds: seconds of each finished step, in order; their sum for a step that was done repeatedly
    announce: function that is called with each event, in the form that the dashboard reads
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.announce: Callable[[dict[str, Any]], None] = _nobody
        self._step = ""
        self._since = 0.0
        self._done = self._failed = 0

    def start(self, step: str, total: int | None = None, unit: str = "") -> None:
        """Begin a step of `total` units of work; None where their number is not known."""
        self._step, self._since = step, time.perf_counter()
        self._done = self._failed = 0
        self.announce({"kind": "step", "step": step, "total": total, "unit": unit})
        _log.info("%s begins%s", step, f": {total:,} {unit}" if total is not None else "")

    def advance(self, n: int, failed: int = 0) -> None:
        """Count `n` more units of the step as done, of which `failed` have failed."""
        self._done, self._failed = self._done + n, self._failed + failed
        done, failed = self._done, self._failed
        self.announce({"kind": "advance", "step": self._step, "done": done, "failed": failed})

    def iterate(self, event: Mapping[str, Any]) -> None:
        """Announce an iteration of a fit, and count it as done.

        event: number, inertia, shift and seconds of the iteration, and its colors as `#rrggbb`
        """
        self.tell(f"inertia {event['inertia']:.6g}")
        _log.info("iteration %d: inertia %.6g", event["number"], event["inertia"])
        self.advance(1)
        figures = {name: value for name, value in event.items() if name != "colors"}
        self.announce({"kind": "iteration", **figures})
        self.announce({"kind": "palette", "colors": event["colors"]})

    def tell(self, text: str) -> None:
        """Show what the step is doing at the moment; here, nothing is shown."""

    def note(self, message: str) -> None:
        """Tell the user a line about the run, such as where it can be watched; here, log it."""
        _log.info(message)

    def finish(self) -> None:
        """End the step, and add its time to `seconds`."""
        spent = time.perf_counter() - self._since
        self.seconds[self._step] = self.seconds.get(self._step, 0.0) + spent
        self.announce({"kind": "finish", "step": self._step, "seconds": spent})
        failed = f", {self._failed:,} failed" if self._failed else ""
        _log.info("%s: %s in %.1f s%s", self._step, f"{self._done:,} done", spent, failed)


def _nobody(event: dict[str, Any]) -> None:
    pass
