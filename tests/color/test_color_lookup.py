from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.color.color_lookup import (
    ERROR_UNITS,
    ColorLookup,
    Indices,
    squared_error,
    squared_errors,
    weights_of,
)
from kmeans_dask.kmeans.morton_codes import encode_translucent
from tests.kmeans.strategies import SEEDS

Pixels = tuple[NDArray[np.uint8], NDArray[np.uint8]]
KINDS = ([255], [0, 255], [0, 1, 100, 254, 255], [1, 254], [0])


def random_pixels(n: int, seed: int, values: int = 256, kinds: list[int] | None = None) -> Pixels:
    rng = np.random.default_rng(seed)
    alphas = rng.choice(kinds or KINDS[2], n).astype(np.uint8)
    return rng.integers(0, values, (n, 3)).astype(np.uint8), alphas


class Example:
    """Pixels, a map of their colours to random indices, and the plain look-up."""

    def __init__(
        self,
        seed: int,
        n: int = 500,
        dtype: type[np.unsignedinteger] = np.uint8,
        values: int = 6,
        kinds: list[int] | None = None,
    ) -> None:
        self.pixels, self.alphas = random_pixels(n, seed, values, kinds)
        every = encode_translucent(self.pixels, self.alphas)
        self.codes = np.unique(every[self.alphas > 0])
        k = np.iinfo(dtype).max + 1
        rng = np.random.default_rng(seed)
        self.indices: Indices = rng.integers(0, k, len(self.codes)).astype(dtype)
        found = dict(zip(self.codes.tolist(), self.indices.tolist(), strict=True))
        self.expected = [
            found[code] if alpha else 0
            for code, alpha in zip(every.tolist(), self.alphas.tolist(), strict=True)
        ]

    def make(self) -> ColorLookup:
        return ColorLookup(self.codes, self.indices)

    def holds(self, made: ColorLookup) -> bool:
        found = made.look_up(self.pixels, self.alphas)
        return found.dtype == self.indices.dtype and found.tolist() == self.expected


@given(
    st.integers(0, 400),
    SEEDS,
    st.sampled_from([2, 8, 256]),
    st.sampled_from(KINDS),
    st.sampled_from([np.uint8, np.uint16]),
)
@settings(deadline=None, max_examples=80)
def test_pixels_get_what_a_dictionary_says(
    n: int, seed: int, values: int, kinds: list[int], dtype: type[np.unsignedinteger]
) -> None:
    example = Example(seed, n, dtype, values, kinds)
    assert example.holds(example.make())


@given(SEEDS)
@settings(deadline=None, max_examples=20)
def test_without_alphas_all_pixels_are_opaque(seed: int) -> None:
    example = Example(seed, kinds=[255])
    assert example.make().look_up(example.pixels).tolist() == example.expected


def test_a_clear_pixel_gets_0_whatever_its_colour_is_when_opaque() -> None:
    pixels = np.array([[7, 7, 7], [7, 7, 7], [9, 9, 9]], np.uint8)
    alphas = np.array([255, 0, 0], np.uint8)
    codes = encode_translucent(pixels[:1], alphas[:1])
    found = ColorLookup(codes, np.array([5], np.uint8)).look_up(pixels, alphas)
    assert found.tolist() == [5, 0, 0]


def test_the_same_colour_may_have_another_index_for_every_alpha() -> None:
    alphas = np.arange(1, 256).astype(np.uint8)
    pixels = np.full((255, 3), 77, np.uint8)
    codes = np.sort(encode_translucent(pixels, alphas))  # from opaque to nearly clear
    found = ColorLookup(codes, np.arange(255, dtype=np.uint8)).look_up(pixels, alphas)
    assert found.tolist() == list(range(254, -1, -1))


def test_a_map_is_right_after_another_was_made_and_when_it_is_made_again() -> None:
    one, other = Example(1), Example(2)
    assert np.isin(one.codes, other.codes).sum() > 50  # of which they say different things
    for example in (one, other, one, one, other):
        assert example.holds(example.make())


def test_maps_of_both_types_are_made_in_turns() -> None:
    narrow, wide = Example(3), Example(3, dtype=np.uint16)
    for example in (narrow, wide, narrow, wide):
        assert example.holds(example.make())


def test_threads_do_not_see_each_others_maps() -> None:
    n = 4
    together = threading.Barrier(n, timeout=600)
    examples = [Example(seed) for seed in range(n)]

    def work(example: Example) -> bool:
        right = True
        for _ in range(10):
            made = example.make()
            together.wait()  # now every thread has filled in its table
            right = right and example.holds(made)
            together.wait()
        return right

    with ThreadPoolExecutor(n) as pool:
        assert all(pool.map(work, examples))


