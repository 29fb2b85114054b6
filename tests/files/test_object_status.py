"""The status of an object shows each change."""

from __future__ import annotations

from kmeans_dask.files import ObjectPath
from tests.files.server import Bucket


def test_a_change_within_a_second_is_seen(bucket: Bucket) -> None:
    path = ObjectPath(bucket.url("a"))
    seen = set()
    for data in (b"1", b"2", b"3"):
        path.write_bytes(data)
        [listed] = path.parent.walk()
        assert listed.stat() == path.stat()
        seen.add(path.stat().st_mtime_ns)
    assert len(seen) == 3
