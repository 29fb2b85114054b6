"""Images small enough to be shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def thumbnail(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """`pixels` (h, w, 4), straight sRGB and alpha, with at most `side` a side.

    >>> thumbnail(np.zeros((40, 10, 4), np.uint8), 8).shape
    (8, 2, 4)
    """
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), reducing_gap=2.0)
    return np.asarray(image)
