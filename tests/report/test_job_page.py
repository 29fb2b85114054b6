from __future__ import annotations

import base64
import io
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.report.job_page import render_report
from tests.conftest import Launch, photograph
from tests.report.pages import Reader, show

if TYPE_CHECKING:
    from playwright.sync_api import (
        Browser,
        Locator,
        Page,
    )

PATIENCE = 300  # seconds for a page to do what it should
EVIL = "<img src=x onerror=alert(1)>.png"
STRANGE = (
    EVIL,
    "two\nlines.png",
    "\N{GRINNING FACE}.png",
    "</script><script>alert(1)</script>.png",
    "\u2028\u2029\u202e.png",
    "\udcff.png",
    "'\"&amp;<!--.png",
    "{{ 7 * 7 }}.png",
)


def row(name: str, path: str = "gone.png", **other: Any) -> dict[str, Any]:
    return {
        "name": name, "output": name, "path": path, "status": "compressed",
        "input_bytes": 40_000, "output_bytes": 12_345, "psnr": 31.5,
    } | other  # fmt: skip


def job(images: int = 120, **other: Any) -> dict[str, Any]:
    """Data of a job of so many images, of which none is there, and as many failures."""
    chance = random.Random(0)
    rows = [
        row(f"a/{n:04}.png", input_bytes=50_000 + n, output_bytes=chance.randrange(9_000, 60_000),
            psnr=None if n % 9 == 0 else chance.gauss(33, 2), status="kept" if n % 7 == 0
            else "compressed")
        for n in range(images)
    ]  # fmt: skip
    colors = ["#00000000", "#102030", "#8090a0", "#ffeedd", "#40c08080"]
    before = [f"#{chance.randrange(1 << 24):06x}" for _ in range(2_000)]
    summary = {
        "images": 2 * images, "compressed": images, "kept": 0, "below_target": 1, "private": 2,
        "failed": images, "skipped": 3, "composited": 4, "pixels": 1_234_567,
        "distinct_colors": 23_456, "colors": 5, "iterations": 12, "converged": False,
        "inertia": 4.76443e8, "psnr": 32.663, "input_bytes": 4_000_000, "output_bytes": 1_000_000,
        "images_per_gb": {"before": 2166.4, "after": 9094.1}, "seconds": {"plan": 0.01, "fit": 1.2},
        "failures": [
            {"path": f"bad/{n:04}.png", "reason": "the file is empty"} for n in range(images)
        ],
    }  # fmt: skip
    return {
        "version": "0.1.0", "versions": {"numpy": "2.4.6"}, "created": "2026-11-24T13:00:00+00:00",
        "inputs": ["photos"], "output": "out",
        "settings": {"scope": "shared", "fit": {"colors": 5, "seed": 20261124, "fixed": []},
                     "encode": {"format": "png", "always": False}},
        "summary": summary, "history": [4e9, 1e9, 5e8, 4.8e8],
        "palette": {"colors": colors, "pixels": [None, 1, 2, 4, 1]},
        "cloud": {"before": before, "after": [colors[1 + n % 3] for n in range(2_000)]},
        "ratio_histogram": {"edges": [0, 0.5, 1, 1.5], "counts": [3, 9, 1]},
        "psnr_histogram": {"edges": [20, 30, 40], "counts": [5, 8]},
        "rows": rows, "rows_left_out": 0, "worst": [], "best": [],
    } | other  # fmt: skip


NO_PALETTE = dict.fromkeys(("distinct_colors", "colors", "iterations", "converged", "inertia"))


def bare() -> dict[str, Any]:
    """Data of a job in which nothing could be read."""
    amounts = ("images", "compressed", "kept", "below_target", "private", "failed", "skipped",
               "composited", "pixels", "input_bytes", "output_bytes")  # fmt: skip
    nothing: dict[str, Any] = {"psnr": None, "images_per_gb": {"before": None, "after": None},
                               "seconds": {}, "failures": []}  # fmt: skip
    summary = dict.fromkeys(amounts, 0) | NO_PALETTE | nothing
    return job(0, summary=summary, history=[], palette=None, cloud=None,
               ratio_histogram={"edges": [], "counts": []},
               psnr_histogram={"edges": [0, 1], "counts": [0]})  # fmt: skip


