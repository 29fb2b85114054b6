from __future__ import annotations

import deflate
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.color.color_lookup import squared_error
from kmeans_dask.color.lossy_indices import Depth, _bits_of, choose_indices, passes_of
from kmeans_dask.color.palette import Palette
from kmeans_dask.color.remap import Remapper
from kmeans_dask.images.png import _rows
from kmeans_dask.kmeans.histogram import ColorCounter
from tests.kmeans.strategies import SEEDS

QUICK = (Depth(2, 2, 1),)
Bytes = NDArray[np.uint8]


def map_plainly(pixels: Bytes, alphas: Bytes | None, palette: Palette, space: str) -> Bytes:
    counter = ColorCounter()
    counter.add(pixels, alphas)
    remapper = Remapper(counter.histogram(), palette, space)
    return remapper.map(pixels, alphas, len(pixels)).astype(np.uint8)


def n_bytes(indices: Bytes, width: int, palette: Palette) -> int:
    rows = _rows(indices.reshape(-1, width), palette.bit_depth)
    return len(deflate.zlib_compress(rows.tobytes(), 12))


def photograph() -> tuple[Bytes, int]:
    image: Bytes = skimage.data.chelsea()[40:168, 100:260]  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(image.reshape(-1, 3)), 160


def some_palette(pixels: Bytes, k: int) -> Palette:
    distinct = np.unique(pixels, axis=0)
    return Palette.of_colors(distinct[np.linspace(0, len(distinct) - 1, k).astype(int)])


@pytest.mark.parametrize("space", ["rgb", "oklab"])
@pytest.mark.parametrize("k", [2, 4, 16, 17, 200])
def test_more_weight_gives_fewer_bytes_and_more_error(k: int, space: str) -> None:
    pixels, width = photograph()
    palette = some_palette(pixels, k)
    plain = map_plainly(pixels, None, palette, space)
    sizes, errors = [n_bytes(plain, width, palette)], [0]
    errors[0] = squared_error(pixels, None, plain, palette.entries).total
    for weight in (2000 / k, 20_000 / k):
        found = choose_indices(pixels, None, width, plain, palette, space, weight, QUICK)
        assert found.palette is palette
        sizes.append(n_bytes(found.indices, width, palette))
        errors.append(squared_error(pixels, None, found.indices, palette.entries).total)
    assert sizes[0] > sizes[1] > sizes[2]
    assert errors[0] < errors[1] < errors[2] or space == "oklab"


def test_entries_that_are_free_to_move_lower_the_error() -> None:
    pixels, width = photograph()
    palette = some_palette(pixels, 64)
    plain = map_plainly(pixels, None, palette, "rgb")
    free = np.arange(64) >= 8
    found = choose_indices(pixels, None, width, plain, palette, "rgb", 4.0, passes_of(3), free)
    fixed = choose_indices(pixels, None, width, plain, palette, "rgb", 4.0, passes_of(3))
    assert np.array_equal(found.palette.entries[:8], palette.entries[:8])
    moved = squared_error(pixels, None, found.indices, found.palette.entries).total
    assert moved < squared_error(pixels, None, fixed.indices, palette.entries).total


@st.composite
def images(draw: st.DrawFn) -> tuple[Bytes, Bytes | None, int, Palette]:
    """Draw pixels, alphas, the pixels of a row, and a palette that fits them."""
    rng = np.random.default_rng(draw(SEEDS))
    width, height = draw(st.integers(1, 20)), draw(st.integers(1, 9))
    k = draw(st.sampled_from([1, 2, 3, 4, 5, 16, 17, 40]))
    n = width * height
    entries = np.full((k, 4), 255, np.uint8)
    entries[:, :3] = rng.integers(0, 256, (k, 3))
    pixels = entries[rng.integers(0, k, n), :3]
    pixels = (pixels + rng.integers(-9, 10, pixels.shape)).clip(0, 255).astype(np.uint8)
    alphas = None
    if draw(st.booleans()):
        alphas = rng.choice(np.array([0, 60, 255], np.uint8), n)
        entries[0] = 0
        entries[1:, 3] = rng.choice(np.array([60, 255], np.uint8), k - 1)
        entries = np.concatenate([entries, entries[:1] + np.uint8(255)])[: max(2, k)]
        pixels[alphas == 0] = 0
    return pixels, alphas, width, Palette.of_entries(entries)


