from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from obstore.store import MemoryStore

from kmeans_dask.files import ObjectPath, object_store
from tests.files.server import OTHERS, Bucket, Server, started


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with started() as found:
        yield found


@pytest.fixture
def bucket(server: Server, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket, which this process and those that it starts find."""
    for name in OTHERS:
        monkeypatch.delenv(name, raising=False)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server.bucket(f"photos-{secrets.token_hex(6)}")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> ObjectPath:
    """A bucket in this process's memory."""
    monkeypatch.setitem(object_store._opened, "s3://memory", MemoryStore())
    return ObjectPath("s3://memory")
