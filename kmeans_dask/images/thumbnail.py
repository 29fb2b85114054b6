"""Thumbnails and crops: images scaled down, or parts of them, to be shown on a page."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 420  # pixels of the longer side of a thumbnail on a page
_QUALITIES = (80, 50, 20)  # of WebP, tried in turn while a thumbnail, of noise, say, is too large
_METHOD = 2  # of WebP: a higher one takes twice the time and saves 3 % of the bytes
_LARGE = 90_000  # bytes: 24 of them stay below 3 MB in base64


def thumbnail(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return `pixels` (h, w, 4), straight sRGB and alpha, scaled to at most `side` pixels a side.

    >>> thumbnail(np.zeros((40, 10, 4), np.uint8), 8).shape
    (8, 2, 4)
    """
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), reducing_gap=2.0)
    return np.asarray(image)


def shrunk(image: Image.Image, to: tuple[int, int] | None = None) -> Image.Image:
    """Return `image` scaled to at most `SIDE` pixels a side, or to the size `to`.

    >>> shrunk(Image.new("RGB", (4200, 840))).size
    (420, 84)
    """
    scale = min(1, SIDE / max(image.size))
    to = to or (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image if image.size == to else image.resize(to, reducing_gap=2.0)


def as_webp(image: Image.Image) -> bytes:
    """Return a WebP file of `image`, at the best quality at which it has at most `_LARGE` bytes.

    Where there is no such quality, the file has the lowest one.
    """
    for quality in _QUALITIES:
        file = io.BytesIO()
        image.save(file, "WEBP", quality=quality, method=_METHOD)
        if len(file.getvalue()) <= _LARGE:
            break
    return file.getvalue()


def exact_webp(pixels: NDArray[np.uint8]) -> bytes:
    """Return a lossless WebP file of `pixels` (h, w, 4), straight sRGB and alpha.

    >>> exact_webp(np.zeros((2, 2, 4), np.uint8))[8:16]
    b'WEBPVP8L'
    """
    opaque = bool((pixels[..., 3] == 255).all())
    file = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels[..., :3]) if opaque else pixels)
    image.save(file, "WEBP", lossless=True, exact=True)
    return file.getvalue()
