"""Peak signal-to-noise ratio (PSNR) of images, and the squared errors that it stands for."""

from __future__ import annotations

import math

from kmeans_dask.color.color_lookup import ERROR_UNITS


def psnr(squared_error: float, pixels: float) -> float | None:
    """Return the peak signal-to-noise ratio in dB of 8-bit pixels, or None where nothing was lost.

    squared_error: sum of `color.color_lookup.squared_errors` over all pixels
    pixels: how many pixels these are

    Differences of alpha count too, though the error of a pixel is divided by three values only.

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

    squared_error: sum over the three channels, in units of 1 / `ERROR_UNITS` of a squared
        8-bit value

    >>> error_of_pixel(3 * 100 * ERROR_UNITS)
    10.0
    """
    return math.sqrt(squared_error / (3 * ERROR_UNITS))


def squared_limit(error: float) -> int:
    """Return the largest squared error of a pixel for which `error_of_pixel` is at most `error`.

    >>> squared_limit(10.0) == 3 * 100 * ERROR_UNITS
    True
    """
    found = math.ceil(error * error * 3 * ERROR_UNITS) + 1
    while error_of_pixel(found) > error:
        found -= 1
    return found
