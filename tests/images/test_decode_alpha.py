"""Tests of transparency: by alpha, by palette entry and by colour key."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.images.decode import decode
from tests.images.files import handmade_png, saved, written
from tests.images.pixels import Floats, Pixels, all_alphas, alphas_of, as_kept, grey, pixels_of


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_clear(tmp_path: Path, kind: str) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 200, 100, 50, 1, 2, 3])
    image.putdata([2, 0, 1])
    decoded = decode(written(tmp_path, saved(image, kind, transparency=0)))
    assert pixels_of(decoded)[0].tolist() == [[1, 2, 3], [0, 0, 0], [200, 100, 50]]
    assert alphas_of(decoded)[0].tolist() == [255, 0, 255]
    assert decoded.transparent
    assert not decoded.translucent


def test_the_alphas_of_a_palette_are_kept(tmp_path: Path) -> None:
    palette = bytes([10, 20, 30, 200, 100, 50, 1, 2, 3])
    png = handmade_png((3, 1), 8, 3, [b"\2\0\1"], (b"PLTE", palette), (b"tRNS", b"\0\x80"))
    decoded = decode(written(tmp_path, png))
    assert pixels_of(decoded)[0].tolist() == [[1, 2, 3], [0, 0, 0], [200, 100, 50]]
    assert alphas_of(decoded)[0].tolist() == [255, 0, 128]
    assert decoded.transparent
    assert decoded.translucent


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_the_alphas_of_grey_are_kept(tmp_path: Path, kind: str) -> None:
    samples = np.array([[[90, 255], [90, 0], [90, 51]]], np.uint8)
    image = Image.frombytes("LA", (3, 1), samples.tobytes())
    decoded = decode(written(tmp_path, saved(image, kind)))
    assert pixels_of(decoded)[0].tolist() == grey(90, 0, 90)
    assert alphas_of(decoded)[0].tolist() == [255, 0, 51]
    assert decoded.transparent
    assert decoded.translucent


def test_the_key_color_of_an_rgb_png_is_clear(tmp_path: Path) -> None:
    row = bytes([1, 2, 3, 1, 2, 4, 3, 2, 1])
    png = handmade_png((3, 1), 8, 2, [row], (b"tRNS", struct.pack(">3H", 1, 2, 3)))
    decoded = decode(written(tmp_path, png))
    assert pixels_of(decoded)[0].tolist() == [[0, 0, 0], [1, 2, 4], [3, 2, 1]]
    assert alphas_of(decoded)[0].tolist() == [0, 255, 255]
    assert decoded.transparent
    assert not decoded.translucent


def test_the_key_color_of_a_16_bit_rgb_png_is_clear(tmp_path: Path) -> None:
    key, other = (513, 512, 65535), (513, 512, 0)
    row = struct.pack(">6H", *key, *other)
    png = handmade_png((2, 1), 16, 2, [row], (b"tRNS", struct.pack(">3H", *key)))
    assert alphas_of(decode(written(tmp_path, png)))[0].tolist() == [0, 255]


def over_white(rgba: Pixels) -> Floats:
    """(..., 3), not rounded; black where nothing is seen."""
    color, alpha = rgba[..., :3].astype(np.float64), rgba[..., 3:]
    mixed: Floats = np.where(alpha == 0, 0, (color * alpha + 255.0 * (255 - alpha)) / 255)
    return mixed


KINDS_WITH_ALPHA: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("TIFF", {}),
    ("WEBP", {"lossless": True, "exact": True}),
]


@pytest.mark.parametrize(("kind", "options"), KINDS_WITH_ALPHA)
def test_partly_transparent_pixels_are_kept_as_they_are(
    tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    rgba = all_alphas()
    decoded = decode(written(tmp_path, saved(Image.fromarray(rgba), kind, **options)))
    np.testing.assert_array_equal(pixels_of(decoded), as_kept(rgba))
    np.testing.assert_array_equal(alphas_of(decoded), rgba[..., 3])
    assert decoded.image.mode == "RGBA"
    assert decoded.transparent
    assert decoded.translucent


@pytest.mark.parametrize(("kind", "options"), KINDS_WITH_ALPHA)
def test_where_the_image_is_to_be_flat_they_are_composited_over_white(
    tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    rgba = all_alphas()
    content = saved(Image.fromarray(rgba), kind, **options)
    decoded = decode(written(tmp_path, content), flat=True)
    assert np.abs(pixels_of(decoded) - over_white(rgba)).max() < 1
    np.testing.assert_array_equal(alphas_of(decoded), np.where(rgba[..., 3] == 0, 0, 255))
    assert decoded.transparent
    assert decoded.translucent


def test_every_level_at_every_alpha_is_composited_to_a_neighboring_integer(tmp_path: Path) -> None:
    levels, alphas = np.meshgrid(np.arange(256), np.arange(256))
    rgba = np.dstack([levels, 255 - levels, levels, alphas]).astype(np.uint8)
    decoded = decode(written(tmp_path, saved(Image.fromarray(rgba), "PNG")), flat=True)
    found = pixels_of(decoded)
    assert np.abs(found - over_white(rgba)).max() < 1
    np.testing.assert_array_equal(found[255], rgba[255, :, :3])  # what is opaque does not change
    assert (found[1:, 255, 0] == 255).all()  # nor does white


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(
    ("alphas", "transparent", "translucent"),
    [
        ([255, 255], False, False),
        ([0, 255], True, False),
        ([0, 0], True, False),
        ([1, 255], False, True),
        ([254, 255], False, True),
        ([0, 254], True, True),
    ],
)
def test_the_flags_say_which_alphas_there_are(
    tmp_path: Path, alphas: list[int], transparent: bool, translucent: bool, flat: bool
) -> None:
    rgba = np.array([[[10, 20, 30, alpha] for alpha in alphas]], np.uint8)
    decoded = decode(written(tmp_path, saved(Image.fromarray(rgba), "PNG")), flat=flat)
    assert decoded.transparent is transparent
    assert decoded.translucent is translucent
    kept = [255 if alpha and flat else alpha for alpha in alphas]
    assert alphas_of(decoded)[0].tolist() == kept
    assert [band.alphas is None for band in decoded.bands()] == [set(kept) == {255}]


@pytest.mark.parametrize("flat", [False, True])
def test_an_image_with_nothing_but_opaque_alpha_is_plain_rgb(
    tmp_path: Path, photograph: Pixels, flat: bool
) -> None:
    rgba = np.dstack([photograph, np.full(photograph.shape[:2], 255, np.uint8)])
    decoded = decode(written(tmp_path, saved(Image.fromarray(rgba), "PNG")), flat=flat)
    assert decoded.image.mode == "RGB"
    np.testing.assert_array_equal(pixels_of(decoded), photograph)
    assert [band.alphas for band in decoded.bands()] == [None]
