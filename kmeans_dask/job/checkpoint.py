"""Checkpoint of a fit, from which a killed one resumes at its last iteration.

A fit is deterministic: with the same settings and colours, it goes through the same centroids. So a
checkpoint only holds how far the fit is: the finished k-means runs, and the centroids and history
of the unfinished one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.spaces import Space
from kmeans_dask.errors import UsageError
from kmeans_dask.files import Location
from kmeans_dask.files.atomic_files import read_sealed, write_sealed
from kmeans_dask.files.documents import Count, DamagedError, Form, Measure
from kmeans_dask.kmeans.lloyd import Fit, Iteration
from kmeans_dask.settings import FitSettings

_MOST_ITERATIONS = 1 << 18  # of one run to convergence: a thousand times as many as any took
_PAUSE = 0.5  # seconds between writes: an iteration may take a millisecond, and so may a write
_BISECTIONS = 17  # numbers of colours, at most, that the search for the fewest colours tries
_CENTROID, _ITERATION = 160, 32  # bytes of a centroid, and of an iteration, in the file, at most


@dataclass(frozen=True)
class UnfinishedRun:
    """Run of Lloyd's algorithm that has not ended, as of its last iteration.

    centroids: (k, C) float64, after the last iteration
    history: inertia at the start of each iteration
    """

    centroids: NDArray[np.float64]
    history: tuple[float, ...]


_Places = tuple[tuple[float, ...], ...]


class _Done(TypedDict):
    """Finished run in a checkpoint file: the fields of `kmeans.lloyd.Fit`."""

    centroids: _Places
    weights: tuple[Count, ...]
    inertia: Measure
    history: tuple[Measure, ...]
    n_iter: Count
    converged: bool


class _Left(TypedDict):
    """Unfinished run in a checkpoint file: the fields of `UnfinishedRun`, and its name."""

    run: str
    centroids: _Places
    history: tuple[Measure, ...]


class _Kept(TypedDict):
    """Contents of a checkpoint file."""

    identity: dict[str, Any]
    done: dict[str, _Done]
    begun: _Left | None


def most_bytes(settings: FitSettings) -> int:
    """Return the largest size, in bytes, that the checkpoint of a fit with `settings` can have."""
    numbers = _BISECTIONS if settings.min_psnr else 1
    runs = sum(len(settings.tries(settings.colors >> shift)) for shift in range(numbers))
    iterations = min(settings.most_iterations, _MOST_ITERATIONS) + 1
    run = settings.colors * _CENTROID + iterations * _ITERATION
    return (runs + 1) * run + (1 << 20)  # bytes for the settings


class Checkpoint:
    """Checkpoint of one fit: its finished runs and the unfinished one, in a file if it has a path.

    identity: all that the runs depend on; runs of another identity in the file are ignored
    at_most: the largest size of the file, in bytes
    space: the colour space in which all centroids must lie
    resume: whether to continue the runs in the file
    pause: seconds between two writes while a run is under way
    """

    def __init__(
        self,
        path: Location | None = None,
        identity: Mapping[str, Any] | None = None,
        at_most: int = 1 << 20,
        space: Space | None = None,
        *,
        resume: bool = False,
        pause: float = _PAUSE,
    ) -> None:
        self._path, self._identity, self._pause = path, identity, pause
        self._form = Form(_Kept, at_most)
        self._done: dict[str, Fit] = {}
        self._begun: tuple[str, UnfinishedRun] | None = None
        self._history: list[float] = []
        self._written = time.monotonic()
        if path and resume:
            with suppress(OSError, DamagedError):  # then there is nothing to resume
                kept = read_sealed(path, self._form)
                if kept["identity"] == identity:
                    done = {run: _fit_of(run, each, space) for run, each in kept["done"].items()}
                    self._begun = _begun_of(kept["begun"], space)
                    self._done = done

    def finished(self, k: int, seed: int) -> Fit | None:
        """Return the result of the run of `k` and `seed`, or None where it is not finished."""
        return self._done.get(f"{k} {seed}")

    def begun(self, k: int, seed: int) -> UnfinishedRun | None:
        """Return the run of `k` and `seed` where it is the unfinished one, else None.

        Its history becomes the one that `note` continues.
        """
        run, begun = self._begun or ("", None)
        self._history = list(begun.history) if begun and run == f"{k} {seed}" else []
        return begun if run == f"{k} {seed}" else None

    def note(self, k: int, seed: int, iteration: Iteration) -> None:
        """Note an iteration of the run of `k` and `seed`, and write the file if a pause is over.

        An iteration that has converged is not written, because `finish` follows.
        """
        self._history.append(iteration.inertia)
        if iteration.converged or not self._path:
            return
        if time.monotonic() - self._written >= self._pause:
            self._begun = f"{k} {seed}", UnfinishedRun(iteration.centroids, tuple(self._history))
            self._write()

    def finish(self, k: int, seed: int, fit: Fit) -> None:
        """Note the result of the run of `k` and `seed`, and write the file."""
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
            with suppress(UsageError):  # too large to write: a resumed fit repeats the rest
                write_sealed(self._path, kept, self._form)
        self._written = time.monotonic()


def _plain(value: Fit | UnfinishedRun) -> dict[str, Any]:
    """Return the fields of `value`, ready for JSON."""
    return {
        name: each.tolist() if isinstance(each, np.ndarray) else each
        for name, each in vars(value).items()
    }


def _fit_of(run: str, kept: _Done, space: Space | None) -> Fit:
    centroids = _centroids_of(run, kept["centroids"], space)
    weights = np.array(kept["weights"], np.int64)
    if len(weights) != len(centroids):
        raise DamagedError("a run of it has other centroids than weights")
    return Fit(
        centroids, weights, kept["inertia"], kept["history"], kept["n_iter"], kept["converged"]
    )


def _begun_of(kept: _Left | None, space: Space | None) -> tuple[str, UnfinishedRun] | None:
    if kept is None:
        return None
    centroids = _centroids_of(kept["run"], kept["centroids"], space)
    return kept["run"], UnfinishedRun(centroids, kept["history"])


def _centroids_of(run: str, places: _Places, space: Space | None) -> NDArray[np.float64]:
    """Return the centroids of a run, (k, C) float64; the name of the run begins with the largest k.

    Raises DamagedError where there are more centroids, or they are no coordinates in `space`.
    """
    try:
        centroids = np.array(places, np.float64)
    except ValueError as error:
        raise DamagedError("its centroids have several lengths") from error
    number = run.partition(" ")[0]
    few = number.isdecimal() and 0 < len(centroids) <= int(number[:9])
    if not few or centroids.ndim != 2 or (space and not space.holds(centroids)):
        raise DamagedError("its centroids are no places of colours")
    return centroids
