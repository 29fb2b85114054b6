"""The colours that images are rewritten with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_OPAQUE = 255
_LUMA = np.array([299, 587, 114])  # Rec. 601


@dataclass(frozen=True)
class Palette:
    """Entries in index order; the first that is clear is kept for fully transparent pixels.

    entries: (n, 4) uint8, straight sRGB and alpha; those that are clear are all 0
    """

    entries: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def clear(self) -> int | None:
        """The index of the clear entry; None where there is none."""
        clear = np.flatnonzero(self.entries[:, 3] == 0)
        return int(clear[0]) if clear.size else None

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """The index of each colour, (k,): of every entry that is not clear."""
        return np.flatnonzero(self.entries[:, 3])

    @cached_property
    def colors(self) -> NDArray[np.uint8]:
        """The colours, (k, 3) straight sRGB where all are opaque, else (k, 4) with alpha."""
        colors = self.entries[self.numbers]
        return colors[:, :3] if (colors[:, 3] == _OPAQUE).all() else colors

    @property
    def alphas(self) -> NDArray[np.uint8] | None:
        """Of the colours, (k,) uint8; None where all are opaque."""
        return self.colors[:, 3] if self.colors.shape[1] == 4 else None

    @cached_property
    def see_through(self) -> NDArray[np.int64]:
        """The entries that are not opaque, by number."""
        return np.flatnonzero(self.entries[:, 3] < _OPAQUE)

    @cached_property
    def bit_depth(self) -> int:
        """Bits that an index needs in a PNG: 1, 2, 4 or 8."""
        return next(bits for bits in (1, 2, 4, 8) if len(self) <= 1 << bits)

    @classmethod
    def of_colors(cls, colors: NDArray[np.uint8], *, transparent: bool = False) -> Palette:
        """From colours (k, 3), or (k, 4) with alpha; where `transparent`, after a clear entry."""
        entries = np.full((len(colors) + transparent, 4), _OPAQUE, np.uint8)
        entries[: int(transparent)] = 0
        entries[int(transparent) :, : colors.shape[1]] = colors
        return cls.of_entries(entries)

    @classmethod
    def of_entries(cls, entries: NDArray[np.uint8]) -> Palette:
        """From entries (n, 4), of which those that are clear may have any colour."""
        return cls(np.where(entries[:, 3:] == 0, np.uint8(0), entries))

    def with_clear(self) -> Palette:
        """The palette with a clear entry, as the last where there is none: no index changes."""
        if self.clear is not None:
            return self
        return Palette(np.concatenate([self.entries, np.zeros((1, 4), np.uint8)]))

    def spread(self, weights: NDArray[np.int64]) -> NDArray[np.int64]:
        """Weights of all entries, (n,), from those of the colours, (k,): clear ones have none."""
        spread = np.zeros(len(self), np.int64)
        spread[self.numbers] = weights
        return spread

    def pixels_of_entries(self, weights: NDArray[np.int64]) -> list[int | None]:
        """Weights of all entries as files have them: None for clear ones, which nobody counts."""
        spread: list[int | None] = self.spread(weights).tolist()
        return [n if alpha else None for n, alpha in zip(spread, self.entries[:, 3], strict=True)]


def palette_of(
    colors: NDArray[np.float64],
    *,
    transparent: bool = False,
    fixed: NDArray[np.uint8] | None = None,
) -> Palette:
    """Round colours (k, 3), or (k, 4) with alpha, to distinct 8-bit ones, in a fixed order.

    First the clear one, where `transparent`; then those of `fixed` (f, 3), in their own order; then
    what is partly transparent, as files need to list alphas up to the last such only; then from
    dark to light, by luma (Rec. 601), and where that is equal by r, g, b.

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
    return Palette.of_colors(ordered, transparent=transparent)
