"""A Dask array on two worker processes, against dask-ml's `KMeans`.

    python -m benchmarks.dask_arrays [--colors 16] [--n-init 1] [--float]

Needs dask-ml, best in an environment of its own (`pip install dask-ml` beside this package). The
pixels of a photograph, k-means++ against k-means||, both to the same tol (1e-4); or with --float
(4 million, 3) colours in linear light, 10 iterations of both from the same start. The array is in
the workers' memory before the clock starts, and both sides run after a small run that warms them,
dask-ml once. The inertia of both sides' centers is ours to judge, on all rows.
"""

from __future__ import annotations

import argparse
from typing import Any

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, wait

import kmeans_dask
from benchmarks.common import ELEPHANTS, in_turn, read_pixels, show, start_from, versions


def main() -> None:
    import dask_ml.cluster

    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--colors", type=int, default=16)
    words.add_argument("--float", action="store_true")
    words.add_argument("--n-init", type=int, default=1, help="n_init of ours")
    args = words.parse_args()
    pixels: Any = read_pixels(ELEPHANTS)
    if args.float:
        some = np.random.default_rng(0).choice(len(pixels), 4_000_000)
        pixels = ((pixels[some] / 255) ** 2.2).astype(np.float32)
    print(versions("dask-ml", "dask", "distributed", "scikit-learn"))
    print(f"{pixels.shape} {pixels.dtype}, k = {args.colors}, two workers")
    options: dict[str, Any] = {"random_state": 0, "tol": 1e-4}
    if args.float:
        options = {"init": start_from(pixels, args.colors), "max_iter": 10, "tol": 0.0}
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        rows = client.persist(da.from_array(pixels, chunks=(1 << 20, pixels.shape[1])))
        wait(rows)
        floats = rows if args.float else client.persist(rows.astype(np.float64))
        wait(floats)

        def ours(some: Any = rows) -> Any:
            model = kmeans_dask.KMeans(args.colors, n_init=args.n_init, **options)
            return model.fit(some).cluster_centers_

        def theirs(some: Any = floats) -> Any:
            model = dask_ml.cluster.KMeans(args.colors, **options)
            return model.fit(some).cluster_centers_

        def inertia(centers: Any) -> float:
            evaluate = kmeans_dask.KMeans(args.colors, init=centers, max_iter=1)
            return float(evaluate.fit(pixels).inertia_history_[0])

        warm = {"ours": lambda: ours(rows[:100_000]), "theirs": lambda: theirs(floats[:100_000])}
        seconds, found = in_turn({"kmeans-dask": ours}, 3, warm)
        once, found_once = in_turn({"dask-ml": theirs}, 1)
        centers = found | found_once
        show(
            seconds | once,
            {name: f"inertia {inertia(of_side):.6g}" for name, of_side in centers.items()},
        )


if __name__ == "__main__":
    main()
