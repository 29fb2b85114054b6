"""Requests to an object store, which are retried, and whose responses are checked.

A response gives all bytes that were asked for, as they were at one moment, or raises: a web page
that a network sends in their place, or a part of the bytes, is never returned.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from kmeans_dask.files.object_client import is_unencrypted, open_client
from kmeans_dask.files.object_errors import (
    incomplete_body_error,
    translated_errors,
    web_page_error,
)
from kmeans_dask.files.retries import TransientError, fetched, persistently

if TYPE_CHECKING:
    from obstore import GetResult

T = TypeVar("T")

_MD5_ETAG = re.compile('"?([0-9a-f]{32})"?')  # an ETag that may be the MD5 of the object


class ObjectRequests:
    """Requests about an object, or about all objects below a name.

    url: URL of the object or the name, by which errors name it
    bucket_url: URL of its bucket
    client: client of the bucket, by which requests are made

    Raises UsageError where the client cannot be opened.
    """

    def __init__(self, url: str, bucket_url: str) -> None:
        self._url, self._bucket_url = url, bucket_url
        self.client = open_client(bucket_url)

    def send(self, request: Callable[[], T]) -> T:
        """Return what `request` returns, without retries. Raises what `translated_errors` raises.

        After a TransientError the store may have carried out the request, or not.
        """
        with self._translated_errors():
            return request()

    def retry(self, request: Callable[[], T]) -> T:
        """Return what `request` returns, with retries. Raises what `translated_errors` raises."""
        return persistently(lambda: self.send(request))

    def fetch(self, request: Callable[[], T]) -> T:
        """Return what `request` reads of an image, with retries within the image's time limit."""
        return fetched(lambda: self.send(request), self._is_reachable, self._url)

    def get(self, key: str, **options: Any) -> GetResult:
        """Return the response to a GET request for an object, with its body still to be read.

        Raises UnreachableError where a web page answers for the store. This is checked where the
        response is HTML or has no ETag, as all object stores supported here send one.
        """
        response = self.client.get(key, options=options)  # type: ignore[arg-type]
        content = response.attributes.get("Content-Type") or ""
        may_be_page = content.startswith("text/html") and not _is_html_name(key)
        if may_be_page or not response.meta["e_tag"]:
            self._check_store()
        return response

    def read_body(self, response: GetResult, size: int) -> bytes:
        """Return the body of a response. Raises TransientError where it has not `size` bytes."""
        data = bytes(response.bytes())
        if len(data) != size:
            raise incomplete_body_error(self._url)
        return data

    def read_object(self, response: GetResult) -> bytes:
        """Return the body of a response, which is a whole object.

        Raises TransientError where bytes are missing, or, without TLS, do not match the ETag.
        """
        data = self.read_body(response, response.meta["size"])
        is_unsafe = is_unencrypted(self._bucket_url)
        digest = _MD5_ETAG.fullmatch(str(response.meta["e_tag"])) if is_unsafe else None
        if not digest or _md5(data) == digest[1]:
            return data
        # The ETag is not always an MD5, for example not of objects that the store has encrypted:
        # then the bytes are right if they come the same when fetched in two parts.
        middle = len(data) // 2
        parts = ((0, middle), (middle, len(data)))
        again = b"".join(
            bytes(self.get(response.meta["path"], range=part).bytes())
            for part in parts
            if part[0] < part[1]
        )
        if again != data and _md5(again) != digest[1]:
            raise TransientError(f"{self._url}: it arrives changed: its ETag is of other bytes")
        return again

    def _check_store(self) -> None:
        """Raise UnreachableError where any request is answered, as by the login page of a network.

        A random name is asked for, at which an object store has no object.
        """
        with (
            suppress(FileNotFoundError, PermissionError),
            translated_errors(self._url, self._bucket_url, self._refuse_page),
        ):
            self.client.head(f".kmeans-dask-{secrets.token_hex(8)}")
            self._refuse_page()

    def _refuse_page(self) -> None:
        raise web_page_error(self._url)

    def _is_reachable(self) -> bool:
        """Return True. Raises UnreachableError where the store does not answer."""
        self._check_store()
        return True

    def _translated_errors(self) -> AbstractContextManager[None]:
        return translated_errors(self._url, self._bucket_url, self._check_store)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _is_html_name(key: str) -> bool:
    return key.lower().endswith((".html", ".htm", ".xhtml"))
