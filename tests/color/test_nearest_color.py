from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.color.nearest_color import NearestColor, find_nearest
from kmeans_dask.kmeans.plain import plain_labels
from tests.kmeans.strategies import SEEDS

CUBE = np.array(list(itertools.product(range(16), repeat=3)), np.uint8)  # 4096 colours
CORNERS = [(0, 0, 0), (240, 240, 240), (120, 64, 200), (3, 250 - 11, 77)]


def map_pixels(nearest: NearestColor, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    # A loop in Python: a compiled one on disk would not see that `find_nearest` has changed.
    indices = [find_nearest(r, g, b, *nearest) for r, g, b in pixels.tolist()]
    return np.array(indices, np.int64)


def maps_as_plain(palette: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> bool:
    nearest = NearestColor.from_palette(palette)
    indices = map_pixels(nearest, pixels)
    again = map_pixels(nearest, pixels)  # now every colour is looked up
    expected = plain_labels(pixels, palette.astype(np.float64))
    return np.array_equal(indices, expected) and np.array_equal(again, expected)


def random_colors(n: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, 3)).astype(np.uint8)


@pytest.mark.parametrize("k", [1, 2, 3, 16, 255, 256, 1000])
def test_random_pixels_get_the_nearest_of_a_random_palette(k: int) -> None:
    assert maps_as_plain(random_colors(k, seed=k), random_colors(5000, seed=k + 1))


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("k", [2, 16, 256])
def test_all_colours_of_a_cube_get_the_nearest(k: int, corner: tuple[int, int, int]) -> None:
    assert maps_as_plain(random_colors(k, seed=k), CUBE + np.array(corner, np.uint8))


@pytest.mark.parametrize("k", [16, 255, 1000])
def test_all_colours_of_a_cube_get_the_nearest_of_a_palette_inside_it(k: int) -> None:
    rng = np.random.default_rng(k)
    corner = np.array([104, 60, 200], np.uint8)
    palette = rng.integers(0, 16, (k, 3)).astype(np.uint8) + corner
    assert maps_as_plain(palette, CUBE + corner)


def test_ties_go_to_the_lowest_index() -> None:
    odd = np.array(list(itertools.product([1, 5, 9, 13], repeat=3)), np.uint8)
    for palette in (odd, odd[::-1], np.random.default_rng(1).permutation(odd)):
        assert maps_as_plain(np.ascontiguousarray(palette), CUBE)
    halfway = NearestColor.from_palette(np.array([[4, 0, 0], [0, 0, 0], [0, 4, 0]], np.uint8))
    pixels = np.array([[2, 0, 0], [2, 2, 0], [0, 2, 0]], np.uint8)
    assert map_pixels(halfway, pixels).tolist() == [0, 0, 1]


def test_of_equal_palette_colours_the_first_is_used() -> None:
    few = random_colors(5, seed=2)
    palette = np.concatenate([few, few, few[::-1]])
    pixels = random_colors(3000, seed=3)
    assert maps_as_plain(palette, pixels)
    assert map_pixels(NearestColor.from_palette(palette), pixels).max() < 5


@given(st.integers(1, 40), SEEDS, st.sampled_from([3, 20, 256]))
@settings(deadline=None, max_examples=40)
def test_any_palette_maps_as_plain(k: int, seed: int, spread: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 257 - spread, 3)
    palette = (rng.integers(0, spread, (k, 3)) + corner).astype(np.uint8)
    near = (rng.integers(0, spread, (200, 3)) + corner).astype(np.uint8)
    anywhere = rng.integers(0, 256, (200, 3)).astype(np.uint8)
    assert maps_as_plain(palette, np.concatenate([near, anywhere, palette]))


def test_a_cell_beside_one_palette_colour_of_many_looks_at_only_that_one() -> None:
    grid = np.array(list(itertools.product(range(20, 256, 48), repeat=3)), np.uint8)
    nearest = NearestColor.from_palette(grid)
    map_pixels(nearest, grid)
    searched = nearest.n_candidates[nearest.n_candidates > 0]
    assert searched.tolist() == [1] * len(grid)


def test_pixels_that_were_remapped_before_change_nothing() -> None:
    palette = random_colors(64, seed=4)
    used = NearestColor.from_palette(palette)
    map_pixels(used, random_colors(20_000, seed=5))
    pixels = random_colors(20_000, seed=6)
    fresh = map_pixels(NearestColor.from_palette(palette), pixels)
    assert np.array_equal(map_pixels(used, pixels), fresh)


def test_palette_colours_map_to_themselves() -> None:
    palette = np.unique(random_colors(256, seed=7), axis=0)
    assert map_pixels(NearestColor.from_palette(palette), palette).tolist() == list(
        range(len(palette))
    )


def test_palettes_of_any_strides_map_alike() -> None:
    palette, pixels = random_colors(20, seed=8), random_colors(4000, seed=9)
    assert maps_as_plain(palette[::2], pixels)
    assert maps_as_plain(palette[:, ::-1], pixels)


def test_the_largest_palette_has_an_index_for_each_colour() -> None:
    greens = np.arange(65_535)
    palette = np.stack([greens >> 8, greens & 255, 0 * greens], axis=1).astype(np.uint8)
    some = np.array([0, 1, 255, 256, 32_767, 32_768, 65_533, 65_534])
    nearest = NearestColor.from_palette(palette)
    assert map_pixels(nearest, palette[some]).tolist() == some.tolist()
    assert map_pixels(nearest, palette[some]).tolist() == some.tolist()
