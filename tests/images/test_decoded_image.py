"""Tests of decoded images, whose bands make up the whole image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.images.decode import decode
from tests.images.files import saved, written
from tests.images.pixels import all_alphas, as_kept, in_full


@pytest.mark.parametrize("n", [1, 255, 256, 257, 1000, 16 * 256, 10**6])
def test_bands_of_any_size_are_the_same_image(tmp_path: Path, n: int) -> None:
    rgba = all_alphas()
    rgba[:5, :, 3] = 255  # bands where all is opaque, too
    decoded = decode(written(tmp_path, saved(Image.fromarray(rgba), "PNG")))
    bands = list(decoded.bands(n))
    assert all(len(band.pixels) <= max(n, 256) for band in bands)
    pixels = np.concatenate([band.pixels for band in bands])
    np.testing.assert_array_equal(pixels.reshape(16, 256, 3), as_kept(rgba))
    alphas = np.concatenate([in_full(band) for band in bands])
    np.testing.assert_array_equal(alphas.reshape(16, 256), rgba[..., 3])
