"""Model of the memory that a task takes in its worker, used by `--memory-limit` and by `estimate`.

A task that would take more memory than there is raises ImageError instead: otherwise the worker
would be killed, and its other tasks with it. The bytes are upper bounds, measured as peak resident
sizes with `python -m benchmarks.memory`: over formats and sizes, on photographs and on random
noise, which has the most distinct colours.
"""

from __future__ import annotations

from kmeans_dask.engine.task import worker_memory
from kmeans_dask.errors import ImageError
from kmeans_dask.settings import PROCESS_BYTES

_HELD_BYTES = 40  # per pixel, where a task holds all its pixels and makes their histogram
_COUNTED_BYTES = 64  # per distinct colour of a histogram that is made, stored or read
_FITTED_BYTES = 70  # per distinct colour of a histogram that a palette is fitted to
_TRANSLUCENT_BYTES = 180  # per distinct colour there, where some are partly transparent


def bytes_to_decode(n_pixels: int, pixel_bytes: int) -> int:
    """Return the memory, in bytes, of a worker that decodes an image and makes its histogram.

    pixel_bytes: bytes of memory per pixel, as `images.header.Header` has them
    """
    return PROCESS_BYTES + n_pixels * pixel_bytes


def bytes_to_count(n_colors: int) -> int:
    """Return the memory, in bytes, of a worker that makes a histogram of `n_colors` colours."""
    return PROCESS_BYTES + n_colors * _COUNTED_BYTES


def bytes_to_fit(n_colors: int, *, opaque: bool) -> int:
    """Return the memory, in bytes, of a worker that fits a palette to `n_colors` colours.

    opaque: whether no colour is partly transparent
    """
    return PROCESS_BYTES + n_colors * (_FITTED_BYTES if opaque else _TRANSLUCENT_BYTES)


def pixels_within(memory: int | None) -> int | None:
    """Return the number of pixels that a task can hold with their histogram; None without a limit.

    memory: bytes that the task may take; None where there is no limit
    """
    return None if memory is None else max(0, memory - PROCESS_BYTES) // _HELD_BYTES


def check_decoding(n_pixels: int, pixel_bytes: int) -> None:
    """Raise ImageError where decoding an image needs more memory than the calling task may take."""
    _check(bytes_to_decode(n_pixels, pixel_bytes), f"{n_pixels:,} pixels")


def check_counting(n_colors: int) -> None:
    """Raise ImageError where a histogram needs more memory than the calling task may take."""
    _check(bytes_to_count(n_colors), f"{n_colors:,} distinct colours")


def check_colors(n_colors: int, *, opaque: bool) -> None:
    """Raise ImageError where fitting a palette needs more memory than the calling task may take."""
    _check(bytes_to_fit(n_colors, opaque=opaque), f"{n_colors:,} distinct colours")


def _check(needed: int, what: str) -> None:
    memory = worker_memory()
    if memory is not None and needed > memory:
        raise ImageError(
            f"{what} take about {needed / 1e6:,.0f} MB of memory, a worker has "
            f"{memory / 1e6:,.0f} MB: raise --memory-limit"
        )