def picture(folder: Path, name: str, size: tuple[int, int] = (600, 300)) -> dict[str, Any]:
    """The row of a photograph, before in `in`, after in `out`."""
    for into in ("in", "out"):
        (folder / into).mkdir(exist_ok=True)
        photograph("chelsea.png", size).save(folder / into / name, format="PNG")
    return row(name, str(folder / "in" / name))


def test_a_job_with_everything_has_all_sections_and_its_numbers(tmp_path: Path) -> None:
    reader = Reader(render_report(job(worst=[picture(tmp_path, "a.png")]), tmp_path / "out"))
    assert reader.sections == [
        "totals", "palette", "space", "charts", "pictures", "images", "failures", "settings"
    ]  # fmt: skip
    text = " ".join(" ".join(reader.texts).split())
    for said in ("75.0 % saved", "4.0 MB", "1.0 MB", "32.66 dB", "2,166 → 9,094",
                 "10 9 bytes over the mean size", "estimate", "24 November 2026, 13:00 UTC",
                 "stopped before", "12.50 %", "clear", "20261124"):  # fmt: skip
        assert said in text
    assert len(reader.data["rows"]) == 120


def test_sections_without_data_are_left_out(tmp_path: Path) -> None:
    html = render_report(bare(), tmp_path)
    assert Reader(html).sections == ["totals", "settings"]
    assert len(html) < 50_000  # nothing to plot, no plotly


def test_a_job_without_a_shared_palette_has_all_else(tmp_path: Path) -> None:
    data = job(history=[], palette=None)
    data["summary"] |= NO_PALETTE
    html = render_report(data, tmp_path)
    assert "palette" not in Reader(html).sections
    assert "Shared palette" not in html
    assert "chart-ratio" in html
    assert 'id="chart-history"' not in html


def test_unknown_shares_and_no_loss_are_said_in_words(tmp_path: Path) -> None:
    data = job(palette={"colors": ["#102030"], "pixels": [None]})
    data["summary"]["psnr"] = None
    text = " ".join(Reader(render_report(data, tmp_path)).texts)
    assert "nothing lost" in text
    assert "\N{EN DASH}" in text


@pytest.mark.parametrize("name", STRANGE)
def test_names_and_messages_are_text_wherever_they_stand(name: str, tmp_path: Path) -> None:
    plain = job(3, worst=[picture(tmp_path, "a.png") | {"name": "a.png"}])
    strange = job(3, worst=[plain["worst"][0] | {"name": name}])
    strange["rows"][0] |= {"name": name, "output": name}
    strange["summary"]["failures"][0] = {"path": name, "reason": name}
    strange |= {"inputs": [name], "output": name, "version": name, "created": name,
                "versions": {name: name}}  # fmt: skip
    strange["settings"] = {"scope": name, "fit": {name: name}, "encode": {"format": [name]}}
    html = render_report(strange, tmp_path / "out")
    assert html.encode()
    reader, usual = Reader(html), Reader(render_report(plain, tmp_path / "out"))
    known = {(tag, key) for tag, at in usual.tags for key in at}
    assert {(tag, key) for tag, at in reader.tags for key in at} == known
    assert len(reader.scripts) == 3
    assert not re.search("[\u2028\u2029\u202e<>&\n]", reader.scripts[0])
    shown = reader.data["rows"][0][0]
    assert shown == "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in name
    )
    assert reader.data["failures"][0] == [shown, shown]
    assert any(shown in text for text in reader.texts)


