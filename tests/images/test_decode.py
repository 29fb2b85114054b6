"""Every sentence of the policy in `decode`, and that hostile files are refused, not fatal."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from kmeans_dask.errors import ImageError, NoImageError
from kmeans_dask.images.decode import Band, DecodedImage, _open, _opened, decode, read_header
from kmeans_dask.images.metadata import Metadata

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

SMALL = 1 << 16  # no mutated header may ask for more pixels than this


# -- helpers ----------------------------------------------------------------------------------


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def written(folder: Path, content: bytes, name: str = "image") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def pixels_of(decoded: DecodedImage) -> Pixels:
    """(h, w, 3)."""
    pixels = np.concatenate([band.pixels for band in decoded.bands()])
    return pixels.reshape(decoded.height, decoded.width, 3)


def alphas_of(decoded: DecodedImage) -> Pixels:
    """(h, w)."""
    alphas = [in_full(band) for band in decoded.bands()]
    return np.concatenate(alphas).reshape(decoded.height, decoded.width)


def in_full(band: Band) -> Pixels:
    """Alphas (n,); those that are there are not all opaque."""
    if band.alphas is None:
        return np.full(len(band.pixels), 255, np.uint8)
    assert band.alphas.dtype == np.uint8
    assert (band.alphas < 255).any()
    return band.alphas


def grey(*levels: int) -> list[list[int]]:
    """RGB pixels."""
    return [[level] * 3 for level in levels]


def refusal(path: Path, max_pixels: int = SMALL) -> str:
    """The reason for which `path` is refused, after a look at its form."""
    with pytest.raises(ImageError) as caught:
        decode(path, max_pixels)
    reason = str(caught.value)
    assert reason
    assert reason.splitlines() == [reason]
    assert len(reason) <= 300
    return reason


def handmade_png(
    size: tuple[int, int],
    bits: int,
    color_type: int,
    rows: Sequence[bytes],
    *chunks: tuple[bytes, bytes],
) -> bytes:
    """A PNG of `rows` of packed samples; `chunks` come before the pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = struct.pack(">IIBBBBB", *size, bits, color_type, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *(chunk(kind, data) for kind, data in chunks),
            chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))),
            chunk(b"IEND", b""),
        ]
    )


def handmade_tiff(
    size: tuple[int, int], bits: Sequence[int], photometric: int, data: bytes, *, order: str = "<"
) -> bytes:
    """An uncompressed TIFF of one strip; `bits` of each sample of a pixel."""
    width, height = size
    n_tags = 9
    strip = 8 + 2 + 12 * n_tags + 4
    depths = struct.pack(f"{order}{len(bits)}H", *bits)
    after = strip + len(data) + len(data) % 2
    entries = [(256, width), (257, height), (258, bits[0]), (259, 1), (262, photometric)]
    entries += [(273, strip), (277, len(bits)), (278, height), (279, len(data))]
    directory = b""
    for tag, value in entries:
        if tag == 258 and len(bits) > 2:
            directory += struct.pack(f"{order}HHII", tag, 3, len(bits), after)
        else:
            directory += struct.pack(f"{order}HHII", tag, 4, 1, value)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, n_tags)
    return head + directory + bytes(4) + data + bytes(len(data) % 2) + depths


