"""Tests of repairs to images of Pillow."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from kmeans_dask.images.decode import decode
from tests.images.files import handmade_png, written
from tests.images.pixels import alphas_of


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("key", [0, 1])
def test_the_key_level_of_a_grey_png_is_clear(tmp_path: Path, bits: int, key: int) -> None:
    row = int(f"{0:0{bits}b}{1:0{bits}b}".ljust(32, "0"), 2).to_bytes(4, "big")
    png = handmade_png(
        (2, 1), bits, 0, [row[: max(1, bits // 4)]], (b"tRNS", struct.pack(">H", key))
    )
    decoded = decode(written(tmp_path, png))
    assert alphas_of(decoded)[0].tolist() == [255 * key, 255 * (1 - key)]
    assert decoded.transparent
