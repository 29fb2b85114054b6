"""Tests of kinds of files that were once decoded wrongly: made here, or in ../shared/cases."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from kmeans_dask.errors import ImageError
from kmeans_dask.formats.icc import SRGB_CURVE, SRGB_PRIMARIES, Curve, make_profile
from kmeans_dask.images.decode import decode
from kmeans_dask.settings import White
from tests.formats.gif_files import Gif
from tests.formats.jpeg2000_files import GREY as GREY_SPACE
from tests.formats.jpeg2000_files import SRGB, boxed, codestream, with_alpha
from tests.formats.matrix import Pixels, blocks, pixels_of
from tests.formats.png_files import (
    ADOBE_LIGHTS,
    GREY,
    SRGB_LIGHTS,
    Chunk,
    Png,
    code_points,
    gamma,
    lights,
    profile,
)
from tests.formats.test_matrix_png import shown
from tests.formats.tiff_files import LZW, PALETTE, RGB, WHITE_IS_ZERO, Tiff


def found(folder: Path, content: bytes) -> Pixels:
    (folder / "image").write_bytes(content)
    return pixels_of(folder / "image")


def refusal(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        decode(path)
    return str(caught.value)


# -- made here -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "n"), [(12, 1), (12, 2), (12, 3), (16, 4)])
def test_a_jpeg_2000_rises_to_white(tmp_path: Path, bits: int, n: int) -> None:
    ramp = np.rint(np.linspace(0, (1 << bits) - 1, 256)).astype(np.uint16)
    values = np.broadcast_to(ramp[None, :, None], (16, 256, n)).copy()
    if n in (2, 4):
        values[..., -1] = (1 << bits) - 1
    content = boxed(
        codestream(values, bits),
        GREY_SPACE if n < 3 else SRGB,
        channels=with_alpha(n) if n in (2, 4) else (),
    )
    pixels = found(tmp_path, content)
    assert (np.abs(pixels[..., :3].astype(int) - np.arange(256)[:, None]) <= 1).all()
    assert (pixels[..., 3] == 255).all()


def test_planes_of_16_bits_are_no_noise(tmp_path: Path) -> None:
    rgb = blocks(3)
    tiff = Tiff(values=rgb.astype(np.uint16) * 257, bits=16, photometric=RGB, planar=True)
    np.testing.assert_array_equal(found(tmp_path, tiff.encode())[..., :3], rgb)


def test_planes_of_grey_and_alpha_are_not_clear(tmp_path: Path) -> None:
    values = blocks(2)
    tiff = Tiff(values=values, extra=(2,), planar=True, compression=LZW)
    np.testing.assert_array_equal(found(tmp_path, tiff.encode())[..., [0, 3]], values)


def test_a_palette_of_small_entries_is_not_black(tmp_path: Path) -> None:
    indices, palette = blocks(1), np.random.default_rng(8).integers(0, 256, (256, 3))
    tiff = Tiff(values=indices, photometric=PALETTE, palette=palette)
    np.testing.assert_array_equal(found(tmp_path, tiff.encode())[..., :3], palette[indices[..., 0]])


def of_12_bits(**options: Any) -> bytes:
    ramp = np.rint(np.linspace(0, 4095, 256)).astype(np.uint16)
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.tile(ramp, (4, 1)), **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        of_12_bits(),
        of_12_bits(imagej=True, metadata={"min": 0, "max": 4095}),
        of_12_bits(extratags=[(340, 3, 1, 0, True), (341, 3, 1, 4095, True)]),
    ],
    ids=["plain", "ImageJ", "tags"],
)
def test_a_dim_picture_is_told_and_can_be_made_bright(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    dark = decode(path)
    assert dark.brightest == 4095
    assert np.asarray(dark.image).max() == 16
    whites: tuple[White, ...] = ("auto", 4095)
    for white in whites:
        bright = decode(path, white=white)
        assert bright.brightest is None
        levels = np.asarray(bright.image)[0, :, 0].astype(int)
        assert np.abs(levels - np.arange(256)).max() <= 1


def test_a_light_picture_in_which_0_is_white_is_not_called_dark(tmp_path: Path) -> None:
    path = tmp_path / "image"
    values = (np.arange(256) * 16).reshape(16, 16, 1)
    path.write_bytes(Tiff(values=values, bits=16, photometric=WHITE_IS_ZERO).encode())
    light = decode(path)
    assert np.asarray(light.image).min() == 239
    assert light.brightest is None


@pytest.mark.parametrize("planar", [False, True])  # read by Pillow, and by tifffile
def test_a_white_is_for_more_than_8_bits_a_sample(planar: bool, tmp_path: Path) -> None:
    path = tmp_path / "image"
    values = blocks(3)
    path.write_bytes(Tiff(values=values, photometric=RGB, planar=planar).encode())
    for white in (None, "auto", 4095, 100):
        assert (np.asarray(decode(path, white=white).image) == values).all()


def test_linear_profiles_are_not_skipped_for_their_names(tmp_path: Path) -> None:
    rgb = blocks(3)
    data = make_profile(SRGB_PRIMARIES, Curve(1))
    for values, kind in ((rgb, 2), (rgb[..., :1], GREY)):
        content = Png(values=values, kind=kind, chunks=[profile(data)]).encode()
        named = content.replace(b"profile\0\0", b"sRGB-g1\0\0")  # its CRC is mended below
        expected = shown(values, 255, SRGB_PRIMARIES, 1)
        for each in (content, _with_checksums(named)):
            assert np.abs(found(tmp_path, each)[..., :3] - expected).max() <= 2


def _with_checksums(png: bytes) -> bytes:
    place, whole = 8, png[:8]
    while place < len(png):
        (size,) = struct.unpack_from(">I", png, place)
        body = png[place + 4 : place + 8 + size]
        whole += png[place : place + 4] + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + size
    return whole


def test_a_picture_is_the_same_by_gamma_as_plain(tmp_path: Path) -> None:
    plain = blocks(3)
    light = shown_light(plain)
    linear = np.rint(light * 65535)
    tags: list[Chunk] = [gamma(1), lights(*SRGB_LIGHTS)]
    content = Png(values=linear.astype(int), bits=16, chunks=tags).encode()
    assert np.abs(found(tmp_path, content)[..., :3].astype(int) - plain).max() <= 2


def shown_light(levels: Pixels) -> Any:
    x = levels / 255
    curve = SRGB_CURVE
    return np.where(x >= curve.d, (curve.a * x + curve.b) ** curve.gamma, curve.c * x)


@pytest.mark.parametrize(
    "tags", [[gamma(0.45455), lights(*ADOBE_LIGHTS)], [code_points(12, 13)]], ids=["Adobe", "P3"]
)
def test_wide_gamuts_are_more_saturated_than_their_samples(
    tmp_path: Path, tags: list[Chunk]
) -> None:
    plain = blocks(3)
    pixels = found(tmp_path, Png(values=plain, chunks=tags).encode())[..., :3].astype(int)
    assert spread(pixels) > spread(plain.astype(int)) + 3


def spread(rgb: Any) -> float:
    return float((rgb.max(axis=-1) - rgb.min(axis=-1)).mean())


def test_what_a_frame_does_not_cover_is_clear(tmp_path: Path) -> None:
    gif = Gif(
        values=np.ones((32, 32), np.uint8),
        colors=np.array([[255, 0, 0], [0, 255, 0]], np.uint8),
        canvas=(64, 64),
        place=(16, 16),
    )
    alphas = found(tmp_path, gif.encode())[..., 3]
    assert (alphas[16:48, 16:48] == 255).all()
    alphas[16:48, 16:48] = 0
    assert not alphas.any()


# -- beside the checkout -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cases(shared: Path) -> Path:
    folder = shared.parent / "cases"
    if not folder.is_dir():
        pytest.skip("needs the optional folder of small wrong inputs, ../shared/cases")
    return folder


@pytest.mark.parametrize("name", ["rgb12.jp2", "la12.jp2", "rgba16.jp2", "grey12.jp2"])
def test_jpeg_2000_of_the_cases(cases: Path, name: str) -> None:
    pixels = pixels_of(cases / name).astype(int)
    assert pixels[0, 0, :3].tolist() == [0, 0, 0]
    assert pixels[0, -1].tolist() == [255] * 4
    assert (np.diff(pixels[..., :3], axis=1) >= 0).all()


@pytest.mark.parametrize(
    ("name", "first", "last", "means"),
    [
        ("rgb16-separate-None-le.tif", (136, 132, 102), (47, 57, 26), (121.7, 109.7, 75.8)),
        ("lut8scaled.tif", (116, 0, 139), None, (109.4, 0, 145.6)),
        ("sRGB-elle-V2-g10.png", (120, 118, 92), None, None),
        ("gama-linear-gama1.png", (120, 118, 92), None, (121.7, 109.6, 75.7)),
        ("gama-plain.png", (120, 118, 91), None, (121.7, 109.6, 75.8)),
        ("gray-g10-named-srgb.png", None, None, (171.4, 171.4, 171.4)),
        ("rgb12.jpg", None, None, (121.3, 109.3, 75.6)),
    ],
)
def test_colors_of_the_cases(
    cases: Path,
    name: str,
    first: tuple[int, ...] | None,
    last: tuple[int, ...] | None,
    means: tuple[float, ...] | None,
) -> None:
    pixels = pixels_of(cases / name)[..., :3].astype(int)
    assert first is None or np.abs(pixels[0, 0] - first).max() <= 1
    assert last is None or np.abs(pixels[-1, -1] - last).max() <= 1
    assert means is None or np.abs(pixels.mean(axis=(0, 1)) - means).max() <= 0.5


def test_grey_and_alpha_of_the_cases(cases: Path) -> None:
    pixels = pixels_of(cases / "ga8-separate-lzw-le.tif")
    assert pixels[0, 0, 3] == 0
    assert pixels[..., 3].mean() == pytest.approx(127, abs=0.1)
    assert 128 in pixels[32, :, 3]


def test_tags_of_the_cases(cases: Path) -> None:
    plain = pixels_of(cases / "gama-plain.png")[..., :3].astype(int)
    linear = pixels_of(cases / "gama-linear-gama1.png")[..., :3]
    off = np.abs(linear - plain)
    assert off[plain >= 60].max() <= 2  # 8 bits of linear light tell few dark levels apart
    assert off.mean() <= 1
    for name in ("gama-adobergb-chrm.png", "gama-cicp-p3.png"):
        assert spread(pixels_of(cases / name)[..., :3].astype(int)) > spread(plain)


@pytest.mark.parametrize("name", ["12in16.tif", "imagej.tif"])
def test_dim_pictures_of_the_cases(cases: Path, name: str) -> None:
    assert decode(cases / name).brightest == 4095
    bright = np.asarray(decode(cases / name, white="auto").image)
    assert bright.mean() == pytest.approx(109.4, abs=0.5)


def test_refusals_of_the_cases(cases: Path) -> None:
    assert "a TIFF of signed samples" in refusal(cases / "int16.tif")
    assert "a TIFF of 5 bands" in refusal(cases / "5band.tif")


def test_the_frame_of_the_cases(cases: Path) -> None:
    alphas = pixels_of(cases / "offset.gif")[..., 3]
    assert (alphas[16:48, 16:48] == 255).all()
    assert alphas.sum() == 255 * 32 * 32


def test_all_files_of_the_cases_are_decoded_or_refused_by_name(cases: Path) -> None:
    files = [path for path in cases.rglob("*") if path.suffix in (".png", ".tif", ".jpg", ".gif")]
    assert files
    reasons = []
    for path in files:
        try:
            decode(path)
        except ImageError as error:
            reasons.append(str(error))
    assert not [reason for reason in reasons if "damaged" in reason]
    with Image.open(cases / "map.png") as image:
        np.testing.assert_array_equal(pixels_of(cases / "map.png")[..., :3], image.convert("RGB"))