# -- modes ------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("key", [0, 1])
def test_the_key_level_of_a_grey_png_is_clear(tmp_path: Path, bits: int, key: int) -> None:
    row = int(f"{0:0{bits}b}{1:0{bits}b}".ljust(32, "0"), 2).to_bytes(4, "big")
    png = handmade_png(
        (2, 1), bits, 0, [row[: max(1, bits // 4)]], (b"tRNS", struct.pack(">H", key))
    )
    decoded = decode(written(tmp_path, png))
    assert alphas_of(decoded)[0].tolist() == [255 * key, 255 * (1 - key)]
    assert decoded.transparent


def test_the_key_color_of_a_16_bit_rgb_png_is_clear(tmp_path: Path) -> None:
    key, other = (513, 512, 65535), (513, 512, 0)
    row = struct.pack(">6H", *key, *other)
    png = handmade_png((2, 1), 16, 2, [row], (b"tRNS", struct.pack(">3H", *key)))
    assert alphas_of(decode(written(tmp_path, png)))[0].tolist() == [0, 255]


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


def naive_cmyk(inks: Pixels) -> Floats:
    """(..., 4) to (..., 3): each ink, and black over it, takes its part of the light."""
    light: Floats = 255 - inks.astype(np.float64)
    found: Floats = light[..., :3] * light[..., 3:] / 255
    return found


INKS = np.array(
    [[0, 0, 0, 0], [255, 0, 0, 0], [0, 200, 0, 30], [10, 20, 250, 0], [0, 0, 0, 255]], np.uint8
)


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


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_samples_are_refused_with_advice(tmp_path: Path, mode: str) -> None:
    reason = refusal(written(tmp_path, saved(Image.new(mode, (2, 2)), "TIFF")))
    assert ("signed" if mode == "I" else "floating-point") in reason
    assert "convert" in reason


def test_lossless_webp_is_decoded(tmp_path: Path, photograph: Pixels) -> None:
    path = written(tmp_path, saved(Image.fromarray(photograph), "WEBP", lossless=True))
    np.testing.assert_array_equal(pixels_of(decode(path)), photograph)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "JPEG2000"])
def test_photographs_are_decoded(tmp_path: Path, photograph: Pixels, kind: str) -> None:
    decoded = decode(written(tmp_path, saved(Image.fromarray(photograph), kind, quality=95)))
    difference = np.abs(pixels_of(decoded).astype(int) - photograph)
    assert difference.mean() < 5


def test_the_suffix_of_the_name_does_not_matter(tmp_path: Path, photograph: Pixels) -> None:
    path = written(tmp_path, saved(Image.fromarray(photograph), "PNG"), "image.jpg")
    np.testing.assert_array_equal(pixels_of(decode(path)), photograph)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "JPEG2000"])
def test_the_size_is_read_from_the_header(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, saved(Image.new("RGB", (7, 3)), kind))
    assert read_header(path).size == (7, 3)


# -- orientation ------------------------------------------------------------------------------


def stored_as(orientation: int, upright: Pixels) -> Pixels:
    """How EXIF 2.3, section 4.6.4, lays out `upright`: where its row 0 and column 0 are seen."""
    row_0, column_0 = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    if "bottom" in (row_0, column_0):
        upright = upright[::-1]
    if "right" in (row_0, column_0):
        upright = upright[:, ::-1]
    if row_0 in ("left", "right"):
        upright = upright.swapaxes(0, 1)
    return np.ascontiguousarray(upright)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


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


# -- colour profiles --------------------------------------------------------------------------

D50 = np.array([0.9642, 1.0, 0.8249])
D65 = np.array([0.3127, 0.3290, 0.3583]) / 0.3290
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))


def to_xyz(primaries: Sequence[tuple[float, float]]) -> Floats:
    """(3, 3): linear RGB with the white D65 to XYZ with the white D50."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    matrix = columns * np.linalg.solve(columns, D65)
    adapt = np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ D50 / (BRADFORD @ D65)) @ BRADFORD
    found: Floats = adapt @ matrix
    return found


def srgb_from_xyz(xyz: Floats) -> Floats:
    """(..., 3) with the white D50 to levels, not rounded."""
    linear = np.clip(xyz @ np.linalg.inv(to_xyz(SRGB)).T, 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    levels: Floats = 255 * curved
    return levels


def xyz_from_lab(lab: Floats) -> Floats:
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz: Floats = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50
    return xyz


def icc(device: bytes, space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile of version 2.1 (ICC.1:2001-04, section 6)."""
    table, body = b"", b""
    first = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", first + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s", first + len(body), b"", 0x02100000, device, space, pcs)
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += xyz_number(D50) + bytes(4 + 44)
    assert len(header) == 128
    return header + struct.pack(">I", len(tags)) + table + body


def xyz_number(xyz: Floats) -> bytes:
    return struct.pack(">3i", *(round(value * 65536) for value in xyz.tolist()))


def described(text: str, white: Floats = D50) -> dict[bytes, bytes]:
    ascii_ = text.encode("ascii") + b"\0"
    description = b"desc" + bytes(4) + struct.pack(">I", len(ascii_)) + ascii_ + bytes(78)
    return {
        b"desc": description,
        b"cprt": b"text" + bytes(4) + b"CC0\0",
        b"wtpt": b"XYZ " + bytes(4) + xyz_number(white),
    }


def curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def rgb_profile(
    primaries: Sequence[tuple[float, float]], gamma: float, name: str = "of the test"
) -> bytes:
    tags = described(name)
    for letter, xyz in zip("rgb", to_xyz(primaries).T, strict=True):
        tags[f"{letter}XYZ".encode()] = b"XYZ " + bytes(4) + xyz_number(xyz)
        tags[f"{letter}TRC".encode()] = curve(gamma)
    return icc(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    return icc(b"mntr", b"GRAY", b"XYZ ", described("grey") | {b"kTRC": curve(gamma)})


def in_srgb(pixels: Pixels, primaries: Sequence[tuple[float, float]], gamma: float) -> Floats:
    linear = (pixels / 255) ** (round(gamma * 256) / 256)
    return srgb_from_xyz(linear @ to_xyz(primaries).T)


@pytest.mark.parametrize(
    ("primaries", "gamma"),
    [
        pytest.param(DISPLAY_P3, 2.2, id="Display P3"),
        pytest.param(SRGB, 1.0, id="linear light"),
        pytest.param((SRGB[1], SRGB[2], SRGB[0]), 1.8, id="primaries in another order"),
    ],
)
def test_a_profile_is_converted_to_srgb(
    tmp_path: Path, photograph: Pixels, primaries: Sequence[tuple[float, float]], gamma: float
) -> None:
    profile = rgb_profile(primaries, gamma)
    content = saved(Image.fromarray(photograph), "PNG", icc_profile=profile)
    expected = in_srgb(photograph, primaries, gamma)
    assert np.abs(expected - photograph).max() > 20
    assert np.abs(pixels_of(decode(written(tmp_path, content))) - expected).max() <= 2


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "WEBP"])
def test_a_profile_is_found_in_every_format(tmp_path: Path, photograph: Pixels, kind: str) -> None:
    content = saved(Image.fromarray(photograph), kind)
    plain = pixels_of(decode(written(tmp_path, content)))
    content = saved(Image.fromarray(photograph), kind, icc_profile=rgb_profile(DISPLAY_P3, 1.8))
    found = pixels_of(decode(written(tmp_path, content)))
    assert np.abs(found - in_srgb(plain, DISPLAY_P3, 1.8)).max() <= 2


def test_the_profile_of_a_palette_image_is_converted(tmp_path: Path) -> None:
    palette = np.array([[10, 200, 30], [200, 100, 50], [100, 20, 130]], np.uint8)
    image = Image.new("P", (3, 1))
    image.putpalette(palette.tobytes())
    image.putdata([0, 1, 2])
    content = saved(image, "PNG", icc_profile=rgb_profile(DISPLAY_P3, 2.2))
    found = pixels_of(decode(written(tmp_path, content)))[0]
    assert np.abs(found - in_srgb(palette, DISPLAY_P3, 2.2)).max() <= 2


def test_an_oriented_image_keeps_its_profile(tmp_path: Path, photograph: Pixels) -> None:
    image = Image.fromarray(stored_as(6, photograph))
    profile = rgb_profile(DISPLAY_P3, 2.2)
    content = saved(image, "PNG", exif=exif(6), icc_profile=profile)
    found = pixels_of(decode(written(tmp_path, content)))
    assert np.abs(found - in_srgb(photograph, DISPLAY_P3, 2.2)).max() <= 2


def test_alpha_is_kept_beside_a_profile(tmp_path: Path, photograph: Pixels) -> None:
    alpha = np.full(photograph.shape[:2], 255, np.uint8)
    alpha[:40], alpha[40:80] = 0, 128
    rgba = np.dstack([photograph, alpha])
    profile = rgb_profile(DISPLAY_P3, 2.2)
    content = saved(Image.fromarray(rgba), "PNG", icc_profile=profile)
    decoded = decode(written(tmp_path, content))
    np.testing.assert_array_equal(alphas_of(decoded), alpha)
    expected = in_srgb(photograph[40:], DISPLAY_P3, 2.2)
    found = pixels_of(decoded)
    assert np.abs(found[40:] - expected).max() <= 2
    assert not found[:40].any()


