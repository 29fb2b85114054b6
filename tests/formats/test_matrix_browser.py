"""Tests that colours, and the area outside the frame of a GIF, are decoded as by Chromium."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Launch
from tests.formats.bmp_files import Bmp
from tests.formats.gif_files import Gif
from tests.formats.matrix import Case, Floats, Judge, blocks, mismatches, report
from tests.formats.png_files import GREY, PALETTE, RGB, RGB_ALPHA, code_points
from tests.formats.test_matrix_others import (
    CANVASES,
    DISPLAY_P3,
    LINEAR,
    avif,
    saved,
)
from tests.formats.test_matrix_png import TAGS, with_tags

if TYPE_CHECKING:
    from playwright.sync_api import Page

_SHOW = """async data => {
    const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
    const image = new Image();
    image.src = URL.createObjectURL(new Blob([bytes]));
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d", {colorSpace: "srgb"});
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    return [canvas.height, canvas.width, btoa(Array.from(
        pixels, byte => String.fromCharCode(byte)).join(""))];
}"""


@pytest.fixture(scope="module")
def page(launch: Launch) -> Iterator[Page]:
    page = launch(("--force-color-profile=srgb",)).new_page()
    yield page
    page.close()


@pytest.fixture(scope="module")
def by_chromium(page: Page) -> Judge:
    def evaluate(content: bytes) -> Floats:
        height, width, pixels = page.evaluate(_SHOW, base64.b64encode(content).decode())
        data = np.frombuffer(base64.b64decode(pixels), np.uint8)
        return data.reshape(height, width, 4).astype(float)

    return evaluate


def checked(cases: list[Case], folder: Path, evaluate: Judge, n: int) -> None:
    wrong = mismatches(cases, folder, evaluate)
    assert not wrong, report(wrong, len(cases))
    assert len(cases) == n


def test_color_tags_of_png(tmp_path: Path, by_chromium: Judge) -> None:
    """Check 8 bits only: Chromium reduces samples of 16 bits before it converts their colours."""
    cases = [
        Case(
            name=f"{name}, kind {kind}",
            content=with_tags(kind, 8, chunks)[0].encode(),
            tolerance=2,
        )
        for (name, (chunks, _, _)), kind in product(TAGS.items(), (RGB, GREY, PALETTE, RGB_ALPHA))
    ]
    checked(cases, tmp_path, by_chromium, 4 * len(TAGS))


def test_code_points_of_png(tmp_path: Path, by_chromium: Judge) -> None:
    points = [
        *((primaries, 13) for primaries in (1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 22)),
        *((1, transfer) for transfer in (1, 2, 4, 5, 6, 7, 8, 9, 11, 12, 14, 15, 17)),
    ]
    cases = [
        Case(
            name=f"{primaries}/{transfer}",
            content=with_tags(RGB, 8, [code_points(primaries, transfer)])[0].encode(),
            tolerance=2,
        )
        for primaries, transfer in points
    ]
    checked(cases, tmp_path, by_chromium, 25)


def test_profiles_and_code_points_of_others(tmp_path: Path, by_chromium: Judge) -> None:
    image = Image.fromarray(blocks(3))
    cases = []
    for name, profile in (("P3", DISPLAY_P3), ("linear", LINEAR)):
        for mode in ("RGB", "L"):
            source = image.convert(mode)
            for kind, content in (
                ("JPEG", saved(source, "JPEG", icc_profile=profile, quality=98, subsampling=0)),
                ("WebP", saved(source, "WEBP", icc_profile=profile, lossless=True)),
                ("AVIF", saved(source, "AVIF", icc_profile=profile, speed=9)),
            ):
                cases.append(Case(name=f"{kind}, {mode}, {name}", content=content, tolerance=3))
    for primaries, transfer in product((1, 9, 12), (1, 4, 6, 13, 14)):
        content = avif(blocks(3), 8, "444", primaries=primaries, transfer=transfer, matrix=1)
        cases.append(Case(name=f"AVIF, {primaries}/{transfer}", content=content, tolerance=3))
    packed = np.array(blocks(3).astype(int) @ (1 << 16, 1 << 8, 1))
    bmp = Bmp(values=packed, bits=24, version=5, profile=DISPLAY_P3)
    cases.append(Case(name="BMP, P3", content=bmp.encode(), tolerance=2))
    checked(cases, tmp_path, by_chromium, 28)


def test_what_a_gif_does_not_cover_is_clear(tmp_path: Path, by_chromium: Judge) -> None:
    rng = np.random.default_rng(6)
    cases = [
        Case(
            name=f"{canvas}, {place}, transparent {transparent}",
            content=Gif(
                values=rng.integers(0, 4, (13, 17)).astype(np.uint8),
                colors=rng.integers(0, 256, (4, 3)).astype(np.uint8),
                canvas=canvas,
                place=place,
                transparent=transparent,
                background=2,
            ).encode(),
            tolerance=0,
        )
        for (canvas, place), transparent in product(CANVASES, (None, 1))
    ]
    checked(cases, tmp_path, by_chromium, 14)
