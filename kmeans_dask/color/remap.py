"""Remap of pixels to palette entries, either to the nearest ones or by dithering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.color_lookup import ColorLookup, Indices, weights_of
from kmeans_dask.color.dithering import Ditherer
from kmeans_dask.color.palette import Palette
from kmeans_dask.color.spaces import Space
from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.histogram import ColorHistogram


class Remapper:
    """Remap of images to a palette: each pixel gets its nearest entry, or a dithered one.

    histogram: one in which all colours of the images occur
    space: name of the colour space in which distances are measured
    dither: strength of dithering, 0 (none) to 1, as of `Ditherer`
    entries: (u,), the palette index of each colour of `histogram`, where these are known already
    """

    def __init__(
        self,
        histogram: ColorHistogram,
        palette: Palette,
        space: str,
        dither: float = 0.0,
        entries: Indices | None = None,
    ) -> None:
        self.palette = palette
        self._map: ColorLookup | None = None
        if dither and palette.numbers.size:  # else only a clear entry, of images that show nothing
            self._ditherer = _Ditherers(palette, space, dither, opaque=histogram.is_opaque)
            return
        if entries is None:
            entries = nearest_entries(histogram, palette, space)
        self._map = ColorLookup(histogram.codes, entries, palette.clear or 0)

    def map(
        self, pixels: NDArray[np.uint8], alphas: NDArray[np.uint8] | None, width: int
    ) -> NDArray[Any]:
        """Return the palette index of each pixel, (n,).

        pixels: (n, 3) uint8; alphas: (n,) uint8, None where all pixels are opaque
        width: pixels of a row, which dithering needs

        Fully transparent pixels get the index of the clear entry (alpha 0).
        """
        if self._map:
            return self._map.look_up(pixels, alphas)
        return self._ditherer.map(pixels, alphas, width)


class _Ditherers:
    """Ditherers of one palette: one that uses opaque colours only, and one that uses all.

    The first is for images without partly transparent pixels. The second is made only where
    images are not all opaque.
    """

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


_SEARCHED = 1 << 20  # colours per search for nearest entries


def nearest_entries(histogram: ColorHistogram, palette: Palette, space: str) -> Indices:
    """Return the index of the palette entry nearest to each colour of `histogram`, (u,).

    The indices are uint8, or uint16 for more than 256 entries. An opaque colour gets an opaque
    entry if the palette has any. The colours are searched in parts, because a search takes ten
    times the memory of the histogram.
    """
    entries = np.empty(len(histogram), _dtype_of(palette))
    n = histogram.n_opaque
    opaque, which = opaque_part(palette)
    for start, stop, colors, numbers in (
        (0, n, opaque, which),
        (n, len(histogram), palette, np.arange(len(palette.numbers))),
    ):
        for at in range(start, stop, _SEARCHED):
            some = histogram.slice(at, min(at + _SEARCHED, stop))
            of_both = Space(space, alpha=colors.alphas is not None or not some.is_opaque)
            labels = labels_of([Assignment(of_both.points(some))], of_both, colors)
            entries[at : at + len(some)] = palette.numbers[numbers[labels]]
    return entries


def opaque_part(palette: Palette) -> tuple[Palette, NDArray[np.int64]]:
    """Return the palette of the opaque colours of `palette`, and the numbers of these colours.

    Where no colour is opaque, these are `palette` itself and all numbers.
    """
    alphas = palette.alphas
    which = np.arange(len(palette.colors))
    if alphas is None or not (alphas == 255).any():
        return palette, which
    which = which[alphas == 255]
    return Palette.of_colors(palette.colors[which, :3]), which


def labels_of(
    assignments: Sequence[Assignment], space: Space, palette: Palette
) -> NDArray[np.int32]:
    """Return the number of the colour of `palette` that is nearest to each point, (n,) int32.

    assignments: the points, in parts, as coordinates in `space`
    """
    places = space.coordinates(palette.colors[:, :3], palette.alphas).astype(np.float64)
    return np.concatenate([each.labels(places) for each in assignments])


def _dtype_of(palette: Palette) -> type[np.unsignedinteger[Any]]:
    return np.uint8 if len(palette) <= 1 << 8 else np.uint16


def opaque_weights(
    histogram: ColorHistogram, assignments: Sequence[Assignment], centroids: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the opaque pixels, and all pixels, that are nearest to each of `centroids`, (2, k).

    assignments: the colours of `histogram` as points, in parts and in the order of `histogram`
    """
    labels = np.concatenate([each.labels(centroids) for each in assignments])
    n, k = histogram.n_opaque, len(centroids)
    opaque = weights_of(labels[:n], histogram.weights[:n], k)
    return np.stack([opaque, weights_of(labels, histogram.weights, k)])
