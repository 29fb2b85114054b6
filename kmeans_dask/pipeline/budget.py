"""Memory that work takes of a worker: the one model that `--memory` and `estimate` go by.

Work that would take more than there is, is refused by name: else the worker would be killed, and
what it was doing with it. Bytes are bounds, measured as peak resident sizes with
`python -m benchmarks.memory`, over formats and sizes, on photographs and on noise, in which every
pixel has a colour of its own.
"""

from __future__ import annotations

from kmeans_dask.cluster import worker_memory
from kmeans_dask.errors import ImageError
from kmeans_dask.settings import PROCESS_BYTES

_HELD_BYTES = 40  # of a pixel that is held while its colours, and others', are counted
_COUNTED_BYTES = 64  # of a colour in a table that is made, stored or read
_FITTED_BYTES = 70  # of a colour in a table that a palette is fitted to
_TRANSLUCENT_BYTES = 180  # the same, where some colours are partly transparent


def bytes_to_decode(n_pixels: int, pixel_bytes: int) -> int:
    """Memory of a worker that decodes an image, and counts it into its table.

    pixel_bytes: of each pixel, as `imaging.decode.Header` has it
    """
    return PROCESS_BYTES + n_pixels * pixel_bytes


def bytes_to_count(n_colors: int) -> int:
    """Memory of a worker that puts together a table of so many distinct colours."""
    return PROCESS_BYTES + n_colors * _COUNTED_BYTES


def bytes_to_fit(n_colors: int, *, opaque: bool) -> int:
    """Memory of a worker that fits a palette to so many distinct colours."""
    return PROCESS_BYTES + n_colors * (_FITTED_BYTES if opaque else _TRANSLUCENT_BYTES)


def pixels_within(memory: int | None) -> int | None:
    """Pixels that a thread with so many bytes can hold and count; None for any number."""
    return None if memory is None else max(0, memory - PROCESS_BYTES) // _HELD_BYTES


def check_decoding(n_pixels: int, pixel_bytes: int) -> None:
    """From inside a task: raise ImageError where an image takes too much memory to decode."""
    _check(bytes_to_decode(n_pixels, pixel_bytes), f"{n_pixels:,} pixels")


def check_counting(n_colors: int) -> None:
    """From inside a task: raise ImageError where a table of colours takes too much memory."""
    _check(bytes_to_count(n_colors), f"{n_colors:,} distinct colours")


def check_colors(n_colors: int, *, opaque: bool) -> None:
    """From inside a task: raise ImageError where a fit takes too much memory."""
    _check(bytes_to_fit(n_colors, opaque=opaque), f"{n_colors:,} distinct colours")


def _check(needed: int, what: str) -> None:
    memory = worker_memory()
    if memory is not None and needed > memory:
        raise ImageError(
            f"{what} take about {needed / 1e6:,.0f} MB of memory, a worker has "
            f"{memory / 1e6:,.0f} MB: raise --memory"
        )