def test_what_is_no_colour_never_comes_into_a_style(tmp_path: Path) -> None:
    evil = "red; background: url(https://example.org)"
    html = render_report(
        job(palette={"colors": [evil, "#102030"], "pixels": [1, 1]},
            cloud={"before": [evil, "#102030"], "after": ["#102030", "#00000000"]}),
        tmp_path,
    )  # fmt: skip
    assert "example.org" not in html
    assert Reader(html).data["cloud"] == {"before": ["#102030"], "after": ["#102030"]}


def test_numbers_that_json_has_not_are_left_out(tmp_path: Path) -> None:
    reader = Reader(render_report(job(1, rows=[row("a", psnr=float("inf"))]), tmp_path))
    assert reader.data["rows"][0][5] is None


def test_the_policy_names_the_scripts_that_run_and_no_other_source(tmp_path: Path) -> None:
    (policy,) = (at["content"] for _, at in Reader(render_report(job(), tmp_path)).tags
                 if "http-equiv" in at)  # fmt: skip
    assert policy
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert len(re.findall("'sha256-[^']{44}'", policy)) == 2
    assert "unsafe-eval" not in policy
    assert "script-src 'unsafe-inline'" not in policy


def test_thumbnails_are_scaled_alike_and_each_image_is_shown_once(tmp_path: Path) -> None:
    rows = [picture(tmp_path, f"{n}.png", (600, 300)) for n in range(9)]
    html = render_report(job(worst=rows[:8], best=rows[5:]), tmp_path / "out")
    pictures = Reader(html).pictures
    assert len(pictures) == 2 * (6 + 1)
    for uri in pictures:
        kind, _, code = uri.partition(",")
        assert kind == "data:image/webp;base64"
        with Image.open(io.BytesIO(base64.b64decode(code))) as image:
            assert image.size == (420, 210)


def test_files_that_are_gone_broken_huge_or_no_files_cost_their_thumbnail_only(
    tmp_path: Path,
) -> None:
    fine = picture(tmp_path, "fine.png")
    hostile = [picture(tmp_path, f"{n}.png") for n in range(5)]
    paths = [Path(each["path"]) for each in hostile]
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:200])
    header = bytearray(paths[2].read_bytes())
    header[16:24] = (100_000).to_bytes(4, "big") * 2
    paths[2].write_bytes(header)
    paths[3].unlink()
    os.mkfifo(paths[3])
    (tmp_path / "out" / "4.png").write_bytes(b"no image")
    pictures = Reader(render_report(job(worst=hostile, best=[fine]), tmp_path / "out")).pictures
    assert len(pictures) == 2


@pytest.mark.parametrize("name", ["../in/a.png", "{}/in/a.png", "link.png", "nul\0.png"])
def test_outputs_are_read_below_the_output_folder_only(name: str, tmp_path: Path) -> None:
    one = picture(tmp_path, "a.png")
    (tmp_path / "out" / "link.png").symlink_to(tmp_path / "in" / "a.png")
    worst = [one | {"output": name.format(tmp_path)}]
    assert not Reader(render_report(job(worst=worst), tmp_path / "out")).pictures


def test_a_thousand_images_with_noisy_thumbnails_stay_below_8_mb(
    tmp_path: Path,
) -> None:
    (tmp_path / "out").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (420, 420, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "out" / "a.png")
    path = str(tmp_path / "out" / "a.png")
    worst = [row("a.png", path)] * 6
    (tmp_path / "out" / "b.png").symlink_to(path)
    data = job(1_000)
    best = [row("b.png", path)] * 6
    html = render_report(data | {"worst": worst, "best": best}, tmp_path / "out")
    assert len(Reader(html).pictures) == 24
    assert len(html.encode()) < 8_000_000


# ---- in a browser

