"""Tests of the library's jobs over a store: each step, from the images to the tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import kmeans_dask as kd


def test_the_functions_for_a_store_work_together(photos: Path, tmp_path: Path) -> None:
    image = photos / "astronaut.png"
    store = kd.ingest(photos, tmp_path / "photos.zarr")
    n_pixels = sum(each.height * each.width for each in store.images)
    assert store.pixels.shape == (n_pixels, 3)
    assert store.fit(64).psnr == store.palettes["k64"].map(image).psnr or len(store.images) > 1
    assert store.encode(tmp_path / "out 2").psnr is not None
    assert store.tokenize().pixels == n_pixels
    tokens = store.tokens().compute()
    entries = store.palettes["k64"].entries
    first = store.images[0]
    shown = entries[tokens[first.pixels]][:, :3].astype(np.int64)
    before = store.pixels[first.pixels].compute()
    assert ((shown - before) ** 2).mean() < 100
    assert not kd.verify(tmp_path / "photos.zarr").damages
    assert kd.Store.open(tmp_path / "photos.zarr").images == store.images
