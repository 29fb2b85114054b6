"""Colour counts to a palette: k-means, in one task where the colours are one chunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.cluster import Engine, emit, local_threads
from kmeans_dask.clustering import lloyd
from kmeans_dask.clustering.assignment import Assignment
from kmeans_dask.clustering.grid import integer_grid
from kmeans_dask.clustering.lloyd import Iteration, Measure
from kmeans_dask.clustering.partial import Partial
from kmeans_dask.clustering.points import Points, color_points
from kmeans_dask.clustering.seeding import SEEDINGS
from kmeans_dask.imaging.palette import Palette, palette_of
from kmeans_dask.imaging.quality import psnr
from kmeans_dask.pipeline.count import Tally
from kmeans_dask.pipeline.progress import Progress
from kmeans_dask.rounds import Rounds, in_threads
from kmeans_dask.settings import FitSettings
from kmeans_dask.store import Store, StoredPalette


@dataclass(frozen=True)
class FitResult:
    """A palette, and how it came about.

    weights: (c,) int64, opaque pixels nearest to each of the palette's colours
    distinct_colors: of all opaque pixels
    inertia: sum of squared distances of all opaque pixels to the centroids, before rounding
    squared_error: the same to the palette's colours
    history: inertia at the start of each iteration, and at the end
    """

    name: str
    palette: Palette
    weights: NDArray[np.int64]
    distinct_colors: int
    iterations: int
    converged: bool
    inertia: float
    squared_error: float
    history: tuple[float, ...]

    @property
    def psnr(self) -> float | None:
        """Over all opaque pixels of the store, in dB; None where nothing is lost."""
        return psnr(self.squared_error, int(self.weights.sum()))

    def as_dict(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
        return {
            "palette": self.name,
            "colors": len(self.palette),
            "distinct_colors": self.distinct_colors,
            "iterations": self.iterations,
            "converged": self.converged,
            "inertia": self.inertia,
            "psnr": self.psnr,
        }


def fit(store: Store, engine: Engine, progress: Progress, settings: FitSettings) -> FitResult:
    """Fit a palette to the colours of `store`, and store it under the name `k<colors>`."""
    store.require_whole()
    transparent = Tally.read(store).transparent > 0
    k = settings.colors - transparent
    n_colors, size = store.n_colors, settings.chunk_colors

    def show(event: dict[str, Any]) -> None:
        progress.tell(f"inertia {event['inertia']:.6g}")
        progress.advance(1)

    progress.start("fit", None, "iterations")
    if n_colors <= size:
        with engine.listening(show):
            found = engine.result(
                engine.submit("fit", fit_chunk, store.path, k, settings, engine.topic, engine.cores)
            )
    else:
        start = engine.result(engine.submit("seed", seed_centroids, store.path, k, settings))
        chunks = Rounds(
            engine,
            [
                engine.submit("build-points", read_chunk, store.path, first, first + size)
                for first in range(0, n_colors, size)
            ],
        )
        found = _fit(start, chunks, settings, lambda iteration: show(asdict(iteration)))
    progress.finish()
    result = FitResult(
        f"k{settings.colors}",
        Palette(found.colors, transparent),
        found.measured.weights,
        n_colors,
        found.fit.n_iter,
        found.fit.converged,
        found.fit.inertia,
        found.measured.inertia(found.colors.astype(np.float64)),
        found.fit.history,
    )
    _write(store, result, found.fit.centroids, settings)
    return result


def read_fit(store: Store, name: str | None = None) -> FitResult:
    """What `fit` stored under `name`, or last. Raises StoreError where there is nothing."""
    if name is None:
        name = store.palette_names[-1] if store.palette_names else ""
    stored = store.read_palette(name)
    return FitResult(
        name,
        Palette(stored.colors, stored.attrs["transparent"]),
        stored.weights,
        stored.attrs["distinct_colors"],
        stored.attrs["iterations"],
        stored.attrs["converged"],
        stored.attrs["inertia"],
        stored.attrs["squared_error"],
        tuple(stored.attrs["history"]),
    )


def _write(
    store: Store, result: FitResult, centroids: NDArray[np.float64], settings: FitSettings
) -> None:
    attrs = {
        "settings": asdict(settings),
        "transparent": result.palette.transparent,
        "distinct_colors": result.distinct_colors,
        "iterations": result.iterations,
        "converged": result.converged,
        "inertia": result.inertia,
        "squared_error": result.squared_error,
        "history": list(result.history),
    }
    stored = StoredPalette(centroids, result.palette.colors, result.weights, attrs)
    store.write_palette(result.name, stored)


class _Found(NamedTuple):
    """The fit, and its centroids rounded to a palette's colours, measured once more as such."""

    fit: lloyd.Fit
    colors: NDArray[np.uint8]
    measured: Partial


def fit_chunk(store_path: Path, k: int, settings: FitSettings, topic: str, cores: int) -> _Found:
    """One task: the whole fit, where the colours are."""
    points = color_points(Store.open(store_path).read_colors())

    def tell(iteration: Iteration) -> None:
        emit(topic, asdict(iteration))

    with local_threads(cores) as threads:
        _, measure = in_threads(points, threads)
        return _fit(_seed(points, k, settings), measure, settings, tell)


def seed_centroids(store_path: Path, k: int, settings: FitSettings) -> NDArray[np.float64]:
    """One task: where to start; the table of all colours fits one worker (at most 200 MB)."""
    return _seed(color_points(Store.open(store_path).read_colors()), k, settings)


def read_chunk(store_path: Path, start: int, stop: int) -> Assignment:
    """One task, whose result stays on its worker: a chunk of the colours, ready to be measured."""
    return Assignment(color_points(Store.open(store_path).read_colors(start, stop)))


def _seed(points: Points, k: int, settings: FitSettings) -> NDArray[np.float64]:
    if len(points) <= k:
        return points.values.astype(np.float64)
    return SEEDINGS[settings.init](points, k, settings.seed)


def _fit(
    start: NDArray[np.float64],
    measure: Measure,
    settings: FitSettings,
    on_iteration: Callable[[Iteration], None],
) -> _Found:
    if not len(start):  # all is transparent
        nothing = Partial(
            np.zeros(0, np.int64), np.zeros((0, 3), np.int64), (0, 0, 0), integer_grid(3)
        )
        return _Found(
            lloyd.Fit(start, nothing.weights, 0.0, (), 0, converged=True),
            np.zeros((0, 3), np.uint8),
            nothing,
        )
    found = lloyd.fit(
        start,
        measure,
        max_iter=settings.max_iter,
        tol=settings.tol,
        on_iteration=on_iteration,
    )
    colors = palette_of(found.centroids).colors
    return _Found(found, colors, measure(colors.astype(np.float64)))
