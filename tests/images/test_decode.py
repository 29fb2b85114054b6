"""Tests of the policy in `decode`: modes, bit depths, metadata, and what may be labels."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.errors import ImageError
from kmeans_dask.images.decode import FEW_GREYS, decode
from kmeans_dask.images.metadata import Metadata
from tests.formats.gif_files import Gif
from tests.formats.tiff_files import PALETTE, Tiff
from tests.images.colors import INKS, naive_cmyk, srgb_from_xyz, xyz_from_lab
from tests.images.files import exif, handmade_png, handmade_tiff, saved, written
from tests.images.pixels import Pixels, all_alphas, alphas_of, grey, pixels_of


def test_rgb_pixels_are_unchanged(tmp_path: Path, photograph: Pixels) -> None:
    decoded = decode(written(tmp_path, saved(Image.fromarray(photograph), "PNG")))
    np.testing.assert_array_equal(pixels_of(decoded), photograph)
    assert (decoded.height, decoded.width) == photograph.shape[:2]
    assert not decoded.transparent
    assert not decoded.translucent
    assert [band.alphas for band in decoded.bands()] == [None]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF", "GIF"])
def test_grey_becomes_rgb(tmp_path: Path, kind: str) -> None:
    levels = np.array([[0, 1, 127, 128, 254, 255]], np.uint8)
    decoded = decode(written(tmp_path, saved(Image.fromarray(levels), kind)))
    assert decoded.image.mode == "RGB"
    assert pixels_of(decoded)[0].tolist() == grey(0, 1, 127, 128, 254, 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "BMP"])
def test_bilevel_becomes_black_and_white(tmp_path: Path, kind: str) -> None:
    bits = np.array([[True, False, False, True, True]])
    decoded = decode(written(tmp_path, saved(Image.fromarray(bits), kind)))
    assert pixels_of(decoded)[0].tolist() == grey(255, 0, 0, 255, 255)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_palette_images_become_rgb(tmp_path: Path, kind: str) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 200, 100, 50, 1, 2, 3])
    image.putdata([2, 0, 1])
    decoded = decode(written(tmp_path, saved(image, kind)))
    assert pixels_of(decoded)[0].tolist() == [[1, 2, 3], [10, 20, 30], [200, 100, 50]]
    assert not decoded.transparent


LEVELS_16 = [0, 127, 128, 129, 257, 385, 386, 32767, 32768, 65406, 65407, 65535]
SCALED = [0, 0, 0, 1, 1, 1, 2, 127, 128, 254, 255, 255]


def test_the_expected_levels_are_those_of_exact_rounding() -> None:
    # 255 / 65535 is 1 / 257, which is odd: nothing falls on a half
    assert [(level + 128) // 257 for level in LEVELS_16] == SCALED


def test_16_bit_grey_png_is_scaled_with_rounding(tmp_path: Path) -> None:
    row = struct.pack(f">{len(LEVELS_16)}H", *LEVELS_16)
    decoded = decode(written(tmp_path, handmade_png((len(LEVELS_16), 1), 16, 0, [row])))
    assert pixels_of(decoded)[0].tolist() == grey(*SCALED)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_grey_tiff_is_scaled_with_rounding(tmp_path: Path, order: str) -> None:
    data = struct.pack(f"{order}{len(LEVELS_16)}H", *LEVELS_16)
    tiff = handmade_tiff((len(LEVELS_16), 1), [16], 1, data, order=order)
    assert pixels_of(decode(written(tmp_path, tiff)))[0].tolist() == grey(*SCALED)


def test_16_bit_grey_jpeg2000_is_scaled(tmp_path: Path) -> None:
    levels = np.array([[0, 257, 32768, 65535]], np.uint16)
    decoded = decode(written(tmp_path, saved(Image.fromarray(levels), "JPEG2000")))
    assert pixels_of(decoded)[0].tolist() == grey(0, 1, 128, 255)


def test_16_bit_grey_pgm_is_scaled(tmp_path: Path) -> None:
    content = b"P5\n4 1\n65535\n" + struct.pack(">4H", 0, 257, 32768, 65535)
    assert pixels_of(decode(written(tmp_path, content)))[0].tolist() == grey(0, 1, 128, 255)


def test_16_bit_grey_tiff_where_zero_is_white_is_not_a_negative(tmp_path: Path) -> None:
    tiff = handmade_tiff((3, 1), [16], 0, struct.pack("<3H", 0, 32768, 65535))
    assert pixels_of(decode(written(tmp_path, tiff)))[0].tolist() == grey(255, 127, 0)


def test_8_bit_grey_tiff_where_zero_is_white_is_not_a_negative(tmp_path: Path) -> None:
    tiff = handmade_tiff((3, 1), [8], 0, bytes([0, 100, 255]))
    assert pixels_of(decode(written(tmp_path, tiff)))[0].tolist() == grey(255, 155, 0)


def test_12_bit_grey_tiff_is_not_silently_dark(tmp_path: Path) -> None:
    black_and_white = written(tmp_path, handmade_tiff((2, 1), [12], 1, b"\x00\x0f\xff"))
    try:
        found = pixels_of(decode(black_and_white))[0].tolist()
    except ImageError:
        return
    assert found == grey(0, 255)


def test_16_bit_rgb_png_is_scaled_within_a_level_and_not_clipped(tmp_path: Path) -> None:
    levels = np.array(LEVELS_16, np.uint16).reshape(-1, 3)
    png = handmade_png((len(levels), 1), 16, 2, [levels.astype(">u2").tobytes()])
    found = pixels_of(decode(written(tmp_path, png)))[0].reshape(-1).astype(int)
    assert np.abs(found - SCALED).max() <= 1
    assert found[0] == 0
    assert found[-1] == 255


def test_16_bit_rgba_png_is_scaled_and_keeps_its_alphas(tmp_path: Path) -> None:
    row = struct.pack(">12H", *(65535, 257, 0, 65535), *(65535,) * 3, 0, *(514, 0, 257, 257 * 90))
    decoded = decode(written(tmp_path, handmade_png((3, 1), 16, 6, [row])))
    assert pixels_of(decoded)[0].tolist() == [[255, 1, 0], [0, 0, 0], [2, 0, 1]]
    assert alphas_of(decoded)[0].tolist() == [255, 0, 90]


def test_cmyk_tiff_is_converted_naively(tmp_path: Path) -> None:
    image = Image.frombytes("CMYK", (len(INKS), 1), INKS.tobytes())
    decoded = decode(written(tmp_path, saved(image, "TIFF")))
    assert np.abs(pixels_of(decoded)[0] - naive_cmyk(INKS)).max() <= 1


def test_cmyk_jpeg_is_converted_naively_and_not_inverted(tmp_path: Path) -> None:
    blocks = np.repeat(np.repeat(INKS[None], 16, axis=0), 16, axis=1)
    image = Image.frombytes("CMYK", (blocks.shape[1], 16), blocks.tobytes())
    decoded = decode(written(tmp_path, saved(image, "JPEG", quality=100, subsampling=0)))
    assert np.abs(pixels_of(decoded) - naive_cmyk(blocks)).max() <= 4


def test_lab_tiff_is_converted_from_the_white_of_print(tmp_path: Path) -> None:
    lab = np.array([[0, 0, 0], [100, 0, 0], [50, 0, 0], [54, 60, 40], [40, 10, -40]], float)
    data = b"".join(struct.pack("Bbb", round(L * 2.55), int(a), int(b)) for L, a, b in lab)
    decoded = decode(written(tmp_path, handmade_tiff((len(lab), 1), [8, 8, 8], 8, data)))
    expected = srgb_from_xyz(xyz_from_lab(lab))
    assert np.abs(pixels_of(decoded)[0] - expected).max() <= 2


def test_lossless_webp_is_decoded(tmp_path: Path, photograph: Pixels) -> None:
    path = written(tmp_path, saved(Image.fromarray(photograph), "WEBP", lossless=True))
    np.testing.assert_array_equal(pixels_of(decode(path)), photograph)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "JPEG2000"])
def test_photographs_are_decoded(tmp_path: Path, photograph: Pixels, kind: str) -> None:
    decoded = decode(written(tmp_path, saved(Image.fromarray(photograph), kind, quality=95)))
    difference = np.abs(pixels_of(decoded).astype(int) - photograph)
    assert difference.mean() < 5


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_metadata_is_read_only_where_it_is_asked_for(tmp_path: Path, kind: str) -> None:
    tags = exif(6)
    tags[0x010F] = "Acme"
    path = written(tmp_path, saved(Image.new("RGB", (3, 2)), kind, exif=tags, dpi=(300, 100)))
    assert decode(path).metadata is None
    decoded = decode(path, keep_metadata=True)
    assert (decoded.width, decoded.height) == (2, 3)
    assert decoded.metadata is not None
    assert decoded.metadata.density == (3937, 11811)  # per metre, of the upright image
    kept = Image.Exif()
    kept.load(b"Exif\0\0" + decoded.metadata.exif)
    assert dict(kept) == {0x010F: "Acme", 0x0112: 1}


def test_an_image_without_metadata_has_none_of_it(tmp_path: Path) -> None:
    path = written(tmp_path, saved(Image.new("RGB", (3, 2)), "PPM"))
    assert decode(path, keep_metadata=True).metadata == Metadata()


@pytest.mark.parametrize("flat", [False, True])
def test_metadata_changes_no_pixels(tmp_path: Path, flat: bool) -> None:
    content = saved(Image.fromarray(all_alphas()), "PNG", exif=exif(8), dpi=(72, 72))
    path = written(tmp_path, content)
    plain, kept = decode(path, flat=flat), decode(path, flat=flat, keep_metadata=True)
    assert kept.image.tobytes() == plain.image.tobytes()
    assert (kept.transparent, kept.translucent) == (plain.transparent, plain.translucent)


BLOCKS = (np.arange(400).reshape(20, 20) % 256).astype(np.uint8)
COLORS = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)


def greys(n: int) -> Image.Image:
    return Image.fromarray((np.arange(400).reshape(20, 20) % n).astype(np.uint8))


def deep_greys(n: int) -> Image.Image:
    return Image.fromarray((np.arange(400).reshape(20, 20) % n * 7).astype(np.uint16))


@pytest.mark.parametrize(
    ("name", "image", "indexed"),
    [
        ("a.png", greys(4), True),
        ("a.png", greys(FEW_GREYS), True),
        ("a.png", greys(FEW_GREYS + 1), False),
        ("a.png", greys(200).convert("P"), True),
        ("a.gif", greys(4).convert("P"), True),
        ("a.bmp", greys(4).convert("P"), True),
        ("a.tif", greys(4).convert("P"), True),
        ("a.png", greys(2).convert("1"), True),
        ("a.png", greys(4).convert("RGB"), False),
        ("a.png", greys(4).convert("RGBA"), False),
        ("a.jpg", greys(200), False),
        ("a.png", deep_greys(FEW_GREYS), True),
        ("a.tif", deep_greys(FEW_GREYS), True),
        ("a.tif", deep_greys(FEW_GREYS + 1), False),
    ],
)
def test_samples_that_may_be_labels_are_told(
    name: str, image: Image.Image, indexed: bool, tmp_path: Path
) -> None:
    image.save(tmp_path / name)
    assert decode(tmp_path / name).indexed is indexed


@pytest.mark.parametrize(
    "content",
    [
        Gif(values=BLOCKS, colors=COLORS, canvas=(30, 30), place=(5, 5)),  # RGBA, once loaded
        Tiff(values=BLOCKS[..., None], photometric=PALETTE, palette=COLORS, order=">", big=True),
    ],
    ids=["a GIF's frame in a larger canvas", "a TIFF that tifffile reads"],
)
def test_palette_indices_that_pillow_does_not_give_may_be_labels(
    content: Gif | Tiff, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(content.encode())
    assert decode(tmp_path / "a").indexed
