"""Points, colours and centroids of the kinds that could break a bound, and what equal means."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.cluster_sums import ClusterSums, FarPoints, merge_partials
from kmeans_dask.kmeans.exact_sums import FixedPoint, float_grid, integer_grid
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.kmeans.lloyd import Fit, Measure
from kmeans_dask.kmeans.morton_codes import encode_colors
from kmeans_dask.kmeans.plain import plain_cluster_sums, plain_labels
from kmeans_dask.kmeans.points import Points, color_points, make_points

Rng = np.random.Generator

SEEDS = st.integers(0, 2**32 - 1)
TABLES = ("uniform", "tight", "constant", "greys", "few", "cube")
CENTROIDS = ("floats", "integers", "duplicates", "outside", "midpoints", "ulps", "means")
CHANNELS = (1, 2, 3, 4, 5, 8, 16, 17)
KINDS = (
    "blobs", "duplicates", "constant", "offset", "huge", "enormous", "tiny", "outlier", "ties",
)  # fmt: skip
SEEDING_KINDS = (
    "blobs", "duplicates", "constant", "offset", "huge", "tiny", "outlier", "line", "ties",
)  # fmt: skip
WEIGHTS = ("none", "floats", "zeros")
MOVES = ("zero", "tiny", "small", "one", "big", "ulps", "means", "jump", "k", "outside")
each_type = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def make_table(colors: NDArray[Any], weights: NDArray[np.int64] | None = None) -> ColorHistogram:
    """A table of these colours, each once; weights (as many as colours at least) or ones."""
    codes = np.unique(encode_colors(colors.astype(np.uint8)))
    if weights is None:
        weights = np.ones(len(codes), np.int64)
    return ColorHistogram(codes, weights[: len(codes)])


@st.composite
def color_tables(draw: st.DrawFn, max_colors: int = 3000) -> ColorHistogram:
    rng = np.random.default_rng(draw(SEEDS))
    kind = draw(st.sampled_from(TABLES))
    n = draw(st.integers(1, max_colors))
    colors: NDArray[Any]
    if kind == "uniform":
        colors = rng.integers(0, 256, (n, 3))
    elif kind == "tight":
        middles = rng.integers(0, 256, (1 + n // 400, 3))
        colors = middles[rng.integers(0, len(middles), n)] + rng.normal(0, 3, (n, 3))
    elif kind == "constant":
        colors = np.tile(rng.integers(0, 256, 3), (n, 1))
    elif kind == "greys":
        colors = np.repeat(rng.integers(0, 256, n), 3).reshape(-1, 3)
    elif kind == "few":
        colors = rng.integers(0, 256, (1 + n % 5, 3))
    else:
        side = max(1, int(n ** (1 / 3)))
        colors = np.array(list(itertools.product(range(side), repeat=3)))
        colors += rng.integers(0, 256 - side, 3)
    colors = colors.clip(0, 255)
    heaviest = draw(st.sampled_from([1, 1000, 10**10]))
    return make_table(colors, rng.integers(1, heaviest, len(colors), endpoint=True))


@st.composite
def centroids_for(draw: st.DrawFn, table: ColorHistogram, max_k: int = 300) -> NDArray[np.float64]:
    """Centroids (k, 3) to assign the colours of `table` to."""
    rng = np.random.default_rng(draw(SEEDS))
    kind = draw(st.sampled_from(CENTROIDS))
    k = draw(st.integers(1, max_k))
    colors = table.colors.astype(np.float64)
    some, others = rng.choice(colors, k), rng.choice(colors, k)
    if kind == "floats":
        return rng.uniform(0, 255, (k, 3))
    if kind == "integers":  # close to the colours, so that many are equally far from two
        low, high = colors.min(axis=0) - 2, colors.max(axis=0) + 3
        return rng.integers(low.astype(int), high.astype(int), (k, 3)).astype(np.float64)
    if kind == "duplicates":
        return np.asarray(rng.choice(some[: 1 + k // 3], k), np.float64)
    if kind == "outside":
        return rng.uniform(-3, 258, (k, 3))
    if kind == "midpoints":
        return np.asarray((some + others) / 2, np.float64)
    if kind == "ulps":
        pool = ((some + others) / 2)[: 1 + k // 4]
        centroids = rng.choice(pool, k)
        for _ in range(2):
            toward = rng.choice([-np.inf, np.inf], (k, 3))
            centroids = np.where(
                rng.random((k, 3)) < 0.5, np.nextafter(centroids, toward), centroids
            )
        return np.asarray(centroids, np.float64)
    partial = plain_cluster_sums(table.colors, table.weights, some)
    used = partial.weights > 0
    return np.asarray(partial.sums[used] / partial.weights[used, None], np.float64)


def blobs(rng: Rng, n: int, channels: int) -> NDArray[np.float64]:
    middles = rng.normal(0, 5, (1 + n // 100, channels))
    return np.asarray(middles[rng.integers(0, len(middles), n)] + rng.normal(size=(n, channels)))


def float_values(rng: Rng, kind: str, n: int, channels: int, dtype: Any) -> NDArray[Any]:
    values = blobs(rng, n, channels)
    if kind == "duplicates":
        values = rng.choice(values[: 1 + n // 20], n)
    elif kind == "constant":
        values[:] = values[0]
    elif kind == "offset":
        values += 1e6
    elif kind == "huge":
        values *= 1e15
    elif kind == "enormous":
        values *= 1e150 if dtype == np.float64 else 1e15
    elif kind == "tiny":
        values *= 1e-15
    elif kind == "outlier":
        values[rng.integers(n)] += rng.choice([-1e6, 1e6])
    elif kind == "line":  # where midpoints are exactly as far from both ends
        values = np.outer(np.arange(n), rng.normal(size=channels))
    elif kind == "ties":
        values = rng.integers(0, 6, (n, channels)).astype(np.float64)
    return np.ascontiguousarray(values, dtype)


def float_weights(rng: Rng, kind: str, n: int) -> NDArray[np.float64] | None:
    if kind == "none":
        return None
    weights = rng.uniform(0, 3, n)
    if kind == "zeros":
        weights[rng.random(n) < 0.3] = 0.0
        weights[rng.integers(n)] = 1.0
    return weights


def grid_of(values: NDArray[Any], weights: NDArray[np.float64] | None = None) -> FixedPoint:
    low, high = (edge.astype(np.float64) for edge in (values.min(axis=0), values.max(axis=0)))
    return float_grid(low, high, 1.0 if weights is None else float(weights.max()))


def make_float_points(values: NDArray[Any], weights: NDArray[np.float64] | None = None) -> Points:
    return make_points(values, weights, grid_of(values, weights))


def spread_of(values: NDArray[Any]) -> float:
    """How far points are from each other, typically; of equal points, how large they are."""
    middle = np.median(values.astype(np.float64), axis=0)
    return float(np.abs(values - middle).mean() or np.abs(values[0]).mean() or 1.0)


def places(rng: Rng, values: NDArray[Any], k: int) -> NDArray[np.float64]:
    """Centroids to start from, with ties where points are integers."""
    some, others = (rng.choice(values, k).astype(np.float64) for _ in range(2))
    kind = rng.choice(["rows", "midpoints", "duplicates", "near"])
    if kind == "midpoints":
        return np.asarray(some * 0.5 + others * 0.5)
    if kind == "duplicates":
        return np.asarray(rng.choice(some[: 1 + k // 3], k))
    if kind == "near":
        return np.asarray(some + rng.normal(0, spread_of(values), some.shape))
    return some


def moved(
    rng: Rng, move: str, values: NDArray[Any], centroids: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The centroids of the step after that of these."""
    k, spread = len(centroids), spread_of(values)
    drift = rng.normal(0, spread, centroids.shape)
    if move == "zero":
        return centroids
    if move in ("tiny", "small", "big"):
        return np.asarray(centroids + drift * {"tiny": 1e-9, "small": 0.02, "big": 1.0}[move])
    if move == "one":
        after = centroids.copy()
        after[rng.integers(k)] += drift[0] * 0.5
        return after
    if move == "ulps":
        toward = rng.choice([-np.inf, np.inf], centroids.shape)
        return np.asarray(np.nextafter(centroids, toward))
    if move == "means":
        labels = plain_labels(values, centroids)
        after = centroids.copy()
        for j in np.unique(labels):
            after[j] = values[labels == j].mean(axis=0, dtype=np.float64)
        return after
    if move == "outside":
        return np.asarray(centroids + 100 * spread * rng.choice([-1.0, 1.0]) + drift)
    return places(rng, values, k if move == "jump" else int(rng.integers(1, 40)))


