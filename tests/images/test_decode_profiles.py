"""Tests that the colours of ICC profiles become sRGB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from kmeans_dask.images.decode import decode
from tests.images.colors import (
    DISPLAY_P3,
    INKS,
    SRGB,
    in_srgb,
    naive_cmyk,
    srgb_from_xyz,
    xyz_from_lab,
)
from tests.images.files import exif, saved, written
from tests.images.pixels import Floats, Pixels, alphas_of, pixels_of, stored_as
from tests.images.profiles import (
    cmyk_profile,
    grey_profile,
    rgb_profile,
    srgb_profile,
    table_profile,
)


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
