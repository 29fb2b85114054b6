"""Fit of a palette to colours: seeding, k-means, rounding, and search for the fewest colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.color_lookup import Indices
from kmeans_dask.color.evaluation import Evaluation, evaluate
from kmeans_dask.color.palette import Palette, palette_of
from kmeans_dask.color.psnr import squared_limit
from kmeans_dask.color.remap import _dtype_of, labels_of, nearest_entries, opaque_weights
from kmeans_dask.color.spaces import Space
from kmeans_dask.engine import Engine
from kmeans_dask.engine.memory_model import check_colors
from kmeans_dask.estimator.lloyd_rounds import threaded_sums
from kmeans_dask.images.palette_files import hexes_of
from kmeans_dask.job.checkpoint import Checkpoint, UnfinishedRun
from kmeans_dask.kmeans import lloyd
from kmeans_dask.kmeans.breathing import BREADTH, breathe
from kmeans_dask.kmeans.coarse_colors import coarse_colors
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.kmeans.lloyd import Fit, Iteration, Measure
from kmeans_dask.kmeans.lloyd_small import SmallLloyd
from kmeans_dask.kmeans.points import Points
from kmeans_dask.kmeans.seeding import SEEDINGS
from kmeans_dask.settings import COARSE_COLORS, MAX_COLORS, FitSettings

OnIteration = Callable[[Iteration], None]
_MANY = 32  # colours, above which a search of less breadth takes no longer than it saves
_NARROW = 3


class Colors(Protocol):
    """Histogram of a collection, in this process or in chunks on workers, to fit palettes to.

    space: colour space of the fit
    distinct: number of distinct colours
    """

    space: Space
    distinct: int

    def read(self) -> ColorHistogram:
        """Return the whole histogram, for callers that know that it is short."""
        ...

    def start(self, k: int, seed: int, settings: FitSettings) -> NDArray[np.float64]:
        """Return up to k centroids (k, C) to start from, the fixed ones first."""
        ...

    def fit(
        self,
        start: NDArray[np.float64],
        settings: FitSettings,
        on_iteration: OnIteration | None,
        begun: UnfinishedRun | None,
    ) -> Fit:
        """Run Lloyd's algorithm from `start`, or resume the run `begun`."""
        ...

    def opaque(self, centroids: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether most pixels nearest to each of `centroids` (k, C) are opaque, (k,)."""
        ...

    def evaluate(self, palette: Palette) -> Evaluation:
        """Return the errors of `palette` on the colours, and the pixels of its entries."""
        ...


@dataclass(frozen=True)
class PaletteFit:
    """Palette, the fit whose centroids it rounds, and its evaluation on the colours."""

    palette: Palette
    fit: Fit
    evaluation: Evaluation


def quantize(
    colors: Colors,
    settings: FitSettings,
    *,
    transparent: bool,
    on_iteration: OnIteration | None = None,
    checkpoint: Checkpoint | None = None,
) -> PaletteFit:
    """Return the best palette of `settings.colors` entries, one transparent where `transparent`.

    With `settings.min_psnr` and `settings.fewest`, return the smallest palette that reaches it,
    found by bisection: k colours reach it and k - 1 do not. Where no number of colours does, return
    the largest palette.
    """
    most = settings.colors - transparent
    runs = checkpoint or Checkpoint()

    def with_colors(k: int) -> PaletteFit:
        found = _quantize(colors, k, settings, transparent, on_iteration, runs)
        if settings.max_error is None:
            return found
        return _with_limit(found, colors, k, settings, transparent)

    enough = with_colors(most)
    if settings.min_psnr is None or not settings.fewest:
        return enough
    if not _is_good(enough, settings):
        return enough
    too_few = max(1, len(settings.fixed)) - 1
    most = min(most, len(enough.palette.colors))
    while most - too_few > 1:
        k = (too_few + most) // 2
        found = with_colors(k)
        if _is_good(found, settings):
            enough, most = found, k
        else:
            too_few = k
    return enough


def _is_good(found: PaletteFit, settings: FitSettings) -> bool:
    """Return whether a palette reaches the PSNR and the largest error of the settings."""
    least, most = settings.min_psnr, settings.max_error
    return (least is None or found.evaluation.psnr >= least) and (
        most is None or found.evaluation.largest_error <= squared_limit(most)
    )


def _with_limit(
    found: PaletteFit, colors: Colors, k: int, settings: FitSettings, transparent: bool
) -> PaletteFit:
    """Return a palette of k colours of which no pixel is farther off than `settings.max_error`.

    found: palette that was fitted without this limit

    Colours that are too far off get entries, the farthest first (Gonzalez 1985, "Clustering to
    minimize the maximum intercluster distance", Theoretical Computer Science 38), and the others
    are fitted again, until no colour is too far off. Where there is no room for that, return the
    palette, of those tried, whose worst pixel is nearest.
    """
    assert settings.max_error is not None
    best, most = found, squared_limit(settings.max_error)
    while found.evaluation.largest_error > most:
        palette, evaluation = found.palette, found.evaluation
        pinned = list(settings.pinned)
        while evaluation.largest_error > most:
            if len(settings.fixed) + len(pinned) == k:
                return best
            pinned.append(evaluation.worst)
            palette = replace(palette, entries=np.vstack([palette.entries, pinned[-1:]]))
            evaluation = colors.evaluate(palette)
        settings = replace(settings, pinned=tuple(pinned))
        found = _quantize(colors, k, settings, transparent, None, Checkpoint())
        best = min(best, found, key=lambda each: each.evaluation.largest_error)
    return best


def quantize_histogram(
    histogram: ColorHistogram,
    settings: FitSettings,
    engine: Engine,
    *,
    transparent: bool,
    weights: NDArray[np.int64] | None = None,
    on_event: Callable[[dict[str, Any]], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[PaletteFit, Indices]:
    """Fit a palette to a histogram in this process.

    Return the fit, and the palette entry of each colour, (u,).

    weights: (u,) int64, weights of the colours in the fit, where they are not their pixels
    on_event: called with the event of each iteration, see `event_of`

    Raises ImageError where the fit needs more memory than the calling task may take.
    """
    check_colors(len(histogram), opaque=histogram.is_opaque)
    colors = LocalColors(histogram, settings, engine, weights)

    def tell(iteration: Iteration) -> None:
        if on_event:
            on_event(event_of(iteration, colors.space))

    found = quantize(
        colors, settings, transparent=transparent, on_iteration=tell, checkpoint=checkpoint
    )
    return found, colors.entries(found.palette)


def _quantize(
    colors: Colors,
    k: int,
    settings: FitSettings,
    transparent: bool,
    on_iteration: OnIteration | None,
    runs: Checkpoint,
) -> PaletteFit:
    if colors.distinct <= k - len(settings.fixed):
        return _keep_all(colors, settings, transparent)
    best: Fit | None = None
    for seed in settings.seeds(k, colors.distinct):
        found = runs.finished(k, seed) or _run(colors, k, seed, settings, on_iteration, runs)
        if best is None or found.inertia < best.inertia:
            best = found
        if len(found.centroids) < k or found.inertia == 0:  # no other start does better
            break
    assert best is not None
    palette = palette_of(
        colors.space.colors(best.centroids, colors.opaque(best.centroids))[len(settings.fixed) :],
        transparent=transparent,
        fixed=_fixed(settings),
    )
    return PaletteFit(palette, best, colors.evaluate(palette))


def _run(
    colors: Colors,
    k: int,
    seed: int,
    settings: FitSettings,
    on_iteration: OnIteration | None,
    runs: Checkpoint,
) -> Fit:
    """Run k-means from one start, or resume it from the checkpoint of an earlier run."""

    def note(iteration: Iteration) -> None:
        runs.note(k, seed, iteration)
        if on_iteration:
            on_iteration(iteration)

    begun = runs.begun(k, seed)
    found = colors.fit(colors.start(k, seed, settings), settings, note, begun)
    runs.finish(k, seed, found)
    return found


def _keep_all(colors: Colors, settings: FitSettings, transparent: bool) -> PaletteFit:
    """Return a palette of all distinct colours and the fixed ones, without a fit."""
    histogram = colors.read()
    all_colors = np.column_stack([histogram.colors, histogram.alphas])[:, : colors.space.channels]
    palette = palette_of(
        all_colors.astype(np.float64), transparent=transparent, fixed=_fixed(settings)
    )
    centroids = colors.space.coordinates(palette.colors[:, :3], palette.alphas)
    evaluation = colors.evaluate(palette)
    fit = Fit(centroids.astype(np.float64), evaluation.weights, 0.0, (0.0,), 0, converged=True)
    return PaletteFit(palette, fit, evaluation)


def _kept_places(space: Space, settings: FitSettings) -> NDArray[np.float64]:
    """Return the coordinates of the colours that stay where they are in a fit, (m, C)."""
    fixed = space.coordinates(_fixed(settings))
    pinned = np.array(settings.pinned, np.uint8).reshape(-1, 4)
    others = space.coordinates(pinned[:, :3], pinned[:, 3])
    return np.concatenate([fixed, others]).astype(np.float64)


def _fixed(settings: FitSettings) -> NDArray[np.uint8]:
    return np.array(settings.fixed, np.uint8).reshape(-1, 3)


def run_lloyd(
    measure: Measure,
    start: NDArray[np.float64],
    settings: FitSettings,
    on_iteration: OnIteration | None,
    begun: UnfinishedRun | None,
) -> Fit:
    """Run Lloyd's algorithm with `settings` from `start`, or resume the run `begun`."""
    return lloyd.fit(
        begun.centroids if begun else start,
        measure,
        max_iter=settings.most_iterations,
        tol=settings.tol,
        fixed=settings.n_kept,
        on_iteration=on_iteration,
        history=begun.history if begun else (),
    )


def start_of(
    points: Points,
    codes: NDArray[np.uint32],
    space: Space,
    k: int,
    seed: int,
    settings: FitSettings,
) -> NDArray[np.float64]:
    """Return the first k centroids: the fixed colours, and the others from `points`.

    codes: (n,) uint32, the Morton codes of the points, ascending
    """
    fixed = _kept_places(space, settings)
    others = points.values
    for place in fixed:
        others = others[(others != place).any(axis=1)]
    if k == len(fixed):
        others = others[:0]
    elif len(others) > k - len(fixed):
        if settings.searches(k, len(points)):
            few = coarse_colors(points, codes, COARSE_COLORS)
            if len(few) >= 2 * k:
                return _searched_start(few, fixed, k, settings)
        others = _drawn(points, fixed, k, seed, settings)
    return np.concatenate([fixed, others.astype(np.float64)])


def _drawn(
    points: Points, fixed: NDArray[np.float64], k: int, seed: int, settings: FitSettings
) -> NDArray[np.float64]:
    """Return the centroids that seeding adds to the `fixed` ones (m, C), as (k - m, C) float64."""
    given = fixed if len(fixed) else None
    return SEEDINGS[settings.init](points, k - len(fixed), seed, given=given)


def _searched_start(
    few: Points, fixed: NDArray[np.float64], k: int, settings: FitSettings
) -> NDArray[np.float64]:
    """Return k centroids that breathing k-means finds among `few` points, (k, C) float64.

    The search takes little time beside Lloyd's iterations over all points, of which few are left.
    """
    breadth = BREADTH if k <= _MANY else _NARROW
    searches = []
    for seed in settings.tries(k):
        start = np.concatenate([fixed, _drawn(few, fixed, k, seed, settings)])
        searches.append(breathe(few, start, fixed=len(fixed), breadth=breadth))
    best, _ = min(searches, key=itemgetter(1))  # the first of equals
    return best


class LocalColors:
    """Histogram in this process, to fit palettes to; see `Colors`.

    histogram: of all colours to be clustered
    weights: (u,) int64, weights of the colours in the fit, where they are not their pixels
    """

    def __init__(
        self,
        histogram: ColorHistogram,
        settings: FitSettings,
        engine: Engine,
        weights: NDArray[np.int64] | None = None,
    ) -> None:
        self.space = Space(settings.space, alpha=not histogram.is_opaque)
        self.distinct = len(histogram)
        self._histogram = histogram
        self._points = self.space.points(histogram, weights)
        self._few = SmallLloyd.of(self._points)
        self._assignments, self._measure = threaded_sums(self._points, engine)
        self._entries: tuple[Palette, Indices] | None = None  # of the latest palette

    def read(self) -> ColorHistogram:
        """Return the whole histogram."""
        return self._histogram

    def start(self, k: int, seed: int, settings: FitSettings) -> NDArray[np.float64]:
        """Return up to k centroids (k, C) to start from, the fixed ones first."""
        return start_of(self._points, self._histogram.codes, self.space, k, seed, settings)

    def fit(
        self,
        start: NDArray[np.float64],
        settings: FitSettings,
        on_iteration: OnIteration | None,
        begun: UnfinishedRun | None,
    ) -> Fit:
        """Run Lloyd's algorithm from `start`, or resume the run `begun`.

        A fit of few colours reports no iterations.
        """
        found = self._few and self._few.fit(
            start, max_iter=settings.most_iterations, tol=settings.tol, fixed=settings.n_kept
        )
        return found or run_lloyd(self._measure, start, settings, on_iteration, begun)

    def opaque(self, centroids: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether most pixels nearest to each of `centroids` (k, C) are opaque, (k,)."""
        if not self.space.alpha:
            return np.ones(len(centroids), np.bool_)
        opaque, total = opaque_weights(self._histogram, self._assignments, centroids)
        return np.asarray(2 * opaque >= total)

    def evaluate(self, palette: Palette) -> Evaluation:
        """Return the errors of `palette` on the colours, and the pixels of its entries."""
        return evaluate(self._histogram, self.entries(palette), palette)

    def entries(self, palette: Palette) -> Indices:
        """Return the index of the entry of `palette` for each colour, (u,)."""
        if self._entries is None or self._entries[0] is not palette:
            self._entries = palette, self._find_entries(palette)
        return self._entries[1]

    def _find_entries(self, palette: Palette) -> Indices:
        if self.space.alpha:
            return nearest_entries(self._histogram, palette, self.space.name)
        # the assignments are as the fit has left them, which makes the search short
        labels = labels_of(self._assignments, self.space, palette)
        return palette.numbers[labels].astype(_dtype_of(palette))


def event_of(iteration: Iteration, space: Space) -> dict[str, Any]:
    """Return the event of an iteration, with the palette so far, to show progress."""
    centroids = iteration.centroids[:MAX_COLORS]
    colors = space.colors(centroids, np.ones(len(centroids), np.bool_))
    return {
        "number": iteration.number,
        "inertia": iteration.inertia,
        "shift": iteration.shift,
        "seconds": iteration.seconds,
        "colors": _opaque_hexes(np.rint(colors.clip(0, 255)).astype(np.uint8)),
    }


def _opaque_hexes(colors: NDArray[np.uint8]) -> list[str]:
    """Return as many colours as a page can show, as `#rrggbb`, without their alpha."""
    return hexes_of(Palette.of_colors(colors[:MAX_COLORS, :3]).entries)
