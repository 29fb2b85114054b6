"""Fit of arrays: counted first where that pays, in one task where that is enough, or in rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_non_negative

from kmeans_dask.engine import Engine, emit, local_threads
from kmeans_dask.estimator.lloyd_rounds import DistributedSums, threaded_sums
from kmeans_dask.kmeans import lloyd
from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.exact_sums import FixedPoint, float_grid, integer_grid
from kmeans_dask.kmeans.histogram import (
    ColorHistogram,
    PointHistogram,
    count_colors,
    count_points,
    merge_histograms,
    merge_point_histograms,
)
from kmeans_dask.kmeans.kmeans_parallel import (
    OVERSAMPLING,
    ROUNDS,
    DrawnPoints,
    Sampler,
    choose_of,
)
from kmeans_dask.kmeans.labels import label_table, look_up_labels
from kmeans_dask.kmeans.lloyd import Fit, Iteration
from kmeans_dask.kmeans.morton_keys import Packing, count_keys
from kmeans_dask.kmeans.points import (
    Points,
    color_points,
    counted_points,
    exact_dtype,
    extent_of,
    make_points,
)
from kmeans_dask.kmeans.seeding import SEEDINGS, Run

ONE_TASK = 1 << 22  # numbers that one task clusters in about the time of a round over a cluster
CHUNK_POINTS = 1 << 20  # rows of a chunk, where there are several
_SAMPLE = 1 << 16  # rows looked at to decide whether counting pays
_PAYS = 0.7  # counting pays up to this share of distinct rows
_SPLIT = 1 << 17  # fewest rows that are worth a thread
_LARGEST = 1e150  # largest value for which sums of squared distances do not overflow float64
_EXACT = 1 << 31  # integers below this are summed unchanged

Table = ColorHistogram | PointHistogram


@dataclass(frozen=True)
class FitRequest:
    """Parameters of a fit: number of clusters, starts and end.

    init: "k-means++" or "random", or centroids (k, C) to start from
    seeds: one for each start
    max_iter, tol: as in `lloyd.fit`
    """

    k: int
    init: str | NDArray[np.float64]
    seeds: tuple[int, ...]
    max_iter: int
    tol: float


@dataclass(frozen=True)
class ValueRange:
    """Range of the values and weights of a chunk of rows, or of all chunks together.

    n: number of rows; low, high: least and largest value of each channel
    max_weight, weight: the largest weight, and the sum of all weights
    """

    n: int
    low: tuple[float, ...]
    high: tuple[float, ...]
    max_weight: float
    weight: float

    @classmethod
    def of(cls, values: NDArray[Any], weights: NDArray[Any] | None) -> ValueRange:
        """Return the range of one chunk, with values (n, C) and weights (n,) or None.

        Raises ValueError for values and weights that cannot be clustered.
        """
        n = len(values)
        low, high, total = extent_of(values)
        if not np.isfinite(total).all():
            assert_all_finite(values, input_name="X", estimator_name="KMeans")
        if weights is not None:
            assert_all_finite(weights, input_name="sample_weight", estimator_name="KMeans")
            check_non_negative(weights, "`sample_weight`")
        return cls(
            n,
            tuple(low.tolist()),
            tuple(high.tolist()),
            1 if weights is None else weights.max().item(),
            n if weights is None else weights.sum().item(),
        )

    @classmethod
    def together(cls, extents: Sequence[ValueRange]) -> ValueRange:
        """Merge the ranges of several chunks. Raises ValueError where no row has weight."""
        if not any(extent.weight for extent in extents):
            raise ValueError("Sample weights must contain at least one non-zero number.")
        return cls(
            sum(extent.n for extent in extents),
            tuple(map(min, zip(*(extent.low for extent in extents), strict=True))),
            tuple(map(max, zip(*(extent.high for extent in extents), strict=True))),
            max(extent.max_weight for extent in extents),
            sum(extent.weight for extent in extents),
        )


@dataclass(frozen=True)
class PointFormat:
    """Format in which the rows of a data set become points, the same for all its chunks.

    dtype: dtype of the points' values
    grid: fixed-point format of sums; exact where rows and weights are integers that allow it
    """

    dtype: type[np.generic]
    grid: FixedPoint

    @classmethod
    def of(
        cls, extent: ValueRange, dtype: np.dtype[Any], *, weights_are_integers: bool
    ) -> PointFormat:
        """Return the format for rows of this range and dtype.

        Raises ValueError for values whose squares would overflow.
        """
        largest = max(abs(bound) for bound in (*extent.low, *extent.high))
        fits = largest < _EXACT and max(1, largest) * extent.weight < 2**63
        if _is_integer(dtype) and weights_are_integers and fits:
            low, high = map(_whole, (extent.low, extent.high))
            small = min(low) >= 0 and max(high) <= 255
            return cls(np.uint8 if small else exact_dtype(low, high), integer_grid(len(low)))
        if largest > _LARGEST:
            raise ValueError(
                f"X holds values up to {largest:.3g}, whose squares are beyond float64: scale it"
            )
        low_edge, high_edge = np.array(extent.low, float), np.array(extent.high, float)
        grid = float_grid(low_edge, high_edge, float(extent.max_weight))
        return cls(np.float32 if dtype == np.float32 else np.float64, grid)

    def points(self, values: NDArray[Any], weights: NDArray[Any] | None) -> Points:
        """Return a chunk of rows as points."""
        if weights is not None:
            weights = weights.astype(np.int64 if self.grid.exact else np.float64)
        return make_points(np.ascontiguousarray(values, self.dtype), weights, self.grid)


def _whole(bounds: Sequence[float]) -> tuple[int, ...]:
    return tuple(int(bound) for bound in bounds)


def _is_integer(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu"


# -- an array in memory -------------------------------------------------------------------------


def fit_array(
    values: NDArray[Any],
    weights: NDArray[Any] | None,
    wanted: FitRequest,
    engine: Engine,
) -> tuple[Fit, NDArray[np.int32] | None]:
    """Fit rows (n, C) with weights (n,) in this process, and return the best fit of all starts.

    The label of each row is returned with it, or None where labels would have to be computed anew.
    """
    points, counted = _points_of(values, weights, engine)
    best, labels = None, None
    for number, seed in enumerate(wanted.seeds):
        assignments, measure = threaded_sums(points, engine)
        found = lloyd.fit(
            _start(points, wanted, seed, partial(engine.map, "seed")),
            measure,
            max_iter=wanted.max_iter,
            tol=wanted.tol,
            on_iteration=partial(_tell, engine.emit, number),
        )
        if best is None or found.inertia < best.inertia:
            best = found
            labels = np.concatenate([each.labels(found.centroids) for each in assignments])
    assert best is not None
    assert labels is not None
    if not counted:
        return best, labels
    if weights is not None or values.dtype != np.uint8 or values.shape[1] != 3:
        return best, None  # there is no table of labels, or it lacks rows without weight
    table = label_table(points, labels)
    look_up = partial(look_up_labels, table=table)
    return best, np.concatenate(list(engine.map("labels", look_up, _parts(values, engine.cores))))


def inertia_array(
    values: NDArray[Any], weights: NDArray[Any] | None, centroids: NDArray[np.float64]
) -> float:
    """Return the weighted sum of squared distances of rows to the nearest of `centroids`."""
    with local_threads() as engine:
        points, _ = _points_of(values, weights, engine)
    return Assignment(points).partial(centroids).inertia(centroids)


def _parts(values: NDArray[Any], n: int) -> list[NDArray[Any]]:
    """Return the rows in `n` parts, or in fewer where there are few rows."""
    return np.array_split(values, max(1, min(n, len(values) // _SPLIT)))


def _points_of(
    values: NDArray[Any], weights: NDArray[Any] | None, engine: Engine
) -> tuple[Points, bool]:
    """Return rows (n, C) as points, counted where that pays, and whether they were counted."""
    weights_are_integers = weights is None or _is_integer(weights.dtype)
    extent = (
        _extent_of_type(values.dtype, *values.shape)
        if _is_narrow(values.dtype) and weights is None
        else ValueRange.of(values, weights)
    )
    if _is_integer(values.dtype) and weights_are_integers:
        packing = _packing(extent)
        samples = (values[place] for place in sample_places(len(values)))
        if packing and counting_pays(packing, samples):
            if weights is not None:
                return _points_of_table(_count(values, weights, packing)), True
            count = partial(_count, weights=None, packing=packing)
            return _points_of_tables(
                list(engine.map("count", count, _parts(values, engine.cores)))
            ), True
        extent = ValueRange.of(values, weights)
    form = PointFormat.of(extent, values.dtype, weights_are_integers=weights_are_integers)
    return form.points(values, weights), False


def _is_narrow(dtype: np.dtype[Any]) -> bool:
    """Return whether the range of the dtype is narrow enough to count values of it unseen."""
    return _is_integer(dtype) and dtype.itemsize <= 2


def _extent_of_type(dtype: np.dtype[Any], n: int, channels: int) -> ValueRange:
    info = np.iinfo(dtype)
    return ValueRange(n, (int(info.min),) * channels, (int(info.max),) * channels, 1, n)


def _packing(extent: ValueRange) -> Packing | None:
    """Return the packing to count rows of this range, or None where sums or keys are too long."""
    low, high = _whole(extent.low), _whole(extent.high)
    largest = max(1, -min(low), max(high))
    if largest >= _EXACT or largest * extent.weight >= 2**63:
        return None
    return Packing.between(low, high)


def sample_places(n: int) -> list[slice]:
    """Return slices of `n` rows to look at before it is decided whether to count them.

    They are the same for any chunking.
    """
    size = min(n, _SAMPLE)
    starts = sorted({0, (n - size) // 2, n - size})
    return [slice(start, start + size) for start in starts]


def counting_pays(packing: Packing, samples: Iterable[NDArray[Any]]) -> bool:
    """Return whether few enough of the rows are distinct, as far as samples of them tell.

    The answer is yes for 8-bit colours, without looking at samples: once counted, colours are in an
    order that makes up for the time.
    """
    if _are_colors(packing):
        return True
    keys = packing.pack(np.concatenate(list(samples)))
    return len(count_keys(keys, packing.key_bits)[0]) <= _PAYS * len(keys)


def _are_colors(packing: Packing) -> bool:
    return len(packing.low) == 3 and min(packing.low) >= 0 and max(packing.high) <= 255


def _count(values: NDArray[Any], weights: NDArray[Any] | None, packing: Packing) -> Table:
    if _are_colors(packing) and weights is None:
        return count_colors(np.ascontiguousarray(values, np.uint8))
    return count_points(
        np.ascontiguousarray(values), packing, None if weights is None else weights.astype(np.int64)
    )


def _merge_tables(tables: Sequence[Table]) -> Table:
    colors = [table for table in tables if isinstance(table, ColorHistogram)]
    if colors:
        return merge_histograms(colors)
    return merge_point_histograms([table for table in tables if isinstance(table, PointHistogram)])


def _points_of_table(table: Table) -> Points:
    return color_points(table) if isinstance(table, ColorHistogram) else counted_points(table)


def _start(points: Points, wanted: FitRequest, seed: int, run: Run = map) -> NDArray[np.float64]:
    if not isinstance(wanted.init, str):
        return wanted.init
    if np.count_nonzero(points.weights) <= wanted.k:
        return _all_of(points.values[points.weights != 0], wanted.k)
    return SEEDINGS[wanted.init](points, wanted.k, seed, run)


def _all_of(few: NDArray[Any], k: int) -> NDArray[np.float64]:
    """Return all points, repeated up to k, as centroids; clusters of repeated ones stay empty."""
    return np.resize(few.astype(np.float64), (k, few.shape[1]))


def _tell(say: Callable[[dict[str, Any]], None], start: int, iteration: Iteration) -> None:
    say(
        {
            "start": start,
            "number": iteration.number,
            "inertia": iteration.inertia,
            "shift": iteration.shift,
            "seconds": iteration.seconds,
        }
    )


def _best(fits: Sequence[Fit]) -> Fit:
    return min(fits, key=lambda found: found.inertia)  # the first of equal ones


# -- a Dask array -------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChunkedRows:
    """Dask array in chunks of whole rows, with its weights and samples of its rows.

    rows, weights: one lazy object for each chunk; weights may be None
    samples: the slices of `sample_places`, as lazy rows
    sizes: number of rows of each chunk
    """

    rows: list[Delayed]
    weights: list[Delayed] | None
    samples: list[Delayed]
    sizes: tuple[int, ...]
    channels: int
    dtype: np.dtype[Any]


def fit_chunked(
    data: ChunkedRows, wanted: FitRequest, engine: Engine, *, weights_are_integers: bool
) -> Fit:
    """Fit the rows of `data` on the workers of `engine`, and return the best fit of all starts.

    The result is the same for any chunking. Rows that are not counted stay on the workers.
    """
    in_one_pass = _is_narrow(data.dtype) and data.weights is None
    if in_one_pass:
        extent = _extent_of_type(data.dtype, sum(data.sizes), data.channels)
        packing = _packing(extent)
        if packing and counting_pays(packing, _samples(data, engine)):
            table = _count_lazily(data, packing, engine)
            points = engine.submit("build-points", _points_of_table, table)
            return _fit_in_one_task(points, wanted, engine)
    held = _HeldRows.of(data, engine)
    extent = ValueRange.together(held.each("describe", ValueRange.of))
    if _is_integer(data.dtype) and weights_are_integers and not in_one_pass:
        packing = _packing(extent)
        if packing and counting_pays(packing, _samples(data, engine)):
            tables = held.start("count", _count, packing)
            points = engine.submit("build-points", _points_of_tables, tables)
            return _fit_in_one_task(points, wanted, engine)
    form = PointFormat.of(extent, data.dtype, weights_are_integers=weights_are_integers)
    if sum(data.sizes) * data.channels <= ONE_TASK:
        points = engine.submit("build-points", _join, form, held.rows, held.weights)
        return _fit_in_one_task(points, wanted, engine)
    chunks = held.start("build-points", form_points, form)
    del held  # workers may free the rows once these have become points
    return _fit_in_rounds(chunks, data.sizes, wanted, engine)


def inertia_chunked(
    data: ChunkedRows, centroids: NDArray[np.float64], engine: Engine, *, weights_are_integers: bool
) -> float:
    """Return the weighted sum of squared distances of rows to the nearest of `centroids`."""
    held = _HeldRows.of(data, engine)
    extent = ValueRange.together(held.each("describe", ValueRange.of))
    form = PointFormat.of(extent, data.dtype, weights_are_integers=weights_are_integers)
    chunks = held.start("build-points", form_points, form)
    assignments = [engine.submit("assign", Assignment, points) for points in chunks]
    return DistributedSums(engine, assignments)(centroids).inertia(centroids)


@dataclass(frozen=True)
class _HeldRows:
    """Computed rows and weights of a chunked array, held by the workers."""

    engine: Engine
    rows: list[Any]
    weights: list[Any]

    @classmethod
    def of(cls, data: ChunkedRows, engine: Engine) -> _HeldRows:
        handles = engine.compute([*data.rows, *(data.weights or [])])
        n = len(data.rows)
        return cls(engine, handles[:n], handles[n:] or [None] * n)

    def start(self, name: str, function: Callable[..., Any], *args: Any) -> list[Any]:
        """Submit `function(rows, weights, *args)` for every chunk, and return the handles."""
        return [
            self.engine.submit(name, function, rows, weights, *args)
            for rows, weights in zip(self.rows, self.weights, strict=True)
        ]

    def each(self, name: str, function: Callable[..., Any], *args: Any) -> list[Any]:
        """Return the results of `function(rows, weights, *args)` for every chunk."""
        return [self.engine.result(handle) for handle in self.start(name, function, *args)]


def _samples(data: ChunkedRows, engine: Engine) -> Iterator[NDArray[Any]]:
    for handle in engine.compute(data.samples):
        yield engine.result(handle)


def form_points(rows: NDArray[Any], weights: NDArray[Any] | None, form: PointFormat) -> Points:
    """Return a chunk's rows as points; this runs as one task."""
    return form.points(rows, weights)


