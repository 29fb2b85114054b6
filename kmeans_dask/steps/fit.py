"""Step that fits a palette to a store: as one task for one chunk of colours, else in rounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.evaluation import Evaluation, evaluate
from kmeans_dask.color.palette import Palette
from kmeans_dask.color.psnr import psnr
from kmeans_dask.color.remap import nearest_entries, opaque_weights
from kmeans_dask.color.spaces import Space
from kmeans_dask.engine import Engine, emit, local_threads
from kmeans_dask.engine.memory_model import check_colors
from kmeans_dask.errors import ImageError, JobError, StoreError, UsageError
from kmeans_dask.estimator.lloyd_rounds import DistributedSums
from kmeans_dask.files import Location
from kmeans_dask.job.checkpoint import Checkpoint, UnfinishedRun, most_bytes
from kmeans_dask.job.fit_result import Drift, FitResult, name_of, plain_settings, read_fit
from kmeans_dask.job.progress import Progress
from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.kmeans.lloyd import Fit
from kmeans_dask.settings import CHUNK_COLORS, FitSettings
from kmeans_dask.steps.count import compute_image_weights, most_weight
from kmeans_dask.steps.quantize import (
    OnIteration,
    PaletteFit,
    _opaque_hexes,
    event_of,
    quantize,
    quantize_histogram,
    run_lloyd,
    start_of,
)
from kmeans_dask.store import Store, StoredPalette
from kmeans_dask.store.records import FitRecord
from kmeans_dask.store.tally import Tally
from kmeans_dask.store.zarr_groups import is_weights


def fit(
    store: Store,
    engine: Engine,
    progress: Progress,
    settings: FitSettings,
    *,
    resume: bool = False,
) -> FitResult:
    """Fit a palette to the colours of `store`, and store it under the name `k<colors>`.

    resume: resume an earlier fit with the same settings from its checkpoint, or return its result
    """
    store.require_whole()
    store.sweep()
    name = name_of(settings)
    generation = store.plan.generation
    before = read_fit(store, name) if name in store.palette_names else None
    if before and before.generation == generation:
        if resume and plain_settings(before.settings) == plain_settings(settings):
            store.settle_palette(name)
            return before
        before = None
    tally = Tally.read(store)
    transparent = tally.transparent > 0
    check_room(settings, transparent=transparent)
    check_sums(tally, settings)
    if settings.weight == "images" and not store.has_image_weights:
        compute_image_weights(store, engine, progress)
    n_colors, size = store.n_colors, settings.chunk_colors

    if not resume:
        store.fit_file(name).unlink(missing_ok=True)
    progress.start("fit", None, "iterations")
    if n_colors <= size:
        with engine.listening(progress.iterate):
            task = engine.submit(
                "fit", fit_chunk, store.path, settings, transparent, engine.topic, engine.cores
            )
            found = engine.result(task)
    else:
        store.check_colors()  # here, since each task reads only some colours
        colors = _ColorsInRounds(store, settings, engine, opaque=tally.translucent == 0)
        found = quantize(
            colors,
            settings,
            transparent=transparent,
            on_iteration=lambda iteration: progress.iterate(event_of(iteration, colors.space)),
            checkpoint=_checkpoint(store, settings),
        )
    # The palette that was shown last may be that of a start that was not the best.
    progress.announce({"kind": "palette", "colors": _opaque_hexes(found.palette.colors)})
    progress.finish()
    drift = drift_of(store, before, engine) if before else None
    result = result_of(found, n_colors, settings, generation, drift)
    _write(store, result, found.fit.centroids)
    return result


def has_checkpoint(store: Store, settings: FitSettings) -> bool:
    """Return whether `store` has a checkpoint of a fit with as many colours as `settings` has."""
    return (store.path / "fits" / f"{name_of(settings)}.json").is_file()


def result_of(
    found: PaletteFit,
    n_colors: int,
    settings: FitSettings,
    generation: int = 1,
    drift: Drift | None = None,
) -> FitResult:
    """Return the result of a fit to `n_colors` distinct colours."""
    return FitResult(
        name_of(settings),
        found.palette,
        found.evaluation.weights,
        n_colors,
        found.fit.n_iter,
        found.fit.converged,
        found.fit.inertia,
        found.evaluation.squared_error,
        found.fit.history,
        settings,
        generation,
        drift,
    )


def check_room(settings: FitSettings, *, transparent: bool) -> None:
    """Raise UsageError where a palette has no room for its fixed colours and transparency."""
    if len(settings.fixed) + transparent > settings.colors:
        raise UsageError(
            f"--colors {settings.colors} has no room for {len(settings.fixed)} fixed colours and "
            "the transparent one: raise it"
        )


def check_sums(tally: Tally, settings: FitSettings) -> None:
    """Raise JobError where sums over all pixels would not be exact in 64 bits.

    The sum of each chunk could be exact although their total is not.
    """
    space = Space(settings.space, alpha=tally.translucent > 0)
    most = (2**63 - 1) // space.largest
    if settings.weight == "pixels" and tally.pixels > most:
        kind = "with partly transparent ones" if space.alpha else "that are opaque"
        raise JobError(
            f"{tally.pixels:,} pixels {kind} are more than the {most:,} that can be summed exactly "
            f"in the space {space.name}: fit fewer, or with --weight images"
        )


def drift_of(store: Store, fitted: FitResult, engine: Engine) -> Drift:
    """Return how well a palette of an earlier fit suits the images that the store has now."""
    settings = fitted.settings
    evaluation = evaluate_all(
        store,
        fitted.palette,
        settings.space,
        engine,
        range(0, store.n_colors, CHUNK_COLORS),
    )
    return Drift(fitted.psnr, psnr(evaluation.squared_error, int(evaluation.weights.sum())))


def _write(store: Store, result: FitResult, centroids: NDArray[np.float64]) -> None:
    fitted = FitRecord(
        settings=result.settings,
        distinct_colors=result.distinct_colors,
        iterations=result.iterations,
        converged=result.converged,
        inertia=result.inertia,
        squared_error=str(result.squared_error),
        history=result.history,
        generation=result.generation,
    )
    weights = result.palette.spread(result.weights)
    store.write_palette(
        result.name, StoredPalette(centroids, result.palette.entries, weights, fitted)
    )


def fit_chunk(
    store_path: Location, settings: FitSettings, transparent: bool, topic: str, cores: int
) -> PaletteFit:
    """Fit a palette to the whole histogram, as one task on the worker that reads it."""
    store = Store.open(store_path)
    try:
        check_colors(store.n_colors, opaque=Tally.read(store).translucent == 0)
    except ImageError as error:
        raise JobError(str(error)) from error
    with local_threads(cores) as threads:
        found, _ = quantize_histogram(
            store.read_colors(),
            settings,
            threads,
            transparent=transparent,
            weights=_weights(store, settings),
            on_event=lambda event: emit(topic, event),
            checkpoint=_checkpoint(store, settings),
        )
    return found


def _checkpoint(store: Store, settings: FitSettings) -> Checkpoint:
    """Return the checkpoint of a fit, which an earlier run that is resumed may have left."""
    identity = {
        "settings": plain_settings(settings),
        "generation": store.total.generation,
    }
    space = Space(settings.space, alpha=Tally.read(store).translucent > 0)
    return Checkpoint(
        store.fit_file(name_of(settings)), identity, most_bytes(settings), space, resume=True
    )


def _weights(
    store: Store, settings: FitSettings, start: int = 0, stop: int | None = None
) -> NDArray[np.int64] | None:
    """Return the weights of colours `start` to `stop` in the fit, (n,) int64.

    Return None where the weight of a colour is the number of its pixels. Raises StoreError where
    the stored weights are damaged.
    """
    if settings.weight != "images":
        return None
    weights = store.read_image_weights(start, stop)
    colors = range(store.n_colors)[start:stop]
    if len(weights) != len(colors) or not is_weights(weights, most_weight(Tally.read(store))):
        raise StoreError(f"{store.path} is damaged: its images cannot weigh so much")
    return weights


class _ColorsInRounds:
    """Colours of a store, in chunks that workers hold; see `steps.quantize.Colors`."""

    def __init__(
        self, store: Store, settings: FitSettings, engine: Engine, *, opaque: bool
    ) -> None:
        self.space = Space(settings.space, alpha=not opaque)
        self.distinct = store.n_colors
        self._store, self._engine = store, engine
        self._starts = range(0, self.distinct, settings.chunk_colors)
        self._chunks = [
            engine.submit("build-points", read_chunk, store.path, self.space, settings, start)
            for start in self._starts
        ]

    def read(self) -> ColorHistogram:
        return self._store.read_colors()

    def start(self, k: int, seed: int, settings: FitSettings) -> NDArray[np.float64]:
        task = self._engine.submit(
            "seed", seed_centroids, self._store.path, self.space, k, seed, settings
        )
        start: NDArray[np.float64] = self._engine.result(task)
        return start

    def fit(
        self,
        start: NDArray[np.float64],
        settings: FitSettings,
        on_iteration: OnIteration | None,
        begun: UnfinishedRun | None,
    ) -> Fit:
        return run_lloyd(
            DistributedSums(self._engine, self._chunks), start, settings, on_iteration, begun
        )

    def opaque(self, centroids: NDArray[np.float64]) -> NDArray[np.bool_]:
        if not self.space.alpha:
            return np.ones(len(centroids), np.bool_)
        parts = [
            self._engine.submit("evaluate", weigh_chunk, self._store.path, start, chunk, centroids)
            for start, chunk in zip(self._starts, self._chunks, strict=True)
        ]
        opaque, total = sum(self._engine.result(part) for part in parts)
        return np.asarray(2 * opaque >= total)

    def evaluate(self, palette: Palette) -> Evaluation:
        return evaluate_all(self._store, palette, self.space.name, self._engine, self._starts)


def evaluate_all(
    store: Store, palette: Palette, space: str, engine: Engine, starts: range
) -> Evaluation:
    """Evaluate `palette` on the whole histogram, in chunks that begin at `starts`."""
    parts = [
        engine.submit("evaluate", evaluate_chunk, store.path, start, starts.step, palette, space)
        for start in starts
    ]
    evaluation: Evaluation = engine.result(engine.submit("evaluate", merge_evaluations, parts))
    return evaluation


def read_chunk(store_path: Location, space: Space, settings: FitSettings, start: int) -> Assignment:
    """Read a chunk of the histogram as points; the result of the task stays on its worker."""
    store, stop = Store.open(store_path), start + settings.chunk_colors
    weights = _weights(store, settings, start, stop)
    return Assignment(space.points(store.read_colors(start, stop), weights))


def weigh_chunk(
    store_path: Location, start: int, chunk: Assignment, centroids: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Count the pixels of a chunk that are nearest to each of `centroids`, as one task.

    Return two rows: the pixels of opaque colours, and those of all colours.
    """
    histogram = Store.open(store_path).read_colors(start, start + len(chunk.points))
    return opaque_weights(histogram, [chunk], centroids)


def evaluate_chunk(
    store_path: Location, start: int, size: int, palette: Palette, space: str
) -> Evaluation:
    """Evaluate `palette` on a chunk of the histogram, as one task."""
    histogram = Store.open(store_path).read_colors(start, start + size)
    return evaluate(histogram, nearest_entries(histogram, palette, space), palette)


def merge_evaluations(parts: Sequence[Evaluation]) -> Evaluation:
    """Merge the evaluations of chunks, as one task."""
    weights = np.sum([part.weights for part in parts], axis=0)
    worst = max(parts, key=lambda part: part.largest_error)  # the first of them
    total = sum(part.squared_error for part in parts)
    return Evaluation(weights, total, worst.largest_error, worst.worst)


def seed_centroids(
    store_path: Location, space: Space, k: int, seed: int, settings: FitSettings
) -> NDArray[np.float64]:
    """Choose the first centroids, as one task.

    The worker holds the whole histogram, which takes at most 200 MB.
    """
    store = Store.open(store_path)
    histogram = store.read_colors()
    points = space.points(histogram, _weights(store, settings))
    return start_of(points, histogram.codes, space, k, seed, settings)
