"""How much was lost, beside scikit-image's answer."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio

from kmeans_dask.imaging.quality import psnr


def squared_error(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    return int(((a.astype(np.int64) - b) ** 2).sum())


@pytest.mark.parametrize("step", [2, 16, 100, 255])
def test_psnr_is_that_of_scikit_image(photograph: NDArray[np.uint8], step: int) -> None:
    coarse = (photograph // step * step).astype(np.uint8)
    n_pixels = photograph.shape[0] * photograph.shape[1]
    expected = peak_signal_noise_ratio(  # type: ignore[no-untyped-call]
        photograph, coarse, data_range=255
    )
    assert psnr(squared_error(photograph, coarse), n_pixels) == pytest.approx(expected, rel=1e-12)


def test_psnr_of_black_for_white_is_zero_decibel() -> None:
    assert psnr(3 * 255**2 * 7, 7) == pytest.approx(0, abs=1e-12)


def test_psnr_where_nothing_was_lost_is_none() -> None:
    assert psnr(0, 100) is None
