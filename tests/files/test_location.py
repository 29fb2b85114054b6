"""Locations from what users write: paths and URLs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmeans_dask.errors import UsageError
from kmeans_dask.files import parse_location


@pytest.mark.parametrize("text", ["a/b.png", "/a/b.png", "./a", "a:/b", "a/s3://b", "C:\\a"])
def test_what_is_no_url_is_a_path(text: str) -> None:
    assert parse_location(text) == Path(text)


@pytest.mark.parametrize("text", ["file:///a%20b/c", "file://localhost/a%20b/c"])
def test_a_url_of_a_file_is_a_path(text: str) -> None:
    assert parse_location(text) == Path("/a b/c")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("s3://", "names no bucket"),
        ("s3:///a", "names no bucket"),
        ("s3://me:hush@bucket/a", "credentials and addresses belong into the environment"),
        ("s3://127.0.0.1:9000/bucket", "credentials and addresses belong into the environment"),
        ("s3://b/../a", "has . or .. in it"),
        ("s3://b/a/./c", "has . or .. in it"),
        ("file://other/a", "on another machine"),
        ("http://a/b", "s3://, gs://, az://, file://"),
        ("ftp://a/b", "cannot be read"),
    ],
)
def test_urls_that_nobody_can_read_are_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        parse_location(text)
    assert "hush" not in str(caught.value)