Open = Callable[..., "Page"]


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens the report of some data; in the end the page must have done nothing wrong."""
    shown = []

    def of(data: dict[str, Any], **options: Any) -> Page:
        shown.append(show(browser, render_report(data, tmp_path / "out"), tmp_path, **options))
        return shown[-1][0]

    yield of
    for page, wrong in shown:
        page.close()
        assert not wrong


def camera(page: Page, name: str) -> Any:
    return page.evaluate(
        "(id) => document.getElementById(id)._fullLayout.scene._scene.getCamera().eye", name
    )


def near(eye: dict[str, float], other: dict[str, float]) -> bool:
    return all(abs(eye[axis] - other[axis]) < 1e-3 for axis in "xyz")


def turned(page: Page, name: str, was: dict[str, float]) -> bool:
    return not near(camera(page, name), was)


def together(page: Page) -> bool:
    return near(camera(page, "cloud-before"), camera(page, "cloud-after"))


def until(page: Page, holds: Callable[[], bool]) -> None:
    """Wait; not by a function in the page, which its policy forbids."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it never came about"
        page.wait_for_timeout(50)


def column(table: Locator, number: int) -> list[str]:
    return table.locator(f"tbody tr > :nth-child({number})").all_text_contents()


def test_the_mouse_turns_a_cloud_and_the_other_follows(opened: Open) -> None:
    page = opened(job())
    assert page.locator("#no-webgl").is_hidden()
    start = camera(page, "cloud-before")
    for name in ("cloud-before", "cloud-after"):
        page.locator(f"#{name}").scroll_into_view_if_needed()
        box = page.locator(f"#{name}").bounding_box()
        assert box
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        was = camera(page, name)

        def turns(name: str = name, x: float = x, y: float = y, was: Any = was) -> bool:
            """Drag, and return whether the cloud has turned: a busy page may miss a drag."""
            page.mouse.move(x, y)
            page.mouse.down()
            page.mouse.move(x + 60, y + 30, steps=4)
            page.mouse.up()
            page.wait_for_timeout(500)
            return turned(page, name, was) and together(page)

        until(page, turns)
    assert not near(camera(page, "cloud-before"), start)


def test_the_arrow_keys_turn_a_cloud_and_the_other_follows(opened: Open) -> None:
    page = opened(job())
    was = camera(page, "cloud-after")
    page.locator("#cloud-before").press("ArrowRight")
    until(page, partial(turned, page, "cloud-after", was))
    assert camera(page, "cloud-after")["z"] == pytest.approx(was["z"], abs=1e-3)


def test_the_slider_cuts_both_images_by_mouse_and_by_keyboard(opened: Open, tmp_path: Path) -> None:
    page = opened(job(worst=[picture(tmp_path, "a.png") | {"name": EVIL}]))
    compare = page.locator(".compare")
    slider = compare.get_by_role("slider", name=f"How much of {EVIL} is shown")
    clip = "(image) => getComputedStyle(image).clipPath"

    def clips() -> tuple[str, str]:
        return compare.locator(".before").evaluate(clip), compare.locator(".after").evaluate(clip)

    assert clips() == ("inset(0px 50% 0px 0px)", "inset(0px 0px 0px 50%)")
    slider.press("ArrowRight")
    assert clips()[1] == "inset(0px 0px 0px 51%)"
    box = slider.bounding_box()
    assert box
    slider.click(position={"x": box["width"] * 0.2, "y": box["height"] / 2})
    at = float(slider.input_value())
    assert at == pytest.approx(20, abs=3)
    assert clips()[1] == f"inset(0px 0px 0px {at:g}%)"
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth === 420)")