def test_what_has_a_profile_is_composited_after_its_conversion(
    tmp_path: Path, photograph: Pixels
) -> None:
    rgba = np.dstack([photograph, np.full(photograph.shape[:2], 128, np.uint8)])
    profile = rgb_profile(DISPLAY_P3, 2.2)
    content = saved(Image.fromarray(rgba), "PNG", icc_profile=profile)
    over = 128 / 255
    expected = in_srgb(photograph, DISPLAY_P3, 2.2) * over + 255 * (1 - over)
    before = in_srgb((photograph * over + 255 * (1 - over)).astype(np.uint8), DISPLAY_P3, 2.2)
    assert np.abs(expected - before).max() > 10
    found = pixels_of(decode(written(tmp_path, content), flat=True))
    assert np.abs(found - expected).max() <= 2


ALL_LEVELS = np.arange(256, dtype=np.uint8)[None]


# Nearer to linear light, littleCMS itself is several levels off in the darks of grey profiles.
GREY_GAMMA = 1.4


def grey_in_srgb() -> Floats:
    """(1, 256, 3): what `ALL_LEVELS` look like."""
    expected = in_srgb(np.dstack([ALL_LEVELS] * 3), SRGB, GREY_GAMMA)
    assert np.abs(expected[0, :, 0] - ALL_LEVELS).max() > 20
    return expected


def test_a_grey_profile_is_converted(tmp_path: Path) -> None:
    content = saved(Image.fromarray(ALL_LEVELS), "PNG", icc_profile=grey_profile(GREY_GAMMA))
    assert np.abs(pixels_of(decode(written(tmp_path, content))) - grey_in_srgb()).max() <= 2


def test_a_grey_profile_is_converted_at_16_bits(tmp_path: Path) -> None:
    levels = ALL_LEVELS.astype(np.uint16) * 257
    content = saved(Image.fromarray(levels), "PNG", icc_profile=grey_profile(GREY_GAMMA))
    assert np.abs(pixels_of(decode(written(tmp_path, content))) - grey_in_srgb()).max() <= 2


def test_a_grey_profile_is_converted_beside_alpha(tmp_path: Path) -> None:
    alpha = np.full_like(ALL_LEVELS, 255)
    alpha[0, 0] = 0
    image = Image.frombytes("LA", (256, 1), np.dstack([ALL_LEVELS, alpha]).tobytes())
    content = saved(image, "PNG", icc_profile=grey_profile(GREY_GAMMA))
    assert np.abs(pixels_of(decode(written(tmp_path, content))) - grey_in_srgb()).max() <= 2


def test_a_grey_image_may_carry_an_rgb_profile(tmp_path: Path) -> None:
    profile = rgb_profile(SRGB, GREY_GAMMA)
    content = saved(Image.fromarray(ALL_LEVELS), "PNG", icc_profile=profile)
    assert np.abs(pixels_of(decode(written(tmp_path, content))) - grey_in_srgb()).max() <= 2


PAPER = np.array([0.78, 0.80, 0.60])


