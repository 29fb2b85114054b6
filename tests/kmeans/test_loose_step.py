from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.distance_bounds import TILE
from kmeans_dask.kmeans.loose_step import LOOSE_GROUP
from kmeans_dask.kmeans.plain import plain_labels
from kmeans_dask.kmeans.points import make_points
from tests.kmeans.strategies import (
    CHANNELS,
    KINDS,
    MOVES,
    SEEDS,
    check_steps,
    each_type,
    float_points,
    float_values,
    float_weights,
    grid_of,
)


@pytest.mark.parametrize("channels", CHANNELS)
@given(data=st.data())
@settings(deadline=None, max_examples=12)
def test_every_step_is_that_of_the_plain_loop(channels: int, data: st.DataObject) -> None:
    points = data.draw(float_points(channels, max_points=300))
    moves = data.draw(st.lists(st.sampled_from(MOVES), min_size=3, max_size=8))
    rng = np.random.default_rng(data.draw(SEEDS))
    check_steps(points, rng, moves, data.draw(st.integers(1, 40)))


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_labels_of_many_points_are_those_of_the_plain_loop(data: st.DataObject) -> None:
    channels = data.draw(st.sampled_from(CHANNELS))
    points = data.draw(float_points(channels, max_points=3 * LOOSE_GROUP))
    moves = data.draw(st.lists(st.sampled_from(MOVES), min_size=5, max_size=12))
    rng = np.random.default_rng(data.draw(SEEDS))
    check_steps(points, rng, moves, data.draw(st.integers(1, 40)), sums=False)


@each_type
def test_points_of_many_channels_are_assigned_as_those_of_few_are(dtype: Any) -> None:
    rng = np.random.default_rng(64)
    for kind in KINDS:
        values = float_values(rng, kind, 200, 64, dtype)
        weights = float_weights(rng, "floats", 200)
        points = make_points(values, weights, grid_of(values, weights))
        check_steps(points, rng, ["small", "means", "tiny", "jump", "outside"], 11)


@each_type
@pytest.mark.parametrize(
    "n", [1, TILE - 1, TILE, TILE + 1, LOOSE_GROUP - 1, LOOSE_GROUP, LOOSE_GROUP + 1]
)
def test_points_of_tiles_and_groups_that_are_not_full_are_all_summed(n: int, dtype: Any) -> None:
    rng = np.random.default_rng(n)
    for k in (1, 2, 9):
        values = float_values(rng, "blobs", n, 3, dtype)
        check_steps(make_points(values, None, grid_of(values)), rng, ["small", "zero", "big"], k)


@each_type
def test_a_run_of_small_moves_never_loses_a_point(dtype: Any) -> None:
    rng = np.random.default_rng(15)
    values = float_values(rng, "blobs", 2 * LOOSE_GROUP, 4, dtype)
    assignment = Assignment(make_points(values, None, grid_of(values)))
    centroids = rng.choice(values, 12, replace=False).astype(np.float64)
    for step in range(60):
        centroids = centroids + rng.normal(0, 10.0 ** rng.integers(-8, 0), centroids.shape)
        assert np.array_equal(assignment.labels(centroids), plain_labels(values, centroids)), step


@each_type
@pytest.mark.parametrize("exponent", [3, 9, 14, 16, 20, 30, 37, 39, 60, 100, 150])
def test_centroids_that_were_far_away_and_come_back_are_followed(exponent: int, dtype: Any) -> None:
    rng = np.random.default_rng(exponent)
    values = float_values(rng, "blobs", 500, 3, dtype)
    assignment = Assignment(make_points(values, None, grid_of(values)))
    near = rng.choice(values, 6, replace=False).astype(np.float64)
    away = near + 10.0**exponent * rng.choice([-1.0, 1.0], near.shape)
    some = near.copy()
    some[:3] = away[:3]
    for centroids in (near, some, near, away, near, near[::-1], near, near[[1, 0, 3, 2, 5, 4]]):
        assert np.array_equal(assignment.labels(centroids), plain_labels(values, centroids))


@each_type
@pytest.mark.parametrize("scale", [1.0, 1e-15])
@pytest.mark.parametrize("distance", [1e3, 1e8, 1e14, 1e15, 1e16, 1e20])
def test_of_centroids_that_are_all_far_away_the_nearest_is_found(
    distance: float, scale: float, dtype: Any
) -> None:
    rng = np.random.default_rng(16)
    values = (rng.uniform(-1, 1, (300, 3)) * scale).astype(dtype)
    points = make_points(values, None, grid_of(values))
    directions = np.array([[5.0, 0, 0], [1.0, 1.0, 1.0], [1.0, 1.6, 0.4], [-1.5, 1.1, 0]])
    for order in (slice(None), slice(None, None, -1)):
        centroids = directions[order] * (distance * scale)
        labels = Assignment(points).labels(centroids)
        assert np.array_equal(labels, plain_labels(values, centroids))


def test_a_chunk_that_is_a_speck_beside_the_centroids_is_labelled_plainly() -> None:
    centroids = np.array([[9.0, 1, 1, 1], [4.0, 4, 4, 4], [-5.0, 3, 4, 5]])
    speck = np.array([[1.0, 1, 1, 1], [1 + 2.0**-52, 1, 1, 1]])
    for values, around in ((speck, centroids), (np.full((1, 4), 1e15), centroids * 1e15)):
        for order in (around, around[::-1]):
            labels = Assignment(make_points(values, None, grid_of(values))).labels(order)
            assert np.array_equal(labels, plain_labels(values, order))
