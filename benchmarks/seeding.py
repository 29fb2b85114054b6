"""Greedy k-means++ on a table of weighted colours, against scikit-learn's `kmeans_plusplus`.

    python -m benchmarks.seeding [--colors 256] [--distinct 2700000] [--runs 3]

The table is what random bright, middle and dark noise amounts to: as many distinct colours as a
collection of a thousand photographs has. scikit-learn runs once.
"""

from __future__ import annotations

import argparse

import numpy as np
import sklearn.cluster

from benchmarks.common import in_turn, show, versions
from kmeans_dask.kmeans.histogram import count_colors
from kmeans_dask.kmeans.points import color_points
from kmeans_dask.kmeans.seeding import kmeans_plus_plus


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--colors", type=int, default=256)
    words.add_argument("--distinct", type=int, default=2_700_000)
    words.add_argument("--runs", type=int, default=3)
    args = words.parse_args()
    random = np.random.default_rng(0)
    middles = random.integers(0, 256, (40, 3))
    n = 6 * args.distinct
    pixels = middles[random.integers(0, 40, n)] + random.normal(0, 25, (n, 3))
    histogram = count_colors(pixels.clip(0, 255).astype(np.uint8))
    histogram = histogram.slice(0, args.distinct)
    points = color_points(histogram)
    floats, weights = histogram.colors.astype(np.float64), histogram.weights.astype(np.float64)
    print(versions("numpy", "numba", "scikit-learn"))
    print(f"{len(histogram):,} distinct colours, k = {args.colors}")

    def potential(centers: np.ndarray) -> float:
        from kmeans_dask.kmeans.assignment import Assignment

        return Assignment(points).partial(centers).inertia(centers)

    def ours() -> np.ndarray:
        return kmeans_plus_plus(points, args.colors, 0)

    def theirs() -> np.ndarray:
        centers: np.ndarray = sklearn.cluster.kmeans_plusplus(
            floats, args.colors, sample_weight=weights, random_state=0
        )[0]
        return centers

    seconds, found = in_turn({"kmeans-dask": ours}, args.runs, {"": ours})
    once, theirs_found = in_turn({"scikit-learn": theirs}, 1)
    notes = {name: f"potential {potential(c):.6g}" for name, c in (found | theirs_found).items()}
    show(seconds | once, notes)


if __name__ == "__main__":
    main()
