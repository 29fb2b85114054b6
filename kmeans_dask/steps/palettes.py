"""Palettes, read from stores and files, and written to files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.palette import Palette
from kmeans_dask.errors import UsageError
from kmeans_dask.files import Location
from kmeans_dask.files.atomic_files import check_new_file
from kmeans_dask.images.palette_files import hexes_of, read_entries, write_entries
from kmeans_dask.job.fit_result import read_fit
from kmeans_dask.settings import MAX_COLORS
from kmeans_dask.store import Store


@dataclass(frozen=True)
class NamedPalette:
    """Palette with a name, to show or to write to a file.

    entries: (k, 4) uint8, straight sRGB and alpha, in index order
    pixels: (k,) int64, number of pixels of each entry, 0 for the transparent one; None if unknown
    """

    name: str
    entries: NDArray[np.uint8]
    pixels: NDArray[np.int64] | None

    def as_dict(self) -> dict[str, Any]:
        """Return the palette, ready for JSON."""
        pixels = None if self.pixels is None else self.pixels.tolist()
        return {"name": self.name, "colors": hexes_of(self.entries), "pixels": pixels}


def read_any_palette(source: Location, name: str | None = None) -> NamedPalette:
    """Return the palette of a file, or the palette `name` of a store, or its last one.

    Raises UsageError where a file cannot be read or `name` is given for it, and StoreError where
    the store or its palette cannot be read.
    """
    if source.is_dir():
        fitted = read_fit(Store.open(source.absolute()), name)
        weights = fitted.palette.spread(fitted.weights)
        return NamedPalette(fitted.name, fitted.palette.entries, weights)
    if name is not None:
        raise UsageError("--palette-name chooses among the palettes of a store, and this is a file")
    return NamedPalette(source.stem, read_entries(source), None)


def convert_palette(palette: NamedPalette, target: Location, *, overwrite: bool) -> None:
    """Write `palette` to the file `target`, in the format of its suffix. Raises UsageError."""
    check_new_file(target, overwrite=overwrite)
    pixels = None if palette.pixels is None else palette.pixels.tolist()
    write_entries(target, palette.entries, pixels, palette.name)


def read_palette_file(path: Location) -> Palette:
    """Return the palette in the file at `path`, with its entries in the order of the file.

    Raises UsageError where the file cannot be read, has more entries than an image holds, or has no
    colour that is not transparent.
    """
    palette = Palette.of_entries(read_entries(path))
    if len(palette) > MAX_COLORS:
        raise UsageError(f"{path.name} has {len(palette)} colours, an image holds {MAX_COLORS}")
    if not palette.numbers.size:
        raise UsageError(f"{path.name} has no colour that is not clear")
    return palette
