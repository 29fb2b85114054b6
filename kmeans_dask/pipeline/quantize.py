"""A table of colours to a palette: starts, k-means, rounding, and how few colours will do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.cluster import Engine
from kmeans_dask.clustering import lloyd
from kmeans_dask.clustering.assignment import Assignment
from kmeans_dask.clustering.colormap import Indices, squared_errors, weights_of
from kmeans_dask.clustering.counts import ColorCounts
from kmeans_dask.clustering.few import FewPoints
from kmeans_dask.clustering.lloyd import Fit, Iteration, Measure
from kmeans_dask.clustering.points import Points
from kmeans_dask.clustering.seeding import SEEDINGS
from kmeans_dask.clustering.spaces import Space
from kmeans_dask.imaging.palette import Palette, palette_of
from kmeans_dask.imaging.quality import psnr
from kmeans_dask.pipeline.checkpoint import Begun, Checkpoint
from kmeans_dask.rounds import in_threads
from kmeans_dask.settings import FitSettings

_SEARCHED = 1 << 20  # colours of one search for nearest entries

OnIteration = Callable[[Iteration], None]


@dataclass(frozen=True)
class Judged:
    """Errors that a palette makes on a table of colours, and the pixels of each entry.

    weights: (entries,) int64, pixels of each entry, without fully transparent pixels
    squared_error: of all pixels, in 1 / `clustering.colormap.ERROR_UNITS` of a squared 8-bit value
    largest_error: squared error of the worst pixel, in the same unit
    """

    weights: NDArray[np.int64]
    squared_error: int
    largest_error: int = 0

    @property
    def psnr(self) -> float:
        """In dB; infinite where nothing is lost."""
        found = psnr(self.squared_error, int(self.weights.sum()))
        return float("inf") if found is None else found


class Colors(Protocol):
    """All colours of a collection, wherever they are."""

    space: Space
    distinct: int

    def read(self) -> ColorCounts:
        """The whole table, where it is short."""
        ...

    def start(self, k: int, seed: int, settings: FitSettings) -> NDArray[np.float64]:
        """Centroids (k or fewer, C) to start from, the fixed ones first."""
        ...

    def fit(
        self,
        start: NDArray[np.float64],
        settings: FitSettings,
        on_iteration: OnIteration | None,
        begun: Begun | None,
    ) -> Fit:
        """Lloyd's loop, from `start`, or from where it was left."""
        ...

    def opaque(self, centroids: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether most pixels nearest to each of `centroids` (k, C) are opaque, (k,)."""
        ...

    def judge(self, palette: Palette) -> Judged:
        """What `palette` makes of them."""
        ...


@dataclass(frozen=True)
class Quantized:
    """A palette, the fit it was rounded from, and what it makes of the colours."""

    palette: Palette
    fit: Fit
    judged: Judged


def quantize(
    colors: Colors,
    settings: FitSettings,
    *,
    transparent: bool,
    on_iteration: OnIteration | None = None,
    checkpoint: Checkpoint | None = None,
) -> Quantized:
    """The best palette of `settings.colors` entries, one of them clear where `transparent`.

    With `settings.min_psnr` the smallest that reaches it, found by bisection: k colours do and
    k - 1 do not. Where no number does, that of most colours.
    """
    most = settings.colors - transparent
    runs = checkpoint or Checkpoint()

    def with_colors(k: int) -> Quantized:
        return _quantize(colors, k, settings, transparent, on_iteration, runs)

    enough = with_colors(most)
    if settings.min_psnr is None or enough.judged.psnr < settings.min_psnr:
        return enough
    too_few = max(1, len(settings.fixed)) - 1
    most = min(most, len(enough.palette.colors))
    while most - too_few > 1:
        k = (too_few + most) // 2
        found = with_colors(k)
        if found.judged.psnr >= settings.min_psnr:
            enough, most = found, k
        else:
            too_few = k
    return enough


def _quantize(
    colors: Colors,
    k: int,
    settings: FitSettings,
    transparent: bool,
    on_iteration: OnIteration | None,
    runs: Checkpoint,
) -> Quantized:
    fixed = len(settings.fixed)
    if colors.distinct <= k - fixed:
        return _keep_all(colors, settings, transparent)
    best: Fit | None = None
    for seed in settings.seeds(k):
        found = runs.finished(k, seed) or _run(colors, k, seed, settings, on_iteration, runs)
        if best is None or found.inertia < best.inertia:
            best = found
        if len(found.centroids) < k or found.inertia == 0:  # all colours there are
            break
    assert best is not None
    palette = palette_of(
        colors.space.colors(best.centroids, colors.opaque(best.centroids))[fixed:],
        transparent=transparent,
        fixed=_fixed(settings),
    )
    return Quantized(palette, best, colors.judge(palette))


def _run(
    colors: Colors,
    k: int,
    seed: int,
    settings: FitSettings,
    on_iteration: OnIteration | None,
    runs: Checkpoint,
) -> Fit:
    """K-means from one start, or from where an earlier run was left."""

    def note(iteration: Iteration) -> None:
        runs.note(k, seed, iteration)
        if on_iteration:
            on_iteration(iteration)

    begun = runs.begun(k, seed)
    found = colors.fit(colors.start(k, seed, settings), settings, note, begun)
    runs.finish(k, seed, found)
    return found


def _keep_all(colors: Colors, settings: FitSettings, transparent: bool) -> Quantized:
    """A palette of all colours there are, and the fixed ones."""
    counts = colors.read()
    all_colors = np.column_stack([counts.colors, counts.alphas])[:, : colors.space.channels]
    palette = palette_of(
        all_colors.astype(np.float64), transparent=transparent, fixed=_fixed(settings)
    )
    centroids = colors.space.coordinates(palette.colors[:, :3], palette.alphas)
    judged = colors.judge(palette)
    fit = Fit(centroids.astype(np.float64), judged.weights, 0.0, (0.0,), 0, converged=True)
    return Quantized(palette, fit, judged)


def _fixed(settings: FitSettings) -> NDArray[np.uint8]:
    return np.array(settings.fixed, np.uint8).reshape(-1, 3)


def run_lloyd(
    measure: Measure,
    start: NDArray[np.float64],
    settings: FitSettings,
    on_iteration: OnIteration | None,
    begun: Begun | None,
) -> Fit:
    """Lloyd's loop as `settings` want it."""
    return lloyd.fit(
        begun.centroids if begun else start,
        measure,
        max_iter=settings.most_iterations,
        tol=settings.tol,
        fixed=len(settings.fixed),
        on_iteration=on_iteration,
        history=begun.history if begun else (),
    )


def start_of(
    points: Points, space: Space, k: int, seed: int, settings: FitSettings
) -> NDArray[np.float64]:
    """Where to start: the fixed colours, and as many of `points` as there is room for."""
    fixed = space.coordinates(_fixed(settings)).astype(np.float64)
    others = points.values
    for place in fixed:
        others = others[(others != place).any(axis=1)]
    if k == len(fixed):
        others = others[:0]
    elif len(others) > k - len(fixed):
        others = SEEDINGS[settings.init](
            points, k - len(fixed), seed, given=fixed if len(fixed) else None
        )
    return np.concatenate([fixed, others.astype(np.float64)])


def nearest_entries(counts: ColorCounts, palette: Palette, space: str) -> Indices:
    """Return the index of the palette entry nearest to each colour of `counts`, (u,).

    The indices are uint8, or uint16 for more than 256 entries. An opaque colour gets an opaque
    entry if the palette has any. The colours are searched in parts, because a search takes ten
    times the memory of the table.
    """
    entries = np.empty(len(counts), _dtype_of(palette))
    n = counts.n_opaque
    opaque, which = opaque_part(palette)
    for start, stop, colors, numbers in (
        (0, n, opaque, which),
        (n, len(counts), palette, np.arange(len(palette.numbers))),
    ):
        for at in range(start, stop, _SEARCHED):
            some = counts.slice(at, min(at + _SEARCHED, stop))
            of_both = Space(space, alpha=colors.alphas is not None or not some.is_opaque)
            labels = labels_of([Assignment(of_both.points(some))], of_both, colors)
            entries[at : at + len(some)] = palette.numbers[numbers[labels]]
    return entries


def opaque_part(palette: Palette) -> tuple[Palette, NDArray[np.int64]]:
    """The opaque colours of `palette`, and their numbers; all of them where there are none."""
    alphas = palette.alphas
    which = np.arange(len(palette.colors))
    if alphas is None or not (alphas == 255).any():
        return palette, which
    which = which[alphas == 255]
    return Palette.of_colors(palette.colors[which, :3]), which


def labels_of(
    assignments: Sequence[Assignment], space: Space, palette: Palette
) -> NDArray[np.int32]:
    """The number of the colour of `palette` that is nearest to each point, in `space`."""
    places = space.coordinates(palette.colors[:, :3], palette.alphas).astype(np.float64)
    return np.concatenate([each.labels(places) for each in assignments])


def _dtype_of(palette: Palette) -> type[np.unsignedinteger[Any]]:
    return np.uint8 if len(palette) <= 1 << 8 else np.uint16


def opaque_weights(
    counts: ColorCounts, assignments: Sequence[Assignment], centroids: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Pixels of opaque colours, and of all, nearest to each of `centroids`: (2, k)."""
    labels = np.concatenate([each.labels(centroids) for each in assignments])
    n, k = counts.n_opaque, len(centroids)
    opaque = weights_of(labels[:n], counts.weights[:n], k)
    return np.stack([opaque, weights_of(labels, counts.weights, k)])


def judge(counts: ColorCounts, entries: Indices, palette: Palette) -> Judged:
    """What `palette` makes of `counts`, whose colours have these `entries`."""
    alphas = None if counts.is_opaque else counts.alphas
    errors = squared_errors(counts.colors, alphas, entries, palette.entries)
    weights = weights_of(entries, counts.weights, len(palette))
    # In two parts, so that no sum passes 63 bits; and beyond 2^44 pixels in Python's integers.
    each = counts.weights if counts.pixels < 1 << 44 else counts.weights.astype(object)
    total = int((errors & 0xFFFF) @ each) + (int((errors >> 16) @ each) << 16)
    return Judged(weights[palette.numbers], total, int(errors.max(initial=0)))


class LocalColors:
    """Colours in this process.

    counts: the table; weights: (u,) that the fit goes by, if not its own
    """

    def __init__(
        self,
        counts: ColorCounts,
        settings: FitSettings,
        engine: Engine,
        weights: NDArray[np.int64] | None = None,
    ) -> None:
        self.space = Space(settings.space, alpha=not counts.is_opaque)
        self.distinct = len(counts)
        self._counts = counts
        self._points = self.space.points(counts, weights)
        self._few = FewPoints.of(self._points)
        self._assignments, self._measure = in_threads(self._points, engine)
        self._entries: tuple[Palette, Indices] | None = None  # of the palette last asked for

    def read(self) -> ColorCounts:
        """As `Colors` has it."""
        return self._counts

    def start(self, k: int, seed: int, settings: FitSettings) -> NDArray[np.float64]:
        """As `Colors` has it."""
        return start_of(self._points, self.space, k, seed, settings)

    def fit(
        self,
        start: NDArray[np.float64],
        settings: FitSettings,
        on_iteration: OnIteration | None,
        begun: Begun | None,
    ) -> Fit:
        """As `Colors` has it. Nobody watches the iterations of few colours."""
        found = self._few and self._few.fit(
            start, max_iter=settings.most_iterations, tol=settings.tol, fixed=len(settings.fixed)
        )
        return found or run_lloyd(self._measure, start, settings, on_iteration, begun)

    def opaque(self, centroids: NDArray[np.float64]) -> NDArray[np.bool_]:
        """As `Colors` has it."""
        if not self.space.alpha:
            return np.ones(len(centroids), np.bool_)
        opaque, total = opaque_weights(self._counts, self._assignments, centroids)
        return np.asarray(2 * opaque >= total)

    def judge(self, palette: Palette) -> Judged:
        """As `Colors` has it."""
        return judge(self._counts, self.entries(palette), palette)

    def entries(self, palette: Palette) -> Indices:
        """For each colour, (u,), that of `palette`."""
        if self._entries is None or self._entries[0] is not palette:
            self._entries = palette, self._find_entries(palette)
        return self._entries[1]

    def _find_entries(self, palette: Palette) -> Indices:
        if self.space.alpha:
            return nearest_entries(self._counts, palette, self.space.name)
        labels = labels_of(self._assignments, self.space, palette)  # from where the fit ended
        return palette.numbers[labels].astype(_dtype_of(palette))
