"""Make the documentation's pictures again: of a report, and of the dashboard during a job.

    python docs/pictures.py IMAGE...

`make pictures` gives it the demo's photographs. Needs Playwright and Debian's chromium.
"""

from __future__ import annotations

import io
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, FloatRect, Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
WITH_WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
JOB = (sys.executable, "-m", "kmeans_dask", "compress", "photos")
TIMEOUT = 120_000  # milliseconds
SCALE = 1.5  # pixels of a picture, of one of the page
CONVERGING = """() => {
    const figure = Bokeh.documents[0]?.roots()[0].children.find(child => child.renderers);
    return figure?.renderers[0].data_source.data.number.length > 20;
}"""


def save(shot: bytes, name: str) -> None:
    """As WebP, which is a fraction of the PNG."""
    with Image.open(io.BytesIO(shot)) as image:
        image.convert("RGB").save(IMAGES / name, quality=80, method=6)
    print(f"{name}: {(IMAGES / name).stat().st_size / 1000:.0f} kB")


def above(page: Page, last: str, room: int) -> FloatRect:
    """What is seen down to the first of `last`, and some room below."""
    box = page.locator(last).first.bounding_box()
    assert box
    return {"x": 0, "y": 0, "width": 1100, "height": box["y"] + box["height"] + room}


def picture_report(browser: Browser, file: Path) -> None:
    """Its top down to the clouds of colour, and the worst images with their sliders."""
    page = browser.new_page(
        viewport={"width": 1100, "height": 2600}, device_scale_factor=SCALE, color_scheme="light"
    )
    page.goto(file.as_uri())
    page.locator("html[data-drawn=yes]").wait_for(state="attached", timeout=TIMEOUT)
    page.locator("#palette summary").click()  # closed, there is room for the clouds
    save(page.screenshot(clip=above(page, "#space", 30)), "report.webp")
    page.set_viewport_size({"width": 1100, "height": 700})
    page.locator("#pictures input").first.fill("30")
    page.locator("#pictures").evaluate("part => part.scrollIntoView({behavior: 'instant'})")
    save(page.screenshot(clip=above(page, "#pictures .card", 16)), "slider.webp")
    page.close()


def picture_dashboard(browser: Browser, folder: Path) -> None:
    """While a fit converges."""
    words = [*JOB, "again", "--colors", "64", "--tol", "0", "--n-init", "100000"]
    with subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True) as job:
        assert job.stderr
        found = re.search(r"dashboard: (\S+)/status", job.stderr.readline())
        assert found
        page = browser.new_page(viewport={"width": 1180, "height": 640}, device_scale_factor=SCALE)
        page.goto(f"{found[1]}/kmeans")
        page.wait_for_function(CONVERGING, timeout=TIMEOUT)
        page.wait_for_timeout(300)  # that the canvas is drawn, too
        save(page.screenshot(), "dashboard.webp")
        page.close()
        job.send_signal(signal.SIGINT)


def main() -> None:
    """Run the jobs, and take the pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="demo-") as name, sync_playwright() as playwright:
        folder = Path(name)
        (folder / "photos").mkdir()
        for image in sys.argv[1:]:
            shutil.copy(image, folder / "photos")
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", *WITH_WEBGL]
        )
        subprocess.run([*JOB, "demo", "--colors", "64"], cwd=folder, check=True)
        picture_report(browser, folder / "demo" / "report.html")
        picture_dashboard(browser, folder)
        browser.close()


if __name__ == "__main__":
    main()
