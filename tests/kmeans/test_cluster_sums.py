from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.cluster_sums import ClusterSums, merge_partials
from kmeans_dask.kmeans.histogram import MAX_PIXELS
from kmeans_dask.kmeans.plain import plain_cluster_sums, plain_labels
from kmeans_dask.kmeans.points import color_points
from tests.kmeans.strategies import (
    SEEDS,
    centroids_for,
    color_tables,
    cuts_of,
    make_table,
    same_partial,
)


def exact_inertia(
    points: NDArray[Any], weights: Sequence[int], centroids: NDArray[np.float64]
) -> Fraction:
    labels = plain_labels(points, centroids)
    total = Fraction(0)
    for point, weight, label in zip(points.tolist(), weights, labels, strict=True):
        exact = (
            Fraction(int(x)) - Fraction(c)
            for x, c in zip(point, centroids[label].tolist(), strict=True)
        )
        total += int(weight) * sum((d * d for d in exact), Fraction(0))
    return total


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_merging_any_split_equals_the_whole(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    n, k = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 12))
    # few distinct points, so that the same one comes in many chunks
    points = rng.integers(0, data.draw(st.sampled_from([2, 4, 256])), (n, 3)).astype(np.uint8)
    weights = rng.integers(1, 1000, n)
    centroids = rng.uniform(0, int(points.max()) + 1, (k, 3))
    if data.draw(st.booleans()):
        centroids = np.rint(centroids)
    n_far = data.draw(st.integers(0, k))
    order = rng.permutation(n)
    chunks = [order[cut] for cut in data.draw(cuts_of(n))]
    parts = [plain_cluster_sums(points[c], weights[c], centroids, n_far) for c in chunks]
    whole = plain_cluster_sums(points, weights, centroids, n_far)
    assert same_partial(merge_partials(parts), whole)


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_merging_in_any_order_and_grouping_is_the_same(data: st.DataObject) -> None:
    table = data.draw(color_tables(max_colors=400))
    centroids = data.draw(centroids_for(table, max_k=20))
    parts = [
        plain_cluster_sums(table.colors[cut], table.weights[cut], centroids, n_far=1)
        for cut in data.draw(cuts_of(len(table)))
    ]
    shuffled = data.draw(st.permutations(parts))
    cut = data.draw(st.integers(1, len(shuffled)))
    grouped = [merge_partials(group) for group in (shuffled[:cut], shuffled[cut:]) if group]
    assert same_partial(merge_partials(grouped), merge_partials(parts))


def test_far_points_of_many_small_chunks_are_all_kept() -> None:
    points = np.array([[v, 0, 0] for v in (10, 20, 30, 40, 50, 60)], np.uint8)
    weights = np.arange(1, 7)
    centroids = np.zeros((4, 3))
    parts = [
        plain_cluster_sums(points[i : i + 2], weights[i : i + 2], centroids, 4) for i in (0, 2, 4)
    ]
    far = merge_partials(parts).far
    assert far is not None
    assert far.points[:, 0].tolist() == [60, 50, 40, 30]
    assert far.weights.tolist() == [6, 5, 4, 3]


def test_a_far_point_of_many_chunks_is_one_with_its_whole_weight() -> None:
    points = np.array([[9, 9, 9], [0, 0, 0], [1, 1, 1]], np.uint8)
    centroids = np.zeros((1, 3))
    parts = [plain_cluster_sums(points, np.array([w, 1, 1]), centroids, 2) for w in (5, 7, 11)]
    far = merge_partials(parts).far
    assert far is not None
    assert far.points.tolist() == [[9, 9, 9], [1, 1, 1]]
    assert far.weights.tolist() == [23, 3]
    assert far.distances.tolist() == [243.0, 3.0]


def test_equally_far_points_come_in_the_order_of_their_values() -> None:
    points = np.array([[2, 0, 0], [0, 2, 0], [0, 0, 2], [1, 1, 1]], np.uint8)
    far = plain_cluster_sums(points, np.ones(4, np.int64), np.zeros((1, 3)), n_far=3).far
    assert far is not None
    assert far.points.tolist() == [[0, 0, 2], [0, 2, 0], [2, 0, 0]]


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_inertia_is_what_exact_arithmetic_gives(data: st.DataObject) -> None:
    table = data.draw(color_tables(max_colors=40))
    centroids = data.draw(centroids_for(table, max_k=8))
    inertia = plain_cluster_sums(table.colors, table.weights, centroids).inertia(centroids)
    expected = exact_inertia(table.colors, table.weights.tolist(), centroids)
    assert abs(Fraction(inertia) - expected) <= expected * Fraction(1, 10**12)