def test_the_table_is_paged_sorted_and_filtered(opened: Open) -> None:
    page = opened(job())
    table = page.locator("#images")
    where = table.get_by_role("status")
    assert where.text_content() == "1\N{EN DASH}50 of 120"
    assert len(column(table, 1)) == 50
    table.get_by_role("button", name="Next page of images").click()
    table.get_by_role("button", name="Next page of images").click()
    assert where.text_content() == "101\N{EN DASH}120 of 120"
    assert column(table, 1)[0] == "a/0100.png"
    assert table.get_by_role("button", name="Next page of images").is_disabled()
    table.get_by_role("button", name="Previous page of images").click()
    assert where.text_content() == "51\N{EN DASH}100 of 120"

    def loss(text: str) -> float:
        return float("inf") if text == "nothing lost" else float(text.removesuffix(" dB"))

    for key, direction in ((1, "ascending"), (-1, "descending")):
        table.get_by_role("button", name="PSNR").click()
        assert where.text_content() == "1\N{EN DASH}50 of 120"
        values = [key * loss(text) for text in column(table, 7)]
        assert values == sorted(values)
        assert table.locator(f"th[aria-sort={direction}]").text_content() == "PSNR"
    table.get_by_role("button", name="Name").click()
    assert column(table, 1)[0] == "a/0000.png"

    search = table.get_by_role("searchbox")
    search.fill("KEPT")
    assert where.text_content() == "1\N{EN DASH}18 of 18"
    assert set(column(table, 3)) == {"kept"}
    assert table.get_by_role("button", name="Next page of images").count() == 0
    search.fill("no such image")
    assert where.text_content() == "none"
    search.fill("")
    assert where.text_content() == "1\N{EN DASH}50 of 120"


def test_the_failures_are_paged_too(opened: Open) -> None:
    page = opened(job())
    table = page.locator("#failures")
    table.get_by_role("button", name="Next page of failures").click()
    assert table.get_by_role("status").text_content() == "51\N{EN DASH}100 of 120"
    assert column(table, 1)[0] == "bad/0050.png"
    assert column(table, 2)[0] == "the file is empty"


def test_strange_names_are_shown_as_text(opened: Open, tmp_path: Path) -> None:
    data = job(0, rows=[row(name) for name in STRANGE])
    data["inputs"] = list(STRANGE)
    data["worst"] = [picture(tmp_path, "a.png") | {"name": EVIL}]
    data["summary"]["failures"] = [{"path": name, "reason": name} for name in STRANGE]
    page = opened(data)
    assert column(page.locator("#images"), 1)[:2] == [EVIL, r"two\nlines.png"]
    assert column(page.locator("#failures"), 2)[2:4] == list(STRANGE[2:4])
    assert page.locator(".compare img").first.get_attribute("alt") == f"{EVIL}, before"
    assert page.locator("img[src=x]").count() == 0


def test_the_page_and_its_plots_follow_dark_and_light(opened: Open) -> None:
    page = opened(job(), color_scheme="light")

    def looks() -> tuple[str, str]:
        return (
            page.evaluate("getComputedStyle(document.body).backgroundColor"),
            page.evaluate("document.getElementById('chart-ratio').data[0].marker.color"),
        )

    light = looks()
    start = camera(page, "cloud-before")
    page.locator("#cloud-before").press("ArrowLeft")
    until(page, partial(turned, page, "cloud-before", start))
    left = camera(page, "cloud-before")
    page.emulate_media(color_scheme="dark")
    until(page, lambda: all(now != then for now, then in zip(looks(), light, strict=True)))
    page.wait_for_timeout(300)
    assert near(camera(page, "cloud-before"), left)


def test_a_page_400_pixels_wide_does_not_scroll_sideways(opened: Open, tmp_path: Path) -> None:
    worst = [picture(tmp_path, "a.png") | {"name": "n" * 300}]
    data = job(worst=worst, inputs=["folder" * 60], versions={"x" * 80: "y" * 80})
    data["rows"][0]["name"] = "n" * 300
    page = opened(data, viewport={"width": 400, "height": 800})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") == 400


def test_pages_without_data_work(opened: Open) -> None:
    assert opened(bare()).locator("section[id]").count() == 2


def test_without_webgl_a_sentence_stands_in_place_of_the_clouds(
    launch: Launch, tmp_path: Path
) -> None:
    browser = launch(["--disable-3d-apis"])
    page, wrong = show(browser, render_report(job(), tmp_path), tmp_path)
    assert page.locator("#no-webgl").is_visible()
    assert page.locator("#clouds").is_hidden()
    assert page.locator("#chart-history .main-svg").first.is_visible()
    assert len(column(page.locator("#images"), 1)) == 50
    assert not wrong
