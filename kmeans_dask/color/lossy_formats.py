"""Lossy indices for the coder of a file format: deflate's for PNG and WebP, LZW's for GIF."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.lossy_indices import choose_indices, passes_of
from kmeans_dask.color.lossy_lzw import choose_lzw_indices, lzw_passes_of
from kmeans_dask.color.lossy_pixels import LossyImage
from kmeans_dask.color.palette import Palette


def choose_for_format(
    format_: str,
    effort: int,
    pixels: NDArray[np.uint8],
    alphas: NDArray[np.uint8] | None,
    width: int,
    plain: NDArray[np.uint8],
    palette: Palette,
    space: str,
    weight: float,
    free: NDArray[np.bool_] | None = None,
) -> LossyImage:
    """Return an image with the indices that are cheapest by error and bits in a file.

    format_: "gif", or else what deflate, or a coder like it, compresses
    effort: 0 to 9; more takes longer and finds fewer bytes

    The other arguments are those of `choose_indices`.
    """
    image = (pixels, alphas, width, plain, palette, space, weight)
    if format_ == "gif":
        return choose_lzw_indices(*image, lzw_passes_of(effort), free)
    return choose_indices(*image, passes_of(effort), free)