@given(images(), st.sampled_from(["rgb", "oklab"]), st.sampled_from([0.5, 30.0, 10_000.0]))
@settings(deadline=None, max_examples=150)
def test_pixels_keep_what_they_are(
    image: tuple[Bytes, Bytes | None, int, Palette], space: str, weight: float
) -> None:
    pixels, alphas, width, palette = image
    plain = map_plainly(pixels, alphas, palette, space)
    free = np.ones(len(palette), np.bool_)
    found = choose_indices(pixels, alphas, width, plain, palette, space, weight, QUICK * 2, free)
    indices, after = found.indices, found.palette.entries
    assert len(indices) == len(pixels)
    assert indices.max() < len(palette)
    assert np.array_equal(after[:, 3] == 0, palette.entries[:, 3] == 0)
    assert np.array_equal(after[:, 3] == 255, palette.entries[:, 3] == 255)
    if alphas is None:
        return
    assert np.array_equal(indices == palette.clear, alphas == 0)
    if (palette.entries[:, 3] == 255).any():
        assert (after[indices[alphas == 255], 3] == 255).all()


@pytest.mark.parametrize("colors", [1, 3])
def test_pixels_keep_what_they_are_in_bytes_of_many_kinds(colors: int) -> None:
    """Check a palette whose pixels are packed, so that a byte has one of thousands of kinds."""
    rng = np.random.default_rng(colors)
    width = 101
    entries = np.concatenate([np.zeros((1, 4), int), rng.integers(1, 256, (colors, 4))])
    entries[1, 3] = 255
    alphas = rng.choice(np.array([0, 60, 255], np.uint8), 90 * width)
    pixels = rng.integers(0, 256, (len(alphas), 3)).astype(np.uint8)
    pixels[alphas == 0] = 0
    palette = Palette.of_entries(entries.astype(np.uint8))
    plain = map_plainly(pixels, alphas, palette, "rgb")
    found = choose_indices(pixels, alphas, width, plain, palette, "rgb", 90.0, QUICK)
    assert np.array_equal(found.indices == 0, alphas == 0)
    assert (palette.entries[found.indices[alphas == 255], 3] == 255).all()


@given(images(), st.sampled_from(["rgb", "oklab"]))
@settings(deadline=None, max_examples=80)
def test_bits_that_cost_nothing_lose_nothing(
    image: tuple[Bytes, Bytes | None, int, Palette], space: str
) -> None:
    """Choose with a weight so small that it is rounded to nothing: the nearest entries win."""
    pixels, alphas, width, palette = image
    plain = map_plainly(pixels, alphas, palette, space)
    found = choose_indices(pixels, alphas, width, plain, palette, space, 1e-9, QUICK)
    error = squared_error(pixels, alphas, found.indices, palette.entries).total
    least = squared_error(pixels, alphas, plain, palette.entries).total
    # Coordinates are rounded to a sixteenth of a level, or are of Oklab: nearly equal ones differ.
    assert error <= 1.1 * least + 4 * 255**2 * len(pixels)
    if space == "rgb" and alphas is None:
        assert error == least


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (5000, 1), (40_000, 2), (7, 900)])
@pytest.mark.parametrize("k", [1, 2, 16, 200])
def test_images_of_any_shape_are_written(width: int, height: int, k: int) -> None:
    rng = np.random.default_rng(k)
    pixels = rng.integers(0, 256, (width * height, 3)).astype(np.uint8)
    palette = Palette.of_colors(rng.integers(0, 256, (k, 3)).astype(np.uint8))
    plain = map_plainly(pixels, None, palette, "rgb")
    found = choose_indices(pixels, None, width, plain, palette, "rgb", 900.0, QUICK)
    assert n_bytes(found.indices, width, palette) <= n_bytes(plain, width, palette) + 2


def test_an_image_of_one_colour_stays_as_it_is() -> None:
    pixels = np.full((10_000, 3), 77, np.uint8)
    palette = Palette.of_colors(np.array([[77, 77, 77], [0, 0, 0]], np.uint8))
    plain = np.zeros(10_000, np.uint8)
    found = choose_indices(pixels, None, 100, plain, palette, "rgb", 100.0, passes_of(9))
    assert not found.indices.any()


def test_bits_are_those_of_an_ideal_code() -> None:
    counts = [0, 1, 5, 1000, 10**7]
    share = (4 * np.array(counts) + 1) / (4 * sum(counts) + len(counts))
    assert np.abs(_bits_of(counts) / 16 - np.minimum(15, -np.log2(share))).max() <= 1 / 32
    assert _bits_of([3]).tolist() == [0]


@pytest.mark.parametrize("effort", range(10))
def test_every_effort_has_passes(effort: int) -> None:
    assert passes_of(effort)
    assert passes_of(effort)[-1] >= passes_of(max(0, effort - 1))[-1]
