"""How far a job is, and how long each step took."""

from __future__ import annotations

import time


class Progress:
    """Keeps the time, and shows nothing. A view overrides what it wants to show.

    seconds: per finished step, in order; of a step that was done several times, all together
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._step = ""
        self._since = 0.0

    def start(self, step: str, total: int | None = None, unit: str = "") -> None:
        """A step begins, with `total` units of work; None where nobody knows."""
        self._step, self._since = step, time.perf_counter()

    def advance(self, n: int) -> None:
        """`n` more units of the step are done."""

    def tell(self, text: str) -> None:
        """What the step is doing just now."""

    def finish(self) -> None:
        """The step is done."""
        spent = time.perf_counter() - self._since
        self.seconds[self._step] = self.seconds.get(self._step, 0.0) + spent
