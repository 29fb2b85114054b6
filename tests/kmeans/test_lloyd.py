from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.datasets import load_sample_image

from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.cluster_sums import ClusterSums
from kmeans_dask.kmeans.histogram import ColorHistogram, count_colors
from kmeans_dask.kmeans.lloyd import Fit, Iteration, fit
from kmeans_dask.kmeans.plain import plain_cluster_sums, plain_labels
from kmeans_dask.kmeans.points import make_points
from tests.kmeans.strategies import (
    CHANNELS,
    SEEDS,
    blobs,
    centroids_for,
    color_tables,
    cuts_of,
    each_type,
    float_points,
    grid_of,
    make_table,
    measure_chunks,
    measure_parts,
    measure_plainly,
    places,
    same_fit,
)


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    """Every fifth row and column of a real photograph, as pixels (n, 3)."""
    image: NDArray[np.uint8] = load_sample_image("china.jpg")[::5, ::5]
    return np.ascontiguousarray(image.reshape(-1, 3))


def random_start(table: ColorHistogram, k: int, seed: int) -> NDArray[np.float64]:
    """K of the colours, moved off the integers.

    Between integer centroids many colours are exactly halfway, and scikit-learn leaves such ties
    to the rounding of its expanded formula: only without them can its labels be ours.
    """
    rng = np.random.default_rng(seed)
    some = rng.choice(len(table), k, replace=False)
    return table.colors[some] + rng.uniform(0.1, 0.4, (k, 3))


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_colours_in_boxes_fit_as_the_plain_loop_does_to_the_last_bit(data: st.DataObject) -> None:
    table = data.draw(color_tables(max_colors=600))
    start = data.draw(centroids_for(table, max_k=min(24, len(table))))
    tol = data.draw(st.sampled_from([0.0, 1e-4]))
    expected = fit(start, measure_plainly(table.colors, table.weights), max_iter=12, tol=tol)
    assert same_fit(fit(start, measure_chunks([table]), max_iter=12, tol=tol), expected)


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_no_cutting_or_order_of_chunks_changes_a_bit(data: st.DataObject) -> None:
    table = data.draw(color_tables(max_colors=data.draw(st.sampled_from([20, 600]))))
    start = data.draw(centroids_for(table, max_k=min(24, len(table))))
    cuts = data.draw(st.permutations(data.draw(cuts_of(len(table)))))
    chunks = [table.slice(cut.start, cut.stop) for cut in cuts]
    expected = fit(start, measure_chunks([table]), max_iter=12, tol=0)
    assert same_fit(fit(start, measure_chunks(chunks), max_iter=12, tol=0), expected)


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_inertia_never_rises(data: st.DataObject) -> None:
    table = data.draw(color_tables(max_colors=600))
    start = data.draw(centroids_for(table, max_k=min(24, len(table))))
    history = fit(start, measure_chunks([table]), max_iter=40, tol=0).history
    for before, after in itertools.pairwise(history):
        assert after <= before * (1 + 1e-12)


