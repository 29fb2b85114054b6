"""Tables of colours and centroids of the kinds that could break a filter, and what equal means."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.cluster_sums import ClusterSums, FarPoints, merge_partials
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.kmeans.lloyd import Fit, Measure
from kmeans_dask.kmeans.morton_codes import encode_colors
from kmeans_dask.kmeans.plain import plain_cluster_sums
from kmeans_dask.kmeans.points import color_points

SEEDS = st.integers(0, 2**32 - 1)
TABLES = ("uniform", "tight", "constant", "greys", "few", "cube")
CENTROIDS = ("floats", "integers", "duplicates", "outside", "midpoints", "ulps", "means")


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
    """Centroids (k, 3) to measure the colours of `table` against."""
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


@st.composite
def cuts_of(draw: st.DrawFn, n: int, max_cuts: int = 8) -> list[slice]:
    """Consecutive slices, none empty, that together are range(n)."""
    cuts = draw(st.sets(st.integers(1, n - 1), max_size=max_cuts)) if n > 1 else set()
    edges = [0, *sorted(cuts), n]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


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


def measure_chunks(chunks: Sequence[ColorHistogram]) -> Measure:
    parts = [Assignment(color_points(chunk)) for chunk in chunks]

    def measure(centroids: NDArray[np.float64], n_far: int = 0) -> ClusterSums:
        return merge_partials([part.partial(centroids, n_far) for part in parts])

    return measure
