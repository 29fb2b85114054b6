"""Tests that decoded images are upright."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.images.decode import decode
from kmeans_dask.images.header import read_header
from tests.images.files import exif, saved, written
from tests.images.pixels import Pixels, all_alphas, alphas_of, pixels_of, stored_as


@pytest.fixture
def asymmetric() -> Pixels:
    """(32, 48, 3): no turn or flip maps it onto itself."""
    blocks = np.array(
        [[[200, 30, 30], [30, 180, 30], [30, 30, 200]], [[0] * 3, [255] * 3, [90] * 3]]
    )
    return np.repeat(np.repeat(blocks, 16, axis=0), 16, axis=1).astype(np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_oriented_png_is_upright(tmp_path: Path, asymmetric: Pixels, orientation: int) -> None:
    image = Image.fromarray(stored_as(orientation, asymmetric))
    decoded = decode(written(tmp_path, saved(image, "PNG", exif=exif(orientation))))
    np.testing.assert_array_equal(pixels_of(decoded), asymmetric)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_oriented_jpeg_is_upright(tmp_path: Path, asymmetric: Pixels, orientation: int) -> None:
    image = Image.fromarray(stored_as(orientation, asymmetric))
    options = {"exif": exif(orientation), "quality": 95, "subsampling": 0}
    found = pixels_of(decode(written(tmp_path, saved(image, "JPEG", **options))))
    assert found.shape == asymmetric.shape
    assert np.abs(found.astype(int) - asymmetric).max() <= 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_oriented_webp_is_upright(tmp_path: Path, asymmetric: Pixels, orientation: int) -> None:
    image = Image.fromarray(stored_as(orientation, asymmetric))
    content = saved(image, "WEBP", exif=exif(orientation), lossless=True)
    np.testing.assert_array_equal(pixels_of(decode(written(tmp_path, content))), asymmetric)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_oriented_tiff_is_turned_once(
    tmp_path: Path, asymmetric: Pixels, orientation: int, compression: str
) -> None:
    image = Image.fromarray(stored_as(orientation, asymmetric))
    tags = {274: orientation}
    path = written(tmp_path, saved(image, "TIFF", tiffinfo=tags, compression=compression))
    np.testing.assert_array_equal(pixels_of(decode(path)), asymmetric)
    width, height = read_header(path).size
    assert width * height == asymmetric.shape[0] * asymmetric.shape[1]


def test_an_oriented_image_of_16_bits_is_turned(tmp_path: Path) -> None:
    levels = np.array([[0, 257, 514], [771, 1028, 65535]], np.uint16)
    image = Image.fromarray(np.ascontiguousarray(np.rot90(levels)))
    decoded = decode(written(tmp_path, saved(image, "PNG", exif=exif(6))))
    assert pixels_of(decoded)[..., 0].tolist() == [[0, 1, 2], [3, 4, 255]]


def test_an_oriented_image_keeps_its_transparent_entry(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    decoded = decode(written(tmp_path, saved(image, "PNG", exif=exif(2), transparency=0)))
    assert alphas_of(decoded)[0].tolist() == [255, 0]


@pytest.mark.parametrize("flat", [False, True])
def test_alphas_are_turned_with_their_pixels(tmp_path: Path, flat: bool) -> None:
    rgba = all_alphas()
    turned = [stored_as(6, part) for part in (rgba[..., :3], rgba[..., 3])]
    content = saved(Image.fromarray(np.dstack(turned)), "PNG", exif=exif(6))
    decoded = decode(written(tmp_path, content), flat=flat)
    upright = decode(written(tmp_path, saved(Image.fromarray(rgba), "PNG")), flat=flat)
    np.testing.assert_array_equal(pixels_of(decoded), pixels_of(upright))
    np.testing.assert_array_equal(alphas_of(decoded), alphas_of(upright))
    assert decoded.height == 16


@pytest.mark.parametrize("tags", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"x"])
def test_metadata_that_does_not_parse_changes_nothing(
    tmp_path: Path, asymmetric: Pixels, tags: bytes
) -> None:
    content = saved(Image.fromarray(asymmetric), "PNG", exif=tags)
    np.testing.assert_array_equal(pixels_of(decode(written(tmp_path, content))), asymmetric)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_changes_nothing(
    tmp_path: Path, asymmetric: Pixels, orientation: int
) -> None:
    content = saved(Image.fromarray(asymmetric), "PNG", exif=exif(orientation))
    np.testing.assert_array_equal(pixels_of(decode(written(tmp_path, content))), asymmetric)
