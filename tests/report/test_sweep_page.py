"""The report of a sweep: its content, its commands, and what it does in a browser."""

from __future__ import annotations

import io
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.errors import UsageError
from kmeans_dask.files.location import Location
from kmeans_dask.report.sweep_page import (
    CompressCommand,
    check_report,
    crops_for,
    render_sweep_report,
)
from kmeans_dask.settings import DecodeSettings, EncodeSettings, FitSettings
from kmeans_dask.steps.crops import Crop, Window
from kmeans_dask.steps.sweep import Point, Sweep
from kmeans_dask.store.records import Failure
from tests.report.pages import Reader, show

if TYPE_CHECKING:
    from playwright.sync_api import Browser

EVIL = "<img src=x onerror=alert(1)>.png"
STRANGE = (
    EVIL,
    "two\nlines.png",
    "</script><script>alert(1)</script>.png",
    "\udcff.png",
    "'\"&.png",
)

ODD = ("-rf", "$HOME", "`id`", "a\x1b[31m\t\u202e'\\.png", "é")


def webp(level: int) -> bytes:
    file = io.BytesIO()
    pixels = np.full((30, 40, 3), level, np.uint8)
    Image.fromarray(pixels).save(file, "WEBP", lossless=True)
    return file.getvalue()


def swept(weights: tuple[float, ...] = (0.0, 2.0), crops: int = 2, **other: Any) -> Sweep:
    """Return a sweep of three numbers of colours and some weights, with hostile names."""
    points = tuple(
        Point(k, weight, k, 9, 20 + k / 10 - weight, 20 + k / 10, 1.5 * k - weight, 3, 0.02,
              round(20_000 * k * (1 - weight / 10)), 0)
        for k in (4, 16, 64)
        for weight in weights
    )  # fmt: skip
    shown = tuple(
        Crop(
            Window("000000", number, STRANGE[number], 0, 0, 40, 30),
            webp(9 + number),
            tuple(None if at == 0 else webp(40 * number + at) for at in range(len(points))),
        )
        for number in range(crops)
    )
    values: dict[str, Any] = {
        "images": 7, "pixels": 1000, "input_bytes": 2_000_000, "sampled": 5, "points": points,
        "suggested": 16, "suggested_lossy": weights[-1], "failures": (), "crops": shown,
    } | other  # fmt: skip
    return Sweep(**values)


def command(*inputs: Location, **other: Any) -> CompressCommand:
    values: dict[str, Any] = {
        "fit": FitSettings(), "encode": EncodeSettings(), "decode": DecodeSettings(),
    } | other  # fmt: skip
    return CompressCommand(inputs or (Path("photos"),), **values)


def test_a_page_has_every_point_with_its_figures_and_its_command() -> None:
    reader = Reader(render_sweep_report(swept(), command()))
    assert reader.sections == ["curve", "crops", "points", "settings"]
    points = reader.data["points"]
    assert [(each["colors"], each["lossy"]) for each in points] == [
        (4, "0"), (4, "2"), (16, "0"), (16, "2"), (64, "0"), (64, "2")
    ]  # fmt: skip
    assert [each["suggested"] for each in points].index(True) == 3
    assert points[3]["command"] == "kmeans-dask compress photos OUTPUT --colors 16 --lossy 2"
    assert points[2]["command"] == "kmeans-dask compress photos OUTPUT --colors 16"
    assert reader.data["crops"][0]["after"][0] is None
    text = " ".join(" ".join(reader.texts).split())
    for said in ("7 images of 1,000 pixels, 2.0 MB", "320.0 kB", "16.0 %", "22.0", "19.60 dB"):
        assert said in text


def test_a_page_without_crops_or_a_choice_of_weights_leaves_them_out() -> None:
    reader = Reader(render_sweep_report(swept((0.0,), 0), command()))
    assert reader.sections == ["curve", "points", "settings"]
    failures = (Failure("bad.png", "the file is empty"),)
    reader = Reader(render_sweep_report(swept(failures=failures), command()))
    assert "failures" in reader.sections


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({}, []),
        ({"fit": FitSettings(space="oklab", seed=7, weight="images")},
         ["--color-space", "oklab", "--weight", "images", "--seed", "7"]),
        ({"encode": EncodeSettings("webp", effort=9, dither=0.25, always=True)},
         ["--format", "webp", "--effort", "9", "--dither", "0.25", "--always"]),
        ({"decode": DecodeSettings(99, white="auto")}, ["--max-pixels", "99", "--white", "auto"]),
        ({"include": ["*.png", "a b/*"], "exclude": ["-x*"]},
         ["--include", "*.png", "--include", "a b/*", "--exclude=-x*"]),
    ],
)  # fmt: skip
def test_a_command_has_each_option_that_is_not_the_default(
    settings: dict[str, Any], options: list[str]
) -> None:
    point = swept().points[3]
    words = shlex.split(command(Path("a b"), Path("c"), **settings).of(point))
    start = ["kmeans-dask", "compress", "a b", "c", "OUTPUT", "--colors", "16", "--lossy", "2"]
    assert words == start + options


