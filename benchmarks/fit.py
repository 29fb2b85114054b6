"""One exact fit against scikit-learn's Lloyd: same pixels, same start, same iterations.

    python benchmarks/fit.py [IMAGE] [--colors 16] [--runs 3] [--max-iter 300]

Ours is everything from pixels in memory to centroids: counting, building, iterating, in one
process and one thread. scikit-learn's is `KMeans.fit` on the same pixels as float64 (its own
conversion from uint8 left out), with the threads it takes by default.

Ratios are of the medians in this run. The start is random pixels moved off the integer grid:
from integers, many pixels are exactly as far from two centroids, and there scikit-learn lets
rounding decide, while we take the lower index.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import numpy as np
import skimage.data
from PIL import Image
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_info

from kmeans_dask.clustering.assignment import Assignment
from kmeans_dask.clustering.counts import count_colors
from kmeans_dask.clustering.lloyd import fit
from kmeans_dask.clustering.points import color_points

ELEPHANTS = Path(__file__).parents[2] / "shared/data/large/mate__abstract__Elephants_5640x3172.jpg"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("image", nargs="?", type=Path)
    words.add_argument("--colors", type=int, default=16)
    words.add_argument("--runs", type=int, default=3)
    words.add_argument("--max-iter", type=int, default=300)
    args = words.parse_args()
    fallback = Path(skimage.data.data_dir) / "astronaut.png"
    path = args.image or (ELEPHANTS if ELEPHANTS.exists() else fallback)
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    random = np.random.default_rng(0)
    start = pixels[random.choice(len(pixels), args.colors, replace=False)]
    start = start + random.uniform(0.1, 0.4, start.shape)

    def ours() -> tuple[np.ndarray, int, float]:
        points = color_points(count_colors(pixels))
        found = fit(start, Assignment(points).partial, max_iter=args.max_iter)
        return found.centroids, found.n_iter, found.inertia

    floats = pixels.astype(np.float64)

    def theirs() -> tuple[np.ndarray, int, float]:
        model = KMeans(args.colors, init=start, n_init=1, max_iter=args.max_iter)
        model.fit(floats)
        return model.cluster_centers_, model.n_iter_, model.inertia_

    ours()  # compiles, or loads what was compiled
    found, seconds = {}, {"ours": [], "scikit-learn": []}  # type: ignore[var-annotated]
    for _ in range(args.runs):
        for name, run in (("ours", ours), ("scikit-learn", theirs)):
            since = time.perf_counter()
            found[name] = run()
            seconds[name].append(time.perf_counter() - since)

    threads = max((pool["num_threads"] for pool in threadpool_info()), default=1)
    print(f"{path.name}: {len(pixels):,} pixels, k = {args.colors}, {args.runs} runs")
    for name, (_, n_iter, inertia) in found.items():
        each = ", ".join(f"{s:.3f}" for s in seconds[name])
        print(
            f"  {name:13} {median(seconds[name]):8.3f} s ({each}), {n_iter} iterations, {inertia}"
        )
    difference = np.abs(found["ours"][0] - found["scikit-learn"][0]).max()
    ratio = median(seconds["scikit-learn"]) / median(seconds["ours"])
    print(f"  scikit-learn ran on {threads} threads, ours on 1")
    print(f"  largest difference of centroids {difference:.1e}; ratio {ratio:.0f} x")


if __name__ == "__main__":
    main()