def table_profile(device: bytes, space: bytes, lab: Sequence[tuple[int, int, int]]) -> bytes:
    """The mixtures of full channels, the last varying fastest, to Lab (ICC.1:2001-04, 6.5.8)."""
    channels = len(space.strip())
    identity = struct.pack(">9i", *(65536 * value for value in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    ramp = bytes(range(256))
    cube = b"".join(bytes([round(L * 2.55), a + 128, b + 128]) for L, a, b in lab)
    table = b"mft1" + bytes(4) + bytes([channels, 3, 2, 0]) + identity
    table += ramp * channels + cube + ramp * 3
    return icc(device, space, b"Lab ", described("table", PAPER) | {b"A2B1": table})


def cmyk_profile(lab: Sequence[tuple[int, int, int]]) -> bytes:
    return table_profile(b"prtr", b"CMYK", lab)


def test_paper_becomes_white_and_the_darkest_color_black(tmp_path: Path) -> None:
    lab = [(15, 0, 0), *[(50, 0, 0)] * 6, (100, 0, 0)]
    pixels = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    profile = table_profile(b"scnr", b"RGB ", lab)
    content = saved(Image.fromarray(pixels), "PNG", icc_profile=profile)
    found = pixels_of(decode(written(tmp_path, content)))
    assert np.abs(found.astype(int) - pixels).max() <= 1


def test_a_cmyk_profile_is_converted(tmp_path: Path) -> None:
    lab = [(0, 0, 0)] * 16
    mixtures = {0b0000: (100, 0, 0), 0b1000: (60, -20, -25), 0b0100: (50, 50, 5)}
    mixtures |= {0b0010: (85, 0, 60), 0b1010: (50, -35, 20), 0b0110: (50, 45, 30)}
    for inks, color in mixtures.items():
        lab[inks] = color
    samples = [[255 * (inks >> bit & 1) for bit in (3, 2, 1, 0)] for inks in mixtures]
    image = Image.frombytes("CMYK", (len(mixtures), 1), np.array(samples, np.uint8).tobytes())
    content = saved(image, "TIFF", icc_profile=cmyk_profile(lab))
    found = pixels_of(decode(written(tmp_path, content)))[0]
    expected = srgb_from_xyz(xyz_from_lab(np.array(list(mixtures.values()), float)))
    assert np.abs(expected - naive_cmyk(np.array(samples, np.uint8))).max() > 20
    assert np.abs(found - expected).max() <= 2


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def unfit_profiles() -> dict[str, bytes]:
    good = rgb_profile(DISPLAY_P3, 2.2)
    return {
        "text": b"garbage" * 40,
        "zeros": bytes(500),
        "one byte": b"\0",
        "a header only": good[:128],
        "half a profile": good[: len(good) // 2],
        "for grey": grey_profile(1.0),
        "for inks": cmyk_profile([(50, 0, 0)] * 16),
        "Lab": ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    }


def test_an_srgb_profile_changes_nothing(tmp_path: Path, photograph: Pixels) -> None:
    content = saved(Image.fromarray(photograph), "PNG", icc_profile=srgb_profile())
    np.testing.assert_array_equal(pixels_of(decode(written(tmp_path, content))), photograph)


def test_linear_light_is_converted_though_its_profile_has_srgb_in_its_name(
    tmp_path: Path, photograph: Pixels
) -> None:
    profile = rgb_profile(SRGB, 1.0, "GIMP built-in Linear sRGB")
    content = saved(Image.fromarray(photograph), "PNG", icc_profile=profile)
    found = pixels_of(decode(written(tmp_path, content)))
    assert np.abs(found - in_srgb(photograph, SRGB, 1.0)).max() <= 2


@pytest.mark.parametrize("name", unfit_profiles())
def test_a_profile_that_does_not_fit_changes_nothing(
    tmp_path: Path, photograph: Pixels, name: str
) -> None:
    content = saved(Image.fromarray(photograph), "PNG", icc_profile=unfit_profiles()[name])
    np.testing.assert_array_equal(pixels_of(decode(written(tmp_path, content))), photograph)


def test_an_rgb_profile_does_not_fit_inks(tmp_path: Path) -> None:
    image = Image.frombytes("CMYK", (len(INKS), 1), INKS.tobytes())
    content = saved(image, "TIFF", icc_profile=rgb_profile(DISPLAY_P3, 1.0))
    found = pixels_of(decode(written(tmp_path, content)))[0]
    assert np.abs(found - naive_cmyk(INKS)).max() <= 1


# -- alpha ------------------------------------------------------------------------------------


def all_alphas() -> Pixels:
    """(16, 256, 4): every alpha under each of 16 colours."""
    rng = np.random.default_rng(5)
    rgba = rng.integers(0, 256, (16, 256, 4)).astype(np.uint8)
    rgba[..., 3] = np.arange(256)
    return rgba


def as_kept(rgba: Pixels) -> Pixels:
    """(..., 3); black where nothing is seen."""
    return np.where(rgba[..., 3:] == 0, 0, rgba[..., :3])


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


@pytest.mark.parametrize("n", [1, 255, 256, 257, 1000, 16 * 256, 10**6])
def test_bands_of_any_size_are_the_same_image(tmp_path: Path, n: int) -> None:
    rgba = all_alphas()
    rgba[:5, :, 3] = 255  # bands where all is opaque, too
    decoded = decode(written(tmp_path, saved(Image.fromarray(rgba), "PNG")))
    bands = list(decoded.bands(n))
    assert all(len(band.pixels) <= max(n, 256) for band in bands)
    pixels = np.concatenate([band.pixels for band in bands])
    np.testing.assert_array_equal(pixels.reshape(16, 256, 3), as_kept(rgba))
    alphas = np.concatenate([in_full(band) for band in bands])
    np.testing.assert_array_equal(alphas.reshape(16, 256), rgba[..., 3])


# -- metadata ---------------------------------------------------------------------------------


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


# -- refusals ---------------------------------------------------------------------------------

SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>\n'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.png", b"line one\nline two\n"),
        ("drawing.svg", SVG),
        ("drawing.png", SVG),
        ("print.png", EPS),
        ("icon.ico", saved(Image.new("RGB", (16, 16)), "ICO")),
        ("image.png", b"\0"),
    ],
)
def test_what_is_no_image_in_a_named_format_is_refused(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = written(tmp_path, content, name)
    wanted = "not supported" if name.endswith(".ico") else "not an image"
    assert wanted in refusal(path)
    with pytest.raises(ImageError) as caught:
        read_header(path)
    # a file counts as an image that failed only where its name is that of an image
    assert isinstance(caught.value, NoImageError) == name.endswith(".svg")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert "empty" in refusal(written(tmp_path, b""))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "not a regular file"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert refusal(tmp_path / "pipe.png") == "not a regular file"
    with pytest.raises(ImageError):
        read_header(tmp_path / "pipe.png")


def test_a_link_to_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    assert refusal(tmp_path / "zero.png") == "not a regular file"


@pytest.mark.parametrize("name", ["missing.png", "no/such/folder.png", "x" * 300, "a\0b"])
def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path / name)


def test_more_pixels_than_the_limit_are_refused_before_decoding(tmp_path: Path) -> None:
    png = saved(Image.new("L", (100, 101)), "PNG")
    without_pixels = written(tmp_path, png[:60])
    assert "limit of 10000" in refusal(without_pixels, 10_000)
    with pytest.raises(ImageError, match="limit of 10000"):
        read_header(without_pixels, 10_000)
    assert "limit" not in refusal(without_pixels, 10_100)


def test_exactly_as_many_pixels_as_the_limit_are_decoded(tmp_path: Path) -> None:
    path = written(tmp_path, saved(Image.new("L", (100, 100)), "PNG"))
    assert decode(path, 10_000).width == 100


def test_a_header_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, handmade_png((60_000, 60_000), 8, 2, [bytes(10)]))
    assert "60000 x 60000 pixels are more" in refusal(path)
    with pytest.raises(ImageError, match="limit"):
        decode(path)


