"""Tests that requests which fail for a while are repeated, and that no wrong answer is taken."""

from __future__ import annotations

import errno
import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kmeans_dask import interrupts
from kmeans_dask.errors import ImageError, StoreError, UnreachableError, UsageError
from kmeans_dask.files import ObjectPath, locks, object_store, retries
from kmeans_dask.files.locks import locked
from kmeans_dask.images.decode import decode
from kmeans_dask.store.records import FORMS
from kmeans_dask.store.zarr_groups import aside, open_group, read, write
from kmeans_dask.time_limit import time_limit
from tests.files.server import (
    SECRET,
    Answer,
    Between,
    Bucket,
    Change,
    Cut,
    Request,
    Server,
    page,
)

FAILS = 9  # failures in a row: more than obstore itself retries
SHORT = replace(
    retries.RETRY_POLICY, outage=60.0, first=0.001, longest=0.01, quiet=1000.0, answer=60.0
)
SOON = replace(SHORT, outage=0.2)  # for tests of what never recovers


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


def cut(request: Request, answer: Answer) -> Answer:
    """Cut the answer off after half of its body, or within its headers where it has none."""
    return replace(answer, whole=False)


def status(code: int) -> Change:
    return lambda request, answer: Answer(code, {}, b"<Error><Code>SlowDown</Code></Error>")


def gone(request: Request, answer: Answer) -> Answer:
    """Cut the connection after the server has done what was asked."""
    raise Cut


def at_first(change: Change, seen: list[Request], fails: int = FAILS) -> Change:
    """Return a change of the first `fails` answers, whose requests are appended to `seen`."""

    def perhaps(request: Request, answer: Answer) -> Answer:
        if len(seen) >= fails:
            return answer
        seen.append(request)
        return change(request, answer)

    return perhaps


# -- what passes --------------------------------------------------------------------------------


def _pages(path: ObjectPath) -> list[str]:
    return [each.name for each in path.walk()]


def _read_ranges(path: ObjectPath) -> bytes:
    with path.open() as file:
        file.seek(70_000)
        return file.read(10)


def _hold(path: ObjectPath) -> bool:
    with locked(path / "lock", "photos"):
        return True


DATA = bytes(range(256)) * 400
ASKS: dict[str, tuple[Callable[[ObjectPath], object], object]] = {
    "read": (lambda top: (top / "a").read_bytes(), DATA),
    "read of at most": (lambda top: (top / "a").read_at_most(1 << 20), DATA),
    "ranges": (lambda top: _read_ranges(top / "a"), DATA[70_000:70_010]),
    "status": (lambda top: (top / "a").stat().st_size, len(DATA)),
    "is there": (lambda top: top.is_dir(), True),
    "list": (_pages, ["a", "b", "c", "d", "e"]),
    "names": (lambda top: [each.name for each in top.iterdir()], ["a", "b", "c", "d", "e"]),
    "write": (lambda top: (top / "new").write_bytes(DATA), len(DATA)),
    "large write": (lambda top: (top / "new").write_bytes(DATA * 120), 120 * len(DATA)),
    "delete": (lambda top: (top / "a").unlink(missing_ok=True), None),
    "delete all": (lambda top: top.remove_all(), None),
    "copy": (lambda top: (top / "a").copy_to(top / "z"), None),
    "lock": (_hold, True),
}
AFTER = {  # new keys that are there afterwards
    "write": {"in/new"},
    "large write": {"in/new"},
    "copy": {"in/z"},
}


@pytest.mark.parametrize(
    "change",
    [cut, status(503), status(500), status(429), gone],
    ids=["cut", "503", "500", "429", "lost"],
)
@pytest.mark.parametrize("name", ASKS)
def test_whatever_fails_for_a_while_is_done_in_the_end(
    name: str, change: Change, bucket: Bucket, between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "_WHOLE", 1 << 20)
    before = set()
    for key in "abcde":
        bucket.put(f"in/{key}", DATA)
        before.add(f"in/{key}")
    seen: list[Request] = []
    between.change = at_first(change, seen)
    ask, expected = ASKS[name]
    assert ask(ObjectPath(bucket.url("in"))) == expected
    assert len(seen) == FAILS
    left = before | AFTER.get(name, set())
    left -= {"delete": {"in/a"}, "delete all": before}.get(name, set())
    assert set(bucket.keys()) == left
    for key in left:
        assert bucket.get(key) == DATA * (120 if name == "large write" and key == "in/new" else 1)


