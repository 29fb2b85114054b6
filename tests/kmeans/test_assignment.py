from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.cluster_sums import merge_partials
from kmeans_dask.kmeans.exact_sums import integer_grid
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.kmeans.morton_keys import Packing
from kmeans_dask.kmeans.plain import plain_cluster_sums
from kmeans_dask.kmeans.points import _FAN_OUT, _GROUP, color_points, make_points
from tests.kmeans.strategies import (
    CHANNELS,
    MOVES,
    SEEDS,
    centroids_for,
    check_steps,
    color_tables,
    cuts_of,
    each_type,
    float_points,
    float_values,
    float_weights,
    grid_of,
    make_table,
    places,
    same_far,
    same_finish,
    same_partial,
)


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
@pytest.mark.parametrize("spatially_sorted", [False, True], ids=["loose", "boxed"])
@given(data=st.data())
@settings(deadline=None, max_examples=12)
def test_integer_points_are_assigned_as_the_plain_loop_does(
    channels: int, spatially_sorted: bool, data: st.DataObject
) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    n = data.draw(st.integers(1, _GROUP * _FAN_OUT + 300))
    top = data.draw(st.sampled_from([1, 5, 256]))
    if data.draw(st.booleans()):
        floats = rng.choice(rng.uniform(0, 256, (5, channels)), n) + rng.normal(0, 4, (n, channels))
        values = floats.clip(0, 255).astype(np.uint8)
    else:
        values = rng.integers(0, top, (n, channels)).astype(np.uint8)
    if spatially_sorted:
        packing = Packing.between((0,) * channels, (255,) * channels)
        assert packing is not None
        values = np.ascontiguousarray(values[np.argsort(packing.pack(values))])
    heaviest = data.draw(st.sampled_from([1, 1000, 10**10]))
    weights = rng.integers(0, heaviest, n, endpoint=True)
    points = make_points(values, weights, integer_grid(channels), spatially_sorted=spatially_sorted)
    assert (points.boxes is not None) == spatially_sorted
    moves = data.draw(st.lists(st.sampled_from(MOVES), min_size=3, max_size=8))
    check_steps(points, rng, moves, data.draw(st.integers(1, 40)))


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_far_points_are_those_of_the_plain_loop(data: st.DataObject) -> None:
    table = data.draw(color_tables(max_colors=1200))
    centroids = data.draw(centroids_for(table, max_k=60))
    n_far = data.draw(st.integers(1, 1300))
    far = Assignment(color_points(table)).partial(centroids, n_far).far
    assert same_far(far, plain_cluster_sums(table.colors, table.weights, centroids, n_far).far)


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_chunks_of_colours_cut_anywhere_merge_to_the_whole(data: st.DataObject) -> None:
    table = data.draw(color_tables(max_colors=2000))
    centroids = data.draw(centroids_for(table, max_k=80))
    chunks = [table.slice(cut.start, cut.stop) for cut in data.draw(cuts_of(len(table)))]
    parts = [Assignment(color_points(chunk)).partial(centroids) for chunk in chunks]
    assert same_partial(merge_partials(parts), Assignment(color_points(table)).partial(centroids))


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_chunks_of_points_cut_anywhere_in_any_order_merge_to_the_whole(data: st.DataObject) -> None:
    channels = data.draw(st.sampled_from(CHANNELS))
    points = data.draw(float_points(channels, max_points=250))
    rng = np.random.default_rng(data.draw(SEEDS))
    centroids = places(rng, points.values, data.draw(st.integers(1, 20)))
    n_far = data.draw(st.sampled_from([0, 1, 7]))
    whole = Assignment(points).partial(centroids, n_far)
    order = rng.permutation(len(points))
    if data.draw(st.booleans()):
        order.sort()
    values, weights = points.values[order], np.ascontiguousarray(points.weights[order])
    chunks = [
        make_points(values[cut], weights[cut], points.grid)
        for cut in data.draw(cuts_of(len(points)))
    ]
    merged = merge_partials([Assignment(chunk).partial(centroids, n_far) for chunk in chunks])
    assert same_finish(merged, whole, centroids)


def test_the_same_centroids_give_the_same_sums_whatever_came_between() -> None:
    rng = np.random.default_rng(13)
    table = make_table(rng.integers(0, 256, (2000, 3)), rng.integers(1, 9, 2000))
    assignment = Assignment(color_points(table))
    some, others = rng.uniform(0, 255, (5, 3)), rng.uniform(0, 255, (50, 3))
    first = assignment.partial(some, n_far=5)
    assignment.partial(others, n_far=50)
    assert same_partial(assignment.partial(some, n_far=5), first)


def test_centroids_in_any_memory_order_give_the_same_sums() -> None:
    rng = np.random.default_rng(14)
    table = make_table(rng.integers(0, 256, (700, 3)))
    assignment = Assignment(color_points(table))
    centroids = rng.uniform(0, 255, (20, 3))
    expected = assignment.partial(centroids)
    assert same_partial(assignment.partial(np.asfortranarray(centroids)), expected)
    assert same_partial(assignment.partial(np.repeat(centroids, 2, axis=0)[::2]), expected)


def test_no_colours_at_all_sum_to_nothing() -> None:
    table = ColorHistogram(np.empty(0, np.uint32), np.empty(0, np.int64))
    partial = Assignment(color_points(table)).partial(np.zeros((2, 3)))
    assert partial.weights.tolist() == [0, 0]
    assert partial.square_sums == (0, 0, 0)


@each_type
def test_a_pickled_assignment_goes_on_as_before(dtype: Any) -> None:
    rng = np.random.default_rng(20)
    values = float_values(rng, "blobs", 1500, 3, dtype)
    weights = float_weights(rng, "floats", 1500)
    for given_weights in (None, weights):
        assignment = Assignment(make_points(values, given_weights, grid_of(values, weights)))
        first, second = places(rng, values, 9), places(rng, values, 9)
        assignment.partial(first)
        copied = pickle.loads(pickle.dumps(assignment))
        for centroids in (second, first):
            assert same_partial(copied.partial(centroids, 4), assignment.partial(centroids, 4))


def test_a_pickled_assignment_holds_points_only() -> None:
    values = np.random.default_rng(21).normal(size=(1000, 3))
    points = make_points(values, np.ones(1000), grid_of(values))
    assignment = Assignment(points)
    before = len(pickle.dumps(assignment))
    assignment.labels(values[:50])
    assert len(pickle.dumps(assignment)) == before
