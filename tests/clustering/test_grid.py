from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.clustering.grid import (
    LIMB_BITS,
    MAX_POINTS,
    float_grid,
    two_difference,
    two_product,
)
from tests.clustering.strategies import SEEDS


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_what_a_point_adds_is_within_70_bits_of_the_truth(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    size = 10.0 ** data.draw(st.integers(-100, 100))
    values = size * rng.normal(size=(40, 1)) * 2.0 ** -rng.integers(0, 60, (40, 1))
    values += size * data.draw(st.sampled_from([0.0, 1e9]))
    weights = rng.random(40) * 10.0 ** data.draw(st.integers(-90, 90))
    grid = float_grid(values.min(axis=0), values.max(axis=0), float(weights.max()))
    cut = grid.cut(values, weights)
    origin = Fraction(float(grid.origin[0]))
    moved = [Fraction(value) - origin for value in values[:, 0].tolist()]
    heavy = [Fraction(weight) for weight in weights.tolist()]
    for power, found, bits in (
        (0, cut[0], grid.weight_bits),
        (1, cut[1][:, 0], grid.bits),
        (2, cut[2][:, 0], grid.square_bits),
    ):
        exact = [w * x**power for w, x in zip(heavy, moved, strict=True)]
        largest = max(map(abs, heavy)) * max(map(abs, moved)) ** power
        for whole, truth in zip(found.tolist(), exact, strict=True):
            assert abs(whole * Fraction(2) ** -bits - truth) <= largest / 2**69
            assert abs(whole) <= 2 ** (2 * LIMB_BITS)


def test_sums_do_not_depend_on_the_order() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(10_000, 1)) * 10.0 ** rng.integers(-12, 12, (10_000, 1))
    weights = rng.random(10_000)
    grid = float_grid(values.min(axis=0), values.max(axis=0))
    sums = set()
    for _ in range(5):
        order = rng.permutation(10_000)
        sums.add(tuple(int(part.sum()) for part in grid.cut(values[order], weights[order])))
    assert len(sums) == 1


def test_limbs_have_room_for_as_many_points_as_there_may_be() -> None:
    assert MAX_POINTS << LIMB_BITS <= 2**62


@pytest.mark.parametrize("value", [0.0, 3.5, -1e300, 1e-300, 5e-324])
def test_one_value_alone_has_a_grid(value: float) -> None:
    values = np.array([[value]])
    grid = float_grid(values[0], values[0])
    weights, sums, squares = grid.cut(values, np.ones(1))
    assert weights.tolist() == [1 << grid.weight_bits]
    assert abs(sums[0, 0]) <= 1
    assert squares.tolist() == [[0]]


@given(st.floats(-1e100, 1e100), st.floats(-1e100, 1e100))
@settings(deadline=None, max_examples=200)
def test_nothing_is_lost_by_differences_and_products(a: float, b: float) -> None:
    difference, rest = two_difference(a, b)
    assert Fraction(difference) + Fraction(rest) == Fraction(a) - Fraction(b)
    product, rest = two_product(a, b)
    if abs(product) > 1e-200:  # else the rest may underflow
        assert Fraction(product) + Fraction(rest) == Fraction(a) * Fraction(b)
