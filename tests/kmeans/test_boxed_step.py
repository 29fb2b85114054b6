from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.histogram import MAX_PIXELS, ColorHistogram
from kmeans_dask.kmeans.plain import plain_cluster_sums, plain_labels
from kmeans_dask.kmeans.points import _FAN_OUT, _GROUP, color_points
from tests.kmeans.strategies import centroids_for, color_tables, make_table, same_partial

OUTER = _GROUP * _FAN_OUT


def equals_plain(table: ColorHistogram, centroids: NDArray[np.float64], n_far: int = 0) -> bool:
    assignment = Assignment(color_points(table))
    labels = assignment.labels(centroids)
    expected = plain_cluster_sums(table.colors, table.weights, centroids, n_far)
    return (
        labels.dtype == np.int32
        and np.array_equal(labels, plain_labels(table.colors, centroids))
        and same_partial(assignment.partial(centroids, n_far), expected)
    )


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_labels_and_sums_are_those_of_the_plain_loop(data: st.DataObject) -> None:
    table = data.draw(color_tables())
    assert equals_plain(table, data.draw(centroids_for(table)))


@pytest.mark.parametrize("k", [1, 2, 16, 300])
@pytest.mark.parametrize(
    "n",
    [1, _GROUP - 1, _GROUP, _GROUP + 1, OUTER - 1, OUTER, OUTER + 1, 3000],
)
def test_points_of_groups_and_outer_groups_that_are_not_full_are_all_summed(n: int, k: int) -> None:
    rng = np.random.default_rng(n * 1000 + k)
    codes = np.sort(rng.choice(1 << 24, n, replace=False)).astype(np.uint32)
    table = ColorHistogram(codes, rng.integers(1, 100, n))
    assert equals_plain(table, rng.uniform(0, 255, (k, 3)), n_far=k)


def test_every_colour_halfway_between_two_centroids_goes_to_the_lower_index() -> None:
    cube = make_table(np.array(list(itertools.product(range(16), repeat=3))) + 100)
    corners = np.array(list(itertools.product([100.0, 115.0], repeat=3)))
    odd = np.array(list(itertools.product([101.0, 103, 105, 107, 109, 111, 113], repeat=3)))
    for centroids in (corners, corners[::-1], odd, np.concatenate([corners, corners])):
        assert equals_plain(cube, centroids)
    labels = Assignment(color_points(cube)).labels(np.concatenate([corners, corners]))
    assert labels.max() == 7


@pytest.mark.parametrize("steps", [1, 2, 50])
def test_centroids_an_ulp_apart_are_compared_as_the_plain_loop_does(steps: int) -> None:
    rng = np.random.default_rng(steps)
    cube = make_table(np.array(list(itertools.product(range(12), repeat=3))) + 60)
    middle = np.array([65.5, 65.5, 65.5])
    ulp = np.spacing(middle[0])
    for _ in range(20):
        centroids = middle + rng.integers(-steps, steps + 1, (9, 3)) * ulp
        assert equals_plain(cube, centroids)


def test_centroids_that_lose_by_about_the_margin_are_not_confused() -> None:
    rng = np.random.default_rng(11)
    cube = make_table(np.array(list(itertools.product(range(12), repeat=3))) + 60)
    for exponent in range(-45, -10):
        centroids = 65.5 + rng.choice([-1.0, 0.0, 1.0], (9, 3)) * 2.0**exponent
        assert equals_plain(cube, centroids)


def test_the_labels_of_a_real_fit_are_plain_all_the_way() -> None:
    rng = np.random.default_rng(12)
    middles = rng.integers(20, 236, (9, 3))
    colors = (middles[rng.integers(0, 9, 6000)] + rng.normal(0, 6, (6000, 3))).clip(0, 255)
    table = make_table(colors, rng.integers(1, 500, 6000))
    centroids = rng.choice(table.colors, 12, replace=False).astype(np.float64)
    for _ in range(8):
        assert equals_plain(table, centroids)
        partial = plain_cluster_sums(table.colors, table.weights, centroids)
        centroids = partial.sums / partial.weights[:, None]


def test_sums_of_as_many_pixels_as_can_be_counted_do_not_overflow() -> None:
    colors = np.array([[255, 255, 255], [255, 0, 255], [0, 0, 1]])
    table = make_table(colors, np.array([1, MAX_PIXELS - 3, 2]))
    partial = Assignment(color_points(table)).partial(np.array([[0.0, 0, 0], [255, 128, 255]]))
    rows = list(zip(table.colors.tolist(), table.weights.tolist(), strict=True))
    squares = tuple(sum(w * c[i] ** 2 for c, w in rows) for i in range(3))
    assert partial.square_sums == squares
    bright = [sum(w * c[i] for c, w in rows if c[0] == 255) for i in range(3)]
    assert partial.sums[1].tolist() == bright
    assert int(partial.weights.sum()) == MAX_PIXELS
