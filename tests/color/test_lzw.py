from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.color.lzw import Grid, clear_places, code_bits_of, lzw_codes
from tests.kmeans.strategies import SEEDS

Bytes = NDArray[np.uint8]
NO_CLEARS = np.empty(0, np.int64)


def plain_codes(indices: Sequence[int], n_symbols: int, clears: Sequence[int]) -> bytes:
    """Encode as the kernels do, with strings as tuples in a dictionary."""
    bits = max(2, (n_symbols - 1).bit_length())
    clear, end = 1 << bits, (1 << bits) + 1
    text = ""
    table: dict[tuple[int, ...], int] = {}
    size = bits + 1

    def write(code: int) -> None:
        nonlocal text
        text = f"{code:0{size}b}" + text

    write(clear)
    for start, stop in zip([0, *clears], [*clears, len(indices)], strict=True):
        table, size, code = {(index,): index for index in range(clear)}, bits + 1, end + 1
        string: tuple[int, ...] = ()
        for index in (*indices[start:stop], None):
            if index is not None and (*string, index) in table:
                string = (*string, index)
                continue
            write(table[string])
            if code < 4096:
                if code == 1 << size:
                    size += 1
                if index is not None:
                    table[(*string, index)] = code
                    code += 1
            string = (index,) if index is not None else ()
        write(end if stop == len(indices) else clear)
    return int(text, 2).to_bytes(-(-len(text) // 8), "little")


def plain_decode(data: bytes, code_bits: int) -> list[int]:
    """Decode by the GIF specification, appendix F, independently of the encoder."""
    clear, end = 1 << code_bits, (1 << code_bits) + 1
    number, place, size = int.from_bytes(data, "little"), 0, code_bits + 1
    strings: list[list[int]] = []
    before: list[int] = []
    found: list[int] = []
    while True:
        code = (number >> place) & ((1 << size) - 1)
        assert place + size <= 8 * len(data)
        place += size
        if code == end:
            assert place > 8 * (len(data) - 1)  # no byte follows
            return found
        if code == clear:
            strings, before, size = [[i] for i in range(clear)] + [[], []], [], code_bits + 1
            continue
        string = strings[code] if code < len(strings) else [*before, before[0]]
        if before and len(strings) < 4096:
            strings.append([*before, string[0]])
        if len(strings) == 1 << size and size < 12:
            size += 1
        found += string
        before = string


def some_indices(rng: np.random.Generator, n: int, n_symbols: int, most_run: int) -> Bytes:
    """Return indices in runs, whose strings come again."""
    lengths = rng.integers(1, most_run + 1, n)
    return np.repeat(rng.integers(0, n_symbols, n), lengths)[:n].astype(np.uint8)


@given(
    SEEDS,
    st.integers(1, 9000),
    st.sampled_from([1, 2, 3, 4, 5, 16, 17, 200, 256]),
    st.sampled_from([1, 2, 30]),
    st.lists(st.integers(1, 9000), max_size=4, unique=True),
)
@settings(deadline=None, max_examples=100)
def test_codes_are_those_of_the_plain_twin_and_decode(
    seed: int, n: int, n_symbols: int, most_run: int, clears: list[int]
) -> None:
    indices = some_indices(np.random.default_rng(seed), n, n_symbols, most_run)
    places = sorted(place for place in clears if place < n)
    found = lzw_codes(indices, n_symbols, np.array(places, np.int64))
    assert found == plain_codes(indices.tolist(), n_symbols, places)
    assert plain_decode(found, code_bits_of(n_symbols)) == indices.tolist()


@pytest.mark.parametrize("n_symbols", [2, 4, 5, 128, 129, 256])
def test_the_size_of_codes_changes_where_a_decoder_expects_it(n_symbols: int) -> None:
    """Check ends and clear codes beside each size, and beside the full table."""
    bits = code_bits_of(n_symbols)
    # Without repeated pairs, each index is a code; a de Bruijn sequence has the most of them.
    rng = np.random.default_rng(n_symbols)
    indices = rng.integers(0, n_symbols, 40_000).astype(np.uint8)
    n_codes, ends = 0, []
    seen = {(int(index),) for index in range(n_symbols)}
    string: tuple[int, ...] = ()
    wanted = {(1 << size) - (1 << bits) - 2 + more for size in range(bits + 1, 13)
              for more in range(-2, 4)}  # fmt: skip
    for place, index in enumerate(indices.tolist()):
        if (*string, index) in seen:
            string = (*string, index)
            continue
        n_codes += 1
        seen.add((*string, index))
        string = (index,)
        if n_codes in wanted:
            ends.append(place)
    assert len(ends) >= len(wanted) - 4
    for end in ends:
        some = indices[:end]
        assert plain_decode(lzw_codes(some, n_symbols, NO_CLEARS), bits) == some.tolist()
        more = indices[: end + 50]
        found = lzw_codes(more, n_symbols, np.array([end]))
        assert plain_decode(found, bits) == more.tolist()


def plain_places(indices: Sequence[int], n_symbols: int, step: int) -> list[int]:
    """Return the places after each `step` codes, where a table is emptied when it is full."""
    most = 4096 - (1 << code_bits_of(n_symbols)) - 2
    table: set[tuple[int, ...]] = set()
    string: tuple[int, ...] = (indices[0],)
    n_codes, places = 0, list[int]()
    for place, index in enumerate(indices[1:], 1):
        if (*string, index) in table:
            string = (*string, index)
            continue
        table = set() if len(table) == most else table
        table.add((*string, index))
        string, n_codes = (index,), n_codes + 1
        places += [place] if n_codes % step == 0 else []
    return places


@given(
    SEEDS,
    st.integers(1, 9000),
    st.sampled_from([2, 5, 256]),
    st.sampled_from([1, 7]),
    st.sampled_from([100, 700, 1500]),
)
@settings(deadline=None, max_examples=100)
def test_clear_codes_are_where_they_take_the_fewest_bits(
    seed: int, n: int, n_symbols: int, most_run: int, step: int
) -> None:
    rng = np.random.default_rng(seed)
    parts = [some_indices(rng, n, n_symbols, most_run) % rng.integers(1, 9) for _ in range(3)]
    indices = np.concatenate(parts)[-n:].astype(np.uint8)
    places = plain_places(indices.tolist(), n_symbols, step)
    clears = clear_places(indices, n_symbols, Grid(step, 99, 1 << 20))
    assert set(clears.tolist()) <= set(places)
    sizes = [
        len(lzw_codes(indices, n_symbols, np.array(some, np.int64)))
        for count in range(min(len(places), 6) + 1)
        for some in combinations(places[:6], count)
    ]
    found = len(lzw_codes(indices, n_symbols, clears))
    assert found == min(sizes) or (found < min(sizes) and len(places) > 6)


def test_a_table_that_no_longer_fits_is_emptied() -> None:
    rng = np.random.default_rng(0)
    pairs = [rng.integers(low, low + 40, 30_000) for low in (0, 100)]
    repeated = [np.tile(pair[:300], 100) for pair in pairs]
    indices = np.concatenate([pairs[0], repeated[1], pairs[1], repeated[0]]).astype(np.uint8)
    clears = clear_places(indices, 256, Grid(2048, 16, 3))
    assert len(clears)
    plain = lzw_codes(indices, 256, NO_CLEARS)
    assert len(lzw_codes(indices, 256, clears)) < 0.8 * len(plain)


def test_a_table_lives_no_longer_than_it_may() -> None:
    indices = np.zeros(1000, np.uint8)
    places = [0, *plain_places(indices.tolist(), 2, 2), 1000]
    clears = clear_places(indices, 2, Grid(2, 3, 0))
    assert len(clears) >= (len(places) - 1) // 3 - 1
    assert set(clears.tolist()) <= set(places)


def test_a_long_row_of_one_index_decodes() -> None:
    indices = np.ones(100_000, np.uint8)
    found = lzw_codes(indices, 2, clear_places(indices, 2, Grid(4096, 16, 1)))
    assert plain_decode(found, 2) == indices.tolist()
    assert len(found) < 600
