"""Pixels that tests of decoding expect, and those that they find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kmeans_dask.errors import ImageError
from kmeans_dask.images.decode import decode
from kmeans_dask.images.decoded_image import Band, DecodedImage

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]
SMALL = 1 << 16  # no mutated header may ask for more pixels than this


def pixels_of(decoded: DecodedImage) -> Pixels:
    """(h, w, 3)."""
    pixels = np.concatenate([band.pixels for band in decoded.bands()])
    return pixels.reshape(decoded.height, decoded.width, 3)


def alphas_of(decoded: DecodedImage) -> Pixels:
    """(h, w)."""
    alphas = [in_full(band) for band in decoded.bands()]
    return np.concatenate(alphas).reshape(decoded.height, decoded.width)


def in_full(band: Band) -> Pixels:
    """Alphas (n,); those that are there are not all opaque."""
    if band.alphas is None:
        return np.full(len(band.pixels), 255, np.uint8)
    assert band.alphas.dtype == np.uint8
    assert (band.alphas < 255).any()
    return band.alphas


def grey(*levels: int) -> list[list[int]]:
    """RGB pixels."""
    return [[level] * 3 for level in levels]


def refusal(path: Path, max_pixels: int = SMALL) -> str:
    """The reason for which `path` is refused, after a look at its form."""
    with pytest.raises(ImageError) as caught:
        decode(path, max_pixels)
    reason = str(caught.value)
    assert reason
    assert reason.splitlines() == [reason]
    assert len(reason) <= 300
    return reason


def stored_as(orientation: int, upright: Pixels) -> Pixels:
    """How EXIF 2.3, section 4.6.4, lays out `upright`: where its row 0 and column 0 are seen."""
    row_0, column_0 = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    if "bottom" in (row_0, column_0):
        upright = upright[::-1]
    if "right" in (row_0, column_0):
        upright = upright[:, ::-1]
    if row_0 in ("left", "right"):
        upright = upright.swapaxes(0, 1)
    return np.ascontiguousarray(upright)


def all_alphas() -> Pixels:
    """(16, 256, 4): every alpha under each of 16 colours."""
    rng = np.random.default_rng(5)
    rgba = rng.integers(0, 256, (16, 256, 4)).astype(np.uint8)
    rgba[..., 3] = np.arange(256)
    return rgba


def as_kept(rgba: Pixels) -> Pixels:
    """(..., 3); black where nothing is seen."""
    return np.where(rgba[..., 3:] == 0, 0, rgba[..., :3])
