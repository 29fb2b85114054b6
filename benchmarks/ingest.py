"""Ingest, count and fit a collection, against decoding alone with Pillow on as many processes.

    python -m benchmarks.ingest [FOLDER...] [--workers 2] [--colors 16,256] [--runs 3]

Starting processes is left out on both sides, and one round is run before the clock: both are
measured warm. Also prints the peak resident memory of the workers and of this client.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import skimage.data
from PIL import Image

from kmeans_dask.engine import connect
from kmeans_dask.job.progress import Progress
from kmeans_dask.plan.plan import make_plan
from kmeans_dask.settings import DecodeSettings, FitSettings
from kmeans_dask.steps.collection import ingest_and_count, open_or_create
from kmeans_dask.steps.fit import fit

SHARED = Path(__file__).parents[2] / "shared/data"


def decode(path: str) -> None:
    with Image.open(path) as image:
        image.load()


def peak_mib(_: object = None) -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("folders", nargs="*", type=Path)
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--colors", default="16,256")
    words.add_argument("--runs", type=int, default=3)
    args = words.parse_args()
    shared = [SHARED / "large", SHARED / "photos"]
    folders = args.folders or (shared if SHARED.exists() else [Path(skimage.data.data_dir)])
    plan = make_plan(folders)
    sources = list(plan.sources)
    sources.sort(key=lambda source: -source.n_pixels)
    paths = [source.path for source in sources]
    print(f"{plan.n_images} images, {plan.n_pixels:,} pixels, {args.workers} processes")

    alone = []
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        for _ in range(args.runs + 1):
            since = time.perf_counter()
            list(pool.imap_unordered(decode, paths, 1))
            alone.append(time.perf_counter() - since)
    print(f"  decoding alone      {median(alone[1:]):6.2f} s")

    every = [int(k) for k in args.colors.split(",")]
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, connect(workers=args.workers) as engine:
        for _ in range(args.runs + 1):
            path = Path(folder) / "store.zarr"
            shutil.rmtree(path, ignore_errors=True)
            progress = Progress()
            held = open_or_create(path, plan, DecodeSettings())
            store = ingest_and_count(held, engine, progress).store
            for step in ("ingest", "count"):
                seconds.setdefault(step, []).append(progress.seconds[step])
            for k in every:
                progress = Progress()
                fitted = fit(store, engine, progress, FitSettings(k))
                seconds.setdefault(f"fit k = {k}", []).append(progress.seconds["fit"])
        workers = max(engine.map("peak", peak_mib, range(4 * args.workers)))
    for step, values in seconds.items():
        print(f"  {step:19} {median(values[1:]):6.2f} s   first time {values[0]:6.2f} s")
    base = median(seconds["ingest"][1:]) + median(seconds["count"][1:])
    for k in every:
        total = base + median(seconds[f"fit k = {k}"][1:])
        print(f"  all, k = {k:<10} {total:6.2f} s   ratio {total / median(alone[1:]):.2f}")
    print(f"  distinct colours {fitted.distinct_colors:,}")
    print(f"  peak memory: a worker {workers:,.0f} MiB, the client {peak_mib():,.0f} MiB")


if __name__ == "__main__":
    main()