def test_counts_fit_as_the_pixels_themselves_do(photo: NDArray[np.uint8]) -> None:
    table = count_colors(photo)
    assert len(table) < len(photo)
    start = table.colors[:: len(table) // 7][:8].astype(np.float64)
    every_pixel = measure_plainly(photo, np.ones(len(photo), np.int64))
    expected = fit(start, every_pixel, max_iter=10, tol=0)
    assert same_fit(fit(start, measure_chunks([table]), max_iter=10, tol=0), expected)


def test_what_a_fit_says_of_itself_is_true(photo: NDArray[np.uint8]) -> None:
    table = count_colors(photo)
    start = random_start(table, 6, seed=1)
    seen: list[Iteration] = []
    result = fit(start, measure_chunks([table]), max_iter=9, tol=0, on_iteration=seen.append)

    labels = plain_labels(photo, result.centroids)
    assert result.weights.tolist() == np.bincount(labels, minlength=6).tolist()
    error = ((photo - result.centroids[labels]) ** 2).sum()
    assert result.inertia == pytest.approx(error, rel=1e-9)
    assert result.history[-1] == result.inertia
    assert len(result.history) == result.n_iter + 1 == 10
    assert [i.number for i in seen] == list(range(1, 10))
    assert tuple(i.inertia for i in seen) == result.history[:-1]

    shorter = fit(start, measure_chunks([table]), max_iter=8, tol=0)
    moved = ((result.centroids - shorter.centroids) ** 2).sum()
    assert seen[-1].shift == pytest.approx(moved, rel=1e-12)


def fit_to_the_end(table: ColorHistogram, start: NDArray[np.float64]) -> Fit:
    result = fit(start, measure_chunks([table]), max_iter=300, tol=0)
    assert result.converged
    assert np.isfinite(result.centroids).all()
    assert (result.weights > 0).all()
    assert result.weights.sum() == table.pixels
    return result


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_without_tolerance_it_ends_at_a_fixed_point_with_no_cluster_empty(
    data: st.DataObject,
) -> None:
    table = data.draw(color_tables(max_colors=250))
    start = data.draw(centroids_for(table, max_k=min(16, len(table))))
    result = fit_to_the_end(table, start)
    again = fit(result.centroids, measure_chunks([table]), max_iter=1, tol=0)
    assert again.converged
    assert np.array_equal(again.centroids, result.centroids)
    assert np.array_equal(again.weights, result.weights)


@pytest.mark.parametrize("k", [2, 10, 64])
def test_centroids_that_all_start_in_one_place_are_spread_out(k: int) -> None:
    table = make_table(np.random.default_rng(k).integers(0, 256, (500, 3)))
    start = np.tile(table.colors[0].astype(np.float64), (k, 1))
    result = fit_to_the_end(table, start)
    assert len(np.unique(result.centroids, axis=0)) == k


@pytest.mark.parametrize("k", [2, 10, 64])
def test_centroids_that_start_far_away_are_brought_back(k: int) -> None:
    rng = np.random.default_rng(k)
    table = make_table(rng.integers(100, 140, (500, 3)), rng.integers(1, 50, 500))
    start = np.concatenate([np.full((k - 1, 3), 5000.0), table.colors[:1]])
    result = fit_to_the_end(table, start)
    assert len(np.unique(result.centroids, axis=0)) == k


def test_as_many_clusters_as_colours_end_on_the_colours() -> None:
    table = make_table(np.random.default_rng(3).integers(0, 256, (40, 3)))
    result = fit_to_the_end(table, np.zeros((len(table), 3)))
    assert result.inertia == 0
    assert sorted(result.centroids.tolist()) == sorted(table.colors.astype(float).tolist())


def test_empty_clusters_are_filled_alike_when_no_chunk_has_k_colours() -> None:
    table = make_table(np.random.default_rng(4).integers(0, 256, (12, 3)))
    chunks = [table.slice(i, i + 2) for i in range(0, 12, 2)]
    start = np.tile(table.colors[3].astype(np.float64), (8, 1))
    expected = fit_to_the_end(table, start)
    assert same_fit(fit(start, measure_chunks(chunks), tol=0), expected)


def plain_fixed_fit(
    table: ColorHistogram, start: NDArray[np.float64], fixed: int, n_iter: int
) -> NDArray[np.float64] | None:
    """Lloyd's loop with numpy's means; None where a cluster that may move gets empty."""
    centroids = start.copy()
    for _ in range(n_iter):
        labels = plain_labels(table.colors, centroids)
        for j in range(fixed, len(centroids)):
            mine = labels == j
            if not mine.any():
                return None
            centroids[j] = np.average(table.colors[mine], axis=0, weights=table.weights[mine])
    return centroids


@pytest.mark.parametrize("fixed", [0, 1, 4, 11, 12])
def test_fixed_centroids_stay_and_the_others_move_as_in_the_plain_loop(
    photo: NDArray[np.uint8], fixed: int
) -> None:
    table = count_colors(photo)
    start = random_start(table, 12, seed=7)
    expected = plain_fixed_fit(table, start, fixed, 8)
    assert expected is not None
    result = fit(start, measure_chunks([table]), max_iter=8, tol=0, fixed=fixed)
    assert np.array_equal(result.centroids[:fixed], start[:fixed])
    assert np.abs(result.centroids - expected).max() < 1e-9
    assert (result.centroids[fixed:] != start[fixed:]).any(axis=1).all()


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_fixed_fits_never_move_what_is_fixed_nor_get_worse_and_end_at_means(
    data: st.DataObject,
) -> None:
    table = data.draw(color_tables(max_colors=600))
    start = data.draw(centroids_for(table, max_k=min(24, len(table))))
    fixed = data.draw(st.integers(0, len(start)))
    result = fit(start, measure_chunks([table]), max_iter=300, tol=0, fixed=fixed)
    assert result.converged
    assert np.array_equal(result.centroids[:fixed], start[:fixed])
    for before, after in itertools.pairwise(result.history):
        assert after <= before * (1 + 1e-12)
    means = plain_cluster_sums(table.colors, table.weights, result.centroids).means[fixed:]
    used = result.weights[fixed:] > 0
    assert np.array_equal(result.centroids[fixed:][used], means[used])


def test_colours_in_boxes_with_fixed_centroids_fit_as_the_plain_loop_in_any_chunks() -> None:
    table = make_table(np.random.default_rng(5).integers(0, 256, (400, 3)))
    start = np.concatenate([np.full((2, 3), 600.0), np.tile(table.colors[:1], (6, 1))])
    expected = fit(start, measure_plainly(table.colors, table.weights), tol=0, fixed=3)
    chunks = [table.slice(i, i + 90) for i in range(0, len(table), 90)]
    assert same_fit(fit(start, measure_chunks(chunks), tol=0, fixed=3), expected)


def test_a_fixed_centroid_that_nothing_is_near_to_stays_empty_and_takes_no_point() -> None:
    table = make_table(np.random.default_rng(6).integers(0, 256, (500, 3)))
    far = np.full((2, 3), 5000.0)
    start = np.concatenate([far, np.tile(table.colors[:1], (10, 1))])
    result = fit(start, measure_chunks([table]), tol=0, fixed=2)
    assert np.array_equal(result.centroids[:2], far)
    assert result.weights[:2].tolist() == [0, 0]
    assert (result.weights[2:] > 0).all()
    alone = fit(start[2:], measure_chunks([table]), tol=0)
    assert np.array_equal(result.centroids[2:], alone.centroids)
    assert result.history == alone.history


def test_far_points_are_not_asked_for_where_only_fixed_centroids_are_empty() -> None:
    table = make_table(np.random.default_rng(8).integers(0, 256, (100, 3)))
    plainly, asked = measure_chunks([table]), []

    def measure(centroids: NDArray[np.float64], n_far: int = 0) -> ClusterSums:
        asked.append(n_far)
        return plainly(centroids, n_far)

    start = np.concatenate([np.full((1, 3), 5000.0), random_start(table, 4, seed=1)])
    fit(start, measure, tol=0, fixed=1)
    assert len(asked) > 1
    assert set(asked) == {0}


def test_where_all_is_fixed_the_first_iteration_is_the_last() -> None:
    table = make_table(np.random.default_rng(7).integers(0, 256, (100, 3)))
    start = np.array([[10.0, 20, 30], [200, 100, 7], [900, 900, 900]])
    result = fit(start, measure_chunks([table]), tol=0, fixed=3)
    assert (result.n_iter, result.converged) == (1, True)
    assert np.array_equal(result.centroids, start)
    assert result.weights.sum() == table.pixels


def test_it_stops_at_max_iter_and_says_so(photo: NDArray[np.uint8]) -> None:
    table = count_colors(photo)
    start = random_start(table, 16, seed=2)
    result = fit(start, measure_chunks([table]), max_iter=3, tol=0)
    assert (result.n_iter, result.converged) == (3, False)
    none = fit(start, measure_chunks([table]), max_iter=0, tol=0)
    assert (none.n_iter, none.converged, len(none.history)) == (0, False, 1)
    assert np.array_equal(none.centroids, start)


def test_a_wider_tolerance_stops_earlier_at_the_same_place_on_the_way(
    photo: NDArray[np.uint8],
) -> None:
    table = count_colors(photo)
    start = random_start(table, 8, seed=3)
    wide = fit(start, measure_chunks([table]), tol=1e-2)
    narrow = fit(start, measure_chunks([table]), tol=1e-3)
    assert wide.converged
    assert narrow.converged
    assert wide.n_iter < narrow.n_iter
    assert narrow.history[: wide.n_iter + 1] == wide.history


def scikit_learn(pixels: NDArray[np.uint8], start: NDArray[np.float64], **choices: Any) -> KMeans:
    model = KMeans(len(start), init=start, n_init=1, algorithm="lloyd", **choices)
    with warnings.catch_warnings():
        # ConvergenceWarning here says that clusters fell together: no such fit would be compared
        warnings.simplefilter("error")
        return model.fit(pixels.astype(np.float64))


@pytest.mark.parametrize("n_iter", [1, 5, 40])
def test_scikit_learn_has_the_same_centroids_after_as_many_iterations(
    photo: NDArray[np.uint8], n_iter: int
) -> None:
    table = count_colors(photo)
    start = random_start(table, 16, seed=4)
    theirs = scikit_learn(photo, start, max_iter=n_iter, tol=0)
    ours = fit(start, measure_chunks([table]), max_iter=n_iter, tol=0)
    assert ours.n_iter == theirs.n_iter_ == n_iter
    assert np.abs(ours.centroids - theirs.cluster_centers_).max() < 1e-6
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-9)


