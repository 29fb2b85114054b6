"""Pixels of an image whose indices are chosen by error and bits, whatever coder counts the bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.palette import Palette
from kmeans_dask.color.spaces import Space

BAND = 1 << 18  # pixels that are prepared at once


class LossyImage(NamedTuple):
    """Image whose indices were chosen by error and bits.

    indices: (n,) uint8
    palette: the palette, in which entries that were free to move are the means of their pixels
    """

    indices: NDArray[np.uint8]
    palette: Palette


@dataclass(frozen=True, kw_only=True)
class LossyPixels:
    """Pixels of an image, with their coordinates in the space in which errors are measured.

    colors: (n, 3) uint8, row after row; alphas: (n,) uint8, None where all pixels are opaque
    width: pixels of a row
    plain: (n,) uint8, the index of the entry that is nearest to each pixel
    steps: steps of an 8-bit level in which coordinates are
    """

    colors: NDArray[np.uint8]
    alphas: NDArray[np.uint8] | None
    width: int
    plain: NDArray[np.uint8]
    space: Space
    steps: int

    @property
    def height(self) -> int:
        """Return the number of rows."""
        return len(self.colors) // self.width

    def bands(self) -> Iterator[tuple[int, int]]:
        """Yield first and last row of bands of about `BAND` pixels; the last one is exclusive."""
        rows = max(1, BAND // self.width)
        for top in range(0, self.height, rows):
            yield top, min(top + rows, self.height)

    def values(self, some: slice) -> NDArray[np.int32]:
        """Return the coordinates of some pixels, (n, C)."""
        alphas = None if self.alphas is None else self.alphas[some]
        return self._scaled(self.colors[some], alphas)

    def entry_values(self, palette: Palette) -> NDArray[np.int32]:
        """Return the coordinates of the entries of a palette, (entries, C)."""
        entries = palette.entries
        return self._scaled(entries[:, :3], entries[:, 3] if self.space.alpha else None)

    def cost_of_bits(self, bits: NDArray[np.int64], weight: float) -> NDArray[np.int64]:
        """Return what bits cost, in the unit of squared errors of coordinates.

        bits: in sixteenths; weight: squared error, of an 8-bit level, that a bit is worth
        """
        per_sixteenth = round(weight * 2**12 * self.steps**2)
        return (bits * per_sixteenth + (1 << 15)) >> 16

    def moved(
        self, palette: Palette, indices: NDArray[np.uint8], free: NDArray[np.bool_]
    ) -> Palette:
        """Return a palette whose entries that are free are the means of their pixels."""
        n, space = len(palette), self.space
        weights = np.bincount(indices, minlength=n)
        moves = free & (weights > 0) & (palette.entries[:, 3] > 0)
        sums = np.zeros((n, space.channels), np.int64)
        for start in range(0, len(indices), BAND):
            some = slice(start, start + BAND)
            alphas = None if self.alphas is None else self.alphas[some]
            values = space.coordinates(self.colors[some], alphas if space.alpha else None)
            for c in range(space.channels):
                # sums of a band of integers below 2^17 are exact in float64
                added = np.bincount(indices[some], values[:, c].astype(np.float64), n)
                sums[:, c] += added.astype(np.int64)
        means = sums[moves] / weights[moves, None]
        entries = palette.entries.copy()
        colors = space.colors(means, entries[moves, 3] == 255)
        rounded = np.floor(colors + 0.5).clip(0, 255).astype(np.uint8)
        changed = np.flatnonzero(moves)
        entries[changed, :3] = rounded[:, :3]
        if rounded.shape[1] == 4:
            entries[changed, 3] = np.maximum(rounded[:, 3], 1)
        return replace(Palette.of_entries(entries), fixed=palette.fixed)

    def _scaled(
        self, colors: NDArray[np.uint8], alphas: NDArray[np.uint8] | None
    ) -> NDArray[np.int32]:
        """Return coordinates of colours, (n, C), where a level of grey of 8 bits is `steps` units.

        In Oklab it is twice as many, because there the coordinates of hues are smaller: so a weight
        trades about as much error for bits as in RGB.
        """
        values = self.space.coordinates(colors, alphas).astype(np.int64)
        white = 255 * self.steps * (2 if self.space.name == "oklab" else 1)
        scaled = (2 * values * white + self.space.largest) // (2 * self.space.largest)
        return scaled.astype(np.int32)


def space_of(name: str, alphas: NDArray[np.uint8] | None, palette: Palette) -> Space:
    """Return the colour space of a name, with alpha where pixels or entries are translucent.

    alphas: (n,) uint8, None where all pixels are opaque
    """
    is_translucent = alphas is not None and bool(((alphas > 0) & (alphas < 255)).any())
    return Space(name, is_translucent or palette.alphas is not None)