@st.composite
def float_points(
    draw: st.DrawFn, channels: int, max_points: int, kinds: Sequence[str] = KINDS
) -> Points:
    rng = np.random.default_rng(draw(SEEDS))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    n = draw(st.integers(1, max_points))
    values = float_values(rng, draw(st.sampled_from(kinds)), n, channels, dtype)
    weights = float_weights(rng, draw(st.sampled_from(WEIGHTS)), n)
    return make_points(values, weights, grid_of(values, weights))


@st.composite
def seeding_points(draw: st.DrawFn, kinds: Sequence[str] = SEEDING_KINDS) -> Points:
    """Some of them may have no weight, but never all."""
    rng = np.random.default_rng(draw(SEEDS))
    n, channels = draw(st.integers(1, 300)), draw(st.sampled_from([1, 2, 3, 5, 8]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    values = float_values(rng, draw(st.sampled_from(kinds)), n, channels, dtype)
    weights = None
    if draw(st.booleans()):
        weights = rng.uniform(0.1, 3, n)
        if draw(st.booleans()):
            weights[rng.random(n) < draw(st.sampled_from([0.3, 0.8]))] = 0.0
            weights[[0, -1]] = draw(st.sampled_from([(0, 0), (1, 0), (0, 1), (1, 1)]))
            if not weights.any():
                weights[n // 2] = 1.0
    return make_float_points(values, weights)


@st.composite
def integer_points(draw: st.DrawFn, *, weightless: bool = False) -> Points:
    """With some weight, unless they may be `weightless`."""
    rng = np.random.default_rng(draw(SEEDS))
    n, channels = draw(st.integers(1, 300)), draw(st.sampled_from([1, 2, 3, 4]))
    values = rng.integers(0, draw(st.sampled_from([2, 6, 256])), (n, channels)).astype(np.uint8)
    weights = rng.integers(0, draw(st.sampled_from([1, 9, 10**6])), n, endpoint=True)
    if not weightless:
        weights[rng.integers(n)] = 1
    elif draw(st.integers(0, 9)) == 0:
        weights[:] = 0
    return make_points(values, weights, integer_grid(channels))


any_points = seeding_points() | integer_points()


@st.composite
def cuts_of(draw: st.DrawFn, n: int, max_cuts: int = 8) -> list[slice]:
    """Consecutive slices, none empty, that together are range(n)."""
    cuts = draw(st.sets(st.integers(1, n - 1), max_size=max_cuts)) if n > 1 else set()
    edges = [0, *sorted(cuts), n]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def rows_of(values: NDArray[Any]) -> set[tuple[float, ...]]:
    return {tuple(row) for row in values.astype(np.float64).tolist()}


def same_far(a: FarPoints | None, b: FarPoints | None) -> bool:
    if a is None or b is None:
        return a is b
    return (
        np.array_equal(a.points, b.points)
        and np.array_equal(a.weights, b.weights)
        and np.array_equal(a.sums, b.sums)
        and np.array_equal(a.labels, b.labels)
        and np.array_equal(a.distances, b.distances)
    )


def same_partial(a: ClusterSums, b: ClusterSums) -> bool:
    return (
        np.array_equal(a.weights, b.weights)
        and np.array_equal(a.sums, b.sums)
        and a.square_sums == b.square_sums
        and same_far(a.far, b.far)
    )


def same_finish(a: ClusterSums, b: ClusterSums, centroids: NDArray[np.float64]) -> bool:
    return (
        same_partial(a, b)
        and a.inertia(centroids) == b.inertia(centroids)
        and a.variance == b.variance
        and np.array_equal(a.means, b.means, equal_nan=True)
    )


def same_fit(a: Fit, b: Fit) -> bool:
    """Equal to the last bit."""
    return (
        np.array_equal(a.centroids, b.centroids)
        and np.array_equal(a.weights, b.weights)
        and (a.inertia, a.history) == (b.inertia, b.history)
        and (a.n_iter, a.converged) == (b.n_iter, b.converged)
    )


def measure_plainly(points: NDArray[Any], weights: NDArray[np.int64]) -> Measure:
    def measure(centroids: NDArray[np.float64], n_far: int = 0) -> ClusterSums:
        return plain_cluster_sums(points, weights, centroids, n_far)

    return measure


def measure_parts(parts: Sequence[Points]) -> Measure:
    assignments = [Assignment(part) for part in parts]

    def measure(centroids: NDArray[np.float64], n_far: int = 0) -> ClusterSums:
        return merge_partials([part.partial(centroids, n_far) for part in assignments])

    return measure


def measure_chunks(chunks: Sequence[ColorHistogram]) -> Measure:
    return measure_parts([color_points(chunk) for chunk in chunks])


def check_steps(
    points: Points, rng: Rng, moves: Sequence[str], k: int, *, sums: bool = True
) -> None:
    """One assignment is, step after step, what the plain loop finds at each."""
    values, weights = points.values, np.ascontiguousarray(points.weights)
    assignment = Assignment(points)
    centroids = places(rng, values, k)
    for step, move in enumerate(["start", *moves]):
        if step:
            centroids = moved(rng, move, values, centroids)
        n_far = len(centroids) if rng.random() < 0.3 else 0
        labels = assignment.labels(centroids)
        assert labels.dtype == np.int32
        assert np.array_equal(labels, plain_labels(values, centroids)), move
        if sums or step == len(moves):
            expected = plain_cluster_sums(values, weights, centroids, n_far, points.grid)
            assert same_partial(assignment.partial(centroids, n_far), expected), move
