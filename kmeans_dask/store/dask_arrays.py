"""Pixels of a store, or their indices into a palette, as one Dask array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np

from kmeans_dask.files import Location, parse_location
from kmeans_dask.store import Store


def open_pixels(path: str | Location) -> da.Array:
    """Return all pixels in the store at a path or URL, (n, 3) uint8; transparent ones are black.

    The pixels come image after image, in the store's own chunks of about 4 million pixels. Nothing
    is read until it is computed. Raises StoreError where there is no finished store.

    >>> pixels = open_pixels("photos.zarr")  # doctest: +SKIP
    >>> pixels.mean(axis=0).compute()  # doctest: +SKIP
    """
    store = Store.open(parse_location(path))
    store.require_whole()
    parts = [store.partition(name).pixels for name in store.partition_ids]
    return _joined(parts, da.zeros((0, 3), dtype=np.uint8))


def open_indices(path: str | Location, palette: str | None = None) -> da.Array:
    """Return the palette index of each pixel in the store at a path or URL, (n,) uint8 or uint16.

    palette: name of the palette; None for the palette fitted last

    The pixels are in the order of `open_pixels`. The command `tokenize` writes the indices.
    Raises StoreError where there are none.

    >>> tokens = open_indices("photos.zarr")  # doctest: +SKIP
    """
    store = Store.open(parse_location(path))
    store.require_whole()
    name = palette or (store.palette_names or ["(none is fitted)"])[-1]
    return _joined(store.indices(name), da.zeros(0, dtype=np.uint8))


def _joined(parts: Sequence[Any], nothing: da.Array) -> da.Array:
    arrays = [da.from_zarr(part) for part in parts if part.shape[0]]
    joined: da.Array = da.concatenate(arrays or [nothing])
    return joined
