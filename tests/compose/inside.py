"""What is run by Python inside containers, which know nothing of the tests: handed in as text.

Each function stands for itself, and prints one JSON object.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable


def fit_first() -> None:
    """The first thing that a new process does: count an image's colours, fit, and say how long."""
    import json
    import time

    import numpy as np

    from kmeans_dask.kmeans import assignment, histogram, lloyd, points, seeding

    pixels = np.random.default_rng(0).integers(0, 256, (400_000, 3)).astype(np.uint8)
    since = time.perf_counter()
    colors = points.color_points(histogram.count_colors(pixels))
    start = seeding.kmeans_plus_plus(colors, 16, 0)
    lloyd.fit(start, assignment.Assignment(colors).partial, max_iter=5)
    seconds = time.perf_counter() - since
    jitted = [
        value.dispatcher
        for module in (assignment, histogram, points, seeding, lloyd)
        for value in vars(module).values()
        if getattr(value, "dispatcher", None)
    ]
    compiled = sum(sum(each.stats.cache_misses.values()) for each in jitted)
    loaded = sum(sum(each.stats.cache_hits.values()) for each in jitted)
    uncached = sum(len(each.signatures) for each in jitted) - compiled - loaded
    print(json.dumps({"seconds": seconds, "compiled": compiled + uncached, "loaded": loaded}))


def count_compiled() -> None:
    """How many kernels the workers have compiled and loaded since they started."""
    import json
    import os
    import sys

    from distributed import Client

    def count() -> tuple[int, int]:
        jitted = {
            id(value): value.dispatcher
            for name, module in list(sys.modules.items())
            if name.startswith("kmeans_dask.kmeans")
            for value in vars(module).values()
            if getattr(value, "dispatcher", None)
        }
        return (
            sum(sum(each.stats.cache_misses.values()) for each in jitted.values()),
            sum(sum(each.stats.cache_hits.values()) for each in jitted.values()),
        )

    with Client(os.environ["DASK_SCHEDULER_ADDRESS"], timeout=30) as client:
        found = list(client.run(count).values())
    print(
        json.dumps(
            {
                "workers": len(found),
                "compiled": sum(compiled for compiled, _ in found),
                "loaded": sum(loaded for _, loaded in found),
            }
        )
    )


def copy_tree() -> None:
    """Copy all files or objects below the first place to below the second."""
    import json
    import sys

    from kmeans_dask.files import ObjectPath, parse_location

    source, target = map(parse_location, sys.argv[1:])
    if isinstance(source, ObjectPath):
        files = {str(path)[len(str(source)) + 1 :]: path.read_bytes() for path in source.walk()}
    else:
        files = {
            str(path.relative_to(source)): path.read_bytes()
            for path in source.rglob("*")
            if path.is_file()
        }
    for name, data in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(data)
    print(json.dumps({"files": len(files)}))


def script(function: Callable[[], None]) -> str:
    """The function as a program."""
    return f"{inspect.getsource(function)}\n{function.__name__}()\n"
