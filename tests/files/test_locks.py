"""What one run holds, so that no other works on it at the same time: files, and objects."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from obstore.exceptions import AlreadyExistsError, GenericError
from obstore.store import MemoryStore

from kmeans_dask import interrupts
from kmeans_dask.errors import JobError, UsageError
from kmeans_dask.files import ObjectPath, locks, object_client
from kmeans_dask.files.locks import held, locked
from tests.files.server import Bucket

# -- locks ------------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from typing import Any
from kmeans_dask.errors import UsageError
from kmeans_dask.files.locks import locked

try:
    with locked(Path(sys.argv[1]), "photos", shared=sys.argv[2] == "shared"):
        print("held", flush=True)
        sys.stdin.readline()
except UsageError as error:
    print(error, flush=True)
"""


class Holder:
    """Another process that holds a lock, or was refused, as `said` tells."""

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, path, "shared" if shared else "alone"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert select.select([self.process.stdout], [], [], 60)[0]
        self.said = self.process.stdout.readline().strip()

    def end(self, how: signal.Signals | None = None) -> None:
        """Let go, by itself or by a signal."""
        if how:
            self.process.send_signal(how)
        self.process.communicate(timeout=60)


Hold = Callable[..., Holder]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Starts holders; they end with the test."""
    holders: list[Holder] = []

    def start(path: Path, *, shared: bool = False) -> Holder:
        holders.append(Holder(path, shared=shared))
        return holders[-1]

    yield start
    for holder in holders:
        holder.end(signal.SIGKILL)


REFUSED = "another run is using photos: wait for its end, or stop it"


@pytest.mark.parametrize("first", [False, True], ids=["alone", "shared"])
@pytest.mark.parametrize("second", [False, True], ids=["alone", "shared"])
def test_two_processes_hold_a_lock_only_where_both_share_it(
    first: bool, second: bool, tmp_path: Path, hold: Hold
) -> None:
    assert hold(tmp_path / "lock", shared=first).said == "held"
    assert hold(tmp_path / "lock", shared=second).said == ("held" if first and second else REFUSED)


def test_who_is_refused_takes_nothing_from_the_holder(tmp_path: Path, hold: Hold) -> None:
    holder = hold(tmp_path / "lock")
    for _ in range(2):
        with pytest.raises(UsageError, match=REFUSED), locked(tmp_path / "lock", "photos"):
            pytest.fail("two hold it")
    assert holder.said == "held"
    assert (tmp_path / "lock").exists()


@pytest.mark.parametrize("how", [None, signal.SIGTERM, signal.SIGKILL])
def test_a_lock_is_free_again_however_its_holder_ends(
    how: signal.Signals | None, tmp_path: Path, hold: Hold
) -> None:
    holder = hold(tmp_path / "lock")
    assert holder.said == "held"
    holder.end(how)
    assert hold(tmp_path / "lock").said == "held"


def test_a_lock_is_free_again_after_an_error_in_its_block(tmp_path: Path, hold: Hold) -> None:
    with pytest.raises(RuntimeError, match="half-way"), locked(tmp_path / "lock", "photos"):
        raise RuntimeError("half-way")
    assert hold(tmp_path / "lock").said == "held"


def test_a_lock_whose_file_was_removed_between_opening_and_holding_it_is_taken_on_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hold: Hold
) -> None:
    path = tmp_path / "lock"
    path.touch()
    locking, seen = fcntl.flock, list[int]()

    def flock(file: int, how: int) -> None:
        if not seen:  # who held it ends, and removes it
            path.unlink()
        seen.append(os.fstat(file).st_nlink)
        locking(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(path, "photos"):
        assert seen == [0, 1]
        assert hold(path).said == REFUSED


@pytest.mark.parametrize("reason", ["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EINVAL"])
@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_where_a_file_system_has_no_locks_that_is_said_once_and_work_goes_on(
    reason: str,
    shared: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def flock(file: int, how: int) -> None:
        raise OSError(getattr(errno, reason), os.strerror(getattr(errno, reason)))

    monkeypatch.setattr(fcntl, "flock", flock)
    for _ in range(2):
        with (
            held(tmp_path / "out", "lock", "photos"),
            locked(tmp_path / "out" / "lock", "photos", shared=shared),
        ):
            (tmp_path / "out" / "done").touch()
    assert [record.getMessage() for record in caplog.records] == [
        f"kmeans-dask: warning: the file system of {tmp_path / 'out'} has no locks: make sure that "
        "no other run works there at the same time"
    ]


def test_a_lock_that_fails_otherwise_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(file: int, how: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    refused = pytest.raises(UsageError, match=r"photos cannot be written \(Input/output error\)")
    with refused, held(tmp_path / "out", "lock", "photos"):
        pytest.fail("it is held")


WITHOUT = """
import errno, fcntl, sys
def flock(file, how):
    raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = flock
