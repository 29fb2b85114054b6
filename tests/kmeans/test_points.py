from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.cluster_sums import merge_partials
from kmeans_dask.kmeans.exact_sums import integer_grid
from kmeans_dask.kmeans.plain import plain_labels
from kmeans_dask.kmeans.points import Points, make_points
from tests.kmeans.strategies import (
    CHANNELS,
    SEEDS,
    float_points,
    grid_of,
    places,
    same_finish,
    spread_of,
)


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_split_points_merge_to_the_whole(data: st.DataObject) -> None:
    points = data.draw(float_points(data.draw(st.sampled_from(CHANNELS)), max_points=200))
    rng = np.random.default_rng(data.draw(SEEDS))
    centroids = places(rng, points.values, data.draw(st.integers(1, 20)))
    parts = points.split(data.draw(st.integers(1, 9)))
    assert np.array_equal(np.concatenate([part.values for part in parts]), points.values)
    merged = merge_partials([Assignment(part).partial(centroids) for part in parts])
    assert same_finish(merged, Assignment(points).partial(centroids), centroids)


def test_split_boxes_merge_to_the_whole() -> None:
    rng = np.random.default_rng(17)
    values = np.sort(rng.integers(0, 256, (3000, 1)), axis=0).astype(np.uint8)
    weights = rng.integers(1, 9, 3000)
    points = make_points(values, weights, integer_grid(1), spatially_sorted=True)
    centroids = rng.uniform(0, 255, (9, 1))
    whole = Assignment(points).partial(centroids, 5)
    for n in (1, 2, 3, 7):
        parts = points.split(n)
        assert all(part.boxes is not None for part in parts)
        merged = merge_partials([Assignment(part).partial(centroids, 5) for part in parts])
        assert same_finish(merged, whole, centroids)


def exact_inertia(points: Points, centroids: NDArray[np.float64]) -> Fraction:
    labels = plain_labels(points.values, centroids)
    total = Fraction(0)
    for row, weight, label in zip(
        points.values.tolist(), points.weights.tolist(), labels.tolist(), strict=True
    ):
        apart = (
            Fraction(x) - Fraction(c) for x, c in zip(row, centroids[label].tolist(), strict=True)
        )
        total += Fraction(weight) * sum((d * d for d in apart), Fraction(0))
    return total


def exact_variance(points: Points) -> Fraction:
    weights = [Fraction(weight) for weight in points.weights.tolist()]
    total = Fraction(0)
    whole = sum(weights, Fraction(0))
    for channel in points.values.T.tolist():
        column = [Fraction(x) for x in channel]
        mean = sum((w * x for w, x in zip(weights, column, strict=True)), Fraction(0)) / whole
        apart = (w * (x - mean) ** 2 for w, x in zip(weights, column, strict=True))
        total += sum(apart, Fraction(0))
    return Fraction(total / whole / points.values.shape[1])


def is_close(found: float, exact: Fraction, relative: float = 1e-12) -> bool:
    return abs(Fraction(found) - exact) <= Fraction(relative) * exact


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_inertia_and_variance_are_those_of_exact_arithmetic(data: st.DataObject) -> None:
    kinds = ("blobs", "duplicates", "offset", "huge", "enormous", "tiny", "ties")
    channels = data.draw(st.sampled_from([1, 2, 3, 5]))
    points = data.draw(float_points(channels, max_points=40, kinds=kinds))
    assume(exact_variance(points) > 0)  # else what is left is rounding
    rng = np.random.default_rng(data.draw(SEEDS))
    k = data.draw(st.integers(1, 4))
    centroids = rng.choice(points.values, k).astype(np.float64)
    centroids += rng.normal(0, spread_of(points.values), centroids.shape)
    partial = Assignment(points).partial(centroids)
    assert is_close(partial.inertia(centroids), exact_inertia(points, centroids))
    assert is_close(partial.variance, exact_variance(points))


def test_of_a_small_spread_at_a_large_offset_nothing_is_lost() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = 1e8 + rng.normal(size=(50, 3))
        weights = rng.uniform(0, 2, 50)
        points = make_points(values, weights, grid_of(values, weights))
        centroids = 1e8 + rng.normal(size=(3, 3))
        partial = Assignment(points).partial(centroids)
        assert is_close(partial.inertia(centroids), exact_inertia(points, centroids))
        assert is_close(partial.variance, exact_variance(points))
        means = np.where(np.isnan(partial.means), centroids, partial.means)
        assert is_close(partial.inertia(means), exact_inertia_of_labels(points, centroids, means))


def exact_inertia_of_labels(
    points: Points, centroids: NDArray[np.float64], means: NDArray[np.float64]
) -> Fraction:
    """Where points stay in the clusters that `centroids` make."""
    labels = plain_labels(points.values, centroids)
    return sum(
        (
            exact_inertia(
                make_points(points.values[[i]], points.weights[[i]], points.grid), means[[label]]
            )
            for i, label in enumerate(labels)
        ),
        Fraction(0),
    )


def is_within_grid(found: float, exact: Fraction, points: Points) -> bool:
    """Off by no more than what the grid says it loses, and float64 of coordinates."""
    n, channels = points.values.shape
    reach = float(np.abs(points.values - points.grid.origin).max())
    width = math.sqrt(exact / n)
    lost = n * channels * (2.0**-70 * reach**2 + 2.0**-51 * reach * width)
    return abs(Fraction(found) - exact) <= Fraction(1e-12) * exact + Fraction(lost)


@pytest.mark.parametrize("width", [1e-2, 1e-4, 1e-6, 1e-8])
def test_of_tight_clusters_that_are_far_apart_nothing_is_lost(width: float) -> None:
    rng = np.random.default_rng(18)
    middles = rng.normal(size=(4, 2))
    values = np.repeat(middles, 20, axis=0) + rng.normal(0, width, (80, 2))
    points = make_points(values, None, grid_of(values))
    found = Assignment(points).partial(middles).inertia(middles)
    assert is_within_grid(found, exact_inertia(points, middles), points)


@pytest.mark.parametrize("distance", [1e3, 1e6, 1e9])
def test_an_outlier_with_a_centroid_of_its_own_hides_no_other_point(distance: float) -> None:
    rng = np.random.default_rng(19)
    values = rng.normal(size=(100, 2))
    values[7] = distance, -distance
    points = make_points(values, None, grid_of(values))
    centroids = np.array([[0.0, 0.0], values[7]])
    found = Assignment(points).partial(centroids).inertia(centroids)
    assert is_within_grid(found, exact_inertia(points, centroids), points)
