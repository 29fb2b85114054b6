from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmeans_dask.formats.bmp import BmpHeader, read_bmp_header
from tests.formats.bmp_files import MASKS, Bmp

PIXELS = np.zeros((2, 2), int)
RGBA = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)


@pytest.mark.parametrize("version", [3, 4, 5])
def test_masks_are_read_where_the_version_has_them(version: int) -> None:
    masks = RGBA if version > 3 else RGBA[:3]
    bmp = Bmp(values=PIXELS, bits=32, compression=MASKS, masks=masks, version=version)
    header = read_bmp_header(io.BytesIO(bmp.encode()))
    assert header is not None
    assert header.masks == (RGBA if version > 3 else (*RGBA[:3], 0))
    assert header.refusal() is None


def test_the_header_of_os2_is_read() -> None:
    header = read_bmp_header(io.BytesIO(Bmp(values=PIXELS, bits=24, version=1).encode()))
    assert header == BmpHeader(24, 0, (0, 0, 0, 0))
    assert header.refusal() is None


@pytest.mark.parametrize(("bits", "compression"), [(2, 0), (8, 2), (4, 1), (24, 3), (1, 3), (8, 9)])
def test_other_codings_are_refused(bits: int, compression: int) -> None:
    reason = BmpHeader(bits, compression, (0, 0, 0, 0)).refusal()
    assert reason
    assert f"{bits} bits a pixel in compression {compression}" in reason


@given(st.binary(max_size=140))
def test_any_bytes_have_a_header_or_none(data: bytes) -> None:
    header = read_bmp_header(io.BytesIO(data))
    assert header is None or header.refusal() is None or "a BMP" in str(header.refusal())
