from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from kmeans_dask.color.oklab import UNIT, from_oklab, to_oklab
from kmeans_dask.kmeans.morton_codes import N_CODES, decode_colors
from tests.kmeans.strategies import SEEDS

# Of the coordinates of every third colour, on all machines.
PINNED = "0ea49fea6e4d53f9d15df736777f137630012c5423e47a8fd9970dd87135ac9c"


def float_oklab(colors: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Ottosson's formulas in floating point, in units of 1 / `UNIT`."""
    share = colors / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    r, g, b = linear.T
    long = np.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)
    medium = np.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
    short = np.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
    lab = [
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    ]
    return np.asarray(np.stack(lab, axis=1) * UNIT, np.float64)


def random_colors(n: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, 3)).astype(np.uint8)


def greys() -> NDArray[np.uint8]:
    return np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


@given(SEEDS)
@settings(deadline=None, max_examples=40)
def test_coordinates_are_within_one_unit_of_the_floating_point_formula(seed: int) -> None:
    colors = random_colors(20_000, seed)
    found = to_oklab(colors)
    assert found.dtype == np.int64
    assert np.abs(found - float_oklab(colors)).max() < 1


def test_dark_colours_are_within_one_unit_of_the_floating_point_formula() -> None:
    side = np.arange(24)
    colors = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(-1, 3).astype(np.uint8)
    assert np.abs(to_oklab(colors) - float_oklab(colors)).max() < 1


def test_white_is_one_and_black_nothing_and_neither_has_a_hue() -> None:
    ends = to_oklab(np.array([[255, 255, 255], [0, 0, 0]], np.uint8))
    assert ends.tolist() == [[UNIT, 0, 0], [0, 0, 0]]


def test_greys_have_no_hue_and_lighter_ones_are_lighter() -> None:
    light, a, b = to_oklab(greys()).T
    assert (np.diff(light) > 0).all()
    assert not a.any()
    assert not b.any()


@pytest.mark.parametrize(
    ("color", "published"),
    [  # to three decimals, as colour pickers show them
        ((255, 0, 0), (0.628, 0.225, 0.126)),
        ((0, 255, 0), (0.866, -0.234, 0.179)),
        ((0, 0, 255), (0.452, -0.032, -0.312)),
    ],
)
def test_primaries_have_their_published_coordinates(
    color: tuple[int, int, int], published: tuple[float, float, float]
) -> None:
    found = to_oklab(np.array([color], np.uint8))[0] / UNIT
    assert found.tolist() == pytest.approx(published, abs=0.0006)


@given(SEEDS)
@settings(deadline=None, max_examples=40)
def test_there_and_back_is_the_colour_within_one_and_nearly_always_exactly(seed: int) -> None:
    colors = random_colors(20_000, seed)
    back = from_oklab(to_oklab(colors).astype(np.float64))
    assert back.dtype == np.uint8
    off = np.abs(back.astype(int) - colors)
    assert off.max() <= 1
    assert off.any(axis=1).mean() < 0.001


def test_greys_and_primaries_come_back_exactly() -> None:
    corners = np.array(np.meshgrid([0, 255], [0, 255], [0, 255])).reshape(3, -1).T
    colors = np.concatenate([greys(), corners.astype(np.uint8)])
    assert np.array_equal(from_oklab(to_oklab(colors).astype(np.float64)), colors)


def test_places_between_colours_go_to_the_nearest_value() -> None:
    light = to_oklab(greys())[:, 0].astype(np.float64)
    for share, expected in ((0.1, np.arange(255)), (0.9, np.arange(1, 256))):
        places = np.zeros((255, 3))
        places[:, 0] = (1 - share) * light[:-1] + share * light[1:]
        assert np.array_equal(from_oklab(places), np.stack([expected] * 3, axis=1))


def test_what_no_screen_shows_is_clipped() -> None:
    places = np.array([[2.0, 0, 0], [-1, 0, 0], [0.6, 0.5, 0.3]]) * UNIT
    white, black, redder_than_red = from_oklab(places).tolist()
    assert white == [255, 255, 255]
    assert black == [0, 0, 0]
    assert redder_than_red[0] == 255
    assert redder_than_red[1:] == [0, 0]


def test_coordinates_are_the_same_on_every_machine() -> None:
    checksum = hashlib.sha256()
    for start in range(0, N_CODES, N_CODES // 8):
        codes = np.arange(start, start + N_CODES // 8, 3, dtype=np.uint32)
        checksum.update(to_oklab(decode_colors(codes)).astype("<i4").tobytes())
    assert checksum.hexdigest() == PINNED


def test_one_colour_alone_has_the_coordinates_it_has_among_many() -> None:
    colors = random_colors(200, seed=1)
    together = to_oklab(colors)
    assert [to_oklab(color[None])[0].tolist() for color in colors] == together.tolist()
    assert to_oklab(np.empty((0, 3), np.uint8)).shape == (0, 3)
    assert from_oklab(np.empty((0, 3))).shape == (0, 3)