def frames(n: int) -> list[Image.Image]:
    return [Image.new("RGB", (8, 8), (90 * number, 10, 10)) for number in range(n)]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_more_than_one_frame_is_refused(tmp_path: Path, kind: str) -> None:
    first, *others = frames(3)
    content = saved(first, kind, save_all=True, append_images=others)
    wanted = "a TIFF of 3 pages" if kind == "TIFF" else "of more than one frame"
    assert wanted in refusal(written(tmp_path, content))


def test_an_animation_of_one_frame_is_an_image(tmp_path: Path) -> None:
    content = saved(frames(2)[1], "GIF", save_all=True)
    assert pixels_of(decode(written(tmp_path, content)))[0, 0].tolist() == [90, 10, 10]


def test_of_a_photograph_with_previews_the_photograph_is_taken(
    tmp_path: Path, photograph: Pixels
) -> None:
    image = Image.fromarray(photograph)
    content = saved(image, "MPO", save_all=True, append_images=[image.resize((8, 8))])
    found = pixels_of(decode(written(tmp_path, content)))
    assert found.shape == photograph.shape
    assert np.abs(found.astype(int) - photograph).mean() < 5


# -- damage -----------------------------------------------------------------------------------


def small_images() -> dict[str, bytes]:
    """A file of each format, small enough to be cut at every byte."""
    y, x = np.mgrid[0:12, 0:17]
    image = Image.fromarray(np.stack([x * 15, y * 20, (x * y) % 256], axis=-1).astype(np.uint8))
    translucent = image.copy()
    translucent.putalpha(Image.fromarray((x * 16).clip(0, 255).astype(np.uint8)))
    return {
        "PNG": saved(image, "PNG", exif=exif(6), icc_profile=rgb_profile(DISPLAY_P3, 2.2)),
        "PNG with alpha": saved(translucent, "PNG", dpi=(72, 72)),
        "JPEG": saved(image, "JPEG", exif=exif(6)),
        "GIF": saved(image.quantize(16), "GIF", transparency=3),
        "TIFF": saved(image, "TIFF", compression="tiff_lzw", exif=exif(6)),
        "WEBP": saved(image, "WEBP", exif=exif(6)),
        "BMP": saved(image.quantize(16), "BMP"),
        "PPM": saved(image, "PPM"),
    }


