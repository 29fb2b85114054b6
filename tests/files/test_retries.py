"""Tests that requests which fail for a while are repeated, and that no wrong answer is taken."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kmeans_dask import interrupts
from kmeans_dask.errors import ImageError, StoreError, UnreachableError
from kmeans_dask.files import ObjectPath, locks, object_path, retries
from kmeans_dask.files.object_status import Status
from kmeans_dask.images.decode import decode
from kmeans_dask.store.records import FORMS
from kmeans_dask.store.zarr_groups import aside, open_group, read, write
from kmeans_dask.time_limit import time_limit
from tests.files.changes import (
    ASKS,
    DATA,
    FAILS,
    SHORT,
    SOON,
    at_first,
    cut,
    gone,
    list_names,
    status,
)
from tests.files.server import SECRET, Answer, Between, Bucket, Change, Cut, Request, Server

# -- what passes --------------------------------------------------------------------------------


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
    monkeypatch.setattr(object_path, "_MAX_PUT", 1 << 20)
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
    monkeypatch.setattr(object_path, "_LIST_PAGE", 3)
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
    assert list_names(ObjectPath(bucket.url("in"))) == names
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


def as_listed(image: ObjectPath) -> Status:
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
