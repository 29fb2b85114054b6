from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.errors import ImageError
from kmeans_dask.formats.icc import SRGB_CURVE, SRGB_PRIMARIES, Curve, make_profile
from kmeans_dask.formats.jpeg2000 import (
    Jpeg2000Header,
    read_jpeg2000_header,
    read_odd_jpeg2000,
)
from tests.formats.jpeg2000_files import CMYK, SRGB, boxed, codestream, with_alpha
from tests.formats.matrix import ramps

RGB = codestream(ramps(3, 12), 12)
RGBA = codestream(ramps(4, 8), 8)


def header_of(content: bytes) -> Jpeg2000Header:
    return read_jpeg2000_header(io.BytesIO(content))


def test_a_header_is_read() -> None:
    bare, whole = header_of(RGB), header_of(boxed(RGB))
    assert (bare.width, bare.height, bare.precisions) == (37, 20, (12,) * 3)
    assert bare.spacings == ((1, 1),) * 3
    assert (bare.color_space, whole.color_space) == (None, SRGB)
    assert whole.alpha is None
    assert not whole.suits_pillow


def test_what_pillow_reads_is_left_to_it() -> None:
    assert header_of(RGBA).suits_pillow
    assert header_of(boxed(RGBA, channels=with_alpha(4))).suits_pillow
    assert header_of(codestream(ramps(1, 12), 12)).suits_pillow
    assert not header_of(boxed(RGBA, channels=with_alpha(4, 2))).suits_pillow
    assert not header_of(boxed(RGBA, channels=with_alpha(4)[::-1])).channels[0][0]


@pytest.mark.parametrize(
    ("content", "alpha"),
    [
        (boxed(RGBA), "straight"),
        (boxed(RGBA, CMYK), None),
        (boxed(RGBA, channels=with_alpha(4, 2)), "premultiplied"),
        (boxed(RGBA, channels=[(i, 0, i + 1) for i in range(4)]), None),
    ],
)
def test_alpha_is_told(content: bytes, alpha: str | None) -> None:
    assert header_of(content).alpha == alpha


def test_inks_are_told_by_their_profile() -> None:
    profile = make_profile(SRGB_PRIMARIES, SRGB_CURVE)
    inks = profile[:16] + b"CMYK" + profile[20:]
    header = header_of(boxed(RGBA, profile=inks))
    assert header.is_cmyk
    assert not header.suits_pillow
    samples = read_odd_jpeg2000(boxed(RGBA, profile=inks), header)
    assert samples.colors == "cmyk"
    np.testing.assert_array_equal(samples.values, ramps(4, 8))


def test_a_profile_is_left_to_us() -> None:
    """Check that imagecodecs does not apply a profile, which would then be applied twice."""
    content = boxed(RGB, profile=make_profile(SRGB_PRIMARIES, Curve(1)))
    samples = read_odd_jpeg2000(content, header_of(content))
    np.testing.assert_array_equal(samples.values, ramps(3, 12))


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damaged_headers_are_headers_or_refused(data: st.DataObject) -> None:
    content = bytearray(boxed(RGBA, channels=with_alpha(4))[:160])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(12, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        header = header_of(bytes(content))
    except ImageError as error:
        said = str(error)
    else:
        assert header.refusal() is None or "JPEG 2000" in str(header.refusal())
        return
    assert said.startswith("a JPEG 2000 image that is damaged")
