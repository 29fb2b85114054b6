"""Decoded images, as a whole or in bands of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kmeans_dask.images.metadata import Metadata


@dataclass(frozen=True)
class Band:
    """Band of an image: the pixels of some of its rows.

    pixels: (n, 3) uint8, straight sRGB; black where fully transparent
    alphas: (n,) uint8, or None where all pixels are opaque
    """

    pixels: NDArray[np.uint8]
    alphas: NDArray[np.uint8] | None


@dataclass(frozen=True)
class DecodedImage:
    """Decoded image: upright, sRGB, in mode RGB, or RGBA where some pixel is not opaque.

    transparent, translucent: whether some pixel is fully, or partly, transparent in the file
    metadata: metadata of the file, or None where they were not asked for
    brightest: upper bound of the file's 16-bit samples, where all of them are in the lower half of
        their range and no white was named; else None
    indexed: whether the file has palette indices or bits, or so few greys that they may be class
        labels
    """

    image: Image.Image
    transparent: bool
    translucent: bool
    metadata: Metadata | None = None
    brightest: int | None = None
    indexed: bool = False

    @property
    def height(self) -> int:
        """Return the height in pixels."""
        return self.image.height

    @property
    def width(self) -> int:
        """Return the width in pixels."""
        return self.image.width

    def bands(self, pixels: int = 1 << 18) -> Iterator[Band]:
        """Yield the image in bands of about `pixels` pixels, from top to bottom.

        Bands keep the image from being in memory twice.
        """
        rows = max(1, pixels // self.width)
        if rows >= self.height:
            yield _band(np.asarray(self.image))
            return
        for top in range(0, self.height, rows):
            size = self.width, min(rows, self.height - top)
            part = Image.new(self.image.mode, size)  # `crop` would check a limit of the process
            part.paste(self.image, (0, -top))
            yield _band(np.asarray(part))

    def whole(self) -> Band:
        """Return the whole image as one band.

        It is joined from smaller bands, because Pillow is slow to export large images.
        """
        bands = list(self.bands())
        if len(bands) == 1:
            return bands[0]
        alphas = None
        if any(band.alphas is not None for band in bands):
            opaque = (np.full(len(band.pixels), 255, np.uint8) for band in bands)
            alphas = np.concatenate(
                [
                    o if band.alphas is None else band.alphas
                    for o, band in zip(opaque, bands, strict=True)
                ]
            )
        return Band(np.concatenate([band.pixels for band in bands]), alphas)


def _band(samples: NDArray[np.uint8]) -> Band:
    """Return the band of `samples`, (h, w, 3) or (h, w, 4) with alpha."""
    samples = samples.reshape(-1, samples.shape[-1])
    if samples.shape[1] == 3:
        return Band(samples, None)
    pixels, alphas = samples[:, :3].copy(), samples[:, 3].copy()
    pixels[alphas == 0] = 0
    return Band(pixels, None if (alphas == 255).all() else alphas)
