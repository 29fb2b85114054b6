from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from kmeans_dask.formats.icc import SRGB_CURVE, SRGB_PRIMARIES, Curve, make_profile
from kmeans_dask.formats.to_srgb import is_srgb, to_rgb
from tests.formats.matrix import Pixels
from tests.formats.test_matrix_png import P3

SRGB = make_profile(SRGB_PRIMARIES, SRGB_CURVE)
LINEAR = make_profile(SRGB_PRIMARIES, Curve(1))
NEARLY = make_profile(SRGB_PRIMARIES, Curve(2.2))  # up to six dark levels off from sRGB


def named(profile: bytes, name: bytes) -> bytes:
    """Return `profile` with one more tag, a description that says `name`."""
    text = b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name + bytes(79)
    (n,) = struct.unpack_from(">I", profile, 128)
    end = 132 + 12 * n
    table = b""
    for i in range(n):
        tag, at, size = struct.unpack_from(">4sII", profile, 132 + 12 * i)
        table += struct.pack(">4sII", tag, at + 12, size)
    table += struct.pack(">4sII", b"desc", len(profile) + 12, len(text))
    head = struct.pack(">I", len(profile) + 12 + len(text)) + profile[4:128]
    return head + struct.pack(">I", n + 1) + table + profile[end:] + text


def test_a_profile_is_judged_by_what_it_does() -> None:
    for profile, same in ((SRGB, True), (LINEAR, False), (make_profile(P3, SRGB_CURVE), False)):
        for name in (b"sRGB IEC61966-2.1", b"Linear, and wide"):
            called = named(profile, name)
            described = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(called)))
            assert described.strip() == name.decode()
            assert is_srgb(called, "RGB") is same
    assert not is_srgb(NEARLY, "RGB")


def test_a_damaged_or_unsuitable_profile_is_ignored() -> None:
    assert is_srgb(b"garbage", "RGB")
    assert is_srgb(LINEAR[:200], "RGB")
    cmyk = LINEAR[:16] + b"CMYK" + LINEAR[20:]
    assert is_srgb(cmyk, "RGB")


def test_a_grey_image_may_have_the_profile_of_colors() -> None:
    assert not is_srgb(LINEAR, "L")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "La", "RGBa", "CMYK"])
@pytest.mark.parametrize("profile", [None, SRGB, LINEAR], ids=["none", "sRGB", "linear"])
def test_all_modes_become_rgb(mode: str, profile: bytes | None, photograph: Pixels) -> None:
    source = Image.fromarray(photograph)
    steps = {"La": ("LA",), "RGBa": ("RGBA",), "PA": ("P",)}.get(mode, ())
    for step in (*steps, mode):
        source = source.convert(step)
    has_alpha = mode in ("LA", "PA", "RGBA", "La", "RGBa")
    found = to_rgb(source, profile)
    assert found.mode == ("RGBA" if has_alpha else "RGB")
    if profile in (None, SRGB) and mode in ("RGB", "RGBA"):
        np.testing.assert_array_equal(np.asarray(found.convert("RGB")), photograph)
