"""Limits on waiting for object stores, and retries of requests that fail for a while.

A request fails for a while where a connection is refused or cut, where a server is busy or broken,
or where only a part of a body comes. It is retried after growing pauses, until it succeeds or the
time is over. A signal interrupts the wait for a request at any moment.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from kmeans_dask import interrupts
from kmeans_dask.errors import UnreachableError
from kmeans_dask.files.notices import notice
from kmeans_dask.stopwatch import Stopwatch
from kmeans_dask.time_limit import Limit, fetching

T = TypeVar("T")

_SLICE = 0.2  # seconds between checks for signals during a wait


@dataclass(frozen=True)
class RetryPolicy:
    """Limits on waiting for an object store and on retries, in seconds.

    outage: time of retries after a first failure
    first, longest: pauses between attempts, which double from the first to the longest
    farewell: time of retries of requests that only tidy up after a signal
    connect: time until a connection is there
    silence: time in which no byte comes
    request: time of one request with all its bytes
    image: time of one read of an image, where no `time_limit` is around it
    quiet: time after a first failure until the user is warned of retries
    answer: time until a store has to answer when asked whether it is there
    parts: time of the retries that obstore makes by itself
    """

    outage: float = 90.0
    first: float = 0.1
    longest: float = 10.0
    farewell: float = 5.0
    connect: float = 10.0
    silence: float = 60.0
    request: float = 300.0
    image: float = 60.0
    quiet: float = 5.0
    answer: float = 10.0
    parts: float = 10.0

    def pauses(self) -> Iterator[float]:
        """Yield the seconds of each pause, doubling from `first` up to `longest`, endlessly."""
        pause = self.first
        while True:
            yield pause
            pause = min(2 * pause, self.longest)

    @property
    def of_client(self) -> dict[str, Any]:
        """Return the limits of one request as client options of obstore."""
        return {
            "connect_timeout": timedelta(seconds=self.connect),
            "read_timeout": timedelta(seconds=self.silence),
            "timeout": timedelta(seconds=self.request),
        }

    @property
    def of_parts(self) -> dict[str, Any]:
        """Return obstore's own retry options: for parts of uploads, rests of bodies, and tokens."""
        return {
            "max_retries": 3,
            "retry_timeout": timedelta(seconds=self.parts),
            "backoff": {
                "base": 2,
                "init_backoff": timedelta(seconds=self.first),
                "max_backoff": timedelta(seconds=min(1.0, self.longest)),
            },
        }


RETRY_POLICY = RetryPolicy()


@contextmanager
def images_within(seconds: float) -> Iterator[None]:
    """Set the seconds for each read of an image in the block, where no `time_limit` is around it.

    The setting holds for all threads of this process, such as those that read headers.
    """
    global RETRY_POLICY
    before = RETRY_POLICY
    RETRY_POLICY = replace(before, image=seconds)
    try:
        yield
    finally:
        RETRY_POLICY = before


class TransientError(UnreachableError):
    """A request to an object store has failed, and may succeed when it is retried."""


class TooSlowError(TransientError):
    """A request to an object store was not answered in full within its time limit."""


class Attempts:
    """Attempts at one request, with the time that they have taken.

    spent: seconds of all attempts and of the pauses between them
    failing: seconds of those since the first failure

    The time in which this process is suspended does not count.
    """

    def __init__(self) -> None:
        self.spent = self.failing = 0.0
        self._pauses = RETRY_POLICY.pauses()
        self._has_failed = False
        self._is_farewell = interrupts.is_interrupted()

    def ask(self, call: Callable[[], T], seconds: float = float("inf")) -> T:
        """Return what `call` returns, and count the seconds that the attempt takes.

        Raises TooSlowError after `seconds`, KeyboardInterrupt on a signal, and what `call` raises.
        """
        stopwatch = Stopwatch(_SLICE)
        try:
            return waited(call, seconds, stopwatch)
        finally:
            self._pass(stopwatch.read())

    def pause(self, failure: UnreachableError) -> bool:
        """Wait before the next attempt and return True, or return False where no time is left.

        Raises KeyboardInterrupt on a signal.
        """
        self._has_failed = True
        pause = next(self._pauses)
        outage = RETRY_POLICY.farewell if self._is_farewell else RETRY_POLICY.outage
        if self.failing + pause > outage:
            return False
        if self.failing > RETRY_POLICY.quiet:
            notice(f"{failure}: it is tried again for {outage:g} s")
        until = time.monotonic() + pause
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE))
            if not self._is_farewell:
                interrupts.check_interrupted()
        self._pass(pause)
        return True

    def _pass(self, seconds: float) -> None:
        self.spent += seconds
        self.failing += seconds * self._has_failed


