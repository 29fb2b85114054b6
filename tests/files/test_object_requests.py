"""No wrong answer is taken: no changed bytes, no mixture, and no web page."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest
from obstore import exceptions

from kmeans_dask.errors import UnreachableError
from kmeans_dask.files import ObjectPath, object_requests
from tests.files.changes import ASKS, DATA, FAILS, at_first
from tests.files.server import Answer, Between, Bucket, Change, Request, page

# -- what comes is what was asked for ---------------------------------------------------------


def flipped(request: Request, answer: Answer) -> Answer:
    """Return the answer with another byte in its middle, and with its ETag unchanged."""
    if request.method != "GET" or not answer.data:
        return answer
    middle = len(answer.data) // 2
    data = bytearray(answer.data)
    data[middle] ^= 1
    return replace(answer, data=bytes(data))


def test_a_byte_that_changes_on_its_way_is_asked_for_again(
    bucket: Bucket, between: Between
) -> None:
    bucket.put("a", DATA)
    seen = list[Request]()
    between.change = at_first(flipped, seen)
    path = ObjectPath(bucket.url("a"))
    assert path.read_bytes() == DATA
    assert len(seen) == FAILS


def test_a_small_image_whose_header_is_read_is_looked_at_as_a_whole(
    bucket: Bucket, between: Between
) -> None:
    bucket.put("in/a", DATA[:1000])
    [listed] = ObjectPath(bucket.url("in")).walk()
    seen = list[Request]()
    between.change = at_first(flipped, seen)
    with listed.with_head().open() as file:
        assert file.read() == DATA[:1000]
    assert len(seen) == FAILS


@pytest.mark.usefixtures("soon")
def test_bytes_that_always_change_on_their_way_are_refused(
    bucket: Bucket, between: Between
) -> None:
    bucket.put("a", DATA)
    between.change = flipped
    with pytest.raises(UnreachableError, match="its ETag is of other bytes"):
        ObjectPath(bucket.url("a")).read_bytes()


@pytest.mark.parametrize(
    "tag", ['"0123456789abcdef0123456789abcdef"', '"0123456789abcdef0123456789abcdef-2"', '"0x8D"']
)
def test_a_tag_that_is_no_digest_says_nothing(tag: str, bucket: Bucket, between: Between) -> None:
    """Check ETags as of objects that the store has encrypted, or received in parts."""
    bucket.put("a", DATA)
    between.change = lambda request, answer: replace(
        answer, headers={**answer.headers, "ETag": tag}
    )
    path = ObjectPath(bucket.url("a"))
    assert path.read_bytes() == path.read_at_most(1 << 20) == DATA


@pytest.mark.parametrize("data", [DATA[::-1], DATA + b"more", DATA[:80_000]])
def test_an_image_that_changes_while_it_is_read_is_no_mixture(
    data: bytes, bucket: Bucket, between: Between
) -> None:
    bucket.put("in/a", DATA)
    [listed] = ObjectPath(bucket.url("in")).walk()
    for path in (listed, listed.with_head(), ObjectPath(bucket.url("in/a"))):
        bucket.put("in/a", DATA)
        with path.open() as file:
            assert file.read(10) == DATA[:10]
            bucket.put("in/a", data)
            file.seek(90_000)
            with pytest.raises(OSError, match="it has changed while it was read") as caught:
                file.read(10)
            assert caught.value.errno == errno.ESTALE


# -- web pages in the place of answers --------------------------------------------------------


def moved(request: Request, answer: Answer) -> Answer:
    """Return a redirect to a login page, or the page where the redirect was followed."""
    if "login" in request.path:
        return page(request, answer)
    return Answer(302, {"Location": "/login"}, b"")


def tidy_page(request: Request, answer: Answer) -> Answer:
    """Return a web page that is well-formed XML, lists no objects, and has an ETag."""
    html = b"<html><body>Please log in</body></html>"
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Length": str(len(html)),
        "ETag": '"5e1"',
    }
    return Answer(200, headers, b"" if request.method == "HEAD" else html)


def not_found_page(request: Request, answer: Answer) -> Answer:
    return replace(page(request, answer), status=404)


WEB_PAGE = "a web page answers, and no object store: log in to this network"


@pytest.mark.parametrize("change", [page, moved, tidy_page], ids=["page", "redirect", "XHTML"])
@pytest.mark.parametrize("name", ["read", "read of at most", "status", "ranges", "lock", "delete"])
def test_a_web_page_is_no_object(
    name: str, change: Change, bucket: Bucket, between: Between
) -> None:
    between.change = change
    with pytest.raises(UnreachableError, match=WEB_PAGE):
        ASKS[name][0](ObjectPath(bucket.url("in")))


@pytest.mark.parametrize(
    "change", [page, moved, tidy_page, not_found_page], ids=["page", "redirect", "XHTML", "404"]
)
def test_a_web_page_is_no_folder_and_no_file(
    change: Change, bucket: Bucket, between: Between
) -> None:
    between.change = change
    with pytest.raises(UnreachableError, match=WEB_PAGE):
        ObjectPath(bucket.url("in")).exists()


@pytest.mark.parametrize("missing", ["ETag", "Last-Modified"])
def test_a_response_that_no_store_gives_to_a_random_name_is_a_web_page(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ask as Azure's client does, which accepts no response without these headers."""

    class Client:
        def head(self, key: str) -> None:
            raise exceptions.GenericError(f"{missing} Header missing from response")

        def get(self, key: str, options: object) -> None:
            self.head(key)

    monkeypatch.setattr(object_requests, "open_client", lambda url: Client())
    with pytest.raises(UnreachableError, match=WEB_PAGE):
        ObjectPath("az://photos/a").stat()


def test_an_object_that_is_a_page_is_one(bucket: Bucket, between: Between) -> None:
    html = b"<html>mine</html>"
    for name in ("a.html", "a.png"):
        bucket.client.put_object(Bucket=bucket.name, Key=name, Body=html, ContentType="text/html")
        assert ObjectPath(bucket.url(name)).read_bytes() == html
        assert ObjectPath(bucket.url(name)).is_file()