def test_a_list_goes_on_behind_the_page_that_was_last(
    bucket: Bucket, between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "_LISTED", 3)
    names = list("abcdefgh")
    for name in names:
        bucket.put(f"in/{name}", b"x")
    between.max_keys = 3
    seen = list[Request]()
    failing = at_first(cut, seen)

    def later(request: Request, answer: Answer) -> Answer:
        is_first = "continuation-token" not in request.path and "start-after" not in request.path
        return answer if is_first else failing(request, answer)

    between.change = later
    assert _pages(ObjectPath(bucket.url("in"))) == names
    assert len(seen) == FAILS
    assert len([each for each in between.seen if "start-after" in each.path]) >= FAILS - 1
    assert len([each for each in between.seen if "list-type" in each.path]) < FAILS + 8


def test_a_connection_that_is_refused_is_tried_until_somebody_listens(
    server: Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("a", DATA)
    with Between(server).open() as closed:
        monkeypatch.setenv("AWS_ENDPOINT_URL", closed.url)
    refused, read = list[UnreachableError](), list[bytes]()
    pause = retries.Attempts.pause
    many = threading.Event()

    def counted(attempts: retries.Attempts, failure: UnreachableError) -> bool:
        refused.append(failure)
        if len(refused) == FAILS:
            many.set()
        return pause(attempts, failure)

    monkeypatch.setattr(retries, "RETRY_POLICY", SHORT)
    monkeypatch.setattr(retries.Attempts, "pause", counted)
    path = ObjectPath(bucket.url("a"))
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    assert many.wait(60)
    with Between(server).open(port=int(closed.url.rpartition(":")[2])):
        reader.join(60)
    assert read == [DATA]
    assert str(refused[0]) == f"{path}: the object store does not answer"


def test_pauses_grow_to_ten_seconds_and_end_after_more_than_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept, now = list[float](), [0.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(retries, "notice", lambda message: None)
    attempts, failure, pauses = retries.Attempts(), UnreachableError("it"), list[float]()
    while True:
        before = now[0]
        if not attempts.pause(failure):
            break
        pauses.append(now[0] - before)
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, *[10.0] * 7])
    assert 60 < sum(pauses) <= 90
    assert max(slept) <= 0.2  # so that a signal is noticed soon


