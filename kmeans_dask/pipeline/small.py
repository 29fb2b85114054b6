"""Jobs that this process does sooner than worker processes, which have to start first."""

from __future__ import annotations

from kmeans_dask.imaging.probe import find_killers
from kmeans_dask.pipeline.plan import MAX_IMAGES, Plan
from kmeans_dask.settings import PARTITION_PIXELS, DecodeSettings, EncodeSettings

_MEMORY = 4 << 30  # bytes: several times what any image of so few pixels takes


def is_small(plan: Plan, encode: EncodeSettings | None = None) -> bool:
    """Whether the images of `plan` are no more than one task's, so that one process does them all.

    encode: how they are written, if they are; what takes long for each is left to workers
    """
    is_quick = encode is None or encode.effort <= EncodeSettings().effort
    return is_quick and plan.n_pixels <= PARTITION_PIXELS and plan.n_images <= MAX_IMAGES


def is_safe(plan: Plan, decode: DecodeSettings) -> bool:
    """Whether no image of `plan` ends the process that decodes it, which workers would survive.

    Found out by another process, which decodes them all.
    """
    return not find_killers([source.path for source in plan.sources], decode, _MEMORY)
