"""What work takes of a worker's memory: what would take more than there is, is refused by name.

Without this the worker would be killed, and what it was doing with it.
"""

from __future__ import annotations

from kmeans_dask.cluster import worker_memory
from kmeans_dask.errors import ImageError
from kmeans_dask.settings import PROCESS_BYTES

# Measured as peak resident sizes, on noise, in which every pixel has a colour of its own.
_PIXEL_BYTES = 40  # of an image that is decoded, counted and stored
_COLOR_BYTES = 70  # of a table that a palette is fitted to
_TRANSLUCENT_BYTES = 180  # of a colour in it, where some are partly transparent


def pixels_within(memory: int | None) -> int | None:
    """Pixels of an image that a thread with so many bytes can decode; None for any number."""
    return None if memory is None else max(0, memory - PROCESS_BYTES) // _PIXEL_BYTES


def check_pixels(n: int) -> None:
    """From inside a task: raise ImageError where images of n pixels take too much memory."""
    _check(n * _PIXEL_BYTES, f"{n:,} pixels")


def check_colors(n: int, *, opaque: bool) -> None:
    """From inside a task: raise ImageError where a fit to n colours takes too much memory."""
    _check(n * (_COLOR_BYTES if opaque else _TRANSLUCENT_BYTES), f"{n:,} distinct colours")


def _check(n_bytes: int, what: str) -> None:
    memory, needed = worker_memory(), PROCESS_BYTES + n_bytes
    if memory is not None and needed > memory:
        raise ImageError(
            f"{what} take about {needed / 1e6:,.0f} MB of memory, a worker has "
            f"{memory / 1e6:,.0f} MB: raise --memory"
        )
