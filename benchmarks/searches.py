"""Search for a start by breathing k-means, against as many plain starts as 32 / k, image by image.

    python -m benchmarks.searches [--colors 4,8,16,32,64,256] [--runs 3] [--shared]

Both sides fit a palette to the histogram of an image, on one thread, with the `tol` of palettes for
one image. Figures are ratios of the search to the plain starts: of the inertia, and of the least
CPU time of the runs. Images are of the optional folders, else those that scikit-image installs.
--shared: one palette for all images of each folder, with the `tol` of shared palettes
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import SHARED, photographs, read_pixels, versions
from kmeans_dask.engine import local_threads
from kmeans_dask.kmeans.histogram import ColorHistogram, count_colors, merge_histograms
from kmeans_dask.settings import PRIVATE_TOL, TOL, FitSettings
from kmeans_dask.steps.quantize import LocalColors

_PLAIN_STARTS = 32  # divided by k: what was tried before there was a search
_EACH = 12  # images of a folder, at most


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--colors", default="4,8,16,32,64,256")
    words.add_argument("--runs", type=int, default=3)
    words.add_argument("--shared", action="store_true")
    args = words.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # of Pillow, about palettes with alpha
    print(versions("numpy", "numba"))
    folders = [[count_colors(read_pixels(path)) for path in some] for some in folders_of_images()]
    histograms = [each for folder in folders for each in folder]
    if args.shared:
        histograms = [merge_histograms(folder) for folder in folders]
    for k in map(int, args.colors.split(",")):
        tol = TOL if args.shared else PRIVATE_TOL
        plain = FitSettings(max(k, 2), n_init=max(1, _PLAIN_STARTS // k), tol=tol)
        compare(histograms, k, plain, args.runs)


def folders_of_images() -> list[list[Path]]:
    """Return up to `_EACH` images of each optional folder, spread over all that it holds."""
    if not SHARED.is_dir():
        return [photographs()]
    found = []
    for name in ("kodak", "photos/web", "photos/bsds", "graphics", "article"):
        paths = sorted(
            path
            for path in (SHARED / name).rglob("*")
            if path.suffix in (".png", ".jpg") and is_readable(path)
        )
        found.append(paths[:: max(1, len(paths) // _EACH)][:_EACH])
    return [folder for folder in found if folder]


def is_readable(path: Path) -> bool:
    with Image.open(path) as image:
        return image.width * image.height <= 1 << 24


def compare(histograms: list[ColorHistogram], k: int, plain: FitSettings, runs: int) -> None:
    inertias, seconds = [], []
    searched = FitSettings(plain.colors, tol=plain.tol)
    for histogram in histograms:
        if len(histogram) <= k:
            continue
        sides = (searched, plain)
        found: list[tuple[float, float]] = [(0.0, np.inf)] * 2
        for _ in range(runs + 1):  # the first run compiles, or warms
            for side, chosen in enumerate(sides):
                since = time.process_time()
                inertia = best_inertia(histogram, k, chosen)
                found[side] = inertia, min(found[side][1], time.process_time() - since)
        (ours, our_seconds), (theirs, their_seconds) = found
        inertias.append(ours / theirs if theirs else 1.0)
        seconds.append((our_seconds, their_seconds))
    times = np.array(seconds)
    ratios = times[:, 0] / times[:, 1]
    print(
        f"k = {k}: {len(inertias)} histograms; inertia median {np.median(inertias):.4f}, "
        f"mean {np.mean(inertias):.4f}, {min(inertias):.4f} to {max(inertias):.4f}, higher by over "
        f"0.1 % on {sum(each > 1.001 for each in inertias)}; CPU time median "
        f"{np.median(ratios):.2f}, of all together {times[:, 0].sum() / times[:, 1].sum():.2f}",
        flush=True,
    )


def best_inertia(histogram: ColorHistogram, k: int, settings: FitSettings) -> float:
    """Return the inertia of the best fit, without rounding and evaluating the palette."""
    with local_threads(1) as engine:
        colors = LocalColors(histogram, settings, engine)
        return min(
            colors.fit(colors.start(k, seed, settings), settings, None, None).inertia
            for seed in settings.seeds(k, len(histogram))
        )


if __name__ == "__main__":
    main()
