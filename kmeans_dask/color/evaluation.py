"""Evaluation of a palette on a histogram: its errors, and the pixels of each of its entries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.color_lookup import Indices, squared_errors, weights_of
from kmeans_dask.color.palette import Palette
from kmeans_dask.color.psnr import psnr
from kmeans_dask.kmeans.histogram import ColorHistogram


@dataclass(frozen=True)
class Evaluation:
    """Errors of a palette on a histogram of colours, and the pixels of each palette entry.

    weights: (k,) int64, pixels of each entry that is not clear (alpha 0)
    squared_error: sum over all pixels, in units of 1 / `color.color_lookup.ERROR_UNITS` of a
        squared 8-bit value
    largest_error: squared error of the worst pixel, in the same unit
    worst: r, g, b and alpha of this pixel's colour, the first such colour of the histogram
    """

    weights: NDArray[np.int64]
    squared_error: int
    largest_error: int = 0
    worst: tuple[int, ...] = ()

    @property
    def psnr(self) -> float:
        """Return the PSNR in dB; infinite where nothing is lost."""
        found = psnr(self.squared_error, int(self.weights.sum()))
        return float("inf") if found is None else found


def evaluate(histogram: ColorHistogram, entries: Indices, palette: Palette) -> Evaluation:
    """Return the errors of `palette` on `histogram`, and the pixels of each entry.

    entries: (u,), the palette index of each colour of `histogram`
    """
    alphas = None if histogram.is_opaque else histogram.alphas
    errors = squared_errors(histogram.colors, alphas, entries, palette.entries)
    weights = weights_of(entries, histogram.weights, len(palette))
    # Summed in two parts, so that no sum passes 63 bits; from 2^44 pixels on, as Python's integers.
    each = histogram.weights if histogram.pixels < 1 << 44 else histogram.weights.astype(object)
    total = int((errors & 0xFFFF) @ each) + (int((errors >> 16) @ each) << 16)
    if not errors.size:
        return Evaluation(weights[palette.numbers], total)
    first = int(errors.argmax())
    worst = (*histogram.colors[first].tolist(), int(histogram.alphas[first]))
    return Evaluation(weights[palette.numbers], total, int(errors[first]), worst)
