"""The report of a large job: its bytes, its share of the job's time, how fast a browser draws it.

    python -m benchmarks.report [IMAGE-or-FOLDER...] [--colors 64] [--workers 2] [--runs 3]

Starting the workers is left out. By default the 1,130 small images and photographs of the optional
folder. The browser is Debian's chromium, driven by Playwright, without a graphics card; without
them the drawing is left out.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.common import SHARED, photographs, versions
from kmeans_dask.engine import connect
from kmeans_dask.job.job_record import record_of_job
from kmeans_dask.job.job_settings import JobSettings
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.work_folder import open_work_folder
from kmeans_dask.plan.output_names import REPORT_FILE
from kmeans_dask.plan.plan import make_plan
from kmeans_dask.report.job_page import write_report
from kmeans_dask.settings import DecodeSettings, EncodeSettings, FitSettings
from kmeans_dask.steps.compress import compress

MANY = [SHARED / "small", SHARED / "photos"]
WITH_WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


def draw(page_file: Path) -> tuple[float, list[str]]:
    """Seconds from opening the page until all is drawn; what it complained of, or asked for."""
    from playwright.sync_api import sync_playwright

    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", *WITH_WEBGL]
        )
        page = browser.new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith(("file:", "data:")) else wrong.append(asked.url)
            ),
        )
        since = time.perf_counter()
        page.goto(page_file.as_uri())
        page.locator("html[data-drawn=yes]").wait_for(state="attached", timeout=120_000)
        spent = time.perf_counter() - since
        browser.close()
    return spent, wrong


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    there = all(folder.is_dir() for folder in MANY)
    words.add_argument("inputs", nargs="*", type=Path, default=MANY if there else photographs())
    words.add_argument("--colors", type=int, default=64)
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--runs", type=int, default=3)
    args = words.parse_args()
    fit, encode = FitSettings(args.colors), EncodeSettings()
    jobs, reports, drawn = [], [], []
    wrong: list[str] = []
    browser = shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder, connect(workers=args.workers) as engine:
        output = Path(folder) / "out"
        for _ in range(args.runs + 1):
            shutil.rmtree(output, ignore_errors=True)
            since = time.perf_counter()
            plan = make_plan(args.inputs)
            settings = JobSettings(fit, encode, DecodeSettings())
            with open_work_folder(output, {}, resume=False, overwrite=False) as work:
                summary = compress(plan, work, engine, Progress(), settings)
            done = time.perf_counter()
            record = record_of_job(
                summary, plan.inputs, output, scope="shared", fit=fit, encode=encode
            )
            write_report(output, record)
            reports.append(time.perf_counter() - done)
            jobs.append(time.perf_counter() - since)
            if browser:
                spent, complaints = draw(output / REPORT_FILE)
                drawn.append(spent)
                wrong += complaints
        n_bytes = (output / REPORT_FILE).stat().st_size
    print(f"{plan.n_images:,} images, {plan.n_pixels:,} pixels; {versions('pillow', 'plotly')}")
    print(f"  report.html {n_bytes / 1e6:.2f} MB")
    shares = [100 * report / job for report, job in zip(reports, jobs, strict=True)]
    runs = ", ".join(f"{share:.1f}" for share in shares[1:])
    print(f"  job {median(jobs[1:]):.2f} s, of which the report {median(reports[1:]):.3f} s")
    print(f"  its share {median(shares[1:]):.1f} % ({runs}; the first, cold run {shares[0]:.1f})")
    if browser:
        print(f"  drawn in {median(drawn):.2f} s; errors and requests: {wrong or 'none'}")


if __name__ == "__main__":
    main()
