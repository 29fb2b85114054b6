"""Pixels to entries of a palette: the nearest ones, or dithered."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.clustering.colormap import ColorMap, Indices
from kmeans_dask.clustering.counts import ColorCounts
from kmeans_dask.clustering.dithering import Ditherer
from kmeans_dask.clustering.spaces import Space
from kmeans_dask.imaging.palette import Palette
from kmeans_dask.pipeline.quantize import nearest_entries, opaque_part


class Mapper:
    """Maps images whose colours are among `counts` to `palette`.

    space: the name of the one in which colours are near each other
    entries: (u,), that of each colour, where they are known already
    """

    def __init__(
        self,
        counts: ColorCounts,
        palette: Palette,
        space: str,
        dither: float = 0.0,
        entries: Indices | None = None,
    ) -> None:
        self.palette = palette
        self._map: ColorMap | None = None
        if dither:
            self._ditherer = _Ditherers(palette, space, dither, opaque=counts.is_opaque)
            return
        if entries is None:
            entries = nearest_entries(counts, palette, space)
        self._map = ColorMap(counts.codes, entries, palette.clear or 0)

    def map(
        self, pixels: NDArray[np.uint8], alphas: NDArray[np.uint8] | None, width: int
    ) -> NDArray[Any]:
        """Return the palette entry of each pixel, (n,); pixels are (n, 3) uint8, alphas (n,) uint8.

        width: pixels of a row, which dithering needs

        Fully transparent pixels get the transparent entry.
        """
        if self._map:
            return self._map.look_up(pixels, alphas)
        return self._ditherer.map(pixels, alphas, width)


class _Ditherers:
    """One for opaque images, to opaque colours, and where it is needed one for others."""

    def __init__(self, palette: Palette, space: str, strength: float, *, opaque: bool) -> None:
        part, which = opaque_part(palette)
        self._which = which.astype(np.uint8)
        of_part = Space(space, alpha=part.alphas is not None)
        self._opaque = Ditherer(of_part, part.colors[:, :3], part.alphas, strength)
        self._any = self._opaque
        self._numbers, self._clear = palette.numbers.astype(np.uint8), palette.clear or 0
        if not opaque:
            of_all = Space(space, alpha=True)
            self._any = Ditherer(of_all, palette.colors[:, :3], palette.alphas, strength)

    def map(
        self, pixels: NDArray[np.uint8], alphas: NDArray[np.uint8] | None, width: int
    ) -> NDArray[np.uint8]:
        translucent = alphas is not None and bool(((alphas > 0) & (alphas < 255)).any())
        colors: NDArray[Any]
        if translucent:
            colors = self._any.map(pixels, alphas, width)
        else:
            colors = self._which[self._opaque.map(pixels, alphas, width)]
        entries: NDArray[np.uint8] = self._numbers[colors]
        if alphas is not None:
            entries[alphas == 0] = self._clear
        return entries
