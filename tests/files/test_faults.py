"""An object store that is slow, busy, or gone for a while; workers that die while they write."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kmeans_dask.errors import UnreachableError
from kmeans_dask.files import ObjectPath, locks, retries
from tests.command import run, run_here, tree
from tests.files.server import Answer, Between, Bucket, Change, Cut, Fault, Request, Server
from tests.reliability.jobs import started, until
from tests.reliability.pictures import save_pictures

PARTITIONS = ("--partition-pixels", "4000")
WORDS = ("-k", "8", *PARTITIONS, "--workers", "0")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("in"), 14)


@pytest.fixture(scope="module")
def expected(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is made of the files."""
    out = tmp_path_factory.mktemp("out") / "out"
    run_here("compress", pictures, out, *WORDS)
    return tree(out)


@pytest.fixture
def between(server: Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    """The server is reached through this."""
    del bucket
    with Between(server).open() as opened:
        monkeypatch.setenv("AWS_ENDPOINT_URL", opened.url)
        yield opened


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what fails, the end comes soon."""
    short = replace(retries.RETRY_POLICY, outage=1.0, first=0.01, longest=0.05)
    monkeypatch.setattr(retries, "RETRY_POLICY", short)


def cut(request: Request) -> None:
    raise Cut


def of_requests(share: float, fault: Fault) -> Fault:
    """The fault at some of all requests, but never at the same twice in a row."""
    chance, lock, last = random.Random(7), threading.Lock(), set[tuple[str, str]]()

    def perhaps(request: Request) -> int | None:
        with lock:
            what = (request.method, request.path)
            fails = what not in last and chance.random() < share
            (last.add if fails else last.discard)(what)
        return fault(request) if fails else None

    return perhaps


def slowly(request: Request) -> None:
    threading.Event().wait(0.05)


def half(request: Request, answer: Answer) -> Answer:
    return replace(answer, whole=False)


def flipped(request: Request, answer: Answer) -> Answer:
    """Return the answer with another byte in the middle, where it is that of an object."""
    if request.method != "GET" or "?" in request.path or not answer.data:
        return answer
    middle = len(answer.data) // 2
    changed = bytes([answer.data[middle] ^ 1])
    return replace(answer, data=answer.data[:middle] + changed + answer.data[middle + 1 :])


def of_answers(share: float, change: Change) -> Change:
    """Return a change of a share of all answers, never of the same request twice in a row."""
    perhaps = of_requests(share, lambda request: 1)
    return lambda request, answer: change(request, answer) if perhaps(request) else answer


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (lambda request: 503, None, None),
        (cut, None, None),
        (None, cut, None),  # the server carries out the request, but its answer is lost
        (slowly, None, None),
        (None, None, half),
        (None, None, flipped),
    ],
    ids=["busy", "cut off before", "cut off after", "slow", "cut half-way", "changed"],
)
def test_what_fails_for_a_while_changes_nothing(
    before: Fault | None,
    after: Fault | None,
    change: Change | None,
    pictures: Path,
    expected: dict[str, str],
    bucket: Bucket,
    between: Between,
) -> None:
    there = bucket.upload(pictures, "in")
    if before:
        between.before = of_requests(0.2, before)
    if after:
        between.after = of_requests(0.2, after)
    if change:
        between.change = of_answers(0.2, change)
    run_here("compress", there, bucket.url("out"), *WORDS)
    assert bucket.tree("out") == expected
    assert len(between.seen) > 50


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("fault", [cut, lambda request: 503], ids=["cut", "busy"])
def test_a_job_without_its_store_ends_and_is_taken_up(
    fault: Fault,
    pictures: Path,
    expected: dict[str, str],
    bucket: Bucket,
    between: Between,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = bucket.upload(pictures, "in")
    written = itertools.count()

    def gone(request: Request) -> int | None:
        is_out = "/out/" in request.path and request.path.endswith((".png", ".webp"))
        if getattr(gone, "since", False) or (is_out and next(written) == 4):
            gone.since = True  # type: ignore[attr-defined]
            return fault(request)
        return None

    between.before = gone
    words = ("compress", there, bucket.url("out"), *WORDS)
    done = run_here(*words, code=3)
    [line] = done.stderr.splitlines()
    assert "the object store" in line
    assert "--resume" in line
    between.before = lambda request: None
    monkeypatch.setattr(locks, "LEASE", 0.5)  # it could not be given back
    run_here(*words, "--resume")
    assert bucket.tree("out") == expected


def test_an_outage_of_some_seconds_ends_no_job(
    pictures: Path, expected: dict[str, str], bucket: Bucket, between: Between
) -> None:
    """End the outage when one object was asked for 14 times, which takes some seconds."""
    there = bucket.upload(pictures, "in")
    refused: Counter[str] = Counter()
    is_away, lock = threading.Event(), threading.Lock()

    def away(request: Request) -> int | None:
        with lock:
            is_out = "/out/" in request.path and request.path.endswith((".png", ".webp"))
            if is_out and not refused:
                is_away.set()
            if not is_away.is_set():
                return None
            refused[request.path] += 1
            if refused[request.path] == 14:
                is_away.clear()
            return 503

    between.before = away
    with started("compress", there, bucket.url("out"), *WORDS) as job:
        assert job.wait() == 0, job.said()
    assert max(refused.values()) == 14
    assert bucket.tree("out") == expected


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize("how", ["hangs", "trickles"])
def test_an_image_that_comes_too_slowly_is_left_out_and_the_rest_is_done(
    workers: str, how: str, pictures: Path, bucket: Bucket, between: Between
) -> None:
    there = bucket.upload(pictures / "birds", "in")
    slow = bucket.keys("in/")[1]
    over = threading.Event()

    def is_slow(request: Request) -> bool:
        # A trickling image is slow from its header on, so that planning has the same limit.
        return request.path.endswith(slow) and (how == "trickles" or "range" not in request.headers)

    def hang(request: Request) -> None:
        if how == "hangs" and is_slow(request):
            over.wait()

    def trickle(request: Request, answer: Answer) -> Answer:
        is_one = how == "trickles" and request.method == "GET" and is_slow(request)
        return replace(answer, until=over) if is_one else answer

    between.before, between.change = hang, trickle
    words = ("-k", "8", *PARTITIONS, "--workers", workers, "--image-timeout", "8")
    done = run("compress", there, bucket.url("out"), *words, "--json", code=1)
    over.set()
    found = json.loads(done.stdout)
    assert found["failures"] == [
        {"path": bucket.url(slow), "reason": "takes longer than 8 s to fetch: quarantined"}
    ]
    assert found["compressed"] + found["kept"] == found["images"] - 1 > 1


@pytest.mark.usefixtures("soon", "bucket")
def test_a_server_that_is_gone_is_said_in_one_line(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(UnreachableError, match="/a: the object store does not answer"):
        ObjectPath(bucket.url("a")).read_bytes()


def test_a_worker_that_dies_while_it_writes_leaves_no_half_object(
    pictures: Path, expected: dict[str, str], bucket: Bucket, between: Between
) -> None:
    there = bucket.upload(pictures, "in")
    half_way, go_on = threading.Event(), threading.Event()

    def stall(request: Request) -> None:
        is_out = "/out/" in request.path and ".kmeans" not in request.path
        if request.method == "PUT" and is_out and not half_way.is_set():
            half_way.set()
            go_on.wait(600)
            raise Cut

    between.before = stall
    with started("compress", there, bucket.url("out"), *WORDS[:-1], "1") as job:
        assert until(half_way.is_set, job)
        assert not [key for key in bucket.keys("out/") if ".kmeans-dask" not in key]
        [worker] = job.workers()
        os.kill(worker.pid, signal.SIGKILL)
        go_on.set()
        assert job.wait() == 0, job.said()
    assert bucket.tree("out") == expected