@pytest.mark.parametrize("name", [*STRANGE, *ODD])
def test_a_shell_reads_the_names_as_they_were(name: str) -> None:
    line = command(Path(name)).of(swept().points[0])
    assert line.isprintable()
    said = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True, timeout=60
    ).stdout
    expected = name if not name.startswith("-") else f"./{name}"
    assert said.split(b"\0")[2] == expected.encode("utf-8", "surrogateescape")


def test_a_page_stays_small_and_too_many_points_are_refused(tmp_path: Path) -> None:
    assert [crops_for(n) for n in (1, 60, 61, 240, 241)] == [4, 4, 3, 1, 0]
    with pytest.raises(UsageError, match="at most 240 points, not 241"):
        check_report(tmp_path / "a.html", 241, overwrite=False)
    (tmp_path / "a.html").touch()
    with pytest.raises(UsageError, match=r"exists already.*--overwrite"):
        check_report(tmp_path / "a.html", 1, overwrite=False)
    check_report(tmp_path / "a.html", 1, overwrite=True)


def test_a_point_is_chosen_with_the_pointer_and_the_keys(browser: Browser, tmp_path: Path) -> None:
    page, wrong = show(browser, render_sweep_report(swept(), command()), tmp_path)
    figures, line = page.locator("#figures"), page.locator("#command")
    after = page.locator(".crop .after")
    assert line.text_content() == "kmeans-dask compress photos OUTPUT --colors 16 --lossy 2"
    before = after.first.get_attribute("src")
    page.get_by_role("radio", name="64 colours, lossy 0").click()
    assert line.text_content() == "kmeans-dask compress photos OUTPUT --colors 64"
    assert after.first.get_attribute("src") != before
    assert page.get_by_role("radio", name="64 colours, lossy 0").get_attribute("tabindex") == "0"
    for key, expected in (
        ("ArrowLeft", "16"),
        ("ArrowDown", "16 --lossy 2"),
        ("ArrowDown", "16 --lossy 2"),
    ):
        page.keyboard.press(key)
        assert str(line.text_content()).endswith(f"--colors {expected}")
    assert page.locator("svg [aria-checked=true]").count() == 1
    # of two points that are near to each other, the nearer one is chosen
    box = page.get_by_role("radio", name="16 colours, lossy 0").locator(".dot").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] + 3, box["y"] + 3)
    assert str(line.text_content()).endswith("--colors 16")
    page.locator("#points tbody tr").nth(0).click()
    assert "4" in str(figures.text_content())
    tag = page.locator(".crop").first.locator(".side").nth(1).locator(".tag")
    assert tag.text_content() == "kept as it is"
    page.locator("#choose-colors").select_option("64")
    page.locator("#choose-lossy").select_option("2")
    assert str(line.text_content()).endswith("--colors 64 --lossy 2")
    page.get_by_role("radio", name="PSNR", exact=True).check()
    assert (
        page.get_by_role("radio", name="64 colours, lossy 2").get_attribute("aria-checked")
        == "true"
    )
    assert "PSNR" in str(page.locator("#chart-curve svg").get_attribute("aria-label"))
    shown = page.locator(".crop .before").first
    assert shown.evaluate("image => [image.naturalWidth, image.clientWidth]") == [40, 80]
    assert shown.evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"
    assert not wrong
    page.close()


def test_the_command_is_copied(browser: Browser, tmp_path: Path) -> None:
    page, wrong = show(
        browser, render_sweep_report(swept(), command()), tmp_path,
        permissions=["clipboard-read", "clipboard-write"],
    )  # fmt: skip
    page.get_by_role("button", name="Copy").click()
    page.locator("#copied", has_text="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#command").text_content()
    assert not wrong
    page.close()


@pytest.mark.parametrize("width", [320, 1280])
def test_hostile_names_stay_text_and_nothing_overflows(
    width: int, browser: Browser, tmp_path: Path
) -> None:
    failures = tuple(Failure(name, name) for name in STRANGE)
    html = render_sweep_report(
        swept(crops=5, failures=failures), command(*map(Path, STRANGE), include=STRANGE[:2])
    )
    page, wrong = show(browser, html, tmp_path, viewport={"width": width, "height": 700})
    assert EVIL in str(page.locator("header").text_content())
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not wrong
    page.close()


def test_points_that_lose_nothing_or_are_all_kept_are_drawn(
    browser: Browser, tmp_path: Path
) -> None:
    points = (
        Point(4, 0.0, 4, 9, None, None, None, 0, 0.0, 500, 5),
        Point(16, 0.0, 16, 9, None, None, 100.0, 1, 0.0, 0, 0),
    )
    found = swept(points=points, crops=0, suggested=None, suggested_lossy=None, input_bytes=0)
    page, wrong = show(browser, render_sweep_report(found, command()), tmp_path)
    assert "all kept" in str(page.locator("#figures").text_content())
    for name in ("PSNR", "SSIMULACRA2"):
        page.get_by_role("radio", name=name, exact=True).check()
        assert "NaN" not in page.locator("#chart-curve").inner_html()
    assert not wrong
    page.close()
