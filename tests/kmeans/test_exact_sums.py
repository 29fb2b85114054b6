from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.kmeans.exact_sums import (
    LIMB_BITS,
    MAX_POINTS,
    FixedPoint,
    float_grid,
    integer_grid,
    two_difference,
    two_product,
)
from tests.kmeans.strategies import SEEDS, cuts_of

Floats = NDArray[np.float64]
ROUNDING = Fraction(1, 2) + Fraction(2) ** -20


def grid_between(values: Floats, max_weight: float = 1.0) -> FixedPoint:
    return float_grid(values.min(axis=0), values.max(axis=0), max_weight)


def lost(grid: FixedPoint, values: Floats, weights: Floats) -> Fraction:
    """The most that a cut loses of a weight, weighted point or square, in units of 2^-72.

    Relative to the powers of two that points, less the origin, and weights stay below.
    """
    whole_weights, whole_points, whole_squares = grid.cut(values, weights)
    most = Fraction(0)
    for c, origin in enumerate(grid.origin.tolist()):
        for power, found, bits in (
            (0, whole_weights, grid.weight_bits),
            (1, whole_points[:, c], grid.bits),
            (2, whole_squares[:, c], grid.square_bits),
        ):
            largest = Fraction(2) ** (grid.heaviest + power * grid.reach)
            for row, weight, whole in zip(
                values[:, c].tolist(), weights.tolist(), found.tolist(), strict=True
            ):
                exact = Fraction(weight) * (Fraction(row) - Fraction(origin)) ** power
                most = max(most, abs(whole * Fraction(2) ** -bits - exact) / largest)
    return most * (1 << 2 * LIMB_BITS)


@st.composite
def weighted_values(draw: st.DrawFn) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(draw(SEEDS))
    shape = draw(st.integers(1, 40)), draw(st.sampled_from([1, 2]))
    size = 2.0 ** draw(st.integers(-380, 400))
    values = size * rng.normal(size=shape) * 2.0 ** -rng.integers(0, 60, shape)
    values += size * draw(st.sampled_from([0.0, 1e3, 1e9]))
    return values, rng.random(len(values)) * 2.0 ** draw(st.integers(-300, 300))


@given(weighted_values())
@settings(deadline=None, max_examples=150)
def test_a_cut_is_rounded_to_the_nearest_integer(weighted: tuple[Floats, Floats]) -> None:
    values, weights = weighted
    assert lost(grid_between(values, float(weights.max())), values, weights) <= ROUNDING


