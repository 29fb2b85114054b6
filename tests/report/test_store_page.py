from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.engine import connect
from kmeans_dask.images.palette_files import hexes_of
from kmeans_dask.job.fit_result import read_fit
from kmeans_dask.job.progress import Progress
from kmeans_dask.report import store_page
from kmeans_dask.report.inventory import take_inventory
from kmeans_dask.report.store_page import render_store_report
from kmeans_dask.settings import FitSettings
from kmeans_dask.steps.fit import fit
from kmeans_dask.store import Store
from tests.conftest import photograph
from tests.report.pages import Reader, show
from tests.steps.strategies import ingested

if TYPE_CHECKING:
    from playwright.sync_api import Browser

EVIL = "<img src=x onerror=alert(1)>"


def store_at(path: Path, folder: Path, *colors: int) -> Path:
    """A store of the images in `folder`, with palettes of so many colours."""
    store = ingested([folder], path, partition_pixels=9000)
    with connect(workers=0) as engine:
        for k in colors:
            fit(store, engine, Progress(), FitSettings(k))
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of hostile names, with a broken image, and two palettes."""
    base = tmp_path_factory.mktemp("store")
    folder = base / EVIL
    folder.mkdir()
    photograph("coffee.png", (120, 80)).save(folder / "a.png")
    rgba = np.dstack([np.asarray(photograph("rocket.jpg", (90, 60))), np.full((60, 90), 255)])
    rgba[:30, :, 3] = 0
    Image.fromarray(rgba.astype(np.uint8)).save(folder / "b.png")
    whole = (folder / "a.png").read_bytes()
    (folder / f"{EVIL}.png").write_bytes(whole[: len(whole) // 2])
    return store_at(base / "photos.zarr", folder, 16, 8)


def test_a_store_is_told_of_with_all_its_palettes(store: Path) -> None:
    reader = Reader(render_store_report(take_inventory(store)))
    assert reader.sections == ["totals", "palettes", "space", "charts", "failures", "settings"]
    text = " ".join(" ".join(reader.texts).split())
    histogram = Store.open(store).read_colors()
    for said in (f"{len(histogram):,}", "15,000", "1 more failed", "1 with clear pixels",
                 "in 3 partitions", "clear", "palette k8", "Fit of k16"):  # fmt: skip
        assert said in text
    for name in ("k8", "k16"):
        fitted = read_fit(Store.open(store), name)
        assert f"PSNR {fitted.psnr:.2f} dB, inertia {fitted.inertia:.6g}" in text
        assert set(hexes_of(fitted.palette.entries)) <= set(text.split())
    assert reader.data["history"] == list(read_fit(Store.open(store), "k8").history)
    assert len(set(reader.data["cloud"]["after"])) == 7  # of 8, one is clear
    assert reader.data["failures"][0][0].endswith(f"{EVIL}/{EVIL}.png")
    assert not any(tag == "img" for tag, _ in reader.tags)


def test_the_palette_that_is_named_comes_first_and_is_the_one_looked_at(store: Path) -> None:
    reader = Reader(render_store_report(take_inventory(store, "k16")))
    assert len(set(reader.data["cloud"]["after"])) == 15
    heads = [text.strip() for text in reader.texts if text.strip() in ("k8", "k16")]
    assert heads == ["k16", "k8"]


def test_a_store_without_a_palette_has_no_section_of_palettes(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    photograph("coffee.png", (12, 8)).save(tmp_path / "in" / "a.png")
    html = render_store_report(take_inventory(store_at(tmp_path / "a.zarr", tmp_path / "in")))
    assert Reader(html).sections == ["totals", "settings"]
    assert len(html) < 50_000


def test_of_a_large_palette_the_colours_of_most_pixels_are_shown(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_page, "_ENTRIES", 3)
    reader = Reader(render_store_report(take_inventory(store)))
    assert "5 more, of the fewest pixels, are left out" in " ".join(reader.texts)
    fitted = read_fit(Store.open(store), "k8")
    most = np.sort(np.argsort(-fitted.weights, kind="stable")[:3])
    shown = [text.strip() for text in reader.texts if text.strip().startswith("#")]
    assert shown[:3] == hexes_of(fitted.palette.entries[most + 1])


def test_it_opens_in_a_browser_and_asks_for_nothing(
    store: Path, browser: Browser, tmp_path: Path
) -> None:
    page, wrong = show(browser, render_store_report(take_inventory(store)), tmp_path)
    assert page.title() == "Store report \N{EN DASH} kmeans-dask"
    assert page.locator("#cloud-after canvas").count() > 0
    assert page.locator("#chart-history .main-svg").first.is_visible()
    assert EVIL in (page.locator("#failures tbody tr").first.text_content() or "")
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href") or "none").count() == 1
    assert page.locator("img").count() == 0
    assert not wrong
    page.close()
