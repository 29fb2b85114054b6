"""Jobs that this process does sooner than worker processes, which have to start first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from kmeans_dask.images.inspector import find_killers
from kmeans_dask.kmeans.histogram import count_colors
from kmeans_dask.plan.plan import Plan
from kmeans_dask.settings import PARTITION_PIXELS, DecodeSettings, EncodeSettings
from kmeans_dask.store.records import MAX_IMAGES

_MEMORY = 4 << 30  # bytes: several times what any image of so few pixels takes


def is_small(plan: Plan) -> bool:
    """Whether the images of `plan` are no more than one task's: then one process does them all."""
    return plan.n_pixels <= PARTITION_PIXELS and plan.n_images <= MAX_IMAGES


def is_quick(encode: EncodeSettings) -> bool:
    """Whether images are written so that none takes long, which would be for workers to share."""
    return encode.effort <= EncodeSettings().effort


def is_safe(plan: Plan, decode: DecodeSettings) -> bool:
    """Whether no image of `plan` ends the process that decodes it, which workers would survive.

    Found out by another process, which decodes them all; this one makes numba ready meanwhile.
    """
    paths = [source.path for source in plan.sources]
    with ThreadPoolExecutor(1) as thread:
        killers = thread.submit(find_killers, paths, decode, _MEMORY)
        count_colors(np.zeros((1, 3), np.uint8))
        return not killers.result()
