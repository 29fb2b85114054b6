from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.clustering.counts import count_points, merge_point_counts
from kmeans_dask.clustering.keys import Packing, count_keys, sort_keys
from tests.clustering.strategies import SEEDS, cuts_of


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_points_come_back_from_their_keys(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    channels, span = data.draw(st.integers(1, 6)), data.draw(st.sampled_from([1, 2, 255, 1000]))
    low = data.draw(st.sampled_from([-1000, -1, 0, 7]))
    points = rng.integers(low, low + span, (50, channels))
    packing = Packing.between((low,) * channels, (low + span,) * channels)
    assert packing
    keys = packing.pack(points)
    assert np.array_equal(packing.unpack(keys), points)
    assert len(np.unique(keys)) == len(np.unique(points, axis=0))


def test_keys_of_near_points_are_close() -> None:
    packing = Packing.between((0, 0), (3, 3))
    assert packing
    quarter = packing.pack(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]))
    assert quarter.tolist() == [0, 1, 2, 3]


def test_what_would_not_fit_a_key_has_no_packing() -> None:
    assert Packing.between((0,) * 8, (255,) * 8)
    assert Packing.between((0,) * 9, (255,) * 9) is None


@pytest.mark.parametrize("n", [0, 1, 1000])
@pytest.mark.parametrize("bits", [1, 12, 13, 24, 63, 64])
def test_keys_are_sorted_and_counted_as_numpy_does(n: int, bits: int) -> None:
    rng = np.random.default_rng(bits)
    keys = rng.integers(0, 2**bits, n, dtype=np.uint64, endpoint=False) if n else np.empty(0, "u8")
    keys[n // 2 :] = keys[: n - n // 2]
    assert np.array_equal(sort_keys(keys, bits), np.sort(keys))
    distinct, weights = count_keys(keys, bits)
    expected = np.unique(keys, return_counts=True)
    assert np.array_equal(distinct, expected[0])
    assert np.array_equal(weights, expected[1])


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_counts_of_any_chunks_are_those_of_a_dictionary(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    n = data.draw(st.integers(1, 200))
    rows = rng.integers(-4, 5, (n, 2)).astype(np.int32)
    weights = rng.integers(0, 9, n)
    weights[0] = 1
    packing = Packing.between((-4, -4), (4, 4))
    assert packing
    cuts = data.draw(cuts_of(n))
    plain = merge_point_counts([count_points(rows[cut], packing) for cut in cuts])
    expected = Counter(map(tuple, rows.tolist()))
    found = dict(zip(map(tuple, plain.values.tolist()), plain.weights.tolist(), strict=True))
    assert found == expected
    weighted = merge_point_counts([count_points(rows[c], packing, weights[c]) for c in cuts])
    heavy: Counter[tuple[int, ...]] = Counter()
    for row, weight in zip(rows.tolist(), weights.tolist(), strict=True):
        heavy[tuple(row)] += weight
    found = dict(zip(map(tuple, weighted.values.tolist()), weighted.weights.tolist(), strict=True))
    assert found == {row: weight for row, weight in heavy.items() if weight}
