"""Whole jobs against decoding and encoding alone, on as many processes.

    python -m benchmarks.floor [INPUT...] [--palette shared] [--colors 256] [--workers 2] [--runs 3]

The floor decodes each image with Pillow and deflates indices of it by the same libdeflate, at
the default effort; the indices, and starting processes, are left out on both sides. A job is all
else that `kmeans-dask compress` does: its plan, its report, waiting for the disk at its end.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from benchmarks.common import SHARED, photographs, versions
from kmeans_dask.color.palette import Palette
from kmeans_dask.engine import Engine, connect
from kmeans_dask.images.png import encode_png
from kmeans_dask.job.job_record import record_of_job
from kmeans_dask.job.job_settings import JobSettings
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.work_folder import open_work_folder
from kmeans_dask.plan.plan import Plan, make_plan
from kmeans_dask.report.job_page import write_report
from kmeans_dask.settings import PRIVATE_TOL, TOL, DecodeSettings, EncodeSettings, FitSettings
from kmeans_dask.steps.compress import compress


def floor(task: tuple[str, str, int]) -> tuple[float, float]:
    """Seconds of decoding and of encoding an image, whose indices are in a file."""
    source, indexed, k = task
    Image.MAX_IMAGE_PIXELS = None
    since = time.perf_counter()
    with Image.open(source) as image:
        image.load()
    decoded = time.perf_counter() - since
    with Image.open(indexed) as image:
        indices = np.asarray(image).copy()
    since = time.perf_counter()
    encode_png(indices, Palette(np.zeros((k, 3), np.uint8)))
    return decoded, time.perf_counter() - since


def job(
    inputs: list[Path], output: Path, engine: Engine, settings: JobSettings
) -> tuple[Plan, dict[str, float]]:
    """The plan, and the seconds of each step."""
    progress = Progress()
    progress.start("plan")
    plan = make_plan(inputs)
    progress.finish()
    with open_work_folder(output, {}, resume=False, overwrite=False) as work:
        work.begin(plan)
        summary = compress(plan, work, engine, progress, settings)
        progress.start("report")
        record = record_of_job(
            summary,
            plan.inputs,
            output,
            scope=settings.scope,
            fit=settings.fit,
            encode=settings.encode,
        )
        write_report(output, record)
        progress.finish()
        progress.start("finish")
        work.finish()
        progress.finish()
    return plan, progress.seconds


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shared = [SHARED / "photos", SHARED / "large"]
    default = shared if SHARED.is_dir() else [photographs()[0].parent]
    words.add_argument("inputs", nargs="*", type=Path, default=default)
    words.add_argument("--palette", choices=("shared", "image"), default="shared")
    words.add_argument("--colors", type=int, default=256)
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--runs", type=int, default=3)
    args = words.parse_args()
    settings = JobSettings(
        FitSettings(args.colors, tol=TOL if args.palette == "shared" else PRIVATE_TOL),
        EncodeSettings(always=True),
        DecodeSettings(),
        scope=args.palette,
    )
    steps: list[dict[str, float]] = []
    alone = []
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out"
        with connect(workers=args.workers) as engine:
            for _ in range(args.runs + 1):
                shutil.rmtree(output, ignore_errors=True)
                plan, seconds = job(args.inputs, output, engine, settings)
                steps.append(seconds)
        sources = sorted(plan.sources, key=lambda source: -source.n_pixels)
        tasks = [
            (source.path, str(output / f"{source.stem}.png"), args.colors) for source in sources
        ]
        with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
            for _ in range(args.runs + 1):
                spent = list(pool.imap_unordered(floor, tasks, 1))
                alone.append([sum(each) / args.workers for each in zip(*spent, strict=True)])
                longest = max(map(sum, spent))
    print(versions("dask", "pillow", "deflate"))
    print(f"{plan.n_images} images, {plan.n_pixels:,} pixels, k = {args.colors}")
    decode, encode = (median(each) for each in zip(*alone[1:], strict=True))
    print(
        f"  decode and encode alone  {decode:6.2f} + {encode:.2f} s (longest image {longest:.2f})"
    )
    whole = sorted(steps[1:], key=lambda each: sum(each.values()))[args.runs // 2]
    print(f"  --palette {args.palette:6}         {sum(whole.values()):6.2f} s", end="")
    print("  " + ", ".join(f"{name} {each:.2f}" for name, each in whole.items()))
    print(f"  ratio                    {sum(whole.values()) / (decode + encode):6.2f}")


if __name__ == "__main__":
    main()
