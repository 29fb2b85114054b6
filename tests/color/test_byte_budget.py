"""Tests of the search for the weight of bits with which images take as many bytes as they may."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmeans_dask.color.byte_budget import spend_bytes

plain_bytes = st.integers(10**3, 10**9)
slopes = st.floats(0.05, 1.5)
parts = st.floats(0.02, 1.2)
weights = st.floats(0.1, 1000)


@given(plain_bytes, slopes, parts, weights)
def test_bytes_within_one_per_cent_are_found_on_a_smooth_curve(
    plain: int, slope: float, part: float, first: float
) -> None:
    tried: list[float] = []

    def measure(weight: float) -> int:
        tried.append(weight)
        return round(float(plain * (1 + weight / 20) ** -slope))

    most = round(plain * part)
    found = spend_bytes(measure, most, first)
    least = round(plain * (1 + 2.0**13 / 20) ** -slope)
    if most < least:
        assert found is None
    elif most >= plain:
        assert found == (0.0, plain) or (found and found.n_bytes >= 0.99 * most)
    else:
        assert found is not None
        assert found.n_bytes <= most
        # Curves steeper than any real one may need more attempts, and few bytes have steps.
        assert found.n_bytes >= 0.99 * most - 1 or len(tried) >= 20 or slope > 1
        assert found.n_bytes == round(plain * (1 + found.weight / 20) ** -slope)
    assert len(tried) == len(set(tried)) <= 20


def test_the_most_bytes_are_taken_where_the_curve_has_a_gap() -> None:
    found = spend_bytes(lambda weight: 1000 if weight < 5 else round(700 - weight), 900, 4.0)
    assert found is not None
    assert 5 <= found.weight < 5.2
    assert found.n_bytes == round(700 - found.weight)


@pytest.mark.parametrize("most", [0, 1, 99])
def test_no_weight_is_found_where_none_leaves_few_enough_bytes(most: int) -> None:
    assert spend_bytes(lambda weight: 100, most, 4.0) is None


def test_a_weight_has_few_digits_so_that_it_can_be_typed() -> None:
    found = spend_bytes(lambda weight: round(1e6 / (1 + math.sqrt(weight))), 123_456, 4.0)
    assert found is not None
    assert found.weight == float(f"{found.weight:.4g}")
