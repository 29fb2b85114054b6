"""A palette for each image, against decoding and encoding alone, on as many processes.

    python -m benchmarks.floor [IMAGE...] [--colors 256] [--workers 2] [--runs 3]

The floor decodes each image with Pillow and deflates indices of it by the same libdeflate, at
the default effort; the indices, and starting processes, are left out on both sides.
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

from benchmarks.common import photographs
from kmeans_dask.cluster import connect
from kmeans_dask.imaging.palette import Palette
from kmeans_dask.imaging.png import encode_png
from kmeans_dask.pipeline.compress import compress
from kmeans_dask.pipeline.job import JobSettings
from kmeans_dask.pipeline.plan import make_plan
from kmeans_dask.pipeline.progress import Progress
from kmeans_dask.pipeline.work import open_work
from kmeans_dask.settings import PRIVATE_TOL, DecodeSettings, EncodeSettings, FitSettings


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


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("images", nargs="*", type=Path, default=photographs("large"))
    words.add_argument("--colors", type=int, default=256)
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--runs", type=int, default=3)
    args = words.parse_args()
    plan = make_plan(args.images)
    settings = JobSettings(
        FitSettings(args.colors, tol=PRIVATE_TOL),
        EncodeSettings(always=True),
        DecodeSettings(),
        scope="image",
    )
    whole, alone = [], []
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out"
        with connect(workers=args.workers) as engine:
            for _ in range(args.runs + 1):
                shutil.rmtree(output, ignore_errors=True)
                progress = Progress()
                with open_work(output, {}, resume=False, overwrite=False) as work:
                    compress(plan, work, engine, progress, settings)
                whole.append(progress.seconds["compress"])
        sources = list(plan.sources)
        sources.sort(key=lambda source: -source.n_pixels)
        tasks = [
            (source.path, str(output / f"{source.stem}.png"), args.colors) for source in sources
        ]
        with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
            for _ in range(args.runs + 1):
                spent = list(pool.imap_unordered(floor, tasks, 1))
                alone.append(sum(map(sum, spent)) / args.workers)
                longest = max(map(sum, spent))
    print(f"{plan.n_images} images, {plan.n_pixels:,} pixels, k = {args.colors}")
    print(f"  decode and encode alone  {median(alone[1:]):6.2f} s (longest image {longest:.2f} s)")
    ratio = median(whole[1:]) / median(alone[1:])
    print(f"  --palette image          {median(whole[1:]):6.2f} s   ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
