"""Images small enough to be shown."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 420  # pixels, of a thumbnail on a page
_QUALITIES = (80, 50, 20)  # of WebP; the next one where a thumbnail, of noise, is too large
_METHOD = 2  # of WebP: beyond it, twice the time saves 3 % of the bytes
_LARGE = 90_000  # bytes: 24 of them stay below 3 MB in base64


def thumbnail(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """`pixels` (h, w, 4), straight sRGB and alpha, with at most `side` a side.

    >>> thumbnail(np.zeros((40, 10, 4), np.uint8), 8).shape
    (8, 2, 4)
    """
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), reducing_gap=2.0)
    return np.asarray(image)


def shrunk(image: Image.Image, to: tuple[int, int] | None = None) -> Image.Image:
    """`image` with at most `SIDE` a side, or brought to the size `to`.

    >>> shrunk(Image.new("RGB", (4200, 840))).size
    (420, 84)
    """
    scale = min(1, SIDE / max(image.size))
    to = to or (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image if image.size == to else image.resize(to, reducing_gap=2.0)


def as_webp(image: Image.Image) -> bytes:
    """A file of it, not large."""
    for quality in _QUALITIES:
        file = io.BytesIO()
        image.save(file, "WEBP", quality=quality, method=_METHOD)
        if len(file.getvalue()) <= _LARGE:
            break
    return file.getvalue()