@pytest.mark.parametrize("seed", [5, 6])
def test_scikit_learn_stops_at_the_same_iteration(photo: NDArray[np.uint8], seed: int) -> None:
    table = count_colors(photo)
    start = random_start(table, 16, seed)
    theirs = scikit_learn(photo, start, max_iter=300, tol=1e-4)
    ours = fit(start, measure_chunks([table]), max_iter=300, tol=1e-4)
    assert ours.converged
    assert 1 < ours.n_iter == theirs.n_iter_ < 300
    assert np.abs(ours.centroids - theirs.cluster_centers_).max() < 1e-6


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_a_fit_of_points_is_the_same_for_any_chunks_and_its_inertia_never_rises(
    data: st.DataObject,
) -> None:
    channels = data.draw(st.sampled_from(CHANNELS))
    points = data.draw(float_points(channels, max_points=400))
    rng = np.random.default_rng(data.draw(SEEDS))
    start = places(rng, points.values, data.draw(st.integers(1, 12)))
    whole = fit(start, measure_parts([points]), tol=0, max_iter=60)
    for n in (2, 3, 4):
        again = fit(start, measure_parts(points.split(n)), tol=0, max_iter=60)
        assert same_fit(again, whole)
    reach = np.abs(points.values - points.grid.origin).max()
    noise = 2.0**-50 * float(points.weights.sum()) * float(reach) ** 2 * channels
    for before, after in zip(whole.history, whole.history[1:], strict=False):
        assert after <= before * (1 + 1e-12) + noise


