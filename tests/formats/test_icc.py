from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from kmeans_dask.formats.icc import SRGB_CURVE, SRGB_PRIMARIES, Curve, Primaries, make_profile
from tests.formats.matrix import Floats
from tests.formats.test_matrix_png import ADOBE, P3, REC_2020, shown

ALL = {"sRGB": SRGB_PRIMARIES, "P3": P3, "Adobe": ADOBE, "Rec. 2020": REC_2020}


def by_littlecms(profile: bytes, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Floats:
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        "RGB",
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    converted = ImageCms.applyTransform(Image.fromarray(pixels), transform)
    assert converted is not None
    return np.asarray(converted).astype(float)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("exponent", [None, 1.0, 1.8, 2.2])
def test_a_profile_means_what_it_is_made_of(name: str, exponent: float | None) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    profile = make_profile(ALL[name], SRGB_CURVE if exponent is None else Curve(exponent))
    expected = shown(pixels, 255, ALL[name], exponent)
    assert np.abs(by_littlecms(profile, pixels) - expected).max() <= 2


chromaticity = st.tuples(st.floats(0.05, 0.7), st.floats(0.05, 0.7))


@settings(deadline=None, max_examples=50)
@given(chromaticity, chromaticity, chromaticity, st.floats(0.5, 3))
def test_white_and_black_stay(
    red: tuple[float, float],
    green: tuple[float, float],
    blue: tuple[float, float],
    exponent: float,
) -> None:
    try:
        profile = make_profile(Primaries((0.3127, 0.3290), red, green, blue), Curve(exponent))
    except ValueError:
        assume(False)
    columns = [struct.unpack_from(">3i", profile, at) for at in _places(profile)]
    white = np.sum(columns, axis=0) / 65536
    assert np.abs(white - (0.9642, 1.0, 0.8249)).max() < 0.001


def _places(profile: bytes) -> list[int]:
    (n,) = struct.unpack_from(">I", profile, 128)
    tags = [struct.unpack_from(">4sII", profile, 132 + 12 * i) for i in range(n)]
    return [at + 8 for name, at, _ in tags if name in (b"rXYZ", b"gXYZ", b"bXYZ")]


def test_the_size_of_a_profile_is_in_it() -> None:
    profile = make_profile(SRGB_PRIMARIES, SRGB_CURVE)
    assert struct.unpack_from(">I", profile) == (len(profile),)
    assert profile[36:40] == b"acsp"


@pytest.mark.parametrize(
    "primaries",
    [
        Primaries((0.31, 0.33), (0.3, 0.3), (0.4, 0.4), (0.5, 0.5)),  # all on one line
        Primaries((0.31, 0.0), (0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
        Primaries((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
        Primaries((float("nan"), 0.3), (0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
        Primaries((0.31, 0.33), (0.64, float("inf")), (0.30, 0.60), (0.15, 0.06)),
    ],
)
def test_primaries_that_span_nothing_are_refused(primaries: Primaries) -> None:
    with pytest.raises(ValueError, match="span no colours"):
        make_profile(primaries, SRGB_CURVE)