@given(weighted_values())
@settings(deadline=None, max_examples=150)
def test_a_grid_has_room_for_the_largest_there_is_and_at_most_twice_that(
    weighted: tuple[Floats, Floats],
) -> None:
    """So that at most 2^-70 of the largest weight, weighted point or square is lost of any."""
    values, weights = weighted
    grid = grid_between(values, float(weights.max()))
    for part in grid.cut(values, weights):
        assert max(map(abs, part.ravel().tolist())) <= 1 << 2 * LIMB_BITS
    origin = [Fraction(place) for place in grid.origin.tolist()]
    farthest = max(
        abs(Fraction(value) - place)
        for row in values.tolist()
        for value, place in zip(row, origin, strict=True)
    )
    assert Fraction(2) ** grid.heaviest <= 2 * Fraction(float(weights.max()))
    if farthest:
        assert Fraction(2) ** grid.reach <= 2 * farthest * (1 + Fraction(2) ** -50)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_sums_of_any_chunks_in_any_order_are_equal(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    n = data.draw(st.integers(1, 200))
    values = rng.normal(size=(n, 3)) * 10.0 ** rng.integers(-30, 30, (n, 1))
    weights = rng.random(n) * 10.0 ** rng.integers(-9, 9, n)
    grid = grid_between(values, float(weights.max()))
    whole = [part.sum(axis=0) for part in grid.cut(values, weights)]
    order = rng.permutation(n)
    chunks = [order[cut] for cut in data.draw(cuts_of(n))]
    pieces = [grid.cut(values[chunk], weights[chunk]) for chunk in chunks]
    for i, expected in enumerate(whole):
        together = sum(piece[i].sum(axis=0) for piece in pieces)
        assert np.array_equal(together, expected)


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_what_is_added_and_taken_out_again_leaves_no_trace(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    values, weights = rng.normal(size=(50, 2)) * 1e7, rng.random(50)
    _, points, _ = grid_between(values).cut(values, weights)
    total = points[:20].sum(axis=0)
    for row in rng.permutation(points[20:]):
        total = total + row
    for row in rng.permutation(points[20:]):
        total = total - row
    assert np.array_equal(total, points[:20].sum(axis=0))


def test_limbs_have_room_for_as_many_points_as_there_may_be() -> None:
    assert MAX_POINTS << LIMB_BITS <= 2**62


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_integers_are_taken_as_they_are(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    top = data.draw(st.sampled_from([1, 255, 2**31 - 1]))
    values = rng.integers(-top, top, (40, 2), endpoint=True)
    weights = rng.integers(0, (2**63 - 1) // top, 40)
    grid = integer_grid(2)
    assert (grid.bits, grid.square_bits, grid.weight_bits) == (0, 0, 0)
    found = grid.cut(values.astype(np.float64), weights)
    wide, heavy = values.astype(object), weights.astype(object)[:, None]
    for whole, expected in zip(found, (weights, wide * heavy, wide * wide * heavy), strict=True):
        assert np.array_equal(whole, expected)


@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize(
    "value", [0.0, -0.0, 0.1, -3.5, 1e300, -1.7e308, 1e-300, 2.0**-1022, 5e-324]
)
def test_points_of_one_place_are_at_the_origin(value: float, n: int) -> None:
    values = np.full((n, 2), value)
    grid = grid_between(values)
    weights, points, squares = grid.cut(values, np.ones(n))
    assert np.abs(grid.origin - value).max() <= 5e-324
    assert weights.tolist() == [1 << grid.weight_bits] * n
    assert not points.any()
    assert not squares.any()


@pytest.mark.parametrize("largest", [1e-300, 1e-140, 1.0, 1e140, 1e300, 1.7e308])
def test_ranges_of_any_size_are_cut_alike(largest: float) -> None:
    rng = np.random.default_rng(1)
    values = rng.uniform(-1, 1, (40, 2)) * largest
    values[0], values[1] = -largest, largest
    assert lost(grid_between(values), values, np.ones(40)) <= ROUNDING


@pytest.mark.parametrize("largest", [1e-302, 1e-310, 5e-324])
def test_tiny_ranges_are_cut_to_no_less_than_2_to_the_minus_1072(largest: float) -> None:
    values = np.array([[-largest], [largest], [largest * 0.5]])
    grid = grid_between(values)
    assert grid.reach == -1000
    assert lost(grid, values, np.ones(3)) <= ROUNDING


@pytest.mark.parametrize("weight", [1e-300, 1e-100, 1.0, 1e100, 1e300])
def test_weights_of_any_size_are_cut_alike(weight: float) -> None:
    rng = np.random.default_rng(2)
    values, weights = rng.normal(size=(40, 2)), rng.random(40) * weight
    grid = grid_between(values, float(weights.max()))
    assert lost(grid, values, weights) <= ROUNDING


def test_a_channel_that_is_constant_beside_one_that_is_not_adds_nothing() -> None:
    values = np.stack([np.full(9, 0.1), np.linspace(-1e6, 1e6, 9)], axis=1)
    grid = grid_between(values)
    _, points, squares = grid.cut(values, np.ones(9))
    assert grid.origin.tolist() == [0.1, 0.0]
    assert not points[:, 0].any()
    assert not squares[:, 0].any()
    assert np.array_equal(points[:, 1] != 0, values[:, 1] != 0)


def test_no_weight_at_all_is_cut_to_nothing() -> None:
    values = np.arange(6.0)[:, None]
    for part in grid_between(values, 0.0).cut(values, np.zeros(6)):
        assert not part.any()


@given(st.floats(-1e100, 1e100), st.floats(-1e100, 1e100))
@settings(deadline=None, max_examples=200)
def test_nothing_is_lost_by_differences_and_products(a: float, b: float) -> None:
    difference, rest = two_difference(a, b)
    assert Fraction(difference) + Fraction(rest) == Fraction(a) - Fraction(b)
    product, rest = two_product(a, b)
    if abs(product) > 1e-200:  # else the rest may underflow
        assert Fraction(product) + Fraction(rest) == Fraction(a) * Fraction(b)
