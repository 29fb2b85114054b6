from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WITH_WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
Launch = Callable[[Sequence[str]], "Browser"]


@pytest.fixture(scope="module")
def launch() -> Iterator[Launch]:
    """Starts Chromium with options."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium, Debian's package of that name")
    with sync_api.sync_playwright() as playwright:
        browsers: list[Browser] = []

        def with_options(options: Sequence[str]) -> Browser:
            args = ["--no-sandbox", *options]
            browsers.append(playwright.chromium.launch(executable_path=chromium, args=args))
            return browsers[-1]

        yield with_options
        for browser in browsers:
            browser.close()


@pytest.fixture(scope="module")
def browser(launch: Launch) -> Browser:
    return launch(WITH_WEBGL)
