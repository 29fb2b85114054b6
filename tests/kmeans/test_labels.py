from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmeans_dask.kmeans.histogram import DENSE_FROM
from kmeans_dask.kmeans.labels import nearest_labels
from kmeans_dask.kmeans.plain import plain_labels
from tests.kmeans.strategies import Rng


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
