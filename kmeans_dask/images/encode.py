"""Encoder of indexed pixels to image files: PNG, WebP and GIF."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kmeans_dask.color.palette import Palette
from kmeans_dask.errors import ImageError
from kmeans_dask.images import png
from kmeans_dask.images.gif import encode_gif
from kmeans_dask.images.metadata import Metadata
from kmeans_dask.settings import EncodeSettings

_LONGEST = {"webp": 16383, "gif": 65535}  # pixels of a side, at most
# Pillow's method and quality of WebP for each effort, chosen by measured time and bytes (see
# benchmarks/README.md); the last one takes some ten seconds a megapixel.
_WEBP = ((0, 0), (0, 50), (2, 0), (2, 25), (3, 25), (3, 50), (4, 50), (4, 75), (5, 75), (6, 100))


def encode_image(
    indices: NDArray[np.uint8],
    palette: Palette,
    settings: EncodeSettings,
    metadata: Metadata | None = None,
    *,
    own_palette: bool = False,
) -> bytes:
    """Return an image file of `indices` (h, w) into `palette`, which has at most 256 entries.

    own_palette: whether the palette belongs to this image alone, see `encode_png`

    Raises ImageError where a side has more pixels than the format holds.
    """
    longest = _LONGEST.get(settings.format, max(indices.shape))
    if max(indices.shape) > longest:
        raise ImageError(f"{settings.format} holds {longest} pixels a side: choose png")
    if settings.format == "webp":
        return _webp(indices, palette, settings.effort, metadata)
    if settings.format == "gif":
        return encode_gif(indices, palette, settings.effort)
    return png.encode_png(indices, palette, settings.effort, metadata, own_palette=own_palette)


def check_effort(settings: EncodeSettings) -> None:
    """Raise UsageError where the effort needs a package that is not installed."""
    if settings.format == "png":
        png.check_effort(settings.effort)


def _webp(
    indices: NDArray[np.uint8], palette: Palette, effort: int, metadata: Metadata | None
) -> bytes:
    """Return a lossless WebP file; libwebp finds the palette in the pixels by itself."""
    pixels = palette.entries[indices]
    opaque = bool((pixels[..., 3] == 255).all())
    image = Image.fromarray(np.ascontiguousarray(pixels[..., :3]) if opaque else pixels)
    method, quality = _WEBP[effort]
    file = io.BytesIO()
    image.save(
        file,
        "WEBP",
        lossless=True,
        exact=True,
        method=method,
        quality=quality,
        exif=metadata.exif if metadata else b"",
    )
    return file.getvalue()
