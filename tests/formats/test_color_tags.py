from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.errors import ImageError
from kmeans_dask.formats.color_tags import (
    profile_of_avif,
    profile_of_bmp,
    profile_of_png,
    read_code_points,
)
from kmeans_dask.formats.icc import SRGB_CURVE, SRGB_PRIMARIES, Curve, make_profile
from tests.formats.bmp_files import Bmp
from tests.formats.png_files import Png, code_points
from tests.formats.test_boxes import box
from tests.formats.test_matrix_png import P3, REC_2020

PIXEL = np.zeros((1, 1, 3), int)


def of_png(*points: int, **info: object) -> bytes | None:
    chunks = [code_points(*points)] if points else []
    return profile_of_png(
        read_code_points(io.BytesIO(Png(values=PIXEL, chunks=chunks).encode())), info
    )


def test_the_most_exact_word_wins() -> None:
    """Check precedence (PNG, third edition, 4.3): cICP, iCCP, sRGB, then cHRM and gAMA."""
    p3 = make_profile(P3, SRGB_CURVE)
    assert of_png(12, 13, icc_profile=b"embedded", srgb=0, gamma=1.0) == p3
    assert of_png(icc_profile=b"embedded", srgb=0, gamma=1.0) == b"embedded"
    assert of_png(srgb=0, gamma=1.0) is None
    assert of_png(gamma=1.0) == make_profile(SRGB_PRIMARIES, Curve(1))
    assert of_png() is None


@pytest.mark.parametrize("value", [0, 0.0, 1e-5, 1e5, None])
def test_a_meaningless_gamma_is_ignored(value: float | None) -> None:
    assert of_png(gamma=value) is None


def test_degenerate_primaries_are_ignored() -> None:
    assert of_png(gamma=1.0, chromaticity=(0.3, 0.3) * 4) is None
    assert of_png(gamma=1.0, chromaticity=(0.0,) * 8) is None


@given(st.integers(0, 255), st.integers(0, 255))
@settings(deadline=None)
def test_any_code_points_have_a_meaning(primaries: int, transfer: int) -> None:
    try:
        profile = of_png(primaries, transfer)
    except ImageError as error:
        assert transfer in (16, 18)
        said = str(error)
    else:
        assert transfer not in (16, 18)
        assert profile is None or len(profile) > 128
        return
    assert "high dynamic range" in said


def test_a_chunk_after_the_pixels_says_nothing() -> None:
    png = Png(values=PIXEL).encode()
    late = Png(values=PIXEL, chunks=[code_points(9, 16)]).encode()
    chunk = late[33 : 33 + 16]
    assert read_code_points(io.BytesIO(late))
    assert not read_code_points(io.BytesIO(png[:-12] + chunk + png[-12:]))


@given(st.binary(max_size=100))
def test_any_bytes_are_looked_through(data: bytes) -> None:
    read_code_points(io.BytesIO(data))
    profile_of_avif(io.BytesIO(data), {})
    profile_of_bmp(io.BytesIO(data))


def avif(primaries: int, transfer: int) -> io.BytesIO:
    color = box(b"colr", b"nclx" + struct.pack(">HHHB", primaries, transfer, 1, 0x80))
    meta = bytes(4) + box(b"iprp", box(b"ipco", box(b"ispe", bytes(12)) + color))
    return io.BytesIO(box(b"ftyp", b"avif") + box(b"meta", meta))


def test_code_points_of_an_avif_become_a_profile() -> None:
    assert profile_of_avif(avif(1, 13), {}) is None
    assert profile_of_avif(avif(12, 13), {}) == make_profile(P3, SRGB_CURVE)
    assert profile_of_avif(avif(9, 16), {"icc_profile": b"embedded"}) == b"embedded"
    for television in (1, 6, 11, 14, 15):
        assert profile_of_avif(avif(1, television), {}) is None
        assert profile_of_avif(avif(9, television), {}) == make_profile(REC_2020, SRGB_CURVE)
    with pytest.raises(ImageError, match="HLG"):
        profile_of_avif(avif(9, 18), {})


def test_the_profile_of_a_bmp() -> None:
    profile = make_profile(P3, SRGB_CURVE)
    bmp = Bmp(values=np.zeros((2, 2), int), bits=24, version=5, profile=profile).encode()
    assert profile_of_bmp(io.BytesIO(bmp)) == profile
    for version in (1, 3, 4):
        plain = Bmp(values=np.zeros((2, 2), int), bits=24, version=version).encode()
        assert profile_of_bmp(io.BytesIO(plain)) is None


def test_the_gamma_of_a_screen_is_that_of_srgb() -> None:
    assert of_png(gamma=0.45455) is None
    assert of_png(gamma=0.48) is not None