def test_a_map_made_in_one_thread_is_right_in_another() -> None:
    example, other = Example(5), Example(6)
    made = example.make()

    def work() -> bool:
        right = other.holds(other.make())
        return right and example.holds(made)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result()
    assert example.holds(made)


def test_pixels_of_any_strides_are_looked_up_alike() -> None:
    example = Example(7)
    made = example.make()
    every_third = made.look_up(example.pixels[::3], example.alphas[::3])
    assert every_third.tolist() == example.expected[::3]
    back_to_front = made.look_up(np.asfortranarray(example.pixels)[::-1], example.alphas[::-1])
    assert back_to_front.tolist() == example.expected[::-1]


def plain_errors(
    pixels: NDArray[np.uint8],
    alphas: NDArray[np.uint8] | None,
    indices: Indices,
    entries: NDArray[np.uint8],
) -> list[int]:
    over = [255] * len(pixels) if alphas is None else alphas.tolist()
    errors = []
    for pixel, alpha, index in zip(pixels.tolist(), over, indices.tolist(), strict=True):
        *color, entry_alpha = entries[index].tolist()
        error = (255 * alpha - 255 * entry_alpha) ** 2
        for value, other in zip(pixel, color, strict=True):
            error += (value * alpha - other * entry_alpha) ** 2
        errors.append(error)
    return errors


@given(
    st.integers(0, 200),
    st.integers(1, 300),
    SEEDS,
    st.booleans(),
    st.sampled_from([np.uint8, np.uint16]),
)
@settings(deadline=None, max_examples=60)
def test_errors_are_those_of_the_plain_formula_and_add_up(
    n: int, k: int, seed: int, opaque: bool, dtype: type[np.unsignedinteger]
) -> None:
    pixels, alphas = random_pixels(n, seed)
    over = None if opaque else alphas
    entries = np.column_stack(random_pixels(k, seed + 1))
    k = min(k, 256)
    indices: Indices = np.random.default_rng(seed).integers(0, k, n).astype(dtype)
    expected = plain_errors(pixels, over, indices, entries)
    found = squared_errors(pixels, over, indices, entries)
    assert found.dtype == np.int64
    assert found.tolist() == expected
    assert squared_errors(pixels, over, indices, entries, added_up=True).tolist() == [
        sum(expected),
        max(expected, default=0),
    ]
    assert squared_error(pixels, over, indices, entries) == (
        sum(expected),
        max(expected, default=0),
    )


def test_errors_of_opaque_colours_are_squared_differences_in_their_unit() -> None:
    pixels, _ = random_pixels(300, seed=8)
    colors, _ = random_pixels(20, seed=9)
    entries = np.column_stack([colors, np.full(20, 255, np.uint8)])
    indices = np.random.default_rng(10).integers(0, 20, 300).astype(np.uint8)
    difference = pixels.astype(np.int64) - colors[indices]
    of_each = ERROR_UNITS * (difference**2).sum(axis=1)
    expected = (int(of_each.sum()), int(of_each.max()))
    assert squared_error(pixels, None, indices, entries) == expected


def test_the_largest_errors_of_many_pixels_are_added_up_exactly() -> None:
    n = 300_000
    white, clear = np.full((n, 3), 255, np.uint8), np.zeros((1, 4), np.uint8)
    indices = np.zeros(n, np.uint8)
    assert squared_error(white, None, indices, clear) == (n * 4 * 65025**2, 4 * 65025**2)
    # and what 2^29 pixels add up to still fits
    assert (2**29 - 1) * 4 * 65025**2 < 2**63


def test_what_is_under_clear_pixels_and_entries_makes_no_error() -> None:
    pixels, _ = random_pixels(50, seed=11)
    alphas = np.zeros(50, np.uint8)
    entries = np.array([[200, 100, 50, 0]], np.uint8)
    assert squared_error(pixels, alphas, np.zeros(50, np.uint8), entries) == (0, 0)


@pytest.mark.parametrize("added_up", [True, False])
def test_no_pixels_make_no_error(added_up: bool) -> None:
    nothing = np.empty((0, 3), np.uint8)
    entries = np.array([[1, 2, 3, 255]], np.uint8)
    found = squared_errors(nothing, None, np.empty(0, np.uint8), entries, added_up=added_up)
    assert found.tolist() == ([0, 0] if added_up else [])


@given(st.integers(0, 300), st.integers(1, 9), SEEDS)
@settings(deadline=None)
def test_the_weight_of_an_index_is_the_sum_of_its_points(n: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    indices = random.integers(0, k, n).astype([np.uint8, np.uint16, np.int32][seed % 3])
    weights = random.integers(1, 1 << 50, n)
    expected = np.zeros(k, np.int64)
    np.add.at(expected, indices, weights)
    assert weights_of(indices, weights, k).tolist() == expected.tolist()
