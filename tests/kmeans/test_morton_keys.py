from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.kmeans.histogram import count_points, merge_point_histograms
from kmeans_dask.kmeans.morton_keys import Packing, count_keys, sort_keys
from tests.kmeans.strategies import SEEDS, cuts_of

TYPES: tuple[Any, ...] = (np.uint8, np.int16, np.uint16, np.int32, np.int64)
DIGITS = (12, 13, 24, 25, 36, 63, 64)  # of bits: whole digits, and one bit more or less


def some_keys(rng: np.random.Generator, dtype: Any, n: int, bits: int, kind: str) -> NDArray[Any]:
    keys = rng.integers(0, 2**bits, n, dtype=np.uint64).astype(dtype)
    if kind == "few":
        return np.asarray(rng.choice(keys[:3], n)) if n else keys
    if kind == "sorted":
        return np.sort(keys)
    if kind == "falling":
        return np.sort(keys)[::-1].copy()
    if kind == "ends" and n:
        return rng.choice(np.array([0, 2**bits - 1], np.uint64), n).astype(dtype)
    return keys


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_points_of_any_range_and_type_come_back_from_their_keys(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    dtype, channels = data.draw(st.sampled_from(TYPES)), data.draw(st.integers(1, 8))
    info = np.iinfo(dtype)
    least, most = max(-(2**31), int(info.min)), min(2**31 - 1, int(info.max))
    bits = data.draw(st.integers(1, min(64 // channels, (most - least).bit_length())))
    low = tuple(
        int(rng.integers(least, most - 2**bits + 1, endpoint=True)) for _ in range(channels)
    )
    spans = [2**bits - 1, *(int(rng.integers(0, 2**bits)) for _ in range(channels - 1))]
    high = tuple(a + b for a, b in zip(low, spans, strict=True))
    n = data.draw(st.integers(0, 60))
    values = rng.integers(low, high, (n, channels), dtype=np.int64, endpoint=True).astype(dtype)
    packing = Packing.between(low, high)
    assert packing is not None
    assert packing.bits == bits
    keys = packing.pack(values)
    assert keys.dtype == np.uint64
    assert all(key < 2**packing.key_bits for key in keys.tolist())
    assert np.array_equal(packing.unpack(keys), values)
    assert len(np.unique(keys)) == len(np.unique(values, axis=0))
    corners = np.array([low, high], np.int64)
    assert packing.pack(corners)[0] == 0
    assert np.array_equal(packing.unpack(packing.pack(corners)), corners)


def test_keys_of_near_points_are_close() -> None:
    packing = Packing.between((0, 0), (3, 3))
    assert packing
    quarter = packing.pack(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]))
    assert quarter.tolist() == [0, 1, 2, 3]


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_a_point_that_is_nowhere_less_has_no_lesser_key(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    channels = data.draw(st.integers(1, 5))
    low, high = (-300,) * channels, (300,) * channels
    packing = Packing.between(low, high)
    assert packing is not None
    values = rng.integers(-300, 200, (50, channels))
    more = values + rng.integers(0, 101, values.shape)
    assert (packing.pack(more) >= packing.pack(values)).all()


@pytest.mark.parametrize(
    ("low", "high", "bits"),
    [
        ((5,), (5,), 1),
        ((0,), (1,), 1),
        ((0,), (2,), 2),
        ((-(2**31),) * 2, (2**31 - 1,) * 2, 64),
        ((-1,) * 64, (0,) * 64, 64),
        ((0, -8), (0, 7), 8),
    ],
)
def test_a_key_has_as_many_bits_as_its_widest_channel_needs_in_each(
    low: tuple[int, ...], high: tuple[int, ...], bits: int
) -> None:
    packing = Packing.between(low, high)
    assert packing is not None
    assert packing.key_bits == bits


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ((-(2**31),) * 2, (2**31,) * 2),
        ((0,) * 65, (0,) * 65),
        ((0,) * 4, (0, 0, 0, 2**16)),
        ((-(2**63),), (2**63,)),
    ],
)
def test_one_bit_too_many_is_too_many(low: tuple[int, ...], high: tuple[int, ...]) -> None:
    assert Packing.between(low, high) is None


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
@given(data=st.data())
@settings(deadline=None, max_examples=80)
def test_keys_of_any_length_are_sorted_and_counted_as_numpy_does(
    dtype: Any, data: st.DataObject
) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    most = 24 if dtype == np.uint32 else 64
    edges = st.sampled_from([bits for bits in DIGITS if bits <= most])
    bits = data.draw(edges | st.integers(1, most))
    kind = data.draw(st.sampled_from(["any", "few", "sorted", "falling", "ends"]))
    keys = some_keys(rng, dtype, data.draw(st.integers(0, 1000)), bits, kind)
    before = keys.copy()
    ordered = sort_keys(keys, bits)
    assert ordered.dtype == dtype
    assert np.array_equal(ordered, np.sort(keys))
    distinct, weights = count_keys(keys, bits)
    expected = np.unique(keys, return_counts=True)
    assert distinct.dtype == dtype
    assert weights.dtype == np.int64
    assert np.array_equal(distinct, expected[0])
    assert np.array_equal(weights, expected[1])
    assert np.array_equal(keys, before)


@pytest.mark.parametrize(("dtype", "bits"), [(np.uint32, 24), (np.uint64, 64)])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_keys_are_sorted_and_counted(n: int, dtype: Any, bits: int) -> None:
    keys = np.full(n, 2**bits - 1, dtype)
    assert np.array_equal(sort_keys(keys, bits), keys)
    distinct, weights = count_keys(keys, bits)
    assert distinct.tolist() == [2**bits - 1] * min(n, 1)
    assert weights.tolist() == [n] * min(n, 1)


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
    plain = merge_point_histograms([count_points(rows[cut], packing) for cut in cuts])
    expected = Counter(map(tuple, rows.tolist()))
    found = dict(zip(map(tuple, plain.values.tolist()), plain.weights.tolist(), strict=True))
    assert found == expected
    weighted = merge_point_histograms([count_points(rows[c], packing, weights[c]) for c in cuts])
    heavy: Counter[tuple[int, ...]] = Counter()
    for row, weight in zip(rows.tolist(), weights.tolist(), strict=True):
        heavy[tuple(row)] += weight
    found = dict(zip(map(tuple, weighted.values.tolist()), weighted.weights.tolist(), strict=True))
    assert found == {row: weight for row, weight in heavy.items() if weight}
