from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from kmeans_dask.kmeans import lloyd
from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.cluster_sums import ClusterSums, merge_partials
from kmeans_dask.kmeans.distance_bounds import TILE
from kmeans_dask.kmeans.exact_sums import FixedPoint, float_grid, integer_grid
from kmeans_dask.kmeans.histogram import DENSE_FROM
from kmeans_dask.kmeans.labels import nearest_labels
from kmeans_dask.kmeans.lloyd import Measure
from kmeans_dask.kmeans.loose_step import LOOSE_GROUP
from kmeans_dask.kmeans.morton_keys import Packing
from kmeans_dask.kmeans.plain import plain_cluster_sums, plain_labels
from kmeans_dask.kmeans.points import _FAN_OUT, _GROUP, Points, make_points
from tests.kmeans.strategies import SEEDS, cuts_of, same_fit, same_partial

Rng = np.random.Generator

CHANNELS = (1, 2, 3, 4, 5, 8, 16, 17)
KINDS = (
    "blobs", "duplicates", "constant", "offset", "huge", "enormous", "tiny", "outlier", "ties",
)  # fmt: skip
WEIGHTS = ("none", "floats", "zeros")
MOVES = ("zero", "tiny", "small", "one", "big", "ulps", "means", "jump", "k", "outside")
each_type = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def blobs(rng: Rng, n: int, channels: int) -> NDArray[np.float64]:
    middles = rng.normal(0, 5, (1 + n // 100, channels))
    return np.asarray(middles[rng.integers(0, len(middles), n)] + rng.normal(size=(n, channels)))


def float_values(rng: Rng, kind: str, n: int, channels: int, dtype: Any) -> NDArray[Any]:
    values = blobs(rng, n, channels)
    if kind == "duplicates":
        values = rng.choice(values[: 1 + n // 20], n)
    elif kind == "constant":
        values[:] = values[0]
    elif kind == "offset":
        values += 1e6
    elif kind == "huge":
        values *= 1e15
    elif kind == "enormous":
        values *= 1e150 if dtype == np.float64 else 1e15
    elif kind == "tiny":
        values *= 1e-15
    elif kind == "outlier":
        values[rng.integers(n)] += rng.choice([-1e6, 1e6])
    elif kind == "ties":
        values = rng.integers(0, 6, (n, channels)).astype(np.float64)
    return np.ascontiguousarray(values, dtype)


def float_weights(rng: Rng, kind: str, n: int) -> NDArray[np.float64] | None:
    if kind == "none":
        return None
    weights = rng.uniform(0, 3, n)
    if kind == "zeros":
        weights[rng.random(n) < 0.3] = 0.0
        weights[rng.integers(n)] = 1.0
    return weights


def grid_of(values: NDArray[Any], weights: NDArray[np.float64] | None = None) -> FixedPoint:
    low, high = (edge.astype(np.float64) for edge in (values.min(axis=0), values.max(axis=0)))
    return float_grid(low, high, 1.0 if weights is None else float(weights.max()))


def spread_of(values: NDArray[Any]) -> float:
    """How far points are from each other, typically; of equal points, how large they are."""
    middle = np.median(values.astype(np.float64), axis=0)
    return float(np.abs(values - middle).mean() or np.abs(values[0]).mean() or 1.0)


def places(rng: Rng, values: NDArray[Any], k: int) -> NDArray[np.float64]:
    """Centroids to start from, with ties where points are integers."""
    some, others = (rng.choice(values, k).astype(np.float64) for _ in range(2))
    kind = rng.choice(["rows", "midpoints", "duplicates", "near"])
    if kind == "midpoints":
        return np.asarray(some * 0.5 + others * 0.5)
    if kind == "duplicates":
        return np.asarray(rng.choice(some[: 1 + k // 3], k))
    if kind == "near":
        return np.asarray(some + rng.normal(0, spread_of(values), some.shape))
    return some


def moved(
    rng: Rng, move: str, values: NDArray[Any], centroids: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The centroids to measure after these."""
    k, spread = len(centroids), spread_of(values)
    drift = rng.normal(0, spread, centroids.shape)
    if move == "zero":
        return centroids
    if move in ("tiny", "small", "big"):
        return np.asarray(centroids + drift * {"tiny": 1e-9, "small": 0.02, "big": 1.0}[move])
    if move == "one":
        after = centroids.copy()
        after[rng.integers(k)] += drift[0] * 0.5
        return after
    if move == "ulps":
        toward = rng.choice([-np.inf, np.inf], centroids.shape)
        return np.asarray(np.nextafter(centroids, toward))
    if move == "means":
        labels = plain_labels(values, centroids)
        after = centroids.copy()
        for j in np.unique(labels):
            after[j] = values[labels == j].mean(axis=0, dtype=np.float64)
        return after
    if move == "outside":
        return np.asarray(centroids + 100 * spread * rng.choice([-1.0, 1.0]) + drift)
    return places(rng, values, k if move == "jump" else int(rng.integers(1, 40)))


def check_steps(
    points: Points, rng: Rng, moves: Sequence[str], k: int, *, sums: bool = True
) -> None:
    """One assignment, measured step after step, is what the plain loop says at each."""
    values, weights = points.values, np.ascontiguousarray(points.weights)
    assignment = Assignment(points)
    centroids = places(rng, values, k)
    for step, move in enumerate(["start", *moves]):
        if step:
            centroids = moved(rng, move, values, centroids)
        n_far = len(centroids) if rng.random() < 0.3 else 0
        labels = assignment.labels(centroids)
        assert labels.dtype == np.int32
        assert np.array_equal(labels, plain_labels(values, centroids)), move
        if sums or step == len(moves):
            expected = plain_cluster_sums(values, weights, centroids, n_far, points.grid)
            assert same_partial(assignment.partial(centroids, n_far), expected), move


@st.composite
def float_points(
    draw: st.DrawFn, channels: int, max_points: int, kinds: Sequence[str] = KINDS
) -> Points:
    rng = np.random.default_rng(draw(SEEDS))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    n = draw(st.integers(1, max_points))
    values = float_values(rng, draw(st.sampled_from(kinds)), n, channels, dtype)
    weights = float_weights(rng, draw(st.sampled_from(WEIGHTS)), n)
    return make_points(values, weights, grid_of(values, weights))


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
def test_many_channels_are_measured_as_few_are(dtype: Any) -> None:
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
def test_tiles_and_groups_that_are_not_full_are_counted_whole(n: int, dtype: Any) -> None:
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
def test_centroids_that_are_all_far_away_are_told_apart(
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


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
@pytest.mark.parametrize("spatially_sorted", [False, True], ids=["loose", "boxed"])
@given(data=st.data())
@settings(deadline=None, max_examples=12)
def test_integer_points_are_measured_as_the_plain_loop_does(
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


def same_finish(a: ClusterSums, b: ClusterSums, centroids: NDArray[np.float64]) -> bool:
    return (
        same_partial(a, b)
        and a.inertia(centroids) == b.inertia(centroids)
        and a.variance == b.variance
        and np.array_equal(a.means, b.means, equal_nan=True)
    )


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_chunks_cut_anywhere_in_any_order_merge_to_the_whole(data: st.DataObject) -> None:
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


def test_a_small_spread_at_a_large_offset_is_measured_in_full() -> None:
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
def test_tight_clusters_that_are_far_apart_are_measured_in_full(width: float) -> None:
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


def measure_parts(parts: Sequence[Points]) -> Measure:
    assignments = [Assignment(part) for part in parts]

    def measure(centroids: NDArray[np.float64], n_far: int = 0) -> ClusterSums:
        return merge_partials([part.partial(centroids, n_far) for part in assignments])

    return measure


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_a_fit_is_the_same_for_any_chunks_and_its_inertia_never_rises(data: st.DataObject) -> None:
    channels = data.draw(st.sampled_from(CHANNELS))
    points = data.draw(float_points(channels, max_points=400))
    rng = np.random.default_rng(data.draw(SEEDS))
    start = places(rng, points.values, data.draw(st.integers(1, 12)))
    whole = lloyd.fit(start, measure_parts([points]), tol=0, max_iter=60)
    for n in (2, 3, 4):
        again = lloyd.fit(start, measure_parts(points.split(n)), tol=0, max_iter=60)
        assert same_fit(again, whole)
    reach = np.abs(points.values - points.grid.origin).max()
    noise = 2.0**-50 * float(points.weights.sum()) * float(reach) ** 2 * channels
    for before, after in zip(whole.history, whole.history[1:], strict=False):
        assert after <= before * (1 + 1e-12) + noise


@each_type
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_a_fit_is_that_of_scikit_learn(offset: float, weighted: bool, dtype: Any) -> None:
    for channels in (2, 3, 8):
        rng = np.random.default_rng(channels)
        values = (offset + blobs(rng, 600, channels)).astype(dtype)
        weights = rng.uniform(0.1, 3, 600) if weighted else None
        start = rng.choice(values, 6, replace=False).astype(np.float64)
        points = make_points(values, weights, grid_of(values, weights))
        found = lloyd.fit(start, Assignment(points).partial, tol=0, max_iter=300)
        reference = KMeans(6, init=start, n_init=1, tol=0, max_iter=300, algorithm="lloyd")
        reference.fit(values.astype(np.float64), sample_weight=weights)
        width = float((values.max(axis=0) - values.min(axis=0)).max())
        assert np.abs(found.centroids - reference.cluster_centers_).max() <= 1e-6 * width
        assert found.inertia == pytest.approx(reference.inertia_, rel=1e-9)
        assert found.converged


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


@pytest.mark.parametrize(
    ("values_of", "n"),
    [
        (lambda rng, n: rng.integers(0, 256, (n, 3)).astype(np.uint8), DENSE_FROM + 5),
        (lambda rng, n: rng.integers(0, 256, (n, 3)).astype(np.uint8), 5000),
        (lambda rng, n: rng.integers(0, 256, (n, 4)).astype(np.uint8), 5000),
        (lambda rng, n: rng.normal(size=(n, 3)).astype(np.float32), 5000),
        (lambda rng, n: rng.normal(size=(n, 5)) * 1e9, 5000),
    ],
    ids=["tabled", "few", "channels", "float32", "float64"],
)
def test_nearest_labels_are_those_of_the_plain_loop(
    values_of: Callable[[Rng, int], NDArray[Any]], n: int
) -> None:
    rng = np.random.default_rng(22)
    values = values_of(rng, n)
    halves = np.floor(rng.choice(values, 12).astype(np.float64) * 2) / 2
    for centroids in (rng.choice(values, 9).astype(np.float64), halves, halves[[3, 3, 0, 0]]):
        labels = nearest_labels(values, centroids)
        assert labels.dtype == np.int32
        assert np.array_equal(labels, plain_labels(values, centroids))


def test_no_points_have_no_labels() -> None:
    for dtype in (np.uint8, np.float32, np.float64):
        assert len(nearest_labels(np.empty((0, 3), dtype), np.zeros((2, 3)))) == 0


def test_points_of_one_place_have_an_inertia_of_nothing() -> None:
    for at in (0.0, 0.1, -1e150, 1e-300):
        values = np.full((70, 3), at)
        points = make_points(values, None, grid_of(values))
        fit = lloyd.fit(values[:2].copy(), Assignment(points).partial, tol=0)
        assert fit.inertia == 0
        assert np.array_equal(fit.centroids[0], values[0])
        assert math.isfinite(Assignment(points).partial(values[:1]).variance)
