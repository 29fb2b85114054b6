"""How much was lost."""

from __future__ import annotations

import math


def psnr(squared_error: float, pixels: int) -> float | None:
    """Peak signal-to-noise ratio in dB of `pixels` 8-bit RGB pixels; None where nothing was lost.

    >>> round(psnr(3 * 100, 100), 2)
    48.13
    """
    if squared_error == 0:
        return None
    return 10 * math.log10(255 * 255 * 3 * pixels / squared_error)
