"""One exact fit of a photograph's pixels against scikit-learn's Lloyd: same start, same stop.

    python -m benchmarks.fit [IMAGE] [--colors 16] [--runs 3] [--max-iter 300]

Both sides are `KMeans(...).fit` from pixels in memory to centers and labels; scikit-learn's gets
them as float64 (the conversion left out). Both use as many threads as they choose to.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

import numpy as np
import sklearn.cluster

import kmeans_dask
from benchmarks.common import BASIL, ELEPHANTS, in_turn, read_pixels, show, start_from, versions


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("image", nargs="?", type=Path)
    words.add_argument("--colors", type=int)
    words.add_argument("--runs", type=int, default=3)
    words.add_argument("--max-iter", type=int)
    args = words.parse_args()
    print(versions("numpy", "numba", "scikit-learn"))
    if args.image or args.colors:
        compare(args.image or ELEPHANTS, args.colors or 16, args.runs, args.max_iter or 300)
        return
    compare(BASIL, 16, 3 * args.runs, 300)
    compare(ELEPHANTS, 16, args.runs, 300)
    compare(ELEPHANTS, 256, 1, args.max_iter or 20)  # scikit-learn takes a minute for these


def compare(path: Path, k: int, runs: int, max_iter: int) -> None:
    pixels = read_pixels(path)
    floats = pixels.astype(np.float64)
    start = start_from(pixels, k, off_grid=True)
    print(f"{path.name}: {len(pixels):,} pixels, k = {k}, at most {max_iter} iterations")

    def ours() -> kmeans_dask.KMeans:
        return kmeans_dask.KMeans(k, init=start, max_iter=max_iter).fit(pixels)

    def theirs() -> sklearn.cluster.KMeans:
        return sklearn.cluster.KMeans(k, init=start, n_init=1, max_iter=max_iter).fit(floats)

    seconds, found = in_turn({"kmeans-dask": ours, "scikit-learn": theirs}, runs, {"": ours})
    notes = {
        name: f"{model.n_iter_} iterations, inertia {model.inertia_:.9g}"
        for name, model in found.items()
    }
    show(seconds, notes)
    centers = [model.cluster_centers_ for model in found.values()]
    print(f"  largest difference of centers {np.abs(centers[0] - centers[1]).max():.1e}")
    print(f"  ratio {median(seconds['scikit-learn']) / median(seconds['kmeans-dask']):.1f} x")


if __name__ == "__main__":
    main()
