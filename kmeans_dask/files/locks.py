"""Locks on files and leases in object stores, which keep two runs off the same folder."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from kmeans_dask.errors import JobError, UsageError
from kmeans_dask.files.atomic_files import names_in
from kmeans_dask.files.location import Location
from kmeans_dask.files.notices import notice
from kmeans_dask.files.object_path import ObjectPath, Tagged
from kmeans_dask.files.retries import Attempts, TransientError
from kmeans_dask.files.targets import beginning, exists, in_the_way
from kmeans_dask.stopwatch import Stopwatch

LEASE = 30.0  # seconds without a heartbeat after which a run counts as dead
_BEAT = 5.0  # seconds between heartbeats of a run
# Errors of file systems without locks, such as Lustre without `flock`, or NFS without its daemon.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)
_PAUSE = 0.5  # seconds between looks for the heartbeat of another run


def locked(path: Location, what: str, *, shared: bool = False) -> AbstractContextManager[None]:
    """Hold the lock at `path` during the block; several runs can hold it where all are `shared`.

    what: name in messages of what is locked

    A local lock is released by the kernel when the process ends, however it does: no crash and no
    reboot leaves a lock behind. In an object store the lock is a lease: the run that holds it sends
    heartbeats, and without them the lease is free after `LEASE` seconds. Raises UsageError where
    another run holds the lock, or where `path` is a link; JobError at the end where another run has
    taken over the lease.
    """
    if isinstance(path, ObjectPath):
        return _leased(path, what, shared=shared)
    return _locked(path, what, shared=shared)


@contextmanager
def held(folder: Location, lock: str, what: str) -> Iterator[None]:
    """Hold the lock named `lock` in `folder` during the block, and make the folder where missing.

    what: name of the folder in messages

    At the end, the lock is removed from a local folder that holds nothing else, and folders that
    were made here are removed where they are empty. Raises UsageError where another run holds the
    lock, where something else is in place of the folder, or where nothing can be written, and
    removes the folders made here; JobError at the end where another run has taken over the lock in
    an object store.
    """
    if isinstance(folder, ObjectPath):
        with ExitStack() as holding:
            with beginning(what):
                holding.enter_context(locked(folder / lock, what))
            yield
        return
    missing = [path for path in (folder, *folder.parents) if not exists(path)]
    with ExitStack() as holding:
        try:
            with beginning(what):
                _make(folder)
                holding.enter_context(locked(folder / lock, what))
        except BaseException:
            _remove_empty(missing)
            raise
        try:
            yield
        finally:
            if names_in(folder) <= {lock}:
                (folder / lock).unlink(missing_ok=True)
                _remove_empty(missing)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(
            f"{in_the_way(folder) or folder} is in the way: it is no folder"
        ) from error


def _remove_empty(folders: Iterable[Path]) -> None:
    """Remove `folders`, given from the innermost outwards, up to the first that is not empty."""
    with suppress(OSError):
        for folder in folders:
            if exists(folder):
                folder.rmdir()


def _busy(what: str) -> UsageError:
    return UsageError(f"another run is using {what}: wait for its end, or stop it")


@contextmanager
def _locked(path: Path, what: str, *, shared: bool) -> Iterator[None]:
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            if path.is_symlink():
                raise UsageError(f"{path} is a link: remove it") from error
            raise
        try:
            _flock(path, file, shared=shared)
        except BlockingIOError as error:
            os.close(file)
            raise _busy(what) from error
        except BaseException:
            os.close(file)
            raise
        if _is_at(path, file):
            break
        os.close(file)  # the run that held it has removed it, and another may have made a new one
    try:
        yield
    finally:
        os.close(file)


def _flock(path: Path, file: int, *, shared: bool) -> None:
    """Lock the open `file` at `path`, or only warn where the file system has no locks.

    Raises BlockingIOError where another process holds the lock.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        notice(
            f"the file system of {path.parent} has no locks: make sure that no other run works "
            "there at the same time"
        )


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False


