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
    """Colours in index order; where `transparent` holds, index 0 comes before them and is clear.

    colors: (k, 3) uint8, straight sRGB, or (k, 4) with alpha
    transparent: whether index 0 is kept for fully transparent pixels
    """

    colors: NDArray[np.uint8]
    transparent: bool = False

    def __len__(self) -> int:
        return len(self.colors) + self.transparent

    @property
    def first(self) -> int:
        """The index of the first colour."""
        return int(self.transparent)

    @property
    def alphas(self) -> NDArray[np.uint8] | None:
        """Of the colours, (k,) uint8; None where all are opaque."""
        return self.colors[:, 3] if self.colors.shape[1] == 4 else None

    @cached_property
    def entries(self) -> NDArray[np.uint8]:
        """All entries, (len, 4) uint8, straight sRGB and alpha; the clear one is all 0."""
        entries = np.full((len(self), 4), _OPAQUE, np.uint8)
        entries[: self.first] = 0
        entries[self.first :, : self.colors.shape[1]] = self.colors
        return entries

    @cached_property
    def see_through(self) -> NDArray[np.int64]:
        """The entries that are not opaque, by number."""
        return np.flatnonzero(self.entries[:, 3] < _OPAQUE)

    @cached_property
    def bit_depth(self) -> int:
        """Bits that an index needs in a PNG: 1, 2, 4 or 8."""
        return next(bits for bits in (1, 2, 4, 8) if len(self) <= 1 << bits)

    @classmethod
    def of_entries(cls, entries: NDArray[np.uint8]) -> Palette:
        """From entries (n, 4) as above: a first one that is clear is kept for clear pixels."""
        transparent = len(entries) > 0 and entries[0, 3] == 0
        colors = entries[int(transparent) :]
        opaque = bool((colors[:, 3] == _OPAQUE).all())
        return cls(colors[:, :3] if opaque else colors, transparent)


def palette_of(
    colors: NDArray[np.float64],
    *,
    transparent: bool = False,
    fixed: NDArray[np.uint8] | None = None,
) -> Palette:
    """Round colours (k, 3), or (k, 4) with alpha, to distinct 8-bit ones, in a fixed order.

    First those of `fixed` (f, 3), in their own order; then what is partly transparent, as files
    need to list alphas up to the last such only; then from dark to light, by luma (Rec. 601), and
    where that is equal by r, g, b.

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
    return Palette(ordered, transparent)
