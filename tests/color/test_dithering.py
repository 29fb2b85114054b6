from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import kmeans_dask
from kmeans_dask.color.dithering import Ditherer
from kmeans_dask.color.oklab import UNIT
from kmeans_dask.color.spaces import Space
from tests.kmeans.strategies import SEEDS

RGB, RGBA = Space(), Space("rgb", alpha=True)
OKLAB, OKLABA = Space("oklab"), Space("oklab", alpha=True)
SPACES = (RGB, RGBA, OKLAB, OKLABA)
each_space = pytest.mark.parametrize("space", SPACES, ids=str)
each_with_alpha = pytest.mark.parametrize("space", [RGBA, OKLABA], ids=str)

# least and most of each coordinate
RANGES = {
    RGB: [(0, 255)] * 3,
    RGBA: [(0, 255 * 255)] * 4,
    OKLAB: [(0, UNIT), (-UNIT, UNIT), (-UNIT, UNIT)],
    OKLABA: [(0, UNIT), (-UNIT, UNIT), (-UNIT, UNIT), (0, UNIT)],
}
BLACK_AND_WHITE = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)

Bytes = NDArray[np.uint8]


def squared(first: list[int], second: list[int]) -> int:
    return sum((a - b) ** 2 for a, b in zip(first, second, strict=True))


def nearest(wanted: list[int], places: list[list[int]], among: list[int]) -> int:
    # the first of those equally near
    return min(among, key=lambda j: squared(wanted, places[j]))


def plain_dither(
    space: Space,
    colors: Bytes,
    alphas: Bytes | None,
    strength: float,
    pixels: Bytes,
    over: Bytes | None,
    width: int,
) -> list[int]:
    """Floyd-Steinberg in serpentine order, in Python's integers, with large errors damped."""
    values = space.coordinates(pixels, over).tolist()
    places = space.coordinates(colors, alphas).tolist()
    whole = round(256 * strength)
    gaps = [
        min((squared(a, b) for m, b in enumerate(places) if m != n), default=1 << 62)
        for n, a in enumerate(places)
    ]
    all_places = list(range(len(places)))
    opaque_places = [j for j in all_places if alphas is None or alphas[j] == 255]
    height = len(pixels) // width
    errors: dict[tuple[int, int], list[int]] = {}  # in sixteenths
    indices = [0] * len(pixels)
    for row in range(height):
        ahead = 1 if row % 2 == 0 else -1
        for column in range(width)[::ahead]:
            i = row * width + column
            alpha = 255 if over is None else int(over[i])
            if alpha == 0:
                continue
            error = errors.get((row, column), [0] * space.channels)
            wanted = [
                min(max(value + ((e + 8) >> 4), least), most)
                for value, e, (least, most) in zip(values[i], error, RANGES[space], strict=True)
            ]
            only_opaque = space.alpha and alpha == 255 and opaque_places
            j = nearest(wanted, places, opaque_places if only_opaque else all_places)
            indices[i] = j
            part = 3 * whole // 4 if 4 * squared(wanted, places[j]) > gaps[j] else whole
            off = [((a - b) * part + 128) >> 8 for a, b in zip(wanted, places[j], strict=True)]
            for down, right, share in ((0, ahead, 7), (1, -ahead, 3), (1, 0, 5), (1, ahead, 1)):
                to = errors.setdefault((row + down, column + right), [0] * space.channels)
                for c, e in enumerate(off):
                    to[c] += share * e
    return indices


@dataclass
class Image:
    pixels: Bytes
    over: Bytes | None
    width: int

    def split(self, columns: slice) -> Image:
        rows = self.pixels.reshape(-1, self.width, 3)[:, columns]
        over = None
        if self.over is not None:
            over = self.over.reshape(-1, self.width)[:, columns].reshape(-1)
        return Image(rows.reshape(-1, 3), over, rows.shape[1])


@dataclass
class Palette:
    colors: Bytes
    alphas: Bytes | None


