"""Breathing k-means: the kernel equals plain NumPy to the last bit, and never ends above Lloyd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.kmeans.breathing import BREADTH, LEAST_GAIN, MAX_ITER, TOL, breathe
from kmeans_dask.kmeans.exact_sums import integer_grid
from kmeans_dask.kmeans.plain import plain_distances
from kmeans_dask.kmeans.points import Points, make_points
from kmeans_dask.kmeans.seeding import kmeans_plus_plus
from tests.kmeans.strategies import SEEDS

Places = NDArray[np.float64]


class PlainSearch:
    """The same search in plain NumPy, with one operation after the other in the same order."""

    def __init__(self, points: Points, fixed: int) -> None:
        self.values = points.values.astype(np.float32)
        self.whole, self.weights = points.values.astype(np.int64), points.weights
        self.squares, self.fixed = float(sum(points.square_sums)), fixed
        n, total = self.whole.shape[1], float(self.weights.sum())
        sums = (self.whole * self.weights[:, None]).sum(axis=0).astype(np.float64)
        self.smallest = TOL * max(
            0.0, (self.squares - float((sums * sums).sum()) / total) / total / n
        )

    def assign(self, centroids: Places) -> None:
        near = centroids.astype(np.float32)
        heights = np.zeros(len(centroids))
        for c in range(centroids.shape[1]):
            heights += centroids[:, c] * centroids[:, c]
        scores = np.repeat((0.5 * heights).astype(np.float32)[None], len(self.values), axis=0)
        for c in range(centroids.shape[1]):
            scores -= self.values[:, c, None] * near[None, :, c]
        self.labels = scores.argmin(axis=1)
        two = np.sort(np.column_stack([scores, np.full(len(scores), 3e38, np.float32)]), axis=1)
        self.nearest, self.second = two[:, 0].astype(np.float64), two[:, 1].astype(np.float64)

    def iterate(self, centroids: Places, max_iter: int = MAX_ITER) -> tuple[Places, float]:
        for _ in range(max_iter):
            self.assign(centroids)
            self.of_clusters = np.zeros(len(centroids), np.int64)
            sums = np.zeros(centroids.shape, np.int64)
            np.add.at(self.of_clusters, self.labels, self.weights)
            np.add.at(sums, self.labels, self.whole * self.weights[:, None])
            shift, inertia, moved = 0.0, self.squares, centroids.copy()
            for j in np.flatnonzero(self.of_clusters):
                for c in range(centroids.shape[1]):
                    weight, total = float(self.of_clusters[j]), float(sums[j, c])
                    mean = centroids[j, c] if j < self.fixed else total / weight
                    shift += (mean - centroids[j, c]) * (mean - centroids[j, c])
                    inertia += mean * (weight * mean - 2.0 * total)
                    moved[j, c] = mean
            centroids = moved
            if shift <= self.smallest:
                break
        return centroids, max(0.0, inertia)

    def split(self, centroids: Places, depth: int) -> Places:
        errors = np.zeros(centroids.shape)
        apart = self.values.astype(np.float64) - centroids[self.labels]
        np.add.at(errors, self.labels, self.weights[:, None] * (apart * apart))
        total = np.zeros(len(centroids))
        for c in range(centroids.shape[1]):
            total += errors[:, c]
        centroids, added = centroids.copy(), []
        for j in np.argsort(-total, kind="stable")[:depth]:
            if total[j] > 0:
                widest = errors[j].argmax()
                step = np.zeros(centroids.shape[1])
                step[widest] = 0.5 * np.sqrt(errors[j, widest] / self.of_clusters[j])
                added.append(centroids[j] + step)
                if j >= self.fixed:
                    centroids[j] -= step
        return np.array([*centroids, *added])

    def remove(self, centroids: Places, surplus: int) -> Places:
        utilities = np.zeros(len(centroids))
        np.add.at(utilities, self.labels, self.weights * (self.second - self.nearest))
        distances = plain_distances(centroids, centroids)
        np.fill_diagonal(distances, np.inf)
        neighbours = distances.argmin(axis=1)
        gone: set[int] = set()
        frozen: set[int] = set()
        for j in np.argsort(utilities, kind="stable").tolist():
            if len(gone) == surplus:
                break
            if j < self.fixed or j in frozen:
                continue
            gone.add(j)
            neighbour = int(neighbours[j])
            left = len(centroids) - self.fixed - len(gone) - len(frozen)
            is_free = neighbour >= self.fixed and neighbour not in gone | frozen
            if is_free and left > surplus - len(gone):
                frozen.add(neighbour)
        return np.array([place for j, place in enumerate(centroids) if j not in gone])


def breathe_plainly(
    points: Points, start: Places, fixed: int, breadth: int
) -> tuple[Places, float]:
    search = PlainSearch(points, fixed)
    depth, k = min(breadth, len(start) - fixed), len(start)
    centroids, lowest = search.iterate(start)
    best = centroids
    while depth > 0:
        more, _ = search.iterate(search.split(centroids, depth))
        centroids, inertia = search.iterate(search.remove(more, len(more) - k))
        if inertia < lowest * (1.0 - LEAST_GAIN):
            lowest, best = inertia, centroids
        else:
            depth -= 1
            centroids = best
            if depth > 0:
                centroids, _ = search.iterate(best, 1)
    return best, lowest


def some_points(seed: int, n: int, channels: int, kind: str) -> Points:
    rng = np.random.default_rng(seed)
    values: NDArray[Any] = rng.integers(0, 256, (n, channels))
    if kind == "tight":
        middles = rng.integers(0, 256, (1 + n // 30, channels))
        values = middles[rng.integers(0, len(middles), n)] + rng.normal(0, 4, (n, channels))
    elif kind == "equal":
        values = values[rng.integers(0, 1 + n // 40, n)]
    weights = rng.integers(1, rng.choice([1, 1000, 10**9]), n, endpoint=True)
    dtype = np.uint8 if channels == 3 else np.float32
    rounded = np.rint(np.clip(values, 0, 255)).astype(dtype)
    return make_points(rounded, weights, integer_grid(channels), spatially_sorted=channels == 3)


@st.composite
def searches(draw: st.DrawFn) -> tuple[Points, Places, int]:
    """Points, a start, and how many of its centroids are fixed."""
    seed, channels = draw(SEEDS), draw(st.sampled_from([3, 4]))
    n = draw(st.sampled_from([1, 2, 9, 255, 256, 257, 700]))
    kind = draw(st.sampled_from(["uniform", "tight", "equal"]))
    points = some_points(seed, n, channels, kind)
    rng = np.random.default_rng(seed)
    k = draw(st.integers(1, min(n, 20)))
    start = points.values[rng.choice(n, k, replace=False)].astype(np.float64)
    fixed = draw(st.integers(0, min(k, 3)))
    start[:fixed] = rng.integers(0, 256, (fixed, channels))
    return points, start, fixed


@given(searches(), st.sampled_from([0, 1, 3, BREADTH]))
@settings(deadline=None, max_examples=120)
def test_the_kernel_equals_plain_numpy_to_the_last_bit(
    search: tuple[Points, Places, int], breadth: int
) -> None:
    points, start, fixed = search
    found, inertia = breathe(points, start.copy(), fixed=fixed, breadth=breadth)
    expected, lowest = breathe_plainly(points, start, fixed, breadth)
    assert found.tolist() == expected.tolist()
    assert inertia == lowest


@given(searches())
@settings(deadline=None, max_examples=60)
def test_breathing_never_ends_above_lloyd_and_fixed_centroids_stay(
    search: tuple[Points, Places, int],
) -> None:
    points, start, fixed = search
    given_start = start.copy()
    _, plain = breathe(points, start, fixed=fixed, breadth=0)
    found, inertia = breathe(points, start, fixed=fixed)
    assert np.array_equal(start, given_start)
    assert inertia <= plain
    assert found.shape == start.shape
    assert np.array_equal(found[:fixed], start[:fixed])
    assert np.isfinite(found).all()


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("k", [8, 32])
def test_breathing_finds_clusters_that_a_bad_start_misses(channels: int, k: int) -> None:
    rng = np.random.default_rng(k)
    middles = rng.permutation(256)[:k, None] * np.ones((1, channels))
    middles = np.column_stack([middles[:, :2], rng.integers(0, 256, (k, channels - 2))])
    values = np.repeat(middles, 40, axis=0).astype(np.float32)
    points = make_points(values, np.ones(len(values), np.int64), integer_grid(channels))
    start = np.repeat(middles[:1], k, axis=0) + rng.uniform(0, 1, (k, channels))
    _, plain = breathe(points, start, breadth=0)
    _, inertia = breathe(points, start)
    assert inertia < plain / 2


def test_breathing_lowers_the_inertia_of_most_starts() -> None:
    ratios = []
    for seed in range(12):
        points = some_points(seed, 700, 3, "uniform")
        start = kmeans_plus_plus(points, 16, seed)
        _, plain = breathe(points, start, breadth=0)
        _, inertia = breathe(points, start)
        ratios.append(inertia / plain)
    assert np.median(ratios) < 0.985
    assert max(ratios) <= 1


@pytest.mark.parametrize("seed", [9, 60, 61])
def test_a_search_ends_where_rounding_takes_the_inertia_below_zero(seed: int) -> None:
    rng = np.random.default_rng(seed)
    middles = rng.integers(0, 256, (7, 3)).astype(np.uint8)
    values = np.repeat(middles, 30, axis=0)
    weights = rng.integers(1, 10**9, len(values))
    points = make_points(values, weights, integer_grid(3), spatially_sorted=True)
    _, inertia = breathe(points, middles.astype(np.float64))
    assert inertia == 0


def test_utilities_are_those_of_a_removal() -> None:
    """Where three clusters lie on a line, the one whose neighbour is nearest goes."""
    values = np.repeat([[0.0, 0, 0], [10, 0, 0], [200, 0, 0]], 5, axis=0).astype(np.uint8)
    points = make_points(values, np.arange(1, 16), integer_grid(3), spatially_sorted=True)
    search = PlainSearch(points, fixed=0)
    centroids, _ = search.iterate(np.array([[0.0, 0, 0], [10, 0, 0], [200, 0, 0]]))
    assert search.remove(centroids, 1).tolist() == [[10, 0, 0], [200, 0, 0]]
