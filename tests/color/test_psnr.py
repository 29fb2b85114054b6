"""How much was lost, beside scikit-image's answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio

from kmeans_dask.color.color_lookup import ERROR_UNITS, squared_error
from kmeans_dask.color.psnr import psnr


def difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    """Of opaque pixels, in the unit of errors."""
    return int(((a.astype(np.int64) - b) ** 2).sum()) * ERROR_UNITS


@pytest.mark.parametrize("step", [2, 16, 100, 255])
def test_psnr_is_that_of_scikit_image(photograph: NDArray[np.uint8], step: int) -> None:
    coarse = (photograph // step * step).astype(np.uint8)
    n_pixels = photograph.shape[0] * photograph.shape[1]
    expected = peak_signal_noise_ratio(  # type: ignore[no-untyped-call]
        photograph, coarse, data_range=255
    )
    assert psnr(difference(photograph, coarse), n_pixels) == pytest.approx(expected, rel=1e-12)


def test_psnr_takes_the_errors_of_indices(photograph: NDArray[np.uint8]) -> None:
    pixels = photograph.reshape(-1, 3)
    grey = np.arange(256, dtype=np.uint8)
    entries = np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=1)
    indices = pixels[:, 1]
    expected = peak_signal_noise_ratio(  # type: ignore[no-untyped-call]
        pixels, entries[indices, :3], data_range=255
    )
    found = psnr(squared_error(pixels, None, indices, entries).total, len(pixels))
    assert found == pytest.approx(expected, rel=1e-12)


def test_psnr_of_black_for_white_is_zero_decibel() -> None:
    assert psnr(3 * 255**2 * 7 * ERROR_UNITS, 7) == pytest.approx(0, abs=1e-12)


def test_the_smallest_possible_error_has_an_exact_psnr() -> None:
    # 1 part of 255 * 255 of a squared level, in 10^9 pixels
    assert psnr(1, 10**9) == pytest.approx(10 * math.log10(3e9 * 255**4), rel=1e-12)


def test_psnr_where_nothing_was_lost_is_none() -> None:
    assert psnr(0, 100) is None
