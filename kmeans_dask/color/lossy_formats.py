"""Lossy indices for the coder of a file format: deflate's for PNG and WebP, LZW's for GIF."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.color_lookup import ERROR_UNITS, squared_error
from kmeans_dask.color.lossy_indices import choose_indices, passes_of
from kmeans_dask.color.lossy_lzw import choose_lzw_indices, lzw_passes_of
from kmeans_dask.color.lossy_pixels import LossyImage
from kmeans_dask.color.lzw import Grid, clear_places, lzw_codes
from kmeans_dask.color.palette import Palette

_GRID = Grid(4096, 16, 1)  # of clear codes, coarse: only the two results are compared


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

    For GIF, those of deflate are chosen as well, and kept where they are cheaper in GIF's codes: in
    smooth images, copies of deflate leave strings that the table of LZW finds again.

    format_: "gif", or else what deflate, or a coder like it, compresses
    effort: 0 to 9; more takes longer and finds fewer bytes

    The other arguments are those of `choose_indices`.
    """
    image = (pixels, alphas, width, plain, palette, space, weight)
    of_deflate = choose_indices(*image, passes_of(effort), free)
    if format_ != "gif":
        return of_deflate
    of_lzw = choose_lzw_indices(*image, lzw_passes_of(effort), free)

    def cost(found: LossyImage) -> float:
        indices, entries = found.indices, found.palette.entries
        clears = clear_places(indices, len(entries), _GRID)
        bits = 8 * len(lzw_codes(indices, len(entries), clears))
        error = squared_error(pixels, alphas, indices, entries).total / ERROR_UNITS
        return error + weight * bits

    return min(of_lzw, of_deflate, key=cost)