@each_type
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_a_fit_of_floats_is_that_of_scikit_learn(offset: float, weighted: bool, dtype: Any) -> None:
    for channels in (2, 3, 8):
        rng = np.random.default_rng(channels)
        values = (offset + blobs(rng, 600, channels)).astype(dtype)
        weights = rng.uniform(0.1, 3, 600) if weighted else None
        start = rng.choice(values, 6, replace=False).astype(np.float64)
        points = make_points(values, weights, grid_of(values, weights))
        found = fit(start, Assignment(points).partial, tol=0, max_iter=300)
        reference = KMeans(6, init=start, n_init=1, tol=0, max_iter=300, algorithm="lloyd")
        reference.fit(values.astype(np.float64), sample_weight=weights)
        width = float((values.max(axis=0) - values.min(axis=0)).max())
        assert np.abs(found.centroids - reference.cluster_centers_).max() <= 1e-6 * width
        assert found.inertia == pytest.approx(reference.inertia_, rel=1e-9)
        assert found.converged


def test_points_of_one_place_have_an_inertia_of_nothing() -> None:
    for at in (0.0, 0.1, -1e150, 1e-300):
        values = np.full((70, 3), at)
        points = make_points(values, None, grid_of(values))
        result = fit(values[:2].copy(), Assignment(points).partial, tol=0)
        assert result.inertia == 0
        assert np.array_equal(result.centroids[0], values[0])
        assert math.isfinite(Assignment(points).partial(values[:1]).variance)
