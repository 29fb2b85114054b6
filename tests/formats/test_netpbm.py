from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmeans_dask.formats.netpbm import refusal_of_netpbm
from tests.formats.test_matrix_others import netpbm


@pytest.mark.parametrize(("kind", "n"), [("4", 1), ("5", 1), ("6", 3)])
@pytest.mark.parametrize("top", [1, 255, 256])
@pytest.mark.parametrize("comment", [False, True])
def test_a_second_image_is_found(kind: str, n: int, top: int, comment: bool) -> None:
    values = np.full((3, 9, n), ord("P") if top > 99 else 1)  # like a file's first byte
    one = netpbm(kind, values, top, comment=comment)
    assert refusal_of_netpbm(io.BytesIO(one)) is None
    assert refusal_of_netpbm(io.BytesIO(one + b"\n")) is None
    assert refusal_of_netpbm(io.BytesIO(one + b"what else there is")) is None
    assert "more than one image" in str(refusal_of_netpbm(io.BytesIO(one + one)))
    assert "more than one image" in str(refusal_of_netpbm(io.BytesIO(one + b"\n" + one)))


@given(st.sampled_from([b"P1", b"P4", b"P5", b"P6", b"P7", b"Pf", b"PF"]), st.binary(max_size=80))
def test_any_bytes_are_looked_at(kind: bytes, rest: bytes) -> None:
    reason = refusal_of_netpbm(io.BytesIO(kind + rest))
    assert reason is None or reason.startswith("a Netpbm")
