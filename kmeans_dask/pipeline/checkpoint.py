"""How far a fit is, so that a killed one goes on from its last iteration.

A fit is deterministic: with the same settings, on the same colours, it goes through the same
centroids. So what is kept is only where it stands: the k-means runs that are done, and of the one
at work its centroids and history.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.clustering.lloyd import Fit, Iteration
from kmeans_dask.files import DamagedError, read_sealed, write_sealed

_PAUSE = 0.5  # seconds between writes: an iteration may take a millisecond, and so may a write


@dataclass(frozen=True)
class Begun:
    """A run of Lloyd's loop that was left.

    centroids: (k, C) float64, after the last iteration; history: inertia at the start of each
    """

    centroids: NDArray[np.float64]
    history: tuple[float, ...]


class Checkpoint:
    """The runs of one fit, in a file if there is one.

    identity: what the runs hang on; runs of another identity are forgotten
    resume: whether runs that the file has count
    """

    def __init__(
        self,
        path: Path | None = None,
        identity: Mapping[str, Any] | None = None,
        *,
        resume: bool = False,
        pause: float = _PAUSE,
    ) -> None:
        self._path, self._identity, self._pause = path, identity, pause
        self._done: dict[str, Any] = {}
        self._begun: dict[str, Any] = {}
        self._history: list[float] = []
        self._written = time.monotonic()
        if path and resume:
            with suppress(OSError, DamagedError):  # then there is nothing to go on with
                kept = read_sealed(path)
                if kept["identity"] == identity:
                    self._done, self._begun = kept["done"], kept["begun"]

    def finished(self, k: int, seed: int) -> Fit | None:
        """What that run ended with, if it did."""
        kept = self._done.get(f"{k} {seed}")
        return kept and Fit(
            np.array(kept["centroids"], np.float64),
            np.array(kept["weights"], np.int64),
            kept["inertia"],
            tuple(kept["history"]),
            kept["n_iter"],
            kept["converged"],
        )

    def begun(self, k: int, seed: int) -> Begun | None:
        """Where that run was left, if it was."""
        self._history = []
        kept = self._begun
        if kept.get("run") != f"{k} {seed}":
            return None
        self._history = list(kept["history"])
        return Begun(np.array(kept["centroids"], np.float64), tuple(kept["history"]))

    def note(self, k: int, seed: int, iteration: Iteration) -> None:
        """An iteration of a run. What ends a run is noted by `finish`."""
        self._history.append(iteration.inertia)
        if iteration.converged or not self._path:
            return
        if time.monotonic() - self._written >= self._pause:
            self._begun = {
                "run": f"{k} {seed}",
                "centroids": iteration.centroids.tolist(),
                "history": self._history,
            }
            self._write()

    def finish(self, k: int, seed: int, fit: Fit) -> None:
        """The end of a run."""
        self._done[f"{k} {seed}"] = {
            "centroids": fit.centroids.tolist(),
            "weights": fit.weights.tolist(),
            "inertia": fit.inertia,
            "history": list(fit.history),
            "n_iter": fit.n_iter,
            "converged": fit.converged,
        }
        self._begun = {}
        self._write()

    def _write(self) -> None:
        if self._path:
            kept = {"identity": self._identity, "done": self._done, "begun": self._begun}
            write_sealed(self._path, kept)
        self._written = time.monotonic()
