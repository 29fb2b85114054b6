"""The colours that images are rewritten with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Palette:
    """Colours in index order; where `transparent` holds, index 0 comes before them and is clear.

    colors: (k, 3) uint8, sRGB, distinct, dark to light
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
    def entries(self) -> NDArray[np.uint8]:
        """All entries, (len, 3) uint8; the transparent one is black."""
        return np.concatenate([np.zeros((self.first, 3), np.uint8), self.colors])

    @property
    def bit_depth(self) -> int:
        """Bits that an index needs in a PNG: 1, 2, 4 or 8."""
        return next(bits for bits in (1, 2, 4, 8) if len(self) <= 1 << bits)

    def to_json(self, pixels: Sequence[int]) -> str:
        """As JSON text, with the number of `pixels` nearest to each colour."""
        hexes = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in self.entries.tolist()]
        counts = [None] * self.first + [int(n) for n in pixels]
        document: dict[str, Any] = {
            "colors": hexes,
            "transparent": 0 if self.transparent else None,
            "pixels": counts,
        }
        return json.dumps(document, indent=1) + "\n"


def palette_of(centroids: NDArray[np.float64], *, transparent: bool = False) -> Palette:
    """Round centroids (k, 3) to distinct 8-bit colours, ordered by luma (Rec. 601), then r, g, b.

    >>> palette_of(np.array([[255.0, 254.6, 255], [0, 0, 0.5], [255, 255, 255]])).colors.tolist()
    [[0, 0, 1], [255, 255, 255]]
    """
    rounded = np.floor(centroids.reshape(-1, 3) + 0.5).astype(np.uint8)
    colors = np.unique(rounded, axis=0)
    luma = colors.astype(np.int64) @ np.array([299, 587, 114])
    return Palette(colors[np.argsort(luma, kind="stable")], transparent)