def persistently(ask: Callable[[], T]) -> T:
    """Return what `ask` returns, retrying while it raises TransientError and time is left.

    Raises the last TransientError when the time is over, and KeyboardInterrupt on a signal.
    """
    attempts = Attempts()
    while True:
        try:
            return attempts.ask(ask)
        except TransientError as error:
            if not attempts.pause(error):
                raise


def fetched(ask: Callable[[], T], is_there: Callable[[], bool], where: str) -> T:
    """Return what `ask` reads of an image, with retries, within the time limit of the image.

    is_there: returns whether the store answers other requests
    where: the image, as messages name it

    Raises TimeoutError where the image comes too slowly, and OSError where it does not come whole,
    while the store answers other requests: then other images can still be read. Where the store
    does not answer either, retries continue, without counting against the image; in the end this
    raises TransientError.
    """
    attempts, is_there_now = Attempts(), False
    with fetching() as known:
        limit = known or Limit(RETRY_POLICY.image)
        while True:
            before = attempts.spent
            try:
                value = attempts.ask(ask, limit.seconds - limit.fetched)
            except TooSlowError:
                if _is_there(is_there):
                    reason = f"takes longer than {limit.seconds:g} s to fetch: quarantined"
                    raise TimeoutError(errno.ETIMEDOUT, reason, where) from None
                limit.fetched = 0.0
                failure = TransientError(f"{where}: the object store does not answer")
            except TransientError as error:
                failure = error
            else:
                limit.fetched += attempts.spent - before
                return value
            is_over = not attempts.pause(failure)
            if is_over or attempts.spent > limit.seconds:
                was_there, is_there_now = is_there_now, _is_there(is_there)
                if was_there and is_there_now:  # twice, as the store may just have come back
                    said = str(failure).removeprefix(f"{where}: ")
                    reason = f"cannot be fetched ({said}): quarantined"
                    raise OSError(errno.EIO, reason, where) from None
                if is_over and not is_there_now:
                    raise failure


def _is_there(ask: Callable[[], bool]) -> bool:
    try:
        return waited(ask, RETRY_POLICY.answer)
    except UnreachableError:
        return False


class _Call:
    """Call that runs in a daemon thread of its own, with its value or its error."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self.value: Any = None
        self.error: BaseException | None = None
        self.done = threading.Event()
        threading.Thread(target=self._run, name="object-store", daemon=True).start()

    def _run(self) -> None:
        try:
            self.value = self._call()
        except BaseException as error:  # `waited` raises it
            self.error = error
        self.done.set()


def waited(
    call: Callable[[], T], seconds: float = float("inf"), stopwatch: Stopwatch | None = None
) -> T:
    """Return what `call` returns, or raise what it raises; `call` runs in a thread of its own.

    Raises TooSlowError after `seconds`, and KeyboardInterrupt on a signal. The call itself, as a
    request cannot be cancelled, continues then, and ends by limits of its own.
    """
    stopwatch = stopwatch or Stopwatch(_SLICE)
    is_farewell = interrupts.is_interrupted()
    running = _Call(call)
    while not running.done.wait(max(0.0, min(_SLICE, seconds - stopwatch.read()))):
        if not is_farewell:
            interrupts.check_interrupted()
        if stopwatch.read() >= seconds:
            raise TooSlowError("the object store does not answer in time")
    if running.error:
        raise running.error
    value: T = running.value
    return value