SMALL_IMAGES = small_images()
Decoded = tuple[tuple[int, ...], bytes, bytes] | None


def decoded_or_refused(path: Path) -> Decoded:
    """The pixels, or None where the file is refused; any other exception is the test's failure."""
    try:
        decoded = decode(path, SMALL, flat=True, keep_metadata=True)
        pixels, alphas = pixels_of(decoded), alphas_of(decoded)
    except ImageError as error:
        reason = str(error)
    else:
        assert set(np.unique(alphas)) <= {0, 255}
        return pixels.shape, pixels.tobytes(), alphas.tobytes()
    assert reason.splitlines() == [reason]
    return None


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], Path]:
    path = tmp_path_factory.mktemp("damage") / "image"

    def write(content: bytes) -> Path:
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("kind", SMALL_IMAGES)
def test_whole_files_of_the_damage_tests_decode(
    scratch: Callable[[bytes], Path], kind: str
) -> None:
    assert decoded_or_refused(scratch(SMALL_IMAGES[kind])) is not None


@pytest.mark.parametrize("kind", SMALL_IMAGES)
def test_a_truncated_file_is_refused_or_has_lost_nothing(
    scratch: Callable[[bytes], Path], kind: str
) -> None:
    content = SMALL_IMAGES[kind]
    whole = decoded_or_refused(scratch(content))
    found = [decoded_or_refused(scratch(content[:size])) for size in range(len(content))]
    assert [size for size, pixels in enumerate(found) if pixels not in (None, whole)] == []
    assert found[len(content) // 2] is None


@pytest.mark.parametrize("kind", SMALL_IMAGES)
def test_flipped_bits_are_decoded_or_refused(scratch: Callable[[bytes], Path], kind: str) -> None:
    content = SMALL_IMAGES[kind]

    @settings(deadline=None, max_examples=100)
    @given(st.sets(st.integers(0, len(content) * 8 - 1), min_size=1, max_size=8))
    def flipped(bits: set[int]) -> None:
        damaged = bytearray(content)
        for bit in bits:
            damaged[bit // 8] ^= 1 << bit % 8
        decoded_or_refused(scratch(bytes(damaged)))

    flipped()


def test_a_good_beginning_with_anything_after_it_is_decoded_or_refused(
    scratch: Callable[[bytes], Path],
) -> None:
    @settings(deadline=None, max_examples=100)
    @given(st.sampled_from(sorted(SMALL_IMAGES)), st.integers(0, 60), st.binary(max_size=200))
    def continued(kind: str, size: int, rest: bytes) -> None:
        decoded_or_refused(scratch(SMALL_IMAGES[kind][:size] + rest))

    continued()


def test_threads_decode_what_one_thread_decodes(tmp_path: Path) -> None:
    paths = [written(tmp_path, content, kind) for kind, content in SMALL_IMAGES.items()]
    alone = [decoded_or_refused(path) for path in paths]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(decoded_or_refused, paths * 20))
    assert together == alone * 20


def test_what_one_thread_still_decodes_is_not_warned_of_when_another_is_done(
    tmp_path: Path,
) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        one, other = (_opened(tmp_path / "a.png", 99, _open) for _ in range(2))
        one.__enter__()
        other.__enter__()
        one.__exit__(None, None, None)
        warnings.warn("of the other", UserWarning, stacklevel=1)
        other.__exit__(None, None, None)
        assert warnings.filters == before
        with pytest.raises(UserWarning, match="of nobody"):
            warnings.warn("of nobody", UserWarning, stacklevel=1)
