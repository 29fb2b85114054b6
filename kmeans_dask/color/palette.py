"""Palettes: the colours that images are rewritten with, in the order of their indices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_OPAQUE = 255
_LUMA = np.array([299, 587, 114])  # Rec. 601


@dataclass(frozen=True)
class Palette:
    """Palette of an image, with its entries in the order of their indices.

    An entry of alpha 0 is a clear entry; the first one is kept for fully transparent pixels.

    entries: (n, 4) uint8, sRGB and straight alpha; all four values of a clear entry are 0
    fixed: number of fixed colours, which come first, after a clear entry if there is one
    """

    entries: NDArray[np.uint8]
    fixed: int = 0

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def clear(self) -> int | None:
        """Return the index of the first clear entry (alpha 0), or None where there is none."""
        clear = np.flatnonzero(self.entries[:, 3] == 0)
        return int(clear[0]) if clear.size else None

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """Return the index, (k,) int64, of each entry that is not clear (alpha 0)."""
        return np.flatnonzero(self.entries[:, 3])

    @cached_property
    def colors(self) -> NDArray[np.uint8]:
        """Return the entries that are not clear (alpha 0).

        They are (k, 3) uint8, sRGB, where all are opaque, and else (k, 4) with straight alpha.
        """
        colors = self.entries[self.numbers]
        return colors[:, :3] if (colors[:, 3] == _OPAQUE).all() else colors

    @property
    def alphas(self) -> NDArray[np.uint8] | None:
        """Return the alphas of the colours, (k,) uint8, or None where all are opaque."""
        return self.colors[:, 3] if self.colors.shape[1] == 4 else None

    @cached_property
    def translucent_indices(self) -> NDArray[np.int64]:
        """Return the index of each entry that is not opaque, clear ones (alpha 0) included."""
        return np.flatnonzero(self.entries[:, 3] < _OPAQUE)

    @cached_property
    def bit_depth(self) -> int:
        """Return the bits that an index needs in a PNG: 1, 2, 4 or 8."""
        return next(bits for bits in (1, 2, 4, 8) if len(self) <= 1 << bits)

    @classmethod
    def of_colors(cls, colors: NDArray[np.uint8], *, transparent: bool = False) -> Palette:
        """Return the palette of `colors`, (k, 3), or (k, 4) with alpha, uint8, sRGB.

        transparent: put a clear entry (alpha 0) before the colours
        """
        entries = np.full((len(colors) + transparent, 4), _OPAQUE, np.uint8)
        entries[: int(transparent)] = 0
        entries[int(transparent) :, : colors.shape[1]] = colors
        return cls.of_entries(entries)

    @classmethod
    def of_entries(cls, entries: NDArray[np.uint8]) -> Palette:
        """Return the palette of `entries`, (n, 4) uint8, sRGB and straight alpha.

        The colour of an entry of alpha 0 is replaced by 0.
        """
        return cls(np.where(entries[:, 3:] == 0, np.uint8(0), entries))

    def with_clear(self) -> Palette:
        """Return the palette with a clear entry (alpha 0), appended where there is none yet.

        No index of another entry changes.
        """
        if self.clear is not None:
            return self
        return Palette(np.concatenate([self.entries, np.zeros((1, 4), np.uint8)]), self.fixed)

    def spread(self, weights: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the weights of all entries, (n,) int64, with 0 for clear ones (alpha 0).

        weights: those of the entries that are not clear, (k,)
        """
        spread = np.zeros(len(self), np.int64)
        spread[self.numbers] = weights
        return spread

    def pixels_of_entries(self, weights: NDArray[np.int64]) -> list[int | None]:
        """Return a list, for a file, of the pixels of each entry; None for those not counted.

        weights: pixels of the entries that are not clear (alpha 0), (k,); clear ones get None
        """
        spread: list[int | None] = self.spread(weights).tolist()
        return [n if alpha else None for n, alpha in zip(spread, self.entries[:, 3], strict=True)]


def palette_of(
    colors: NDArray[np.float64],
    *,
    transparent: bool = False,
    fixed: NDArray[np.uint8] | None = None,
) -> Palette:
    """Return the palette of colours (k, 3), or (k, 4) with alpha, sRGB from 0 to 255.

    transparent: put a clear entry (alpha 0) first
    fixed: colours (f, 3) that come next, opaque and in their own order

    Colours are rounded to 8 bits, and equal ones become one entry. The partly transparent colours
    come before the opaque ones, because files list alphas only up to the last that is not opaque.
    Both are ordered from dark to light, by luma (Rec. 601), and where that is equal by r, g, b.

    >>> palette_of(np.array([[255.0, 254.6, 255], [0, 0, 0.5], [255, 255, 255]])).colors.tolist()
    [[0, 0, 1], [255, 255, 255]]
    """
    rounded = np.floor(np.atleast_2d(colors) + 0.5).clip(0, _OPAQUE).astype(np.uint8)
    distinct = np.unique(rounded, axis=0)
    order = [*distinct.T[::-1], distinct[:, :3].astype(np.int64) @ _LUMA]
    if distinct.shape[1] == 4:
        order.append(distinct[:, 3] == _OPAQUE)
    ordered = distinct[np.lexsort(order)]
    if (ordered[:, 3:] == _OPAQUE).all():
        ordered = ordered[:, :3]
    if fixed is not None and len(fixed):
        kept = np.full((len(fixed), ordered.shape[1]), _OPAQUE, np.uint8)
        kept[:, :3] = fixed
        is_new = (ordered[:, None] != kept[None]).any(axis=2).all(axis=1)
        ordered = np.concatenate([kept, ordered[is_new]])
    palette = Palette.of_colors(ordered, transparent=transparent)
    return palette if fixed is None else replace(palette, fixed=len(fixed))