def gradient(height: int, width: int) -> Bytes:
    """Between two colours that are near to grey, from left to right, as pixels."""
    share = np.tile(np.linspace(0, 1, width), height)[:, None]
    left, right = np.array([40, 60, 50]), np.array([220, 190, 200])
    pixels: Bytes = np.rint((1 - share) * left + share * right).astype(np.uint8)
    return pixels


@st.composite
def images(draw: st.DrawFn, space: Space, most: int = 14) -> Image:
    rng = np.random.default_rng(draw(SEEDS))
    height, width = draw(st.integers(1, most)), draw(st.integers(1, most))
    n = height * width
    kind = draw(st.sampled_from(["noise", "flat", "gradient", "corners"]))
    if kind == "noise":
        pixels = rng.integers(0, 256, (n, 3)).astype(np.uint8)
    elif kind == "flat":
        pixels = np.tile(rng.integers(0, 256, 3), (n, 1)).astype(np.uint8)
    elif kind == "gradient":
        pixels = gradient(height, width)
    else:
        pixels = rng.choice([0, 255], (n, 3)).astype(np.uint8)
    kinds: list[int] | None
    choices: list[list[int] | None] = [None, [255], [0, 255], [0, 255, 255, 255, 255]]
    if space.alpha:
        choices += [[0, 1, 100, 254, 255], [1, 2, 3], [200, 255]]
    kinds = draw(st.sampled_from(choices))
    over = None if kinds is None else rng.choice(kinds, n).astype(np.uint8)
    return Image(pixels, over, width)


@st.composite
def palettes(draw: st.DrawFn, space: Space) -> Palette:
    rng = np.random.default_rng(draw(SEEDS))
    k = draw(st.integers(1, 12))
    if draw(st.booleans()):
        colors = rng.integers(0, 256, (k, 3)).astype(np.uint8)
    else:  # of which some are equal, and many equally near
        colors = rng.choice([0, 128, 255], (k, 3)).astype(np.uint8)
    alphas: Bytes | None = None
    if space.alpha and draw(st.booleans()):
        alphas = rng.choice(draw(st.sampled_from([[255], [100, 255], [1, 128, 254]])), k).astype(
            np.uint8
        )
    return Palette(colors, alphas)


def dither(space: Space, palette: Palette, strength: float, image: Image) -> NDArray[np.uint16]:
    ditherer = Ditherer(space, palette.colors, palette.alphas, strength)
    return ditherer.map(image.pixels, image.over, image.width)


@each_space
@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_images_are_dithered_as_by_the_plain_loop(space: Space, data: st.DataObject) -> None:
    palette, image = data.draw(palettes(space)), data.draw(images(space))
    strength = data.draw(st.sampled_from([1.0, 0.75, 0.0]) | st.floats(0, 1))
    found = dither(space, palette, strength, image)
    expected = plain_dither(
        space, palette.colors, palette.alphas, strength, image.pixels, image.over, image.width
    )
    assert found.dtype == np.uint16
    assert found.tolist() == expected


@each_space
def test_a_larger_image_and_palette_are_dithered_as_by_the_plain_loop(space: Space) -> None:
    rng = np.random.default_rng(1)
    pixels = np.clip(gradient(40, 60) + rng.normal(0, 6, (2400, 3)), 0, 255).astype(np.uint8)
    over = rng.choice([0, 90, 255], 2400, p=[0.1, 0.2, 0.7]) if space.alpha else None
    image = Image(pixels, None if over is None else over.astype(np.uint8), 60)
    alphas = rng.choice([90, 255], 30).astype(np.uint8) if space.alpha else None
    palette = Palette(rng.integers(0, 256, (30, 3)).astype(np.uint8), alphas)
    expected = plain_dither(space, palette.colors, alphas, 0.9, pixels, image.over, 60)
    found = dither(space, palette, 0.9, image)
    assert found.tolist() == expected
    assert found.tolist() != dither(space, palette, 0, image).tolist()


