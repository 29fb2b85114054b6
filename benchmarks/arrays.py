"""Floating-point rows, k = 64: scikit-learn, and faiss and OpenCV where they are installed.

    python -m benchmarks.arrays [--runs 3] [--iterations 20]

From the same start, for the same number of iterations, on all rows: (4 million, 3) colours of a
photograph in linear light, (1 million, 16) patches of 4 x 4 grey pixels of it, and blobs of both
shapes. Every side uses all cores.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn.cluster
from numpy.typing import NDArray

import kmeans_dask
from benchmarks.common import ELEPHANTS, Start, in_turn, read_pixels, show, start_from, versions

K = 64
Rows = NDArray[np.float32]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--runs", type=int, default=3)
    words.add_argument("--iterations", type=int, default=20)
    args = words.parse_args()
    peers = [name for name in ("faiss", "cv2") if importlib.util.find_spec(name)]
    print(versions("numpy", "numba", "scikit-learn"), "and", peers or "no other peers")
    makers: dict[str, Callable[[], Rows]] = {
        "colours": colours,
        "patches": patches,
        "blobs of 3": lambda: blobs(4_000_000, 3),
        "blobs of 16": lambda: blobs(1_000_000, 16),
    }
    for name, make in makers.items():
        rows = make()
        print(f"{name}: {rows.shape} float32, k = {K}, {args.iterations} iterations")
        compare(rows, start_from(rows, K), args.iterations, args.runs, peers)


def compare(rows: Rows, start: Start, iterations: int, runs: int, peers: list[str]) -> None:
    def ours() -> float:
        model = kmeans_dask.KMeans(K, init=start, max_iter=iterations, tol=0).fit(rows)
        assert model.n_iter_ == iterations
        return float(model.inertia_)

    def scikit_learn() -> float:
        first = start.astype(np.float32)
        model = sklearn.cluster.KMeans(K, init=first, n_init=1, max_iter=iterations, tol=0)
        return float(model.fit(rows).inertia_)

    sides: dict[str, Callable[[], float]] = {"kmeans-dask": ours, "scikit-learn": scikit_learn}
    if "faiss" in peers:
        sides["faiss (all points)"] = lambda: run_faiss(rows, start, iterations)
    if "cv2" in peers:
        sides["OpenCV"] = lambda: run_opencv(rows, start, iterations)
    seconds, inertia = in_turn(sides, runs, {"": ours})
    show(seconds, {name: f"inertia {value:.7g}" for name, value in inertia.items()})


def run_faiss(rows: Rows, start: Start, iterations: int) -> float:
    import faiss

    model: Any = faiss.Kmeans(
        rows.shape[1], K, niter=iterations, max_points_per_centroid=len(rows), verbose=False
    )
    model.train(rows, init_centroids=start.astype(np.float32))
    return float(model.obj[-1])


def run_opencv(rows: Rows, start: Start, iterations: int) -> float:
    import cv2

    # OpenCV starts from labels: those of the start, its first iteration, are given to it
    labels = kmeans_dask.KMeans(K, init=start, max_iter=1).fit(rows).labels_
    stop = (cv2.TERM_CRITERIA_MAX_ITER, iterations, 0)
    flags = cv2.KMEANS_USE_INITIAL_LABELS
    return float(cv2.kmeans(rows, K, labels, stop, 1, flags)[0])


def colours() -> Rows:
    pixels = read_pixels(ELEPHANTS)
    some = np.random.default_rng(0).choice(len(pixels), 4_000_000)
    linear: Rows = ((pixels[some] / 255) ** 2.2).astype(np.float32)
    return linear


def patches() -> Rows:
    pixels = read_pixels(ELEPHANTS).mean(axis=1, dtype=np.float32) / 255
    width = 5640 if len(pixels) == 5640 * 3172 else 512
    grey = pixels.reshape(-1, width)[: len(pixels) // width // 4 * 4]
    cut = grey.reshape(len(grey) // 4, 4, width // 4, 4).transpose(0, 2, 1, 3).reshape(-1, 16)
    some: Rows = cut[np.random.default_rng(0).choice(len(cut), 1_000_000)]
    return some


def blobs(n: int, channels: int) -> Rows:
    random = np.random.default_rng(1)
    middles = random.random((K, channels))
    spread = 0.15 * random.standard_normal((n, channels))
    made: Rows = (middles[random.integers(0, K, n)] + spread).astype(np.float32)
    return made


if __name__ == "__main__":
    main()
