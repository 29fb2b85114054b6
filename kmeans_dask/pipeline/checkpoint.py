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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.clustering.lloyd import Fit, Iteration
from kmeans_dask.storage import Place
from kmeans_dask.storage.files import DamagedError, read_sealed, write_sealed

_MALFORMED = (AttributeError, LookupError, TypeError, ValueError, OverflowError)
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
        path: Place | None = None,
        identity: Mapping[str, Any] | None = None,
        *,
        resume: bool = False,
        pause: float = _PAUSE,
    ) -> None:
        self._path, self._identity, self._pause = path, identity, pause
        self._done: dict[str, Fit] = {}
        self._begun: tuple[str, Begun] | None = None
        self._history: list[float] = []
        self._written = time.monotonic()
        if path and resume:
            with suppress(OSError, DamagedError, *_MALFORMED):  # nothing to go on with
                kept = read_sealed(path)
                if kept["identity"] == identity:
                    done = {run: _fit_of(each) for run, each in kept["done"].items()}
                    self._begun = _begun_of(kept["begun"])
                    self._done = done

    def finished(self, k: int, seed: int) -> Fit | None:
        """What that run ended with, if it did."""
        return self._done.get(f"{k} {seed}")

    def begun(self, k: int, seed: int) -> Begun | None:
        """Where that run was left, if it was."""
        run, begun = self._begun or ("", None)
        self._history = list(begun.history) if begun and run == f"{k} {seed}" else []
        return begun if run == f"{k} {seed}" else None

    def note(self, k: int, seed: int, iteration: Iteration) -> None:
        """An iteration of a run. What ends a run is noted by `finish`."""
        self._history.append(iteration.inertia)
        if iteration.converged or not self._path:
            return
        if time.monotonic() - self._written >= self._pause:
            self._begun = f"{k} {seed}", Begun(iteration.centroids, tuple(self._history))
            self._write()

    def finish(self, k: int, seed: int, fit: Fit) -> None:
        """The end of a run."""
        self._done[f"{k} {seed}"] = fit
        self._begun = None
        self._write()

    def _write(self) -> None:
        if self._path:
            run, begun = self._begun or (None, None)
            kept = {
                "identity": self._identity,
                "done": {name: _plain(fit) for name, fit in self._done.items()},
                "begun": begun and {"run": run, **_plain(begun)},
            }
            write_sealed(self._path, kept)
        self._written = time.monotonic()


def _plain(value: Fit | Begun) -> dict[str, Any]:
    """Ready for JSON."""
    return {
        name: each.tolist() if isinstance(each, np.ndarray) else each
        for name, each in vars(value).items()
    }


def _fit_of(kept: Mapping[str, Any]) -> Fit:
    return Fit(
        np.array(kept["centroids"], np.float64),
        np.array(kept["weights"], np.int64),
        float(kept["inertia"]),
        tuple(map(float, kept["history"])),
        int(kept["n_iter"]),
        bool(kept["converged"]),
    )


def _begun_of(kept: Mapping[str, Any] | None) -> tuple[str, Begun] | None:
    if kept is None:
        return None
    centroids = np.array(kept["centroids"], np.float64)
    return str(kept["run"]), Begun(centroids, tuple(map(float, kept["history"])))
