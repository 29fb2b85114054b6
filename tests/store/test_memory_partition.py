"""Tests of partitions in memory: what is appended comes back, image by image."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from kmeans_dask.kmeans.histogram import merge_histograms
from kmeans_dask.store import MemoryPartition, join_pieces


def test_images_come_back_with_masks_for_all_of_their_pieces_or_for_none() -> None:
    random = np.random.default_rng(0)
    pieces = [random.integers(0, 256, (n, 3)).astype(np.uint8) for n in (6, 4, 2)]
    masks = [None, np.array([0, 9, 255, 1], np.uint8), None]
    partition = MemoryPartition()
    for pixels, alphas in zip(pieces, masks, strict=True):
        partition.append(pixels, alphas)
    images: Any = [SimpleNamespace(height=height, width=2) for height in (5, 1)]
    partition.describe(merge_histograms([]), images, [])
    assert partition.n_pixels == 12
    for _ in range(2):  # it can be read again
        (first, some), (second, others) = partition.read_images()
        assert [first, second] == images
        pixels, alphas = join_pieces(some)
        np.testing.assert_array_equal(pixels, np.concatenate(pieces[:2]))
        assert alphas is not None
        assert alphas.tolist() == [255] * 6 + [0, 9, 255, 1]
        assert join_pieces(others)[1] is None
