from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.kmeans.kmeans_parallel import DrawnPoints, Sampler, choose_of, potential_bits
from kmeans_dask.kmeans.plain import plain_distances
from kmeans_dask.kmeans.points import Points, make_points
from tests.kmeans.strategies import (
    SEEDING_KINDS,
    SEEDS,
    cuts_of,
    each_type,
    float_values,
    integer_points,
    make_float_points,
    rows_of,
    seeding_points,
)


def samplers(points: Points, cuts: Sequence[slice], start: int = 0) -> list[Sampler]:
    weights = points.weights
    return [
        Sampler(make_points(points.values[cut], weights[cut], points.grid), start + cut.start)
        for cut in cuts
    ]


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_draws_are_the_same_for_any_chunks(data: st.DataObject) -> None:
    points, seed = data.draw(seeding_points() | integer_points(weightless=True)), data.draw(SEEDS)
    n = data.draw(st.integers(1, 20))
    whole = Sampler(points, 0)
    parts = samplers(points, data.draw(cuts_of(len(points))))

    first = DrawnPoints.first([whole.draw_by_weight(n, seed)], n)
    merged = DrawnPoints.first([part.draw_by_weight(n, seed) for part in parts], n)
    assert np.array_equal(merged.keys, first.keys)
    assert np.array_equal(merged.values, first.values)
    heavy = points.values[points.weights > 0]
    assert len(first.values) == min(n, len(heavy))
    assert rows_of(first.values) <= rows_of(heavy)

    chosen = first.values[:1]
    for step in range(3 if len(heavy) else 0):
        potential = whole.potential(chosen)
        assert sum(part.potential(chosen) for part in parts) == potential
        if not potential:
            break
        drawn = whole.draw_by_distance(chosen, potential, n, seed + step)
        together = [part.draw_by_distance(chosen, potential, n, seed + step) for part in parts]
        assert drawn.dtype == np.float64
        assert np.array_equal(np.concatenate(together), drawn)
        assert rows_of(drawn) <= rows_of(heavy)
        assert not rows_of(drawn) & rows_of(chosen)
        chosen = np.concatenate([chosen, drawn])


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_the_potential_of_integers_is_exact(data: st.DataObject) -> None:
    points = data.draw(integer_points())
    rng = np.random.default_rng(data.draw(SEEDS))
    chosen = rng.choice(points.values, data.draw(st.integers(1, 9))).astype(np.float64)
    apart = points.values[:, None].astype(int) - chosen[None].astype(int)
    expected = int((points.weights * (apart**2).sum(axis=2).min(axis=1)).sum())
    assert potential_bits(points.grid) == 0
    assert Sampler(points, 0).potential(chosen) == expected


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_the_potential_of_floats_is_as_fine_as_their_grid(data: st.DataObject) -> None:
    points = data.draw(seeding_points())
    rng = np.random.default_rng(data.draw(SEEDS))
    chosen = rng.choice(points.values, data.draw(st.integers(1, 9))).astype(np.float64)
    distances = plain_distances(points.values, chosen).min(axis=1)
    pairs = zip(points.weights.tolist(), distances.tolist(), strict=True)
    expected = sum((Fraction(weight * distance) for weight, distance in pairs), Fraction(0))
    unit = Fraction(2) ** -potential_bits(points.grid)
    found = Sampler(points, 0).potential(chosen) * unit
    assert abs(found - expected) <= len(points) * unit


@each_type
def test_a_pickled_sampler_draws_as_before(dtype: Any) -> None:
    rng = np.random.default_rng(6)
    points = make_float_points(rng.normal(size=(1000, 3)).astype(dtype), rng.uniform(0, 2, 1000))
    sampler = Sampler(points, 10**12)
    chosen = points.values[:5].astype(np.float64)
    potential = sampler.potential(chosen)
    copied = pickle.loads(pickle.dumps(sampler))
    more = points.values[:9].astype(np.float64)
    assert copied.potential(more) == sampler.potential(more)
    assert np.array_equal(
        copied.draw_by_distance(more, potential, 50, 7),
        sampler.draw_by_distance(more, potential, 50, 7),
    )
    assert np.array_equal(copied.draw_by_weight(9, 8).values, sampler.draw_by_weight(9, 8).values)


def test_what_a_sampler_was_asked_before_changes_nothing() -> None:
    rng = np.random.default_rng(7)
    points = make_float_points(rng.normal(size=(500, 3)))
    some, others = points.values[:5], points.values[5:12]
    for first, second in ((some, others), (others, some), (points.values[:9], some)):
        sampler = Sampler(points, 0)
        sampler.potential(first)
        assert sampler.potential(second) == Sampler(points, 0).potential(second)


def test_the_number_of_the_first_point_and_the_seed_make_the_draw() -> None:
    points = make_float_points(np.random.default_rng(8).normal(size=(1000, 2)))
    draws = [
        Sampler(points, first).draw_by_weight(20, seed).values.tolist()
        for first, seed in ((0, 0), (0, 1), (1000, 0), (10**15, 0))
    ]
    assert all(a != b for i, a in enumerate(draws) for b in draws[:i])


def test_points_are_drawn_first_as_often_as_they_weigh() -> None:
    points = make_float_points(np.array([[0.0], [1.0], [2.0]]), np.array([0.1, 0.3, 0.6]))
    sampler = Sampler(points, 0)
    firsts = np.concatenate([sampler.draw_by_weight(1, seed).values for seed in range(2000)])
    shares = [(firsts == value).mean() for value in (0.0, 1.0, 2.0)]
    assert shares == pytest.approx([0.1, 0.3, 0.6], abs=0.05)


def test_as_many_points_are_drawn_as_were_asked_for() -> None:
    points = make_float_points(np.random.default_rng(9).normal(size=(20_000, 3)))
    sampler = Sampler(points, 0)
    chosen = points.values[:1]
    potential = sampler.potential(chosen)
    counts = [len(sampler.draw_by_distance(chosen, potential, 100, seed)) for seed in range(50)]
    assert np.mean(counts) == pytest.approx(100, abs=5 * math.sqrt(100 / 50))


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_of_candidates_some_are_made_k_centroids(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    kind = data.draw(st.sampled_from(SEEDING_KINDS))
    n, channels = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 4))
    candidates = float_values(rng, kind, n, channels, np.float64)
    weights = rng.integers(1, 1000, len(candidates)).astype(np.float64)
    k, seed = data.draw(st.integers(1, 10)), data.draw(SEEDS)
    centroids = choose_of(candidates, weights, k, seed)
    assert centroids.shape == (k, candidates.shape[1])
    assert np.isfinite(centroids).all()
    assert np.array_equal(choose_of(candidates, weights, k, seed), centroids)
