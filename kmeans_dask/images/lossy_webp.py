"""Size of an image as lossy WebP, to compare palettes with what suits photographs better."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from kmeans_dask.files import Location
from kmeans_dask.images.decode import decode
from kmeans_dask.settings import DecodeSettings

_MOST = 1 << 19  # pixels that are encoded: those in the middle of a larger image
_QUALITIES = 101


def bytes_as_lossy_webp(path: Location, psnr: float, settings: DecodeSettings) -> float | None:
    """Return the bytes that the image at `path` takes as lossy WebP of a PSNR in dB, about.

    Return None where the image has alpha, or where no quality reaches the PSNR. Of a large image
    the middle is encoded, and the bytes are scaled by pixels.

    Raises ImageError and UnreachableError as `decode` does.
    """
    decoded = decode(path, settings.max_pixels, white=settings.white).image
    if decoded.mode != "RGB":
        return None
    image = _middle(decoded)
    original = np.asarray(image).astype(np.int64)
    worst = 255**2 / 10 ** (psnr / 10)
    low, high, best = -1, _QUALITIES, None
    while high - low > 1:
        quality = (low + high) // 2
        file = io.BytesIO()
        image.save(file, "WEBP", quality=quality, method=4)
        with Image.open(file) as found:
            error = float(((np.asarray(found.convert("RGB")) - original) ** 2).mean())
        if error <= worst:
            high, best = quality, len(file.getvalue())
        else:
            low = quality
    if best is None:
        return None
    return best * (decoded.width * decoded.height) / (image.width * image.height)


def _middle(image: Image.Image) -> Image.Image:
    """Return the middle of an image, with its proportions, of at most `_MOST` pixels."""
    shrink = min(1.0, (_MOST / (image.width * image.height)) ** 0.5)
    width, height = (max(1, int(side * shrink)) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    part = Image.new("RGB", (width, height))  # `crop` would check a limit of the process
    part.paste(image, (-left, -top))
    return part