def _join(
    form: PointFormat, rows: list[NDArray[Any]], weights: list[NDArray[Any] | None]
) -> Points:
    """Return the rows of all chunks as points; this runs as one task."""
    some = [of_chunk for of_chunk in weights if of_chunk is not None]
    return form.points(np.concatenate(rows), np.concatenate(some) if some else None)


def _points_of_tables(tables: list[Table]) -> Points:
    """Merge the histograms of chunks, and return them as points; this runs as one task."""
    return _points_of_table(_merge_tables(tables))


def _count_lazily(data: ChunkedRows, packing: Packing, engine: Engine) -> Any:
    """Return the handle of the histogram of all rows, merged as a tree: no chunk is kept."""
    count, merge = delayed(_count, pure=False), delayed(_merge_tables, pure=False)
    level = [count(rows, None, packing) for rows in data.rows]
    while len(level) > 1:
        level = [merge(level[i : i + 8]) for i in range(0, len(level), 8)]
    return engine.compute(level)[0]


def _fit_in_one_task(points: Any, wanted: FitRequest, engine: Engine) -> Fit:
    handles = [
        engine.submit("fit", fit_points, points, wanted, number, engine.topic)
        for number in range(len(wanted.seeds))
    ]
    return _best([engine.result(handle) for handle in handles])