@pytest.mark.parametrize("offset", [0.25, 1e-3, 1e-6, 1e-9])
def test_inertia_does_not_cancel_under_huge_weights(offset: float) -> None:
    points = np.array([[200, 100, 50], [201, 100, 50], [10, 250, 3]], np.uint8)
    weights = np.array([10**12, 1, 10**12 + 7])
    centroids = points[[0, 2]].astype(np.float64) + offset
    partial = plain_cluster_sums(points, weights, centroids)
    expected = exact_inertia(points, weights.tolist(), centroids)
    inertia = Fraction(partial.inertia(centroids))
    assert abs(inertia - expected) <= expected * Fraction(1, 10**12)
    if offset < 1e-5:  # there the textbook formula in floats has nothing left
        naive = float(
            sum(partial.square_sums)
            - 2 * (centroids * partial.sums).sum()
            + (partial.weights[:, None] * centroids**2).sum()
        )
        assert abs(Fraction(naive) - expected) > expected / 100


@pytest.mark.parametrize("centroid", [0.0, 127.5, 254.75, 255.0])
def test_inertia_is_exact_up_to_the_most_pixels_that_can_be_counted(centroid: float) -> None:
    table = make_table(np.array([[255, 255, 255]]), np.array([MAX_PIXELS]))
    centroids = np.full((1, 3), centroid)
    inertia = Assignment(color_points(table)).partial(centroids).inertia(centroids)
    expected = exact_inertia(table.colors, [MAX_PIXELS], centroids)
    assert abs(Fraction(inertia) - expected) <= expected * Fraction(1, 10**12)


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_variance_is_numpys_weighted_variance(data: st.DataObject) -> None:
    table = data.draw(color_tables(max_colors=500))
    centroids = data.draw(centroids_for(table, max_k=5))
    values = table.colors.astype(np.float64)
    mean = np.average(values, axis=0, weights=table.weights)
    expected = np.average((values - mean) ** 2, axis=0, weights=table.weights).mean()
    variance = plain_cluster_sums(table.colors, table.weights, centroids).variance
    assert variance == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_variance_of_one_colour_is_zero_however_heavy() -> None:
    table = make_table(np.array([[251, 13, 77]]), np.array([10**16]))
    assert Assignment(color_points(table)).partial(np.zeros((1, 3))).variance == 0.0


