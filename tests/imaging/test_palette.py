"""From centroids to the entries of a palette."""

from __future__ import annotations

import json
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.imaging.palette import Palette, palette_of


def centroids(*colors: tuple[float, float, float]) -> NDArray[np.float64]:
    return np.array(colors, np.float64).reshape(-1, 3)


def greys(n: int, *, transparent: bool = False) -> Palette:
    return Palette(np.repeat(np.arange(n, dtype=np.uint8)[:, None], 3, axis=1), transparent)


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


def test_the_transparent_entry_comes_first() -> None:
    palette = palette_of(centroids((255, 255, 255), (0, 0, 0)), transparent=True)
    assert palette.first == 1
    assert len(palette) == 3
    assert palette.entries.tolist() == [[0, 0, 0], [0, 0, 0], [255, 255, 255]]
    assert palette.entries.dtype == np.uint8


def test_without_transparency_the_entries_are_the_colors() -> None:
    palette = palette_of(centroids((255, 255, 255), (0, 0, 1)))
    assert palette.first == 0
    assert palette.entries.tolist() == palette.colors.tolist() == [[0, 0, 1], [255, 255, 255]]


@pytest.mark.parametrize(
    ("entries", "bits"),
    [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (16, 4), (17, 8), (255, 8), (256, 8)],
)
def test_bit_depth_is_the_smallest_that_holds_all_entries(entries: int, bits: int) -> None:
    assert greys(entries).bit_depth == bits
    assert greys(entries - 1, transparent=True).bit_depth == bits


def test_json_names_every_entry_and_its_pixels() -> None:
    palette = palette_of(centroids((255, 128, 0), (0, 0, 10)))
    text = palette.to_json([7, 2**40])
    assert text.endswith("}\n")
    assert json.loads(text) == {
        "colors": ["#00000a", "#ff8000"],
        "transparent": None,
        "pixels": [7, 2**40],
    }


def test_json_names_the_transparent_entry() -> None:
    palette = palette_of(centroids((255, 128, 0), (0, 0, 10)), transparent=True)
    assert json.loads(palette.to_json([7, 1])) == {
        "colors": ["#000000", "#00000a", "#ff8000"],
        "transparent": 0,
        "pixels": [None, 7, 1],
    }