def test_the_error_goes_to_the_four_neighbours_in_serpentine_order() -> None:
    greys = np.delete(np.arange(256, dtype=np.uint8), range(60, 160))
    palette = np.repeat(greys[:, None], 3, axis=1)
    rows = np.zeros((4, 5), np.uint8)
    # nearest is 59, beside 58: three quarters of the 48 left over are shared out, in sixteenths
    rows[1, 2] = 107
    image = Image(np.repeat(rows.reshape(-1, 1), 3, axis=1), None, 5)
    found = palette[dither(RGB, Palette(palette, None), 1, image), 0].reshape(4, 5)
    assert found.tolist() == [
        [0, 0, 0, 0, 0],
        [0, 16, 59, 0, 0],  # the second row goes from right to left
        [0, 2, 11, 7, 0],
        [0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (40, 33, [0, 1]),  # all of 40 is passed on, 7/16 of it to the right: 33 + 18
        (150, 29, [1, 1]),  # and of 50, which is half the distance: 29 + 22
        (151, 30, [1, 0]),  # three quarters of 51: 30 + 17
        (160, 28, [1, 0]),  # and of 60: 28 + 20
    ],
)
def test_an_error_beyond_half_the_distance_to_the_next_colour_is_damped(
    first: int, second: int, expected: list[int]
) -> None:
    palette = Palette(np.array([[0, 0, 0], [100, 100, 100]], np.uint8), None)
    row = np.repeat(np.array([[first], [second]], np.uint8), 3, axis=1)
    assert dither(RGB, palette, 1, Image(row, None, 2)).tolist() == expected


@each_space
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_without_strength_each_pixel_gets_its_nearest_colour(
    space: Space, data: st.DataObject
) -> None:
    palette, image = data.draw(palettes(space)), data.draw(images(space))
    values = space.coordinates(image.pixels, image.over).astype(np.int64)
    places = space.coordinates(palette.colors, palette.alphas).astype(np.int64)
    distances = ((values[:, None] - places[None]) ** 2).sum(axis=2)
    over = np.full(len(values), 255) if image.over is None else image.over
    if palette.alphas is not None and (palette.alphas == 255).any():
        out_of_the_question = (over == 255)[:, None] & (palette.alphas < 255)[None]
        distances[out_of_the_question] = 2**62
    expected = np.where(over == 0, 0, distances.argmin(axis=1))
    assert np.array_equal(dither(space, palette, 0, image), expected)


@each_with_alpha
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_opaque_pixels_stay_opaque_where_any_colour_is(space: Space, data: st.DataObject) -> None:
    palette, image = data.draw(palettes(space)), data.draw(images(space))
    alphas = np.full(len(palette.colors), 100, np.uint8)
    alphas[data.draw(st.integers(0, len(alphas) - 1))] = 255
    over = np.full(len(image.pixels), 255) if image.over is None else image.over
    found = dither(space, Palette(palette.colors, alphas), 1, image)
    assert (alphas[found[over == 255]] == 255).all()


@each_space
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_a_clear_column_parts_an_image_into_two(space: Space, data: st.DataObject) -> None:
    palette, image = data.draw(palettes(space)), data.draw(images(space))
    column = data.draw(st.integers(0, image.width - 1))
    over = np.full(len(image.pixels), 255, np.uint8) if image.over is None else image.over
    rows = over.copy().reshape(-1, image.width)
    rows[:, column] = 0
    parted = Image(image.pixels, rows.reshape(-1), image.width)
    found = dither(space, palette, 1, parted).reshape(-1, image.width)
    assert not found[:, column].any()
    for side in (slice(0, column), slice(column + 1, image.width)):
        part = parted.split(side)
        if part.width:
            alone = dither(space, palette, 1, part).reshape(-1, part.width)
            assert np.array_equal(found[:, side], alone)


@each_space
def test_the_colours_under_clear_pixels_change_nothing(space: Space) -> None:
    rng = np.random.default_rng(2)
    over = rng.choice([0, 255], 400).astype(np.uint8)
    pixels, others = gradient(20, 20), gradient(20, 20)
    others[over == 0] = rng.integers(0, 256, ((over == 0).sum(), 3))
    palette = Palette(rng.integers(0, 256, (5, 3)).astype(np.uint8), None)
    found = dither(space, palette, 1, Image(pixels, over, 20))
    assert np.array_equal(dither(space, palette, 1, Image(others, over, 20)), found)
    assert not found[over == 0].any()
    assert len(np.unique(found[over > 0])) > 1