def total(partial: ClusterSums) -> tuple[int, list[int], tuple[int, ...]]:
    return int(partial.weights.sum()), partial.sums.sum(axis=0).tolist(), partial.square_sums


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_every_empty_cluster_gets_a_point_and_none_is_emptied(data: st.DataObject) -> None:
    table = data.draw(color_tables(max_colors=300))
    centroids = data.draw(centroids_for(table, max_k=min(30, len(table))))
    k = len(centroids)
    colors, weights = table.colors, table.weights
    partial = plain_cluster_sums(colors, weights, centroids, n_far=k)
    filled = partial.fill_empty()

    assert (filled.weights > 0).all()
    assert total(filled) == total(partial)

    by_color = {tuple(c): int(w) for c, w in zip(colors.tolist(), weights, strict=True)}
    empty = partial.weights == 0
    given_away = [
        tuple((filled.sums[j] // filled.weights[j]).tolist()) for j in np.flatnonzero(empty)
    ]
    assert len(set(given_away)) == len(given_away)
    for j, point in zip(np.flatnonzero(empty), given_away, strict=True):
        assert filled.weights[j] == by_color[point]
        assert filled.sums[j].tolist() == [by_color[point] * v for v in point]

    # what the donors have left is what is theirs less what was given away
    labels = plain_labels(colors, centroids)
    kept = np.array([tuple(c) not in given_away for c in colors.tolist()])
    for j in np.flatnonzero(~empty):
        mine = kept & (labels == j)
        assert filled.weights[j] == weights[mine].sum()
        assert filled.sums[j].tolist() == (colors[mine] * weights[mine, None]).sum(axis=0).tolist()


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_filling_is_the_same_for_any_chunks_in_any_order(data: st.DataObject) -> None:
    table = data.draw(color_tables(max_colors=120))
    centroids = data.draw(centroids_for(table, max_k=min(12, len(table))))
    k = len(centroids)
    whole = plain_cluster_sums(table.colors, table.weights, centroids, n_far=k).fill_empty()
    cuts = data.draw(cuts_of(len(table)))
    parts = [
        plain_cluster_sums(table.colors[cut], table.weights[cut], centroids, n_far=k)
        for cut in cuts
    ]
    for shuffled in itertools.islice(itertools.permutations(parts), 4):
        assert same_partial(merge_partials(shuffled).fill_empty(), whole)


def test_an_empty_cluster_takes_the_farthest_point_that_is_not_the_last_of_its_cluster() -> None:
    points = np.array([[0, 0, 0], [4, 0, 0], [6, 0, 0], [100, 0, 0]], np.uint8)
    weights = np.array([1, 2, 3, 9])
    centroids = np.array([[0.0, 0, 0], [50, 90, 0], [90, 0, 0], [50, 90, 0]])
    filled = plain_cluster_sums(points, weights, centroids, n_far=4).fill_empty()
    # 100 is farthest but all that cluster 2 has; then come 6 and 4, both from cluster 0
    assert filled.weights.tolist() == [1, 3, 9, 2]
    assert filled.sums[:, 0].tolist() == [0, 18, 900, 8]
    assert filled.far is None


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_fixed_clusters_may_stay_empty_and_all_others_are_filled(data: st.DataObject) -> None:
    table = data.draw(color_tables(max_colors=300))
    centroids = data.draw(centroids_for(table, max_k=min(30, len(table))))
    k = len(centroids)
    fixed = data.draw(st.integers(0, k))
    partial = plain_cluster_sums(table.colors, table.weights, centroids, n_far=k)
    filled = partial.fill_empty(fixed)
    empty = partial.weights == 0
    assert (filled.weights[:fixed][empty[:fixed]] == 0).all()
    assert (filled.sums[:fixed][empty[:fixed]] == 0).all()
    assert (filled.weights[fixed:] > 0).all()
    assert total(filled) == total(partial)


def test_the_farthest_point_goes_past_an_empty_fixed_cluster_to_the_next() -> None:
    points = np.array([[0, 0, 0], [4, 0, 0], [6, 0, 0], [100, 0, 0]], np.uint8)
    weights = np.array([1, 2, 3, 9])
    centroids = np.array([[50.0, 90, 0], [0, 0, 0], [50, 90, 0], [90, 0, 0], [50, 90, 0]])
    partial = plain_cluster_sums(points, weights, centroids, n_far=5)
    # 100 is all that cluster 3 has; 6 and 4 go to the first empty ones that are not fixed
    assert partial.fill_empty(0).weights.tolist() == [3, 1, 2, 9, 0]
    assert partial.fill_empty(1).weights.tolist() == [0, 1, 3, 9, 2]
    assert partial.fill_empty(3).weights.tolist() == [0, 3, 0, 9, 3]
    assert partial.fill_empty(5).weights.tolist() == [0, 6, 0, 9, 0]
    assert partial.fill_empty(3).sums[:, 0].tolist() == [0, 8, 0, 900, 18]


def test_filling_with_nothing_empty_changes_nothing() -> None:
    points = np.array([[0, 0, 0], [9, 9, 9], [8, 8, 8]], np.uint8)
    centroids = np.array([[0.0, 0, 0], [9, 9, 9]])
    partial = plain_cluster_sums(points, np.array([1, 2, 3]), centroids, n_far=2)
    filled = partial.fill_empty()
    assert filled.weights.tolist() == partial.weights.tolist()
    assert filled.sums.tolist() == partial.sums.tolist()


def test_the_inertia_of_centroids_far_outside_is_exact() -> None:
    points = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    centroids = np.full((1, 3), 1e14)
    weights = np.array([10**6, 10**6])
    found = plain_cluster_sums(points, weights, centroids).inertia(centroids)
    exact = sum(10**6 * 3 * (10**14 - v) ** 2 for v in (0, 255))
    assert found == pytest.approx(exact, rel=1e-15)


def test_the_mean_of_heavy_points_that_are_equal_is_the_point() -> None:
    points, weights = np.array([[121, 0, 255]]), np.array([34378354034267690])
    assert plain_cluster_sums(points, weights, np.zeros((1, 3))).means.tolist() == [[121, 0, 255]]


def test_the_last_point_of_a_fixed_cluster_can_be_spared() -> None:
    points = np.array([[100, 100, 100], [200, 200, 200], [201, 200, 200]])
    centroids = np.array([[90.0, 90, 90], [200, 200, 200], [255, 255, 255]])
    sums = plain_cluster_sums(points, np.array([5, 1, 1]), centroids, n_far=3)
    assert sums.fill_empty(fixed=1).weights.tolist() == [0, 2, 5]
    assert sums.fill_empty(fixed=0).weights.tolist() == [5, 1, 1]
    assert sums.fill_empty(fixed=3).weights.tolist() == [5, 2, 0]
