"""Jobs that worker processes take longer to start for than to do."""

from __future__ import annotations

from kmeans_dask.imaging.probe import find_killers
from kmeans_dask.pipeline.plan import Plan
from kmeans_dask.settings import DecodeSettings, EncodeSettings

# Measured: to start two worker processes costs 1 s, and 3 s until each has loaded its kernels; one
# process decodes, counts and encodes so many pixels in less.
_PIXELS = 1 << 23
_IMAGES = 256


def is_small(plan: Plan, encode: EncodeSettings | None = None) -> bool:
    """Whether this process alone is done sooner with the images of `plan`.

    encode: how they are written, if they are
    """
    is_quick = encode is None or encode.effort <= EncodeSettings().effort
    return is_quick and plan.n_pixels <= _PIXELS and plan.n_images <= _IMAGES


def is_safe(plan: Plan, decode: DecodeSettings) -> bool:
    """Whether no image of `plan` ends the process that decodes it: worker processes survive one.

    Found out by another process that decodes them all, while this one loads what the job needs.
    """
    return not find_killers([source.path for source in plan.sources], decode)
