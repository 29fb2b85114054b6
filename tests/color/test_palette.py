"""From centroids to the entries of a palette."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.color.palette import Palette, palette_of

FEW = st.sampled_from([0, 100, 255])  # so that colours meet
PARTS = st.one_of(FEW, st.integers(0, 255))
ALPHAS = st.one_of(st.sampled_from([1, 128, 254, 255]), st.integers(1, 255))


def centroids(*colors: tuple[float, ...]) -> NDArray[np.float64]:
    return np.array(colors, np.float64).reshape(len(colors), -1)


def greys(n: int, *, transparent: bool = False) -> Palette:
    return Palette.of_colors(
        np.repeat(np.arange(n, dtype=np.uint8)[:, None], 3, axis=1), transparent=transparent
    )


def test_colors_are_ordered_from_dark_to_light() -> None:
    white, black = (255, 255, 255), (0, 0, 0)
    red, green, blue = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    palette = palette_of(centroids(white, green, red, black, blue))
    assert [tuple(color) for color in palette.colors.tolist()] == [black, blue, red, green, white]


def test_colors_of_the_same_luma_are_ordered_by_red() -> None:
    # 299 * 15 + 114 * 7 = 587 * 9
    assert palette_of(centroids((115, 100, 100), (100, 109, 93))).colors.tolist() == [
        [100, 109, 93],
        [115, 100, 100],
    ]


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(0, 255)] * 3), min_size=1, max_size=40), st.randoms())
def test_the_order_of_centroids_makes_no_difference(
    colors: list[tuple[float, float, float]], random: Random
) -> None:
    shuffled = list(colors)
    random.shuffle(shuffled)
    assert (
        palette_of(centroids(*colors)).colors.tolist()
        == palette_of(centroids(*shuffled)).colors.tolist()
    )


def test_halves_are_rounded_up_and_not_to_even() -> None:
    palette = palette_of(centroids((0.5, 1.5, 2.5), (253.5, 254.5, 254.49)))
    assert palette.colors.tolist() == [[1, 2, 3], [254, 255, 254]]


def test_centroids_that_round_to_the_same_color_are_one_entry() -> None:
    palette = palette_of(centroids((9.6, 10, 10.4), (10, 10, 10), (200, 0, 0), (9.5, 9.5, 9.5)))
    assert palette.colors.tolist() == [[10, 10, 10], [200, 0, 0]]
    assert len(palette) == 2


def test_colors_are_bytes_even_for_one_centroid() -> None:
    palette = palette_of(np.array([1.0, 2.0, 3.0]))
    assert palette.colors.dtype == np.uint8
    assert palette.colors.tolist() == [[1, 2, 3]]


def test_translucent_entries_come_before_opaque_ones() -> None:
    palette = palette_of(
        centroids((0, 0, 0, 255), (255, 255, 255, 9), (9, 9, 9, 254.4), (200, 0, 0, 254.5))
    )
    assert palette.colors.tolist() == [
        [9, 9, 9, 254],
        [255, 255, 255, 9],
        [0, 0, 0, 255],
        [200, 0, 0, 255],
    ]


def test_the_same_color_of_two_alphas_is_two_entries() -> None:
    palette = palette_of(centroids((9, 9, 9, 100.2), (9, 9, 9, 99.8), (9, 9, 9, 50)))
    assert palette.colors.tolist() == [[9, 9, 9, 50], [9, 9, 9, 100]]


def test_fixed_colors_come_first_and_in_their_own_order() -> None:
    fixed = np.array([[255, 255, 255], [0, 0, 0], [90, 0, 0]], np.uint8)
    palette = palette_of(centroids((50, 50, 50), (0, 0, 10)), fixed=fixed, transparent=True)
    assert palette.colors.tolist() == [*fixed.tolist(), [0, 0, 10], [50, 50, 50]]
    assert palette.entries[:2].tolist() == [[0, 0, 0, 0], [255, 255, 255, 255]]
    assert palette.fixed == 3
    assert palette_of(centroids((50, 50, 50))).fixed == 0


def test_fixed_colors_are_opaque_and_come_before_what_is_not() -> None:
    fixed = np.array([[9, 9, 9]], np.uint8)
    palette = palette_of(centroids((9, 9, 9, 254), (9, 9, 9, 255), (0, 0, 0, 255)), fixed=fixed)
    assert palette.colors.tolist() == [[9, 9, 9, 255], [9, 9, 9, 254], [0, 0, 0, 255]]


def test_a_centroid_that_rounds_to_a_fixed_color_is_no_second_entry() -> None:
    fixed = np.array([[10, 10, 10], [0, 0, 0]], np.uint8)
    palette = palette_of(centroids((9.6, 10.4, 10), (200, 0, 0), (0.2, 0, 0)), fixed=fixed)
    assert palette.colors.tolist() == [[10, 10, 10], [0, 0, 0], [200, 0, 0]]


@pytest.mark.parametrize("transparent", [False, True])
def test_a_palette_may_be_all_fixed(transparent: bool) -> None:
    fixed = np.array([[9, 0, 0], [0, 0, 0]], np.uint8)
    palette = palette_of(np.empty((0, 3)), fixed=fixed, transparent=transparent)
    np.testing.assert_array_equal(palette.colors, fixed)
    assert palette.colors.dtype == np.uint8


@settings(deadline=None)
@given(
    colors=st.lists(st.tuples(PARTS, PARTS, PARTS, ALPHAS), min_size=1, max_size=30),
    fixed=st.lists(st.tuples(FEW, FEW, FEW), max_size=5, unique=True),
    alpha=st.booleans(),
    transparent=st.booleans(),
)
def test_entries_are_the_clear_one_the_fixed_ones_and_then_each_color_once_in_order(
    colors: list[tuple[int, int, int, int]],
    fixed: list[tuple[int, int, int]],
    alpha: bool,
    transparent: bool,
) -> None:
    if not alpha:
        colors = [(*color[:3], 255) for color in colors]
    palette = palette_of(
        centroids(*colors) if alpha else centroids(*colors)[:, :3],
        transparent=transparent,
        fixed=np.array(fixed, np.uint8).reshape(-1, 3),
    )

    def place(color: tuple[int, ...]) -> tuple[int, ...]:
        r, g, b, over = color
        return over == 255, 299 * r + 587 * g + 114 * b, r, g, b, over

    given_first = [(*color, 255) for color in fixed]
    others = sorted(set(colors) - set(given_first), key=place)
    clear = [(0, 0, 0, 0)] if transparent else []
    assert [tuple(entry) for entry in palette.entries.tolist()] == [*clear, *given_first, *others]
    assert len(palette) == len(palette.entries)
    assert palette.clear == (0 if clear else None)


def test_the_transparent_entry_comes_first() -> None:
    palette = palette_of(centroids((255, 255, 255), (0, 0, 0)), transparent=True)
    assert palette.clear == 0
    assert len(palette) == 3
    assert palette.entries.tolist() == [[0, 0, 0, 0], [0, 0, 0, 255], [255, 255, 255, 255]]
    assert palette.entries.dtype == np.uint8


def test_without_transparency_the_entries_are_the_colors() -> None:
    palette = palette_of(centroids((255, 255, 255), (0, 0, 1)))
    assert palette.clear is None
    assert palette.colors.tolist() == [[0, 0, 1], [255, 255, 255]]
    assert palette.entries.tolist() == [[0, 0, 1, 255], [255, 255, 255, 255]]
    assert palette.alphas is None


def test_colors_with_alpha_are_entries_as_they_are() -> None:
    palette = palette_of(centroids((7, 8, 9, 254), (1, 2, 3, 40)), transparent=True)
    assert palette.entries.tolist() == [[0, 0, 0, 0], [1, 2, 3, 40], [7, 8, 9, 254]]
    assert palette.alphas is not None
    assert palette.alphas.tolist() == [40, 254]


def of_entries(*entries: tuple[int, int, int, int]) -> Palette:
    return Palette.of_entries(np.array(entries, np.uint8))


def test_a_first_entry_that_is_clear_is_kept_for_clear_pixels() -> None:
    palette = of_entries((5, 6, 7, 0), (1, 2, 3, 255))
    assert palette.clear == 0
    assert palette.colors.tolist() == [[1, 2, 3]]
    assert palette.alphas is None
    assert palette.entries.tolist() == [[0, 0, 0, 0], [1, 2, 3, 255]]


def test_a_first_entry_that_is_hardly_seen_is_a_color() -> None:
    palette = of_entries((5, 6, 7, 1), (1, 2, 3, 255))
    assert palette.clear is None
    assert palette.colors.tolist() == [[5, 6, 7, 1], [1, 2, 3, 255]]


def test_entries_stay_in_the_order_they_are_given_in() -> None:
    entries = ((255, 255, 255, 255), (0, 0, 0, 255), (255, 255, 255, 255), (0, 0, 0, 9))
    assert of_entries(*entries).entries.tolist() == [list(entry) for entry in entries]


@settings(deadline=None)
@given(
    st.lists(st.tuples(PARTS, PARTS, PARTS, ALPHAS), min_size=1, max_size=30),
    st.booleans(),
    st.booleans(),
)
def test_a_palette_is_made_again_of_its_entries(
    colors: list[tuple[int, int, int, int]], alpha: bool, transparent: bool
) -> None:
    channels = 4 if alpha else 3
    palette = palette_of(centroids(*colors)[:, :channels], transparent=transparent)
    again = Palette.of_entries(palette.entries)
    assert again.clear == (0 if transparent else None)
    np.testing.assert_array_equal(again.entries, palette.entries)
    is_opaque = channels == 3 or all(color[3] == 255 for color in colors)
    assert (again.alphas is None) == is_opaque


@pytest.mark.parametrize(
    ("entries", "bits"),
    [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (16, 4), (17, 8), (255, 8), (256, 8)],
)
def test_bit_depth_is_the_smallest_that_holds_all_entries(entries: int, bits: int) -> None:
    assert greys(entries).bit_depth == bits
    assert greys(entries - 1, transparent=True).bit_depth == bits