@pytest.mark.usefixtures("soon")
def test_the_wait_for_a_store_is_said_once(
    bucket: Bucket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(retries, "RETRY_POLICY", replace(SOON, quiet=0.0))
    path = ObjectPath(bucket.url("a"))
    for _ in range(2):
        with pytest.raises(UnreachableError):
            path.read_bytes()
    assert [record.getMessage() for record in caplog.records if record.name == "kmeans_dask"] == [
        f"kmeans-dask: warning: {path}: the object store does not answer: it is tried again for "
        "0.2 s"
    ]


@pytest.mark.parametrize(
    ("code", "error", "says"),
    [
        (401, UnreachableError, "credentials"),
        (403, PermissionError, "Permission denied"),
        (404, FileNotFoundError, "No such file"),
        (400, UnreachableError, "answers 400 Bad Request"),
        (501, UnreachableError, "answers 501 Not Implemented"),
    ],
)
def test_what_stays_as_it_is_is_asked_for_once(
    code: int, error: type[Exception], says: str, bucket: Bucket, between: Between
) -> None:
    bucket.put("a", DATA)
    between.change = status(code)
    with pytest.raises(error, match=says) as caught:
        ObjectPath(bucket.url("a")).read_bytes()
    assert len(between.seen) <= (4 if code == 501 else 1)  # obstore retries three times
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_do_not_tell_what_failed(bucket: Bucket, soon: None, between: Between) -> None:
    path = ObjectPath(bucket.url("certificate of a credential.png"))
    between.change = gone
    with pytest.raises(retries.TransientError, match=r"the object store does not answer$"):
        path.read_bytes()


def test_a_signal_ends_the_wait_for_an_answer(
    bucket: Bucket, between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that any thread stops waiting, and that requests to tidy up are still made."""
    monkeypatch.setattr(interrupts, "_received", None)
    bucket.put("a", DATA)
    path, asked, over = ObjectPath(bucket.url("a")), threading.Event(), threading.Event()
    ended = list[str]()

    def hang(request: Request) -> None:
        if request.method == "GET":
            asked.set()
            over.wait(60)

    def wait() -> None:
        try:
            path.read_bytes()
        except KeyboardInterrupt:
            ended.append("in a thread")

    def work() -> None:
        with interrupts.interruptible():
            thread = threading.Thread(target=wait)
            thread.start()
            assert asked.wait(60)
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                path.read_bytes()
            finally:
                thread.join(60)
                between.before = lambda request: None
                path.unlink(missing_ok=True)

    between.before = hang
    with pytest.raises(KeyboardInterrupt):
        work()
    over.set()
    assert ended == ["in a thread"]
    assert bucket.keys() == []


# -- locks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [gone, cut, status(500)], ids=["lost", "cut", "500"])
def test_a_write_of_a_lock_that_is_done_twice_is_one(
    change: Change, bucket: Bucket, between: Between
) -> None:
    path, seen = ObjectPath(bucket.url("lock")), list[Request]()

    def of_writes(request: Request, answer: Answer) -> Answer:
        return at_first(change, seen)(request, answer) if request.method == "PUT" else answer

    between.change = of_writes
    lease = locks._Lease(path)
    lease.take("photos")
    assert seen
    assert bucket.get("lock") == path.read_bytes()
    assert lease._tag == path.tagged().tag
    between.change = lambda request, answer: answer
    with pytest.raises(FileExistsError):
        path.create(b"another run's")


def test_a_lock_that_another_takes_while_the_store_is_away_is_the_others(
    bucket: Bucket, between: Between
) -> None:
    path = ObjectPath(bucket.url("lock"))
    lease = locks._Lease(path)
    lease.take("photos")

    def others(request: Request) -> int | None:
        if request.method == "PUT":
            bucket.put("lock", b"another run's")
            raise Cut
        return None

    between.before = others
    with pytest.raises(FileExistsError):
        lease._sign(lease._tag)
    assert bucket.get("lock") == b"another run's"


# -- Zarr ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [cut, status(503)], ids=["cut", "503"])
def test_an_array_is_written_and_read_while_answers_fail(
    change: Change, bucket: Bucket, between: Between
) -> None:
    values = np.arange(5000, dtype=np.uint32)
    top = ObjectPath(bucket.url("s"))
    for group_of in (
        lambda: aside(top, "g"),
        lambda: None,
    ):
        seen = list[Request]()
        between.change = at_first(change, seen)
        writing = group_of()
        if writing:
            with writing as group:
                write(group, "codes", values)
        else:
            np.testing.assert_array_equal(
                read(open_group(top / "g", FORMS["weighed"]).open("codes")), values
            )
        assert len(seen) == FAILS


@pytest.mark.usefixtures("soon")
def test_a_store_that_cannot_be_reached_is_not_called_damaged(
    bucket: Bucket, between: Between
) -> None:
    top = ObjectPath(bucket.url("s"))
    with aside(top, "g") as group:
        write(group, "codes", np.arange(50, dtype=np.uint32))
    array = open_group(top / "g", FORMS["weighed"]).open("codes")
    between.change = gone
    with pytest.raises(UnreachableError, match="the object store does not answer"):
        read(array)
    between.change = lambda request, answer: answer
    bucket.put("s/g/codes/c/0", b"?")
    with pytest.raises(StoreError, match="is damaged"):
        read(array)


# -- images -------------------------------------------------------------------------------------


@pytest.fixture
def image(bucket: Bucket) -> ObjectPath:
    """Return an image that is an object."""
    data = io.BytesIO()
    pixels = np.random.default_rng(5).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data, "PNG")
    bucket.put("in/a.png", data.getvalue())
    return ObjectPath(bucket.url("in/a.png"))


def of_image(change: Change) -> Change:
    """Restrict a change to answers about the image, so that the store can be reached."""
    return lambda request, answer: (
        change(request, answer) if request.path.endswith("a.png") else answer
    )


@pytest.mark.parametrize("how", ["hangs", "trickles"])
def test_an_image_that_comes_too_slowly_fails_by_name_and_ends_no_process(
    how: str, image: ObjectPath, between: Between
) -> None:
    over = threading.Event()
    if how == "hangs":
        between.before = lambda request: (
            None if not request.path.endswith("a.png") else over.wait(60) and None
        )
    else:
        between.change = of_image(lambda request, answer: replace(answer, until=over))
    late = "takes longer than 3 s to fetch: quarantined"
    with pytest.raises(ImageError, match=late), time_limit(3.0):
        decode(image)
    over.set()


def test_the_time_of_an_image_is_for_all_that_is_read_of_it(
    image: ObjectPath, between: Between
) -> None:
    """Check that the limit holds for a range that comes slowly, too, as for a header."""
    over = threading.Event()
    between.change = of_image(lambda request, answer: replace(answer, until=over))
    status = as_listed(image)
    with pytest.raises(TimeoutError, match="takes longer than 3 s to fetch"), time_limit(3.0):
        image.read_range(0, 100, status)
    over.set()


def as_listed(image: ObjectPath) -> object_store.Status:
    [listed] = image.parent.walk()
    return listed.stat()


@pytest.mark.parametrize("change", [cut, status(503)], ids=["cut", "503"])
def test_an_image_that_never_comes_whole_fails_by_name(
    change: Change, image: ObjectPath, between: Between
) -> None:
    between.change = of_image(change)
    with pytest.raises(ImageError, match=r"cannot be fetched .*: quarantined"), time_limit(3.0):
        decode(image)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("fault", ["busy", "cut", "hangs"])
def test_an_outage_of_the_store_is_no_fault_of_an_image(
    fault: str, image: ObjectPath, between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "RETRY_POLICY", replace(SOON, answer=0.2))
    over = threading.Event()

    def away(request: Request) -> int | None:
        if fault == "busy":
            return 503
        if fault == "hangs":
            over.wait(60)
        raise Cut

    between.before = away
    with pytest.raises(UnreachableError), time_limit(3.0):
        decode(image)
    over.set()


def test_what_an_outage_takes_is_not_of_the_time_of_an_image(
    image: ObjectPath, between: Between
) -> None:
    seen = list[Request]()
    between.change = at_first(status(503), seen, fails=400)  # 400 failures take longer than 3 s
    with time_limit(3.0):
        assert decode(image).width == 80
    assert len(seen) == 400


# -- what comes is what was asked for -----------------------------------------------------------


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


# -- web pages in the place of answers ----------------------------------------------------------


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


def test_an_object_that_is_a_page_is_one(bucket: Bucket, between: Between) -> None:
    html = b"<html>mine</html>"
    for name in ("a.html", "a.png"):
        bucket.client.put_object(Bucket=bucket.name, Key=name, Body=html, ContentType="text/html")
        assert ObjectPath(bucket.url(name)).read_bytes() == html
        assert ObjectPath(bucket.url(name)).is_file()


def test_a_bucket_that_is_not_there_is_said_to_be_so(bucket: Bucket, between: Between) -> None:
    with pytest.raises(UsageError, match="make the bucket first"):
        ObjectPath("s3://nobody-has-made-it/a").exists()
