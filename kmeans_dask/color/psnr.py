"""How much was lost."""

from __future__ import annotations

import math

from kmeans_dask.color.color_lookup import ERROR_UNITS


def psnr(squared_error: float, pixels: float) -> float | None:
    """Peak signal-to-noise ratio in dB of `pixels` 8-bit RGB pixels; None where nothing was lost.

    squared_error: as `color.color_lookup.squared_errors` has it, added up. What alpha and the
        colours under it differ by counts too, over the three values of a pixel.

    >>> round(psnr(3 * 100 * ERROR_UNITS, 100), 2)
    48.13
    """
    if squared_error == 0:
        return None
    return 10 * math.log10(255 * 255 * 3 * pixels * ERROR_UNITS / squared_error)


def squared_error_of(psnr: float | None, pixels: int) -> float:
    """Return the sum of squared errors over `pixels` pixels that gives the PSNR `psnr`, in dB.

    The unit is 1 / `ERROR_UNITS` of a squared 8-bit value. Where `psnr` is None, nothing was lost,
    and the error is 0.
    """
    return 0.0 if psnr is None else 255 * 255 * 3 * pixels * ERROR_UNITS / 10 ** (psnr / 10)


def error_of_pixel(squared_error: int) -> float:
    """Return the error of one pixel, 0 to 255: the root mean square over its three channels.

    squared_error: of all three channels, in 1 / `ERROR_UNITS` of a squared 8-bit value

    >>> error_of_pixel(3 * 100 * ERROR_UNITS)
    10.0
    """
    return math.sqrt(squared_error / (3 * ERROR_UNITS))
