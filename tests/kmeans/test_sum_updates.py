from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.kmeans.exact_sums import Integers
from kmeans_dask.kmeans.points import Points, make_points
from kmeans_dask.kmeans.sum_updates import add_integers, add_points
from tests.kmeans.strategies import SEEDS, float_points, integer_points

INTO, OUT = np.int64(1), np.int64(-1)


class Update(NamedTuple):
    """The first `n` of these points are to be added to their clusters, of which there are `k`."""

    points: Points
    which: NDArray[np.int64]
    clusters: NDArray[np.int32]
    n: int
    k: int

    def limbs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Weights and sums of clusters without points."""
        shape = 2, self.k
        return np.zeros(shape, np.int64), np.zeros((*shape, self.points.values.shape[1]), np.int64)

    def plain_sums(self) -> tuple[Integers, Integers]:
        """Weights and sums of the points, by NumPy alone."""
        which, clusters = self.which[: self.n], self.clusters[: self.n]
        points = self.points
        each_weight, each_sum, _ = points.grid.cut(points.values[which], points.weights[which])
        weights = np.zeros(self.k, each_weight.dtype)
        sums = np.zeros((self.k, each_sum.shape[1]), each_sum.dtype)
        np.add.at(weights, clusters, each_weight)
        np.add.at(sums, clusters, each_sum)
        return weights, sums


@st.composite
def whole_points(draw: st.DrawFn) -> Points:
    """Points on an exact grid, in any of the types that they may have."""
    points = draw(integer_points())
    values = points.values
    if draw(st.booleans()):
        values = values.astype(draw(st.sampled_from([np.float32, np.float64]))) - 100
    return make_points(values, points.weights, points.grid)


@st.composite
def updates(draw: st.DrawFn, *, exact: bool) -> Update:
    channels = draw(st.sampled_from([1, 2, 3, 5]))
    points = draw(whole_points() if exact else float_points(channels, max_points=100))
    rng = np.random.default_rng(draw(SEEDS))
    n, k = draw(st.integers(0, 200)), draw(st.integers(1, 9))
    room = n + draw(st.integers(0, 3))
    which = rng.integers(0, len(points), room)
    return Update(points, which, rng.integers(0, k, room).astype(np.int32), n, k)


any_update = updates(exact=True) | updates(exact=False)


@given(any_update)
@settings(deadline=None, max_examples=100)
def test_added_points_sum_to_what_the_grid_cuts_of_them(update: Update) -> None:
    points, which, clusters, n, _ = update
    weights, sums = update.limbs()
    scales = points.grid.scales
    add_points(points.values, points.weights, which, clusters, n, INTO, scales, weights, sums)
    expected_weights, expected_sums = update.plain_sums()
    assert np.array_equal(points.grid.integers(weights), expected_weights)
    assert np.array_equal(points.grid.integers(sums), expected_sums)


@given(any_update, SEEDS)
@settings(deadline=None, max_examples=100)
def test_points_added_and_subtracted_in_another_order_leave_no_trace(
    update: Update, seed: int
) -> None:
    points, which, clusters, n, _ = update
    rng = np.random.default_rng(seed)
    weights, sums = (rng.integers(-(2**60), 2**60, limbs.shape) for limbs in update.limbs())
    weights_before, sums_before = weights.copy(), sums.copy()
    common = points.values, points.weights
    add_points(*common, which, clusters, n, INTO, points.grid.scales, weights, sums)
    order = rng.permutation(n)
    add_points(*common, which[order], clusters[order], n, OUT, points.grid.scales, weights, sums)
    assert np.array_equal(weights, weights_before)
    assert np.array_equal(sums, sums_before)


@given(updates(exact=True))
@settings(deadline=None, max_examples=60)
def test_subtracted_integers_are_what_numpy_sums_with_the_other_sign(update: Update) -> None:
    points, which, clusters, n, _ = update
    weights, sums = update.limbs()
    add_integers(points.values, points.weights, which, clusters, n, OUT, weights, sums)
    expected_weights, expected_sums = update.plain_sums()
    assert np.array_equal(weights[0], -expected_weights)
    assert np.array_equal(sums[0], -expected_sums)
    assert not weights[1].any()
    assert not sums[1].any()
