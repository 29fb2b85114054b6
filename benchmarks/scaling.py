"""One iteration over ten times the pixels: the same scene, counted.

    python -m benchmarks.scaling [--colors 256]

The pixels of a photograph, and these with ten times as many: an iteration sees the table of
distinct colours only. Counting, which sees all pixels, is shown beside it.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import ELEPHANTS, read_pixels, start_from, versions
from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.histogram import count_colors
from kmeans_dask.kmeans.lloyd import Iteration, fit
from kmeans_dask.kmeans.points import color_points


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--colors", type=int, default=256)
    k = words.parse_args().colors
    print(versions("numpy", "numba"))
    pixels = read_pixels(ELEPHANTS)[:: 10 if ELEPHANTS.exists() else 1]
    start = start_from(pixels, k, off_grid=True)
    measure(pixels, start)  # compiles, or loads what was compiled
    once = measure(pixels, start)
    tenfold = measure(np.concatenate([pixels] * 10), start)
    print(f"ratio of an iteration {tenfold / once:.2f}")


def measure(pixels: NDArray[np.uint8], start: NDArray[np.float64]) -> float:
    since = time.perf_counter()
    histogram = count_colors(pixels)
    counting = time.perf_counter() - since
    each: list[float] = []

    def note(iteration: Iteration) -> None:
        each.append(iteration.seconds)

    fit(start, Assignment(color_points(histogram)).partial, max_iter=40, tol=0, on_iteration=note)
    spent = median(each)
    print(
        f"  {len(pixels):,} pixels, {len(histogram):,} colours: {1000 * spent:.2f} ms an iteration"
    )
    print(f"    (counting {counting:.3f} s)")
    return spent


if __name__ == "__main__":
    main()
