"""Errors of object stores are told in one line, which holds no secret."""

from __future__ import annotations

import pytest

from kmeans_dask.errors import UnreachableError, UsageError
from kmeans_dask.files import ObjectPath, retries
from tests.files.changes import gone
from tests.files.server import SECRET, Between, Bucket, Server


@pytest.mark.parametrize("name", ["a//b", "./b", "../b", "a\tb"])
def test_a_name_that_cannot_be_read_is_said(name: str, bucket: Bucket) -> None:
    bucket.put(f"in/{name}", b"")
    with pytest.raises(UsageError, match="has an object whose name cannot be read, 'in/"):
        list(ObjectPath(bucket.url("in")).walk())


def test_a_name_that_no_object_can_have(memory: ObjectPath) -> None:
    with pytest.raises(OSError, match="no object can have such a name"):
        (memory / "a\tb").write_bytes(b"")


def test_a_bucket_that_is_not_there(bucket: Bucket) -> None:
    assert bucket.keys() == []
    missing = ObjectPath("s3://nobody-has-made-it/a")
    with pytest.raises(UsageError, match="s3://nobody-has-made-it does not exist: make the bucket"):
        list(missing.walk())
    with pytest.raises(UsageError, match="make the bucket first"):
        missing.write_bytes(b"")


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_are_refused(
    status: int, server: Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Between(server, before=lambda request: status).open() as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.url)
        path = ObjectPath(bucket.url("a"))
        for ask in (path.stat, lambda: list(path.walk()), lambda: path.write_bytes(b"")):
            with pytest.raises((PermissionError, UnreachableError)) as caught:
                ask()
            assert str(path) in str(caught.value)
            assert SECRET not in str(caught.value)


def test_names_do_not_tell_what_failed(bucket: Bucket, soon: None, between: Between) -> None:
    path = ObjectPath(bucket.url("certificate of a credential.png"))
    between.change = gone
    with pytest.raises(retries.TransientError, match=r"the object store does not answer$"):
        path.read_bytes()


def test_a_bucket_that_is_not_there_is_said_to_be_so(bucket: Bucket, between: Between) -> None:
    with pytest.raises(UsageError, match="make the bucket first"):
        ObjectPath("s3://nobody-has-made-it/a").exists()
