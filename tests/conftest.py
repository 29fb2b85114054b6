from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import skimage.data
from PIL import Image

from kmeans_dask.engine import local_cluster

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Launch = Callable[[Sequence[str]], "Browser"]
SHARED = Path(__file__).parents[2] / "shared" / "data"


# Files and folders whose tests start clusters, servers, browsers or many commands: `make test`
# leaves them out, `make test-all` and CI run them.
SLOW = (
    "clusters",
    "compose",
    "reliability",
    "dashboard",
    "cli/test_compress.py",
    "cli/test_compress_formats.py",
    "cli/test_compress_palettes.py",
    "cli/test_compress_refusals.py",
    "cli/test_inspect_files.py",
    "engine/test_engine.py",
    "files/test_faults.py",
    "files/test_jobs_on_buckets.py",
    "files/test_locks.py",
    "files/test_object_requests.py",
    "files/test_retries.py",
    "formats/test_matrix_browser.py",
    "kmeans/test_precompile.py",
    "report",
    "security/test_bombs.py",
    "security/test_current_folder.py",
    "security/test_disk.py",
    "security/test_sockets.py",
    "security/test_stores.py",
    "security/test_stores_arrays.py",
    "security/test_stores_documents.py",
    "security/test_work.py",
    "test_compose.py",
    "test_examples.py",
    "test_interrupts.py",
    "test_readme.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests below `SLOW` as slow."""
    here = Path(__file__).parent
    slow = [here / name for name in SLOW]
    for item in items:
        if any(item.path == path or path in item.path.parents for path in slow):
            item.add_marker("slow")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--chaos", action="store_true", help="Try in their long form what takes minutes."
    )
    parser.addoption("--figures", metavar="FILE", help="Write there, too, what that measures.")


@pytest.fixture(autouse=True, scope="session")
def _any_dashboard_port() -> Iterator[None]:
    """Let local clusters of the tests' own processes take any port for their dashboard.

    Where several processes want one port at the same moment, Dask leaves a socket open, which is a
    ResourceWarning: an error here.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_cluster, "_DASHBOARD_PORT", 0)
        yield


@pytest.fixture(scope="session")
def chaos(request: pytest.FixtureRequest) -> bool:
    """Return whether tests run in their long form, as `--chaos` asks."""
    return bool(request.config.getoption("--chaos"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real images beside the checkout, where there are any."""
    if not SHARED.is_dir():
        pytest.skip("needs the optional folder of real images, ../shared/data")
    return SHARED


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photographs, with a folder inside, in three formats."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "cats").mkdir()
    photograph("astronaut.png", (300, 200)).save(folder / "astronaut.png")
    photograph("chelsea.png", (201, 133)).save(folder / "cats" / "chelsea.jpg", quality=90)
    photograph("coffee.png", (240, 160)).save(folder / "coffee.webp", lossless=True)
    photograph("rocket.jpg", (160, 107)).convert("L").save(folder / "grey rocket.png")
    return folder


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
    return launch(())


def photograph(name: str, size: tuple[int, int]) -> Image.Image:
    """One of the photographs that scikit-image installs, made small; without its metadata."""
    with Image.open(Path(skimage.data.data_dir) / name) as image:
        small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    return Image.fromarray(np.asarray(small))


def pixels_of(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The pixels of an image file, (n, 3), by Pillow alone."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).reshape(-1, 3)