from kmeans_dask import cli
cli.main(sys.argv[1:])
"""


def test_a_command_warns_in_one_line_where_there_are_no_locks(photos: Path, tmp_path: Path) -> None:
    words = ("compress", photos / "astronaut.png", tmp_path / "out", "-k", "4", "--workers", "0")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *words], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("kmeans-dask: warning: the file system of ")


def test_a_lock_that_goes_with_its_folder_does_not_keep_others_from_a_new_one(
    tmp_path: Path, hold: Hold
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with locked(folder / "lock", "photos"):
        shutil.rmtree(folder)
        folder.mkdir()
        assert hold(folder / "lock").said == "held"


# -- leases -----------------------------------------------------------------------------------


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is dead is taken for dead soon, and who lives says so often."""
    monkeypatch.setattr(locks, "LEASE", 0.5)
    monkeypatch.setattr(locks, "_PAUSE", 0.02)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_BEAT", 0.02)
    monkeypatch.setattr(locks, "_PAUSE", 0.02)


def names(folder: ObjectPath) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.walk())


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("first", [False, True], ids=["alone", "shared"])
@pytest.mark.parametrize("second", [False, True], ids=["alone", "shared"])
def test_two_hold_an_object_only_where_both_share_it(
    first: bool, second: bool, memory: ObjectPath
) -> None:
    with locked(memory / "lock", "photos", shared=first):
        if first and second:
            with locked(memory / "lock", "photos", shared=True):
                assert len(names(memory)) == 2
        else:
            refused = pytest.raises(UsageError, match=REFUSED)
            with refused, locked(memory / "lock", "photos", shared=second):
                pytest.fail("two hold it")
        assert len(names(memory)) == 1
    assert names(memory) == []


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("left", ["lock", "lock-shared/0123"])
@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_what_a_dead_run_has_held_is_free(left: str, shared: bool, memory: ObjectPath) -> None:
    (memory / left).write_bytes(b"of a run that is no more")
    with locked(memory / "lock", "photos", shared=shared):
        pass
    assert names(memory) == ([left] if shared and "/" in left else [])


def test_a_server_keeps_two_apart(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_BEAT", 0.1)
    path = ObjectPath(bucket.url("out"))
    with held(path, "lock", "photos"):
        assert bucket.keys() == ["out/lock"]
        with pytest.raises(UsageError, match=REFUSED), held(path, "lock", "photos"):
            pytest.fail("two hold it")
    assert bucket.keys() == []


def test_of_many_that_begin_at_once_one_works_at_a_time(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_BEAT", 0.05)
    at_work, done, refused = list[int](), list[int](), list[int]()

    def run(number: int) -> None:
        try:
            with locked(ObjectPath(bucket.url("lock")), "photos"):
                at_work.append(number)
                assert at_work == [number]
                at_work.remove(number)
                done.append(number)
        except UsageError:
            refused.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    assert done
    assert sorted(done + refused) == list(range(8))


@pytest.mark.usefixtures("often")
def test_who_has_lost_it_is_stopped(memory: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a machine slept, and another run was let in meanwhile."""
    monkeypatch.setattr(interrupts, "_received", None)  # and forgotten afterwards
    stopped = threading.Event()

    def work() -> None:
        with interrupts.interruptible(), locked(memory / "lock", "photos"):
            (memory / "lock").write_bytes(b"another run's")
            stopped.wait(600)

    with pytest.raises(JobError, match="another run has taken over photos"):
        work()
    assert (memory / "lock").read_bytes() == b"another run's"


class Forgetful(MemoryStore):
    """Writes, and then fails to say so: as when the answer is lost on its way."""

    failures = 0

    def put(self, *given: Any, **named: Any) -> Any:
        done = super().put(*given, **named)
        if self.failures:
            self.failures -= 1
            raise GenericError("no answer")
        return done


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("failures", [0, 1, 2, 5])
def test_an_answer_that_is_lost_loses_no_lock(
    failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Forgetful()
    store.failures = failures
    monkeypatch.setitem(object_client._clients, "s3://forgetful", store)
    path = ObjectPath("s3://forgetful/lock")
    with locked(path, "photos"):
        before = path.tagged()
        for _ in range(600):  # signs of life go on
            if not store.failures and path.tagged().tag != before.tag:
                break
            threading.Event().wait(0.1)
        assert path.tagged().tag != before.tag
        assert not store.failures
    assert not path.exists()


class Fleeting(MemoryStore):
    """The lock of another run goes between the moment when it is in the way and the next look."""

    def put(self, *given: Any, **named: Any) -> Any:
        try:
            return super().put(*given, **named)
        except AlreadyExistsError:
            self.delete(given[0])
            raise


def test_a_lock_that_is_given_back_meanwhile_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(object_client._clients, "s3://fleeting", Fleeting())
    path = ObjectPath("s3://fleeting/lock")
    path.write_bytes(b"another run's")
    with locked(path, "photos"):
        assert path.tagged().data != b"another run's"
