"""Decisions of where a job runs: in this process or on workers, in memory or with a store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from kmeans_dask.engine import Engine
from kmeans_dask.engine.memory_model import pixels_within
from kmeans_dask.images.inspector import find_killers
from kmeans_dask.kmeans.histogram import count_colors
from kmeans_dask.plan.plan import Plan
from kmeans_dask.settings import PARTITION_PIXELS, DecodeSettings, EncodeSettings
from kmeans_dask.store.records import MAX_IMAGES

_MEMORY = 4 << 30  # bytes, several times as many as any image of so few pixels takes


def is_small(plan: Plan) -> bool:
    """Return whether the images of `plan` fit into one task, so that one process suffices."""
    return plan.n_pixels <= PARTITION_PIXELS and plan.n_images <= MAX_IMAGES


def fits_in_memory(plan: Plan, engine: Engine) -> bool:
    """Return whether `engine` is this process, and can hold all images of `plan` at once."""
    within = pixels_within(engine.memory)
    return engine.is_here and is_small(plan) and (within is None or plan.n_pixels <= within)


def is_quick(encode: EncodeSettings) -> bool:
    """Return whether writing an image takes little time, so that workers need not share it."""
    return encode.effort <= EncodeSettings().effort


def is_safe(plan: Plan, decode: DecodeSettings) -> bool:
    """Return whether no image of `plan` ends the process that decodes it.

    A job survives the end of a worker, but not of this process. So the inspector, a separate
    process, decodes all images first; meanwhile, this process makes numba ready.
    """
    paths = [source.path for source in plan.sources]
    with ThreadPoolExecutor(1) as thread:
        killers = thread.submit(find_killers, paths, decode, _MEMORY)
        count_colors(np.zeros((1, 3), np.uint8))
        return not killers.result()