@each_space
def test_images_that_were_remapped_before_change_nothing(space: Space) -> None:
    rng = np.random.default_rng(3)
    colors = rng.integers(0, 256, (16, 3)).astype(np.uint8)
    ditherer = Ditherer(space, colors, None, 1)
    first, other = gradient(15, 20), rng.integers(0, 256, (300, 3)).astype(np.uint8)
    found = ditherer.map(first, None, 20)
    ditherer.map(other, None, 10)
    assert np.array_equal(ditherer.map(first, None, 20), found)
    assert np.array_equal(Ditherer(space, colors, None, 1).map(first, None, 20), found)


def test_kernels_that_another_process_compiled_dither_alike(tmp_path: Path) -> None:
    # https://github.com/numba/numba/issues/6061: recursive ones crash when read from disk
    program = """if True:
        import numpy as np
        from kmeans_dask.color.dithering import Ditherer
        from kmeans_dask.color.spaces import Space

        colors = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
        pixels = np.full((12, 3), 100, np.uint8)
        print(Ditherer(Space("oklab"), colors, None, 1).map(pixels, None, 4).tolist())
    """
    root = Path(kmeans_dask.__file__).parents[1]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=root,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for _ in range(2)
    ]
    assert list(tmp_path.rglob("*.nbc"))  # else nothing was read
    pixels = np.full((12, 3), 100, np.uint8)
    expected = plain_dither(OKLAB, BLACK_AND_WHITE, None, 1, pixels, None, 4)
    assert outputs == [f"{expected}\n"] * 2


@each_space
def test_an_image_of_the_palettes_colours_is_not_dithered(space: Space) -> None:
    rng = np.random.default_rng(4)
    colors = np.unique(rng.integers(0, 256, (9, 3)), axis=0).astype(np.uint8)
    which = rng.integers(0, len(colors), 120)
    found = dither(space, Palette(colors, None), 1, Image(colors[which], None, 12))
    assert np.array_equal(found, which)


@pytest.mark.parametrize("space", [RGB, RGBA], ids=str)
@pytest.mark.parametrize("grey", [64, 128, 200])
def test_a_flat_grey_is_as_grey_in_black_and_white(space: Space, grey: int) -> None:
    flat = Image(np.full((64 * 64, 3), grey, np.uint8), None, 64)
    palette = Palette(BLACK_AND_WHITE, None)
    dithered = BLACK_AND_WHITE[dither(space, palette, 1, flat)]
    assert abs(dithered.mean() - grey) < 2
    plain = BLACK_AND_WHITE[dither(space, palette, 0, flat)]
    assert len(np.unique(plain)) == 1
    assert abs(plain.mean() - grey) > 50


def mean_error(space: Space, found: NDArray[Any], palette: Palette, image: Image) -> float:
    """How far off the mean place of an image is."""
    places = space.coordinates(palette.colors, palette.alphas).astype(np.float64)[found]
    wanted = space.coordinates(image.pixels, image.over).astype(np.float64)
    return float(np.abs((places - wanted).mean(axis=0)).max()) / space.largest


@each_space
@pytest.mark.parametrize(
    ("k", "most", "share"),
    [(2, 0.005, 0.15), (8, 0.03, 0.6)],  # of eight corners of the cube, most errors are damped
)
def test_the_mean_colour_of_a_gradient_is_better_kept_with_dithering(
    space: Space, k: int, most: float, share: float
) -> None:
    image = Image(gradient(48, 64), None, 64)
    corners = np.array(np.meshgrid([0, 255], [0, 255], [0, 255])).reshape(3, -1).T
    colors = BLACK_AND_WHITE if k == 2 else corners.astype(np.uint8)
    if k == 2:  # all that a mixture of these can be
        image = Image(np.repeat(image.pixels[:, :1], 3, axis=1), None, 64)
    palette = Palette(colors, None)
    with_it = mean_error(space, dither(space, palette, 1, image), palette, image)
    without = mean_error(space, dither(space, palette, 0, image), palette, image)
    assert with_it < most
    assert with_it < share * without
