"""Objects that are read in parts, beside files in memory."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from kmeans_dask.files import ObjectPath, object_client


@given(
    st.binary(max_size=300),
    st.lists(
        st.tuples(st.integers(-350, 350), st.sampled_from([0, 1, 2]), st.integers(-1, 350)),
        max_size=8,
    ),
)
def test_an_object_is_read_as_a_file_is(data: bytes, steps: list[tuple[int, int, int]]) -> None:
    object_client._clients["s3://read"] = MemoryStore()
    path = ObjectPath("s3://read/a")
    path.write_bytes(data)
    [listed] = path.parent.walk()
    for file in (path.open(), listed.open(), listed.with_head().open()):
        beside = io.BytesIO(data)
        for offset, whence, size in steps:
            if whence or offset >= 0:
                try:
                    expected = beside.seek(offset, whence)
                except (ValueError, OSError):
                    continue
                assert file.seek(offset, whence) == expected
            assert file.read(size) == beside.read(size)
