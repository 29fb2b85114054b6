"""A store's pixels as one Dask array, for anyone's own computation."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np

from kmeans_dask.store import Store


def open_pixels(path: str | Path) -> da.Array:
    """All pixels in the store at `path`, (n, 3) uint8, image after image; transparent ones black.

    Chunks are the store's own, about 4 million pixels; nothing is read until it is computed.
    Raises StoreError where there is no finished store.

    >>> pixels = open_pixels("photos.zarr")  # doctest: +SKIP
    >>> pixels.mean(axis=0).compute()  # doctest: +SKIP
    """
    store = Store.open(Path(path))
    store.require_whole()
    arrays = [
        da.from_zarr(pixels)
        for pixels in (store.partition(name).pixels for name in store.partition_ids)
        if pixels.shape[0]
    ]
    pixels: da.Array = da.concatenate(arrays or [da.zeros((0, 3), dtype=np.uint8)])
    return pixels
