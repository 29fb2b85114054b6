"""Tests that every kind of PNG is decoded as its samples and tags say, and as by libvips."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from kmeans_dask.formats.icc import SRGB_CURVE, SRGB_PRIMARIES, Curve, Primaries, make_profile
from tests.formats.matrix import Case, Floats, by_vips, in_srgb, mismatches, ramps, report
from tests.formats.png_files import (
    ADOBE_LIGHTS,
    CHANNELS,
    DEPTHS,
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGB_ALPHA,
    SRGB_LIGHTS,
    Chunk,
    Png,
    code_points,
    gamma,
    key,
    lights,
    profile,
    srgb,
)

SIZES = ((20, 37), (1, 1), (3, 5), (8, 8))


def layouts() -> Iterator[Case]:
    rng = np.random.default_rng(1)
    depths = [(kind, bits) for kind, all_bits in DEPTHS.items() for bits in all_bits]
    for (kind, bits), interlaced, size, clear in product(
        depths, (False, True), SIZES, ("none", "first", "last", "other")
    ):
        full, n = (1 << bits) - 1, 1 if kind in (GREY, GREY_ALPHA) else 3
        if clear != "none" and kind in (GREY_ALPHA, RGB_ALPHA):
            continue
        values = ramps(CHANNELS[kind], bits, size) if size != (1, 1) else np.full(
            (1, 1, CHANNELS[kind]), full * 2 // 3
        )  # fmt: skip
        chunks: list[Chunk] = []
        if kind == PALETTE:
            palette, alphas = rng.integers(0, 256, (1 << bits, 3)), np.full(1 << bits, 255)
            chunks.append((b"PLTE", bytes(palette.ravel().tolist())))
            if clear != "none":
                said = {"first": 1, "last": 1 << bits, "other": 2}[clear]
                alphas[:said] = rng.integers(0, 256, said)
                chunks.append((b"tRNS", bytes(alphas[:said].tolist())))
            pixels: Any = np.dstack([palette[values[..., 0]], alphas[values[..., 0]]])
        else:
            alpha: Any = values[..., n] if CHANNELS[kind] > n else None
            if clear != "none":
                color = values[0, 0].copy() if clear != "last" else values[-1, -1].copy()
                color[-1] ^= clear == "other"  # at 16 bits the key is off in the low byte only
                chunks.append(key(*color.tolist()))
                alpha = np.where((values[..., :n] == color).all(axis=-1), 0, full)
            pixels = in_srgb(values[..., :n], alpha, full)
        yield Case(
            name=f"kind {kind}, {bits} bits, interlaced {interlaced}, {size}, key {clear}",
            content=Png(
                values=values, bits=bits, kind=kind, interlaced=interlaced, chunks=chunks
            ).encode(),
            pixels=pixels,
        )


def test_layouts(tmp_path: Path) -> None:
    cases = list(layouts())
    wrong = mismatches(cases, tmp_path, by_vips)
    assert not wrong, report(wrong, len(cases))
    assert len(cases) == 384


# -- colour tags ---------------------------------------------------------------------------------

D65 = (0.3127, 0.3290)
P3 = Primaries(D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE = Primaries(D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
REC_2020 = Primaries(D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
TAGS: dict[str, tuple[list[Chunk], Primaries, float | None]] = {
    "nothing": ([], SRGB_PRIMARIES, None),
    "sRGB": ([srgb()], SRGB_PRIMARIES, None),
    "sRGB before gAMA": ([gamma(1), srgb()], SRGB_PRIMARIES, None),
    "gAMA of a screen": ([gamma(0.45455)], SRGB_PRIMARIES, None),
    "gAMA linear": ([gamma(1)], SRGB_PRIMARIES, 1),
    "gAMA 1/2": ([gamma(0.5)], SRGB_PRIMARIES, 2),
    "gAMA 1/1.8": ([gamma(0.55556)], SRGB_PRIMARIES, 1.8),
    "gAMA and cHRM of sRGB": ([gamma(1), lights(*SRGB_LIGHTS)], SRGB_PRIMARIES, 1),
    "gAMA and cHRM of Adobe": ([gamma(0.45455), lights(*ADOBE_LIGHTS)], ADOBE, 2.2),
    "cHRM alone": ([lights(*ADOBE_LIGHTS)], SRGB_PRIMARIES, None),
    "no gAMA": ([gamma(0)], SRGB_PRIMARIES, None),
    "cICP sRGB": ([code_points(1, 13)], SRGB_PRIMARIES, None),
    "cICP linear": ([code_points(1, 8)], SRGB_PRIMARIES, 1),
    "cICP television": ([code_points(1, 1)], SRGB_PRIMARIES, 2.4),
    "cICP Rec. 2020": ([code_points(9, 14)], REC_2020, 2.4),
    "cICP P3": ([code_points(12, 13)], P3, None),
    "cICP before iCCP": (
        [code_points(12, 13), profile(make_profile(SRGB_PRIMARIES, Curve(1)))], P3, None,
    ),
    "cICP nobody knows": ([code_points(2, 2)], SRGB_PRIMARIES, None),
    "iCCP P3": ([profile(make_profile(P3, SRGB_CURVE))], P3, None),
    "iCCP linear": ([profile(make_profile(SRGB_PRIMARIES, Curve(1)))], SRGB_PRIMARIES, 1),
    "iCCP Adobe": ([profile(make_profile(ADOBE, Curve(563 / 256)))], ADOBE, 563 / 256),
    "iCCP before gAMA": ([profile(make_profile(P3, SRGB_CURVE)), gamma(1)], P3, None),
}  # fmt: skip


def xyz_of(primaries: Primaries) -> Floats:
    """Return the (3, 3) matrix from linear RGB to XYZ, where RGB (1, 1, 1) is white with Y = 1."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    found: Floats = columns[:, 1:] * np.linalg.solve(columns[:, 1:], columns[:, 0])
    return found


