"""Real jobs, watched in a browser on the dashboard's page while they run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from distributed import LocalCluster
from PIL import Image

from kmeans_dask.dashboard import install
from tests.browser import opened, squares
from tests.command import palette_file, run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SECONDS = 120  # in which anything that is waited for must come
ENDLESS = ("--colors", "128", "--tol", "0", "--n-init", "1000000")  # only an interrupt ends it

CURVE = """() => {
    const figure = Bokeh.documents[0].roots()[0].children.find(child => child.renderers);
    const {number, inertia} = figure.renderers[0].data_source.data;
    return [Array.from(number), Array.from(inertia)];
}"""
NAMES = """() => Array.from(Bokeh.documents[0]._all_models.values())
    .flatMap(model => model.data?.name ? Array.from(model.data.name) : [])"""


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    """One that is still there when a job is over."""
    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as local:
        assert install(local.scheduler)
        yield local


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """An image of which nearly every pixel has a colour of its own."""
    pixels = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


@contextmanager
def job(*words: str | Path) -> Iterator[subprocess.Popen[str]]:
    environment = {k: v for k, v in os.environ.items() if k != "DASK_SCHEDULER_ADDRESS"}
    with subprocess.Popen(
        [sys.executable, "-m", "kmeans_dask", *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def our_page(cluster: LocalCluster) -> str:
    scheduler: Any = cluster.scheduler
    return f"http://127.0.0.1:{scheduler.http_server.port}/kmeans"


def until(page: Page, holds: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, "it never came about"
        page.wait_for_timeout(50)


def curve(page: Page) -> list[tuple[int, float]]:
    """Number and inertia of each iteration."""
    return list(zip(*page.evaluate(CURVE), strict=True))


def see_it_converge(page: Page) -> None:
    """Wait until the palette has changed and the curve has gone on, within one start."""
    page.get_by_text("running").wait_for()
    page.locator(".squares i").first.wait_for()
    first = squares(page)
    seen: list[tuple[int, float]] = []

    def has_changed() -> bool:
        now = squares(page)
        return len(now) == len(first) and now != first

    def has_grown() -> bool:
        before, seen[:] = list(seen), curve(page)
        return 0 < len(before) < len(seen) and seen[: len(before)] == before

    until(page, has_changed)
    until(page, has_grown)
    numbers, values = zip(*seen, strict=True)
    assert list(numbers) == sorted(set(numbers))
    assert list(values) == sorted(values, reverse=True)


def test_a_local_job_is_seen_at_the_address_that_it_prints(
    browser: Browser, noise: Path, tmp_path: Path
) -> None:
    with job("compress", noise, tmp_path / "out", *ENDLESS, "--workers", "1") as process:
        assert process.stderr
        found = re.search(r"dashboard: (http://127\.0\.0\.1:\d+)/status", process.stderr.readline())
        assert found
        with opened(browser, f"{found[1]}/kmeans", SECONDS) as page:
            see_it_converge(page)
            bars = page.get_by_role("progressbar")
            kinds = bars.evaluate_all("bars => bars.map(bar => [bar.ariaLabel, bar.className])")
            assert kinds == [
                ["ingest", "bar done"], ["count", "bar done"], ["fit", "bar unknown"]
            ]  # fmt: skip


def test_dasks_own_pages_lead_to_ours_and_name_our_tasks(
    browser: Browser, cluster: LocalCluster, photos: Path, tmp_path: Path
) -> None:
    address = our_page(cluster)
    # Not complained of: Dask's pages warn of things of their own.
    page = browser.new_page()
    page.set_default_timeout(1000 * SECONDS)
    page.goto(address.replace("kmeans", "individual-task-stream"))
    page.wait_for_function("Bokeh.documents.length === 1")
    run("compress", photos, tmp_path / "out", "--scheduler", cluster.scheduler_address)
    names = {"ingest", "merge-histograms", "fit", "encode"}
    until(page, lambda: names <= set(page.evaluate(NAMES)))
    page.goto(address.replace("kmeans", "status"))
    page.get_by_role("link", name="Kmeans").click()
    page.get_by_text("finished").wait_for()
    assert page.url == address
    page.close()


def test_the_page_is_there_before_a_job_and_after_it(
    browser: Browser, cluster: LocalCluster, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with opened(browser, our_page(cluster), SECONDS) as page:
        page.get_by_text("no job has reported here yet").wait_for()
        words = ("--colors", "8", "--fixed-colors", "#f0f")
        run("compress", photos, out, *words, "--scheduler", cluster.scheduler_address)
        page.get_by_text("finished").wait_for()
        bars = page.get_by_role("progressbar")
        kinds = bars.evaluate_all("bars => bars.map(bar => [bar.ariaLabel, bar.className])")
        assert kinds == [[step, "bar done"] for step in ("ingest", "count", "fit", "encode")]
        assert page.get_by_text("4 / 4 images").count() == 2
        assert squares(page) == palette_file(out)["colors"]


def test_the_page_sees_a_fit_interrupted(
    browser: Browser, cluster: LocalCluster, noise: Path, tmp_path: Path
) -> None:
    store, place = tmp_path / "noise.zarr", ("--scheduler", cluster.scheduler_address)
    run("ingest", noise, store, *place)
    with opened(browser, our_page(cluster), SECONDS) as page:
        page.get_by_text("finished").wait_for()
        with job("fit", store, *ENDLESS, *place) as process:
            see_it_converge(page)
            process.send_signal(signal.SIGINT)
            page.get_by_text("interrupted").wait_for()
            assert process.wait(SECONDS) == 128 + signal.SIGINT
        assert page.get_by_role("progressbar").get_attribute("class") == "bar stopped"
        assert len(squares(page)) == 128
