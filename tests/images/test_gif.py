"""GIF files, which Pillow, imagecodecs and libvips decode to the same pixels."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from kmeans_dask.color.palette import Palette
from kmeans_dask.images.gif import encode_gif
from tests.images.conftest import some_palette

Bytes = NDArray[np.uint8]


def assert_decodes(file: bytes, indices: Bytes, palette: Palette) -> None:
    """Check the indices by Pillow, and the pixels by two other decoders."""
    expected = palette.entries[indices]
    with Image.open(io.BytesIO(file), formats=["GIF"]) as image:
        assert not getattr(image, "is_animated", False)
        if image.mode == "P":
            np.testing.assert_array_equal(np.asarray(image), indices)
        found = np.asarray(image.convert("RGBA"))
    by_codecs = imagecodecs.gif_decode(file).reshape(*indices.shape, -1)
    by_vips = pyvips.Image.gifload_buffer(file).numpy().reshape(*indices.shape, -1)
    shown = expected[..., 3] > 0
    np.testing.assert_array_equal(found[..., 3] > 0, shown)
    for each in (found, by_codecs, by_vips):
        if each.shape[2] < 3:  # grey, perhaps with alpha
            np.testing.assert_array_equal(each[shown][:, 0], expected[shown][:, 0])
        else:
            np.testing.assert_array_equal(each[shown][:, :3], expected[shown][:, :3])
        if each.shape[2] in (2, 4):
            np.testing.assert_array_equal(each[..., -1] > 0, shown)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 65_535), (65_535, 1), (1, 255), (300, 400)])
@pytest.mark.parametrize("entries", [1, 2, 3, 16, 255, 256])
@pytest.mark.parametrize("transparent", [False, True])
def test_images_of_any_shape_decode(
    shape: tuple[int, int], entries: int, transparent: bool
) -> None:
    rng = np.random.default_rng(entries)
    palette = some_palette(rng, entries, transparent=transparent and entries > 1)
    indices = rng.integers(0, len(palette), shape).astype(np.uint8)
    assert_decodes(encode_gif(indices, palette), indices, palette)


@pytest.mark.parametrize("effort", range(10))
def test_every_effort_decodes_and_more_takes_no_more_bytes(photograph: Bytes, effort: int) -> None:
    levels = np.arange(64, dtype=np.uint8) * 4
    palette = Palette.of_colors(np.stack([levels] * 3, axis=1))
    indices = (photograph[..., 1] // 4).astype(np.uint8)
    file = encode_gif(indices, palette, effort)
    assert_decodes(file, indices, palette)
    assert len(file) <= 1.001 * len(encode_gif(indices, palette, max(0, effort - 1)))


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 120),
    st.integers(1, 120),
    st.integers(1, 256),
    st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_any_indices_decode(
    seed: int, height: int, width: int, entries: int, transparent: bool
) -> None:
    rng = np.random.default_rng(seed)
    palette = some_palette(rng, entries, transparent=transparent and entries > 1)
    runs = np.repeat(rng.integers(0, len(palette), height * width), rng.integers(1, 9))
    indices = runs[: height * width].reshape(height, width).astype(np.uint8)
    assert_decodes(encode_gif(indices, palette), indices, palette)


def test_an_image_of_one_colour_takes_few_bytes() -> None:
    palette = Palette.of_colors(np.array([[10, 20, 30]], np.uint8))
    indices = np.zeros((1000, 1000), np.uint8)
    file = encode_gif(indices, palette)
    assert len(file) < 3000
    assert_decodes(file, indices, palette)


@pytest.mark.parametrize("n_bytes", [254, 255, 256, 510, 511])
def test_data_of_whole_blocks_ends_with_an_empty_one(n_bytes: int) -> None:
    """Look for images whose codes fill blocks exactly, or nearly."""
    palette = some_palette(np.random.default_rng(1), 256)
    noise = np.random.default_rng(2).integers(0, 256, (1, 600)).astype(np.uint8)
    empty = len(encode_gif(noise[:, :1], palette)) - 4  # codes of 9, 9 and 9 bits
    for width in range(100, 600):
        file = encode_gif(noise[:, :width], palette)
        n_blocks = -(-n_bytes // 255)
        if len(file) == empty + n_bytes + n_blocks - 1:
            assert_decodes(file, noise[:, :width], palette)
            return
    pytest.fail("no image has codes of so many bytes")


@pytest.mark.slow
def test_decoders_agree_where_the_table_is_full_and_stays_so() -> None:
    """Check an image that is larger than any table lives for, of strings that come again."""
    rng = np.random.default_rng(3)
    palette = some_palette(rng, 256)
    tile = rng.integers(0, 256, (70, 90)).astype(np.uint8)
    indices = np.tile(tile, (9, 12))
    assert_decodes(encode_gif(indices, palette), indices, palette)
