"""Samples of the files of a job, with sizes, by which workers show that they see the same files."""

from __future__ import annotations

from itertools import islice

from kmeans_dask.files import Location
from kmeans_dask.plan.plan import Plan
from kmeans_dask.store import Store

_FILES = 8  # few, because each task carries their names


def images_of(plan: Plan) -> list[tuple[str, int]]:
    """Return path and size in bytes of some images of `plan`, evenly spread."""
    step = max(1, plan.n_images // _FILES)
    return [
        (source.path, source.n_bytes) for source in islice(plan.sources, 0, step * _FILES, step)
    ]


def documents_of(store: Location) -> list[tuple[str, int]]:
    """Return path and size in bytes of some files in the top folder of the store at `store`."""
    lock = Store.lock_file(store)
    children: list[Location] = list(store.iterdir())
    files = [path for path in sorted(children, key=str) if path.is_file() and path != lock]
    return [(str(path), path.stat().st_size) for path in files[:_FILES]]
