"""The kernel for few points is Lloyd's loop, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.color.spaces import Space
from kmeans_dask.kmeans import lloyd
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.kmeans.lloyd_small import FEW, SmallLloyd
from tests.kmeans.strategies import (
    SEEDS,
    centroids_for,
    color_tables,
    make_table,
    measure_plainly,
    same_fit,
)


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_few_points_are_fitted_as_the_loop_over_the_plain_step_does(data: st.DataObject) -> None:
    drawn = data.draw(color_tables(max_colors=600))
    table = ColorHistogram(drawn.codes, np.minimum(drawn.weights, 10**4))
    start = data.draw(centroids_for(table, max_k=40))
    space = Space(data.draw(st.sampled_from(["rgb", "oklab"])), data.draw(st.booleans()))
    points = space.points(table)
    if space != Space():
        start = space.coordinates(start.clip(0, 255).astype(np.uint8)).astype(np.float64)
    max_iter, tol = data.draw(st.sampled_from([(1, 0.0), (7, 0.0), (300, 0.0), (300, 1e-2)]))
    fixed = data.draw(st.integers(0, len(start)))
    few = SmallLloyd.of(points)
    assert few is not None
    found = few.fit(start, max_iter=max_iter, tol=tol, fixed=fixed)
    if found is None:  # it is left to the loop
        assert ran_empty(points.values, points.weights, start, fixed, max_iter)
        return
    measure = measure_plainly(points.values, points.weights)
    expected = lloyd.fit(start, measure, max_iter=max_iter, tol=tol, fixed=fixed)
    assert same_fit(found, expected)


def ran_empty(values, weights, centroids, fixed, max_iter) -> bool:  # type: ignore[no-untyped-def]
    """Whether some cluster after the first `fixed` is empty in one of the iterations."""
    for _ in range(max_iter):
        partial = measure_plainly(values, weights)(centroids)
        if (partial.weights[fixed:] == 0).any():
            return True
        moved = np.where(np.isnan(partial.means), centroids, partial.means)
        moved[:fixed] = centroids[:fixed]
        if np.array_equal(moved, centroids):
            return False
        centroids = moved
    return False


@given(SEEDS)
@settings(deadline=None, max_examples=20)
def test_a_start_is_left_as_it_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = make_table(rng.integers(0, 256, (50, 3)))
    start = rng.uniform(0, 255, (4, 3))
    before = start.copy()
    few = SmallLloyd.of(Space().points(table))
    assert few is not None
    few.fit(start, max_iter=5, tol=0)
    assert np.array_equal(start, before)


@pytest.mark.parametrize(("n", "weight"), [(FEW + 1, 1), (10, 2**49)])
def test_many_or_heavy_points_are_not_for_the_kernel(n: int, weight: int) -> None:
    colors = np.stack(np.unravel_index(np.arange(n), (32, 32, 32)), axis=1)
    table = make_table(colors, np.full(n, weight))
    assert SmallLloyd.of(Space().points(table)) is None
    assert SmallLloyd.of(Space().points(make_table(colors[:10]))) is not None
