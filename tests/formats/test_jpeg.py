from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kmeans_dask.formats.jpeg import JpegHeader, read_jpeg_header, read_jpeg_tags
from tests.formats.test_matrix_others import twelve, with_segment


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (5, 3)).save(stream, "JPEG", **options)
    return stream.getvalue()


@pytest.mark.parametrize(("mode", "n"), [("L", 1), ("RGB", 3), ("CMYK", 4)])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_header_is_read(mode: str, n: int, progressive: bool) -> None:
    header = read_jpeg_header(io.BytesIO(jpeg(mode, progressive=progressive)))
    assert header == JpegHeader(0xC2 if progressive else 0xC0, 8, 5, 3, n)
    assert header.refusal() is None
    assert not header.is_deep


def test_12_bits_are_told() -> None:
    header = read_jpeg_header(io.BytesIO(twelve(np.zeros((3, 5, 3), np.uint16))))
    assert header is not None
    assert header.is_deep
    assert header.refusal() is None


def test_bytes_between_segments_are_passed_over() -> None:
    content = jpeg()
    padded = content[:2] + b"\0\xff\xff\xff" + content[3:]
    assert read_jpeg_header(io.BytesIO(padded)) == read_jpeg_header(io.BytesIO(content))


@pytest.mark.parametrize("n", range(240, 270))
def test_fill_bytes_of_any_number_are_passed_over(n: int) -> None:
    content = jpeg()
    padded = content[:2] + b"\xff" * n + content[2:]
    assert read_jpeg_header(io.BytesIO(padded)) == read_jpeg_header(io.BytesIO(content))
    garbage = content[:2] + bytes(n) + content[2:]
    assert read_jpeg_header(io.BytesIO(garbage)) == read_jpeg_header(io.BytesIO(content))


@pytest.mark.parametrize("bits", [2, 9, 10, 16])
def test_other_bits_are_refused(bits: int) -> None:
    reason = JpegHeader(0xC1, bits, 5, 3, 3).refusal()
    assert reason == f"a JPEG of {bits} bits a sample, which is not supported"


def test_a_profile_in_parts_is_put_together() -> None:
    content = jpeg()
    for number, part in ((2, b"second"), (1, b"first, ")):
        data = b"ICC_PROFILE\0" + bytes((number, 2)) + part
        content = with_segment(content, 0xE2, data)
    tags = Image.Exif()
    tags[0x0112] = 8
    content = with_segment(content, 0xE1, tags.tobytes())
    assert read_jpeg_tags(io.BytesIO(content)) == (8, b"first, second")
    assert read_jpeg_tags(io.BytesIO(jpeg())) == (1, None)


@given(st.binary(max_size=60))
def test_any_bytes_have_a_header_or_none(data: bytes) -> None:
    read_jpeg_header(io.BytesIO(b"\xff\xd8" + data))
    orientation, _ = read_jpeg_tags(io.BytesIO(b"\xff\xd8\xff\xe1\0\x20Exif\0\0" + data))
    assert isinstance(orientation, int)
