"""Tests that every supported kind of JPEG 2000 is decoded as its samples say.

The installed libvips does not read JPEG 2000, and all decoders at hand use OpenJPEG. Lossless
codestreams are therefore compared with the samples that they were made of, and lossy ones with
what imagecodecs decodes.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import imagecodecs
import numpy as np

from kmeans_dask.formats.icc import SRGB_PRIMARIES, Curve, make_profile
from tests.formats.jpeg2000_files import (
    ALPHA,
    CMYK,
    COLOR,
    GREY,
    PREMULTIPLIED,
    SRGB,
    SYCC,
    UNSAID,
    boxed,
    codestream,
    with_alpha,
)
from tests.formats.matrix import Case, in_srgb, mismatches, of_inks, ramps, report, slopes, straight
from tests.formats.test_matrix_png import shown
from tests.formats.test_matrix_tiff import ycbcr

DEPTHS = (1, 2, 4, 7, 8, 9, 10, 12, 14, 16)


def test_layouts(tmp_path: Path) -> None:
    cases = []
    for bits, n in product(DEPTHS, (1, 2, 3, 4)):
        values, has_alpha = ramps(n, bits), n in (2, 4)
        alphas = values[..., -1] if has_alpha else None
        pixels = in_srgb(values[..., : n - has_alpha], alphas, (1 << bits) - 1)
        content = codestream(values, bits)
        space = GREY if n < 3 else SRGB
        said = with_alpha(n) if has_alpha else ()
        for form, data in (
            ("bare", content),
            ("boxed", boxed(content, space)),
            ("told", boxed(content, space, channels=said)),
        ):
            cases.append(Case(name=f"{n} x {bits} bits, {form}", content=data, pixels=pixels))
    wrong = mismatches(cases, tmp_path)
    assert not wrong, report(wrong, len(cases))
    assert len(cases) == 120


def test_what_loses_something(tmp_path: Path) -> None:
    cases = []
    for bits, n in product((8, 10, 12, 16), (1, 2, 3, 4)):
        full, has_alpha = (1 << bits) - 1, n in (2, 4)
        values = np.rint(slopes(n) / 255 * full)
        content = codestream(values, bits, reversible=False)
        decoded = imagecodecs.jpeg2k_decode(content).reshape(values.shape)
        pixels = in_srgb(
            decoded[..., : n - has_alpha], decoded[..., -1] if has_alpha else None, full
        )
        cases.append(Case(name=f"{n} x {bits} bits", content=content, pixels=pixels))
        sources = in_srgb(
            values[..., : n - has_alpha], values[..., -1] if has_alpha else None, full
        )
        assert np.abs(pixels - sources).max() < 6
    wrong = mismatches(cases, tmp_path)
    assert not wrong, report(wrong, len(cases))


def test_channels(tmp_path: Path) -> None:
    """Check other orders of channels, premultiplied alpha, inks, grey in RGB, and sYCC."""
    cases = []
    for bits in (8, 12):
        full, values = (1 << bits) - 1, ramps(4, bits)
        colors, alphas = values[..., :3], values[..., 3]
        content, opaque = codestream(values, bits), codestream(colors, bits)
        backward = [(0, COLOR, 3), (1, COLOR, 2), (2, COLOR, 1)]
        first = [(0, ALPHA, 0), (1, COLOR, 1), (2, COLOR, 2), (3, COLOR, 3)]
        multiplied = with_alpha(4, PREMULTIPLIED)
        two = codestream(values[..., [0, 3]], bits)
        for name, data, pixels in (
            ("BGR", boxed(opaque, channels=backward), in_srgb(colors[..., ::-1], None, full)),
            (
                "ARGB",
                boxed(content, channels=first),
                in_srgb(values[..., 1:], values[..., 0], full),
            ),
            (
                "premultiplied",
                boxed(content, channels=multiplied),
                in_srgb(straight(colors, alphas, full), alphas, full),
            ),
            (
                "grey, premultiplied",
                boxed(two, GREY, channels=with_alpha(2, PREMULTIPLIED)),
                in_srgb(straight(colors[..., :1], alphas, full), alphas, full),
            ),
            ("CMYK", boxed(content, CMYK), in_srgb(of_inks(values, full), None, full)),
            (
                "grey in RGB",
                boxed(codestream(colors[..., :1], bits), SRGB),
                in_srgb(colors[..., :1], None, full),
            ),
        ):
            cases.append(Case(name=f"{name}, {bits} bits", content=data, pixels=pixels))
    values = ramps(3, 8)
    cases.append(
        Case(
            name="sYCC",
            content=boxed(codestream(values, 8), SYCC),
            pixels=in_srgb(ycbcr(values), None, 255),
            tolerance=2,
        )
    )
    wrong = mismatches(cases, tmp_path)
    assert not wrong, report(wrong, len(cases))
    assert len(cases) == 13


def test_palettes(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    cases = []
    for bits, n in product((1, 2, 4, 8), (3, 4)):
        palette = rng.integers(0, 256, (1 << bits, n))
        values = ramps(1, bits)
        picked = palette[values[..., 0]]
        content = boxed(
            codestream(values, bits), palette=palette, channels=with_alpha(4) if n == 4 else ()
        )
        pixels = in_srgb(picked[..., :3], picked[..., 3] if n == 4 else None, 255)
        cases.append(Case(name=f"{bits} bits to {n} columns", content=content, pixels=pixels))
    wrong = mismatches(cases, tmp_path)
    assert not wrong, report(wrong, len(cases))


def test_profiles(tmp_path: Path) -> None:
    linear = make_profile(SRGB_PRIMARIES, Curve(1))
    cases = []
    for bits, n in product((8, 12, 16), (1, 3, 4)):
        full, values = (1 << bits) - 1, ramps(n, bits)
        rgb = shown(values[..., : min(n, 3)], full, SRGB_PRIMARIES, 1)
        alphas = values[..., 3] / full * 255 if n == 4 else np.full(values.shape[:2], 255)
        content = boxed(
            codestream(values, bits), profile=linear, channels=with_alpha(4) if n == 4 else ()
        )
        pixels = np.dstack([rgb, alphas])
        cases.append(Case(name=f"{n} x {bits} bits", content=content, pixels=pixels, tolerance=2))
    wrong = mismatches(cases, tmp_path)
    assert not wrong, report(wrong, len(cases))


def test_what_is_refused_is_refused_by_name(tmp_path: Path) -> None:
    eight, twelve = codestream(ramps(4, 8), 8), codestream(ramps(3, 12), 12)
    signed = bytearray(codestream(ramps(3, 8), 8))
    signed[42] |= 0x80  # this says that the first component is signed
    mixed = bytearray(codestream(ramps(3, 8), 8))
    mixed[42] = 11
    cases = [
        Case(name=reason, content=bytes(content), refusal=reason)
        for reason, content in {
            "of 5 components": codestream(ramps(5, 8), 8),
            "no colour and no alpha": boxed(eight, channels=with_alpha(4, UNSAID)),
            "in colour space 14": boxed(eight, 14),
            "in colour space 20": boxed(twelve, 20),
            "reduced colours (sYCC)": boxed(twelve, SYCC),
            "components differ in bits": mixed,
            "components differ in bits, which": signed,
            "it says no size": eight[:30],
            "it lacks a codestream": boxed(eight)[:70],
        }.items()
    ]
    wrong = mismatches(cases, tmp_path)
    assert not wrong, report(wrong, len(cases))
