from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from obstore.store import MemoryStore

from kmeans_dask.files import ObjectPath, object_client, retries
from tests.files.changes import SHORT, SOON
from tests.files.server import OTHERS, Between, Bucket, Server, started


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
    monkeypatch.setitem(object_client._clients, "s3://memory", MemoryStore())
    return ObjectPath("s3://memory")


@pytest.fixture
def between(server: Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    """Yield a proxy before the server, and make the pauses between attempts short."""
    del bucket
    monkeypatch.setattr(retries, "RETRY_POLICY", SHORT)
    with Between(server).open() as opened:
        monkeypatch.setenv("AWS_ENDPOINT_URL", opened.url)
        yield opened


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch, between: Between) -> None:
    """Make attempts end soon, for tests of what never recovers."""
    del between
    monkeypatch.setattr(retries, "RETRY_POLICY", SOON)
