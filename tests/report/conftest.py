from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import Launch

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WITH_WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@pytest.fixture(scope="module")
def browser(launch: Launch) -> Browser:
    return launch(WITH_WEBGL)
