from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.errors import ImageError
from kmeans_dask.formats.icc import SRGB_PRIMARIES, Curve, make_profile
from kmeans_dask.formats.samples import Samples

Alpha = Literal["straight", "premultiplied"] | None


def samples(values: list[Any], bits: int, **options: Any) -> Samples:
    kinds: dict[int, Literal["grey", "rgb", "cmyk"]] = {1: "grey", 3: "rgb", 4: "cmyk"}
    array = np.array([values], np.uint16)
    n = array.shape[2] - (options.get("alpha") is not None)
    return Samples(array, kinds[n], bits, **options)


def half_up(value: Fraction) -> int:
    return int(value + Fraction(1, 2))


@given(st.data(), st.integers(1, 16), st.booleans())
def test_samples_are_scaled_exactly(data: st.DataObject, bits: int, inverted: bool) -> None:
    full = (1 << bits) - 1
    values = data.draw(st.lists(st.integers(0, full), min_size=1, max_size=20))
    image = samples([[value] for value in values], bits, inverted=inverted).to_image()
    levels = [half_up(Fraction(value * 255, full)) for value in values]
    expected = [255 - level for level in levels] if inverted else levels
    assert np.asarray(image)[0].tolist() == expected


@given(st.data(), st.integers(9, 16))
def test_the_sample_that_is_white_becomes_white(data: st.DataObject, bits: int) -> None:
    full = (1 << bits) - 1
    white = data.draw(st.integers(1, full))
    values = data.draw(st.lists(st.integers(0, full), min_size=1, max_size=20))
    image = samples([[value] for value in values], bits).to_image(white)
    expected = [half_up(Fraction(min(value, white) * 255, white)) for value in values]
    assert np.asarray(image)[0].tolist() == expected


@given(st.data(), st.integers(2, 8))
def test_a_white_changes_no_samples_of_8_bits_or_fewer(data: st.DataObject, bits: int) -> None:
    full = (1 << bits) - 1
    values = data.draw(st.lists(st.integers(0, full), min_size=1, max_size=20))
    some = samples([[value] for value in values], bits)
    assert some.to_image(data.draw(st.integers(1, full))) == some.to_image()


@given(st.data(), st.sampled_from([1, 4, 8, 16]), st.integers(1, 40))
def test_few_greys_are_counted(data: st.DataObject, bits: int, most: int) -> None:
    values = data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=1, max_size=60))
    some = samples([[value] for value in values], bits)
    if bits == 1:  # as tifffile has them
        some = replace(some, values=some.values.astype(np.bool_))
    assert some.has_few_greys(most) == (len(set(values)) <= most)


@given(st.data(), st.sampled_from([8, 12, 16]), st.booleans())
def test_colors_are_divided_by_alpha(data: st.DataObject, bits: int, inverted: bool) -> None:
    full = (1 << bits) - 1
    alphas = data.draw(st.lists(st.integers(1, full), min_size=1, max_size=20))
    lights = [data.draw(st.integers(0, alpha)) for alpha in alphas]
    colors = [full - light for light in lights] if inverted else lights
    found = samples(
        [list(each) for each in zip(colors, alphas, strict=True)],
        bits,
        alpha="premultiplied",
        inverted=inverted,
    ).to_image()
    expected = [255 * light / alpha for light, alpha in zip(lights, alphas, strict=True)]
    pixels = np.asarray(found)[0].astype(float)
    assert np.abs(pixels[:, 0] - expected).max() <= 1
    assert np.abs(pixels[:, 1] - np.array(alphas) / full * 255).max() <= 0.5


@pytest.mark.parametrize(
    ("values", "shown", "window"),
    [
        ([0, 4095], None, (0, 4095)),
        ([0, 4096], None, (0, 8191)),
        ([0, 0], None, (0, 1)),
        ([0, 65535], None, (0, 65535)),
        ([0, 4095], (100, 3000), (100, 3000)),
    ],
)
def test_white_is_found(
    values: list[int], shown: tuple[int, int] | None, window: tuple[int, int]
) -> None:
    whole = samples([[value] for value in values], 16, shown=shown)
    assert whole.window("auto") == window
    assert whole.window(None) == (0, 65535)
    assert whole.window(1000) == (0, 1000)


def test_inks_have_no_white() -> None:
    assert samples([[1, 2, 3, 4]], 16).window("auto") == (0, 65535)


def test_inks_with_transparency_are_refused() -> None:
    with pytest.raises(ImageError, match="a CMYK image with transparency"):
        samples([[1, 2, 3, 4, 5]], 16, alpha="straight").to_image()


@settings(deadline=None, max_examples=20)
@given(st.data(), st.sampled_from([10, 12, 16]), st.sampled_from([1.0, 1.8, 2.6]))
def test_colors_go_through_a_profile_at_full_precision(
    data: st.DataObject, bits: int, exponent: float
) -> None:
    """Check the plain formula: light by the curve of the profile, levels by the curve of sRGB."""
    full = (1 << bits) - 1
    one = st.tuples(*[st.integers(0, full)] * 3)
    values = np.array(data.draw(st.lists(one, min_size=1, max_size=20)))
    found = samples(values.tolist(), bits).to_srgb(make_profile(SRGB_PRIMARIES, Curve(exponent)))
    light = (values / full) ** exponent
    curved = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(np.asarray(found)[0] - 255 * curved).max() <= 1.5


def test_many_rows_are_done_in_bands() -> None:
    values = np.arange(1 << 21, dtype=np.uint16).reshape(1 << 11, 1 << 10, 1)
    image = Samples(values, "grey", 16).to_image()
    expected = (values[..., 0].astype(int) * 255 + 32767) // 65535
    np.testing.assert_array_equal(np.asarray(image), expected)
