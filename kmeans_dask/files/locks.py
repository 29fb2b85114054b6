"""What one run holds, so that no other works on it at the same time."""

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
from kmeans_dask.files.object_store import ObjectPath, Tagged
from kmeans_dask.files.retries import Attempts, TransientError
from kmeans_dask.files.targets import beginning, exists, in_the_way
from kmeans_dask.stopwatch import Stopwatch

LEASE = 30.0  # seconds after which a run that has not been heard of is taken for dead
_BEAT = 5.0  # seconds between its signs of life
# Errors of file systems without locks, such as Lustre without `flock`, or NFS without its daemon.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)
_PAUSE = 0.5  # seconds between looks for those of another run


def locked(path: Location, what: str, *, shared: bool = False) -> AbstractContextManager[None]:
    """Hold the lock at `path`; others may hold it as well where all want it `shared`.

    Of a file the kernel lets go when the process ends, however it does: no crash and no reboot
    leaves a lock behind. Of an object the run that holds it gives signs of life, and without them
    it is free after `LEASE` seconds. Raises UsageError where another run holds it, or where it is
    a link; JobError in the end where another run has taken it over.
    """
    if isinstance(path, ObjectPath):
        return _leased(path, what, shared=shared)
    return _locked(path, what, shared=shared)


@contextmanager
def held(folder: Location, lock: str, what: str) -> Iterator[None]:
    """Hold the lock named `lock` in `folder` during the block; the folder is made where missing.

    what: name of the folder in messages

    A local folder that holds only the lock at the end loses it; folders that were made here, and
    are empty then, are removed. Raises UsageError where another run holds the lock, where something
    else is in place of the folder, or where nothing can be written, and removes the folders made
    here; JobError at the end where another run has taken over the lock in an object store.
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
    return UsageError(f"another run is at work on {what}: wait for its end, or stop it")


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
        os.close(file)  # who held it has removed it, and somebody may have made another one
    try:
        yield
    finally:
        os.close(file)


def _flock(path: Path, file: int, *, shared: bool) -> None:
    """Lock the open `file` at `path`, or warn and go on where the file system has no locks.

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
    """One lease for all that want `path` for themselves, and one for each that shares it.

    Each looks for those that exclude it when its own is there already: of two that begin at once,
    one at least sees the other.
    """
    readers = path.parent / f"{path.name}-shared"
    mine = _Lease(readers / secrets.token_hex(8) if shared else path)
    mine.take(what)
    try:
        with suppress(FileNotFoundError):
            mine.path.stat()  # raises UnreachableError where a web page answers for the store
        for other in [path] if shared else list(readers.walk()):
            with suppress(FileNotFoundError):  # it has just ended
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
    """An object that says that this run is alive, in that it changes."""

    def __init__(self, path: ObjectPath) -> None:
        self.path = path
        self.is_lost = False
        self._tag = ""
        self._ended = threading.Event()

    def take(self, what: str) -> None:
        """Write it, in place of that of a dead run. Raises UsageError where a live one has it."""
        while not self._tag:
            with suppress(FileExistsError):
                self._sign()
                return
            with suppress(FileNotFoundError):  # it has just been given back
                tag = self.path.tagged().tag
                if _is_alive(self.path):
                    raise _busy(what)
                with suppress(FileExistsError):  # it lives, or a third one was first
                    self._sign(tag)

    def _sign(self, tag: str | None = None) -> None:
        """Write it where there is none, or where it is what has `tag`.

        Raises FileExistsError where it is another's, FileNotFoundError where it is gone.
        """
        sign = secrets.token_hex(16).encode()  # never the same twice: so its tag is another one
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
        """Give signs of life while the block runs; where it is lost, end the block by a signal."""
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
            # Try again at the next beat; another run may take over meanwhile. A signal does not end
            # this thread, as the lease is needed until all is tidied up.
            except (OSError, JobError, KeyboardInterrupt):
                continue

    def give_back(self) -> None:
        """Remove it, if it is still this run's."""
        with suppress(OSError, JobError):
            if self.path.tagged().tag == self._tag:
                self.path.unlink(missing_ok=True)


def _tagged(path: ObjectPath) -> Tagged | None:
    with suppress(FileNotFoundError):
        return path.tagged()
    return None


def _is_alive(lease: ObjectPath) -> bool:
    """Whether there is a sign of life of `lease`. Raises FileNotFoundError when it ends."""
    sign = lease.tagged()
    left, stopwatch = LEASE - (_now(lease) - sign.written), Stopwatch(_PAUSE)
    while stopwatch.read() < left:
        time.sleep(_PAUSE)
        if lease.tagged().tag != sign.tag:
            return True
    return False


def _now(beside: ObjectPath) -> float:
    """The time where `beside` is, in seconds since 1970: this machine's may be another."""
    passing = beside.with_name(f"{beside.name}-{secrets.token_hex(8)}")
    passing.write_bytes(b"")
    try:
        return passing.tagged().written
    finally:
        passing.unlink(missing_ok=True)
