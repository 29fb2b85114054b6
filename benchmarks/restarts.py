"""What is reached in the same time: inertia of 12 photographs in k colours.

    python -m benchmarks.restarts [--colors 16,256] [--tol 0]

Each peer runs first: scikit-learn with n_init=10, Pillow's median cut with k-means, and
libimagequant where it is installed. Then ours restarts, with one seed after another, for as long
as that peer took (always once), and the best counts. Inertia is that of 8-bit palettes, every
pixel with its nearest colour; against scikit-learn that of the centers as they are.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage.data
import sklearn.cluster
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common import SHARED, versions
from kmeans_dask.color.palette import palette_of
from kmeans_dask.kmeans import lloyd
from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.histogram import count_colors
from kmeans_dask.kmeans.points import color_points
from kmeans_dask.kmeans.seeding import kmeans_plus_plus

Colors = NDArray[np.generic]  # (k, 3): of a palette uint8, of centers float64


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--colors", default="16,256")
    words.add_argument("--tol", type=float, default=0.0, help="of ours; scikit-learn has its own")
    args = words.parse_args()
    kodak = sorted((SHARED / "kodak").glob("*.png"))
    own = [Path(skimage.data.data_dir) / f"{n}.png" for n in ("astronaut", "chelsea", "coffee")]
    print(versions("numpy", "scikit-learn", "pillow"))
    for k in map(int, args.colors.split(",")):
        lower: dict[str, list[float]] = {}
        for path in kodak or own:
            with Image.open(path) as image:
                compare(path.name, image.convert("RGB"), k, args.tol, lower)
        for name, ratios in lower.items():
            wins = sum(ratio < 1 for ratio in ratios)
            print(
                f"k = {k}: lower than {name} on {wins} of {len(ratios)} images; ours / theirs "
                f"{min(ratios):.3f} to {max(ratios):.3f}, median {np.median(ratios):.3f}"
            )


def compare(
    name: str, image: Image.Image, k: int, tol: float, lower: dict[str, list[float]]
) -> None:
    pixels = np.asarray(image).reshape(-1, 3)
    evaluate = Assignment(color_points(count_colors(pixels)))

    def inertia(some: Colors) -> float:
        colors = some.astype(np.float64)
        return evaluate.partial(colors).inertia(colors)

    peers: dict[str, Callable[[], Colors]] = {
        "Pillow": lambda: by_pillow(image, k),
        "scikit-learn": lambda: by_scikit_learn(pixels, k),
    }
    if importlib.util.find_spec("imagequant"):
        peers["libimagequant"] = lambda: by_imagequant(image, k)
    best_of(pixels, k, tol, 0)  # compiled, or loaded
    for peer, make in peers.items():
        since = time.perf_counter()
        theirs = inertia(make())
        budget = time.perf_counter() - since
        since = time.perf_counter()
        ours, restarts = best_of(pixels, k, tol, budget)
        spent = time.perf_counter() - since
        rounded = peer != "scikit-learn"
        ratio = inertia(palette_of(ours).colors if rounded else ours) / theirs
        lower.setdefault(peer, []).append(ratio)
        print(
            f"  {name} k = {k}: {ratio:.5f} of {peer}, {restarts} starts, "
            f"{spent:.3f} s of {budget:.3f}",
            flush=True,
        )


def best_of(
    pixels: NDArray[np.uint8], k: int, tol: float, budget: float
) -> tuple[NDArray[np.float64], int]:
    """Restart until the next one would pass the budget, in seconds; at least once."""
    since = time.perf_counter()
    points = color_points(count_colors(pixels))
    best, starts, longest = None, 0, 0.0
    while best is None or time.perf_counter() - since + longest < budget:
        was_cleared = time.perf_counter()
        assignment = Assignment(points)
        found = lloyd.fit(kmeans_plus_plus(points, k, starts), assignment.partial, tol=tol)
        if best is None or found.inertia < best.inertia:
            best = found
        starts += 1
        longest = max(longest, time.perf_counter() - was_cleared)
    return best.centroids, starts


def by_pillow(image: Image.Image, k: int) -> Colors:
    made = image.quantize(k, Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE)
    palette = np.array(made.getpalette(), np.uint8).reshape(-1, 3)
    used: Colors = palette[np.unique(np.asarray(made))]
    return used


def by_scikit_learn(pixels: NDArray[np.uint8], k: int) -> Colors:
    model = sklearn.cluster.KMeans(k, n_init=10, random_state=0).fit(pixels.astype(np.float64))
    centers: Colors = model.cluster_centers_
    return centers


def by_imagequant(image: Image.Image, k: int) -> Colors:
    import imagequant

    made = imagequant.quantize_pil_image(image, dithering_level=0.0, max_colors=k)
    palette = np.array(made.getpalette("RGB"), np.uint8).reshape(-1, 3)
    used: Colors = palette[np.unique(np.asarray(made))]
    return used


if __name__ == "__main__":
    main()