def fit_points(points: Points, wanted: FitRequest, number: int, topic: str) -> Fit:
    """Return the fit from one start; this runs as one task, on the worker that holds the points.

    number: which start; topic: where progress is reported
    """
    return lloyd.fit(
        _start(points, wanted, wanted.seeds[number]),
        Assignment(points).partial,
        max_iter=wanted.max_iter,
        tol=wanted.tol,
        on_iteration=partial(_tell, partial(emit, topic), number),
    )


def _fit_in_rounds(
    chunks: Sequence[Any], sizes: Sequence[int], wanted: FitRequest, engine: Engine
) -> Fit:
    fits = []
    for number, seed in enumerate(wanted.seeds):
        assignments = [engine.submit("assign", Assignment, points) for points in chunks]
        measure = DistributedSums(engine, assignments)
        start = wanted.init
        if isinstance(start, str):
            samplers = [
                engine.submit("sample", Sampler, points, int(first))
                for points, first in zip(chunks, np.cumsum([0, *sizes]), strict=False)
            ]
            start = _scattered_start(samplers, measure, wanted.k, start, seed, engine)
        fits.append(
            lloyd.fit(
                start,
                measure,
                max_iter=wanted.max_iter,
                tol=wanted.tol,
                on_iteration=partial(_tell, engine.emit, number),
            )
        )
    return _best(fits)


def _scattered_start(
    samplers: Sequence[Any], measure: DistributedSums, k: int, init: str, seed: int, engine: Engine
) -> NDArray[np.float64]:
    """Return initial centroids from points in chunks: random points, or those of k-means||.

    Bahmani et al. 2012, "Scalable k-means++", algorithm 2.
    """

    def each(method: Callable[..., Any], *args: Any) -> list[Any]:
        handles = [engine.submit("seed", method, sampler, *args) for sampler in samplers]
        return [engine.result(handle) for handle in handles]

    n = k if init == "random" else 1
    chosen = DrawnPoints.first(each(Sampler.draw_by_weight, n, seed), n).values
    if init == "random":
        return chosen if len(chosen) == k else _all_of(chosen, k)
    for number in range(ROUNDS):
        potential = sum(each(Sampler.potential, chosen))
        if potential == 0:  # every point equals a chosen one
            break
        drawn = each(
            Sampler.draw_by_distance, chosen, potential, OVERSAMPLING * k, seed + number + 1
        )
        chosen = np.concatenate([chosen, *drawn])
    measured = measure(chosen)
    return choose_of(chosen, measured.weights.astype(np.float64), k, seed)
