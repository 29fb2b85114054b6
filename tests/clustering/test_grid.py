from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.clustering.grid import LIMB_BITS, cut, float_grid
from tests.clustering.strategies import SEEDS


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_a_value_on_the_grid_is_within_72_bits_of_itself(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    size = 10.0 ** data.draw(st.integers(-250, 250))
    values = rng.normal(size=50) * size * 2.0 ** -rng.integers(0, 60, 50)
    grid = float_grid(values[:, None].min(axis=0), values[:, None].max(axis=0))
    moved = values - grid.origin[0]
    largest = max(abs(Fraction(value)) for value in moved.tolist())
    step = Fraction(2) ** -grid.bits
    for value, whole in zip(moved.tolist(), grid.integers(cut(moved, grid.bits)), strict=True):
        assert abs(int(whole) * step - Fraction(value)) <= largest / 2**71
        assert abs(int(whole)) <= 2 ** (2 * LIMB_BITS)


def test_sums_do_not_depend_on_the_order() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=10_000) * 10.0 ** rng.integers(-12, 12, 10_000)
    grid = float_grid(values[:, None].min(axis=0), values[:, None].max(axis=0))
    sums = set()
    for _ in range(5):
        limbs = cut(rng.permutation(values), grid.bits).sum(axis=1)
        sums.add(int(grid.integers(limbs[:, None])[0]))
    assert len(sums) == 1


@pytest.mark.parametrize("value", [0.0, 3.5, -1e300, 1e-300])
def test_one_value_alone_has_a_grid(value: float) -> None:
    edge = np.array([value])
    grid = float_grid(edge, edge)
    assert grid.origin.tolist() == [value]
    assert cut(edge - grid.origin, grid.bits).tolist() == [[0], [0]]