def shown(values: Any, full: int, primaries: Primaries, exponent: float | None) -> Floats:
    """Return values of 0 to `full` as levels of sRGB, (h, w, 3) float64, by plain formulas.

    exponent: that of the curve of `values`; None for the curve of sRGB
    """
    x = np.broadcast_to(values, (*values.shape[:2], 3)) / full
    bent = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    light = bent if exponent is None else x**exponent
    light = light @ (np.linalg.inv(xyz_of(SRGB_PRIMARIES)) @ xyz_of(primaries)).T
    light = np.clip(light, 0, 1)
    curved = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    found: Floats = 255 * curved
    return found


def a_palette() -> Any:
    """Return (216, 3) colours: all mixtures of six levels from 0 to 255."""
    steps = np.rint(np.linspace(0, 255, 6)).astype(int)
    return np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)


def with_tags(kind: int, bits: int, chunks: list[Chunk]) -> tuple[Png, Any]:
    """Return an image of many colours, and its samples of colour, which tags have not changed."""
    full = (1 << bits) - 1
    if kind == PALETTE:
        palette = a_palette()
        values = np.arange(216).reshape(12, 18, 1)
        chunks = [*chunks, (b"PLTE", bytes(palette.ravel().tolist()))]
        return Png(values=values, kind=kind, chunks=chunks), palette[values[..., 0]]
    if kind in (GREY, GREY_ALPHA):
        colors = np.rint(np.linspace(0, full, 64)).reshape(4, 16, 1)
    else:
        colors = np.rint(a_palette().reshape(12, 18, 3) / 255 * full)
    values = colors
    if kind in (GREY_ALPHA, RGB_ALPHA):
        alphas = np.full(colors.shape[:2], full)
        alphas[0] = full // 3
        values = np.dstack([colors, alphas])
    return Png(values=values.astype(int), bits=bits, kind=kind, chunks=chunks), colors


def tagged() -> Iterator[Case]:
    kinds = ((RGB, 8), (RGB, 16), (GREY, 8), (GREY, 16), (PALETTE, 8), (RGB_ALPHA, 16))
    for (name, (chunks, primaries, exponent)), (kind, bits) in product(
        TAGS.items(), (*kinds, (RGB_ALPHA, 8), (GREY_ALPHA, 8), (GREY_ALPHA, 16))
    ):
        png, colors = with_tags(kind, bits, chunks)
        full = (1 << bits) - 1
        alphas = png.values[..., -1] if kind in (GREY_ALPHA, RGB_ALPHA) else None
        rgb = shown(colors, full, primaries, exponent) if kind != PALETTE else shown(
            colors, 255, primaries, exponent
        )  # fmt: skip
        clear = np.full(rgb.shape[:2], 255.0) if alphas is None else alphas / full * 255
        yield Case(
            name=f"{name}, kind {kind}, {bits} bits",
            content=png.encode(),
            pixels=np.dstack([rgb, clear]),
            tolerance=2,
        )


def test_color_tags(tmp_path: Path) -> None:
    cases = list(tagged())
    wrong = mismatches(cases, tmp_path)
    assert not wrong, report(wrong, len(cases))
    assert len(cases) == 9 * len(TAGS)


def test_high_dynamic_range_is_refused_by_name(tmp_path: Path) -> None:
    cases = [
        Case(
            name=name,
            content=with_tags(kind, bits, [code_points(9, transfer)])[0].encode(),
            refusal=f"high dynamic range ({name})",
        )
        for (name, transfer), kind, bits in product((("PQ", 16), ("HLG", 18)), (GREY, RGB), (8, 16))
    ]
    assert mismatches(cases, tmp_path) == []