@contextmanager
def _leased(path: ObjectPath, what: str, *, shared: bool) -> Iterator[None]:
    """Hold a lease on `path`: the only one, or one beside those of other runs that share it.

    A run writes its own lease before it looks for leases that exclude it: of two runs that begin at
    once, at least one sees the other.
    """
    readers = path.parent / f"{path.name}-shared"
    mine = _Lease(readers / secrets.token_hex(8) if shared else path)
    mine.take(what)
    try:
        with suppress(FileNotFoundError):
            mine.path.stat()  # raises UnreachableError where a web page answers for the store
        for other in [path] if shared else list(readers.walk()):
            with suppress(FileNotFoundError):  # that run has just ended
                if _is_alive(other):
                    raise _busy(what)
                other.unlink(missing_ok=True)
        with mine.kept():
            yield
    except KeyboardInterrupt:
        if not mine.is_lost:
            raise
    finally:
        mine.give_back()
    if mine.is_lost:
        raise JobError(
            f"another run has taken over {what}, as this one had not been heard of for "
            f"{LEASE:.0f} s"
        )


class _Lease:
    """Lease of this run: an object in an object store that each heartbeat of the run rewrites."""

    def __init__(self, path: ObjectPath) -> None:
        self.path = path
        self.is_lost = False
        self._tag = ""
        self._ended = threading.Event()

    def take(self, what: str) -> None:
        """Write the lease, or replace that of a dead run. Raises UsageError where a run has it."""
        while not self._tag:
            with suppress(FileExistsError):
                self._sign()
                return
            with suppress(FileNotFoundError):  # that run has just removed it
                tag = self.path.tagged().tag
                if _is_alive(self.path):
                    raise _busy(what)
                with suppress(FileExistsError):  # that run is alive, or a third one was first
                    self._sign(tag)

    def _sign(self, tag: str | None = None) -> None:
        """Write the lease where there is none, or over the object that has the ETag `tag`.

        Raises FileExistsError where another run has it, FileNotFoundError where it is gone.
        """
        sign = secrets.token_hex(16).encode()  # never the same twice, so that the ETag changes
        attempts = Attempts()

        def write() -> str:
            return self.path.exchange(sign, tag) if tag else self.path.create(sign)

        while True:
            try:
                self._tag = attempts.ask(write)
                return
            except (FileExistsError, TransientError) as error:
                found = _tagged(self.path)
                if found and found.data == sign:  # it was written, and only the answer was lost
                    self._tag = found.tag
                    return
                if isinstance(error, FileExistsError):
                    raise
                if (found.tag if found else None) != tag:  # another run has written it meanwhile
                    kind = FileExistsError if found else FileNotFoundError
                    raise kind(str(self.path)) from None
                if not attempts.pause(error):
                    raise

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Send heartbeats during the block; where the lease is lost, end the block by a signal."""
        thread = threading.Thread(target=self._beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join(_BEAT)  # the thread may wait for a store that does not answer

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT):
            try:
                self._sign(self._tag)
            except (FileExistsError, FileNotFoundError):
                self.is_lost = True
                os.kill(os.getpid(), signal.SIGTERM)
                return
            # Try again at the next heartbeat; another run may take over meanwhile. A signal leaves
            # this thread running, as the lease is needed until the run has tidied up.
            except (OSError, JobError, KeyboardInterrupt):
                continue

    def give_back(self) -> None:
        """Remove the lease, if it is still that of this run."""
        with suppress(OSError, JobError):
            if self.path.tagged().tag == self._tag:
                self.path.unlink(missing_ok=True)


def _tagged(path: ObjectPath) -> Tagged | None:
    with suppress(FileNotFoundError):
        return path.tagged()
    return None


def _is_alive(lease: ObjectPath) -> bool:
    """Return whether a heartbeat renews `lease` in time. Raises FileNotFoundError if it is gone."""
    sign = lease.tagged()
    left, stopwatch = LEASE - (_now(lease) - sign.written), Stopwatch(_PAUSE)
    while stopwatch.read() < left:
        time.sleep(_PAUSE)
        if lease.tagged().tag != sign.tag:
            return True
    return False


def _now(beside: ObjectPath) -> float:
    """Return the time by the clock of the object store, which may differ from this machine's.

    The time is in seconds since 1970, found by a temporary object next to `beside`.
    """
    passing = beside.with_name(f"{beside.name}-{secrets.token_hex(8)}")
    passing.write_bytes(b"")
    try:
        return passing.tagged().written
    finally:
        passing.unlink(missing_ok=True)
