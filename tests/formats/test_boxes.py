from __future__ import annotations

import io
import struct

from hypothesis import given
from hypothesis import strategies as st

from kmeans_dask.formats.boxes import inner_boxes, read_box, top_boxes


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def long_box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content


@given(st.lists(st.tuples(st.sampled_from([b"aaaa", b"bbbb"]), st.binary(max_size=20))))
def test_all_boxes_are_found_in_their_order(boxes: list[tuple[bytes, bytes]]) -> None:
    data = b"".join((box, long_box)[i % 2](*each) for i, each in enumerate(boxes))
    found = [(kind, data[at : at + size]) for kind, at, size in top_boxes(io.BytesIO(data))]
    assert found == boxes
    first = next((content for kind, content in boxes if kind == b"bbbb"), b"")
    assert read_box(io.BytesIO(data), b"bbbb") == first
    assert list(inner_boxes(data, b"aaaa")) == [each for kind, each in boxes if kind == b"aaaa"]


def test_a_box_without_a_size_goes_up_to_the_end() -> None:
    data = box(b"free", b"") + struct.pack(">I4s", 0, b"jp2c") + b"all of it"
    assert read_box(io.BytesIO(data), b"jp2c") == b"all of it"
    assert list(inner_boxes(data, b"jp2c")) == [b"all of it"]


def test_boxes_within_boxes_are_found() -> None:
    data = box(b"outr", box(b"innr", b"1") + box(b"innr", b"2")) + box(b"outr", box(b"innr", b"3"))
    assert list(inner_boxes(data, b"outr", b"innr")) == [b"1", b"2", b"3"]


@given(st.binary(max_size=200))
def test_any_bytes_are_walked_through(data: bytes) -> None:
    for _, at, size in top_boxes(io.BytesIO(data)):
        assert 0 <= at <= len(data)
        assert size >= 0
    list(inner_boxes(data, b"aaaa", b"bbbb"))


def test_many_boxes_have_an_end() -> None:
    assert sum(1 for _ in top_boxes(io.BytesIO(box(b"free", b"") * 10_000))) <= 1 << 12


def test_a_box_beyond_the_limit_is_not_read() -> None:
    assert read_box(io.BytesIO(box(b"jp2h", bytes((1 << 24) + 1))), b"jp2h") == b""
