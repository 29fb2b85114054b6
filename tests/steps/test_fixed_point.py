"""Tests that a tolerance of 0 leads to the fixed point, however many iterations that takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.engine import local_threads
from kmeans_dask.kmeans import lloyd, lloyd_small
from kmeans_dask.kmeans.cluster_sums import ClusterSums
from kmeans_dask.kmeans.lloyd_small import FEW
from kmeans_dask.kmeans.plain import plain_cluster_sums
from kmeans_dask.settings import MAX_ITER, FitSettings
from kmeans_dask.steps.quantize import LocalColors
from tests.steps.strategies import random_table

SLOW = FitSettings(12, tol=0, n_init=1, init="random")


def fit_of(n: int, settings: FitSettings, seed: int = 5) -> lloyd.Fit:
    with local_threads(1) as engine:
        colors = LocalColors(random_table(n, seed, heaviest=1), settings, engine)
        return colors.fit(colors.start(settings.colors, 0, settings), settings, None, None)


@pytest.mark.parametrize("n", [FEW // 2, 3 * FEW])
def test_a_fixed_point_fit_ends_early_only_at_an_explicit_max_iter(
    n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit_of(n, SLOW)
    assert whole.converged
    assert whole.n_iter > 20
    monkeypatch.setattr("kmeans_dask.settings.MAX_ITER", 20)
    assert fit_of(n, SLOW).n_iter == whole.n_iter
    by_tol = fit_of(n, FitSettings(12, tol=1e-300, n_init=1, init="random"))
    assert (by_tol.n_iter, by_tol.converged) == (20, False)
    given_number = fit_of(n, FitSettings(12, tol=0, n_init=1, init="random", max_iter=20))
    assert (given_number.n_iter, given_number.converged) == (20, False)


def test_a_small_fit_longer_than_its_history_buffer_gives_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = fit_of(FEW // 2, SLOW)
    monkeypatch.setattr(lloyd_small, "_HISTORY", 5)
    assert fit_of(FEW // 2, SLOW).history == whole.history


def test_the_number_of_iterations_is_300_by_default() -> None:
    assert MAX_ITER == 300
    assert FitSettings().most_iterations == 300
    assert FitSettings(max_iter=7).most_iterations == 7
    assert FitSettings(max_iter=7, tol=0).most_iterations == 7
    assert FitSettings(tol=0).most_iterations > 10**15


@given(before=st.integers(0, 40), length=st.integers(2, 9))
@settings(deadline=None)
def test_a_fit_ends_where_centroids_repeat(before: int, length: int) -> None:
    """Check a measure that leads into a cycle of centroids, as rounding might."""
    start = np.zeros((1, 1))

    def measure(centroids: np.ndarray, n_far: int = 0) -> ClusterSums:
        at = int(centroids[0, 0])
        following = at + 1 if at + 1 < before + length else before
        return lloyd_partial(following)

    found = lloyd.fit(start, measure, max_iter=1 << 62, tol=0)
    assert found.converged
    assert found.n_iter <= 4 * (before + length) + 4


def lloyd_partial(mean: int) -> ClusterSums:
    """Return the partial result of one point at `mean`."""
    return plain_cluster_sums(np.array([[mean]]), np.array([1]), np.zeros((1, 1)))
