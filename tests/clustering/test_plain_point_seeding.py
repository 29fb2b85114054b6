"""Seeding of points held to loops that skip nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.clustering.grid import integer_grid
from kmeans_dask.clustering.points import Points, make_points
from kmeans_dask.clustering.randomness import Random
from kmeans_dask.clustering.seeding import (
    SEEDINGS,
    Seeding,
    _gains,
    _PointPotential,
    kmeans_plus_plus,
    random_points,
)
from tests.clustering.strategies import SEEDS
from tests.clustering.test_point_seeding import float_points, rows, some_points, values_of

each_seeding = pytest.mark.parametrize("seeding", SEEDINGS.values(), ids=SEEDINGS.keys())
Floats = NDArray[np.float64]


def distances_to(values: Floats, place: Floats) -> Floats:
    """Squared, channel after channel."""
    distances = np.zeros(len(values))
    for channel in range(values.shape[1]):
        distances += (values[:, channel] - place[channel]) ** 2
    return distances


def one_by_one(terms: Floats) -> float:
    """The sum of these, added from first to last."""
    return float(np.cumsum(terms)[-1])


def plain_plus_plus(values: NDArray[Any], weights: NDArray[Any], k: int, seed: int) -> Floats:
    """Greedy k-means++ that measures every candidate against every point."""
    random = Random(seed)
    places, heavy = values.astype(np.float64), weights.astype(np.float64)
    distances = np.full(len(values), np.inf)
    chosen: list[int] = []
    while len(chosen) < k:
        shares = heavy * distances if chosen else heavy
        if not shares.any():
            shares = heavy
        up_to = np.cumsum(shares)
        best, highest = -1, -1.0
        for _ in range(2 + int(math.log(k)) if chosen else 1):
            target = random.fraction() * up_to[-1]
            beyond = np.flatnonzero(up_to > target)
            candidate = int(beyond[0]) if len(beyond) else int(np.flatnonzero(shares)[-1])
            gain = 0.0
            if chosen:
                falls = distances - distances_to(places, places[candidate])
                gain = one_by_one(heavy * np.maximum(falls, 0.0))
            if gain > highest:
                best, highest = candidate, gain
        chosen.append(best)
        distances = np.minimum(distances, distances_to(places, places[best]))
    return places[chosen]


def plain_random(values: NDArray[Any], weights: list[int], k: int, seed: int) -> Floats:
    """Draw from places that are counted out from the first to the last that is not drawn."""
    random = Random(seed)
    left = dict(enumerate(weights))
    chosen: list[int] = []
    while len(chosen) < k:
        place = random.below(sum(left.values()))
        for i, weight in left.items():
            if place < weight:
                chosen.append(i)
                break
            place -= weight
        del left[chosen[-1]]
    return values[chosen].astype(np.float64)


@st.composite
def integer_points(draw: st.DrawFn, max_points: int = 200) -> Points:
    rng = np.random.default_rng(draw(SEEDS))
    n, channels = draw(st.integers(1, max_points)), draw(st.sampled_from([1, 2, 3, 4]))
    values = rng.integers(0, draw(st.sampled_from([2, 6, 256])), (n, channels)).astype(np.uint8)
    weights = rng.integers(0, draw(st.sampled_from([1, 9, 10**6])), n, endpoint=True)
    weights[rng.integers(n)] = 1
    return make_points(values, weights, integer_grid(channels))


any_points = some_points(max_points=200) | integer_points()


@given(st.data())
@settings(deadline=None, max_examples=120)
def test_greedy_plus_plus_on_points_is_that_of_the_quadratic_loop(data: st.DataObject) -> None:
    points = data.draw(any_points)
    k, seed = data.draw(st.integers(1, 30)), data.draw(SEEDS)
    expected = plain_plus_plus(points.values, points.weights, k, seed)
    assert np.array_equal(kmeans_plus_plus(points, k, seed), expected)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_random_points_are_drawn_as_from_places_counted_out(data: st.DataObject) -> None:
    points = data.draw(any_points)
    weights = points.weights
    k = data.draw(st.integers(1, min(30, int((weights > 0).sum()))))
    if not points.grid.exact:  # in 2^20 steps of the heaviest
        weights = np.array([max(round(w / weights.max() * 2**20), w > 0) for w in weights.tolist()])
    seed = data.draw(SEEDS)
    expected = plain_random(points.values, weights.tolist(), k, seed)
    assert np.array_equal(random_points(points, k, seed), expected)


@pytest.mark.parametrize("n", [1, 2, 60])
def test_as_many_random_points_as_there_are_with_weight_are_all_of_them(n: int) -> None:
    values = np.arange(2 * n, dtype=np.uint8)[:, None]
    points = make_points(values, np.arange(2 * n) % 2, integer_grid(1))
    for seed in range(20):
        assert sorted(random_points(points, n, seed)[:, 0]) == list(range(1, 2 * n, 2))


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_gains_are_to_the_last_bit_those_of_skipping_nothing(data: st.DataObject) -> None:
    points = data.draw(any_points)
    rng = np.random.default_rng(data.draw(SEEDS))
    potential = _PointPotential(points)
    for chosen in rng.integers(0, len(points), 10).tolist():
        potential.take(chosen)
        candidates = rng.integers(0, len(points), 4).tolist()
        never_apart = np.full((4, len(potential._chosen)), -1.0)
        gains = np.zeros(4)
        _gains(
            points.values, points.weights, potential._distances, potential._nearest,
            points.values[candidates].astype(np.float64), never_apart, gains,
        )  # fmt: skip
        assert potential.gains(candidates) == gains.tolist()


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_taking_a_point_leaves_the_distances_of_skipping_nothing(data: st.DataObject) -> None:
    points = data.draw(any_points)
    rng = np.random.default_rng(data.draw(SEEDS))
    potential = _PointPotential(points)
    places, distances = points.values.astype(np.float64), np.full(len(points), np.inf)
    for chosen in rng.integers(0, len(points), 10).tolist():
        potential.take(chosen)
        distances = np.minimum(distances, distances_to(places, places[chosen]))
        assert np.array_equal(potential._distances, distances)


@each_seeding
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_rows_without_weight_are_never_drawn(seeding: Seeding, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    n = data.draw(st.integers(2, 200))
    values = values_of(rng, "blobs", n, 2)
    weights = np.where(rng.random(n) < 0.8, 0.0, rng.uniform(0.1, 3, n))
    weights[rng.integers(n)] = 1.0
    weights[[0, -1]] = data.draw(st.sampled_from([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]))
    if not weights.any():
        weights[n // 2] = 1.0
    heavy = values[weights > 0]
    seeds = seeding(float_points(values, weights), min(20, len(heavy)), data.draw(SEEDS))
    assert rows(seeds) <= rows(heavy)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("distinct", [1, 2, 5])
def test_fewer_distinct_points_than_seeds_are_all_drawn(distinct: int, dtype: Any) -> None:
    rng = np.random.default_rng(distinct)
    few = rng.normal(size=(distinct, 3)).astype(dtype)
    values = np.concatenate([few, rng.choice(few, 500)])
    for seed in range(10):
        seeds = kmeans_plus_plus(float_points(values), 16, seed)
        assert seeds.shape == (16, 3)
        assert rows(seeds) == rows(few)


@each_seeding
def test_the_same_seed_draws_the_same_from_the_same_rows_elsewhere_in_memory(
    seeding: Seeding,
) -> None:
    rng = np.random.default_rng(3)
    values, weights = rng.normal(size=(600, 4)), rng.uniform(0, 2, 600)
    expected = seeding(float_points(values, weights), 12, 9)
    for again in (values.copy(), np.ascontiguousarray(values[::-1])[::-1].copy()):
        assert np.array_equal(seeding(float_points(again, weights.copy()), 12, 9), expected)
