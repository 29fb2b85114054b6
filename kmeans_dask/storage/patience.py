"""How long an object store is asked again: the one place that says so.

Whatever fails for a while, as a connection that is refused or cut, an answer that says that the
server is busy or broken, or half of a body, is asked for again, with pauses that grow, until it
comes or the time is over. Who waits for a request can be interrupted at any moment.
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
from kmeans_dask.stopwatch import Stopwatch
from kmeans_dask.storage.notices import notice
from kmeans_dask.watchdog import Limit, fetching

T = TypeVar("T")

_SLICE = 0.2  # seconds after which who waits looks for signals


@dataclass(frozen=True)
class Patience:
    """How long and how often, in seconds.

    outage: after something has failed first, it is tried again for as long
    first, longest: pauses before that double from one to the other
    farewell: the outage of what only tidies up after Ctrl-C
    connect, silence, request: until a connection is there; in which no byte comes; of one request
        with all its bytes
    image: of one read of an image, where no --image-timeout is known
    parts: of what obstore tries again by itself
    quiet: after something has failed first, until that is said
    answer: until a store that is asked whether it is there says so
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
        """Without an end."""
        pause = self.first
        while True:
            yield pause
            pause = min(2 * pause, self.longest)

    @property
    def of_client(self) -> dict[str, Any]:
        """The limits of requests, as obstore names them."""
        return {
            "connect_timeout": timedelta(seconds=self.connect),
            "read_timeout": timedelta(seconds=self.silence),
            "timeout": timedelta(seconds=self.request),
        }

    @property
    def of_parts(self) -> dict[str, Any]:
        """How obstore itself tries again: a part of an upload, the rest of a body, a token."""
        return {
            "max_retries": 3,
            "retry_timeout": timedelta(seconds=self.parts),
            "backoff": {
                "base": 2,
                "init_backoff": timedelta(seconds=self.first),
                "max_backoff": timedelta(seconds=min(1.0, self.longest)),
            },
        }


PATIENCE = Patience()


@contextmanager
def images_within(seconds: float) -> Iterator[None]:
    """Give each read of an image that time in the block, where no `time_limit` is around it.

    It holds for all threads of this process, as those that read the headers of many images.
    """
    global PATIENCE
    before = PATIENCE
    PATIENCE = replace(before, image=seconds)
    try:
        yield
    finally:
        PATIENCE = before


class PassingError(UnreachableError):
    """It may be otherwise the next time."""


class TooSlowError(PassingError):
    """Nothing, or not all, has come in the time that there was."""


class Attempts:
    """The attempts at one thing.

    spent: seconds of all of them, and of the pauses between; failing: of those since the first
        failure. While this process is suspended none pass.
    """

    def __init__(self) -> None:
        self.spent = self.failing = 0.0
        self._pauses = PATIENCE.pauses()
        self._has_failed = False
        self._is_farewell = interrupts.is_interrupted()

    def ask(self, call: Callable[[], T], seconds: float = float("inf")) -> T:
        """Return what `call` returns. Raises as `waited` does."""
        stopwatch = Stopwatch(_SLICE)
        try:
            return waited(call, seconds, stopwatch)
        finally:
            self._pass(stopwatch.read())

    def pause(self, failure: UnreachableError) -> bool:
        """Wait for the next attempt after a failure; False where there is time for none."""
        self._has_failed = True
        pause = next(self._pauses)
        outage = PATIENCE.farewell if self._is_farewell else PATIENCE.outage
        if self.failing + pause > outage:
            return False
        if self.failing > PATIENCE.quiet:
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
    """What `ask` returns; where it raises PassingError it is asked again, while there is time."""
    attempts = Attempts()
    while True:
        try:
            return attempts.ask(ask)
        except PassingError as error:
            if not attempts.pause(error):
                raise


def fetched(ask: Callable[[], T], is_there: Callable[[], bool], where: str) -> T:
    """Return what `ask` returns of an image, within its time.

    is_there: whether the store answers what it is asked otherwise

    An image that comes too slowly, or never whole, is a TimeoutError or an OSError by its name if
    the store is there: the rest can be done. If the store is not, that is no fault of the image,
    and takes nothing of its time.
    """
    attempts, is_there_now = Attempts(), False
    with fetching() as known:
        limit = known or Limit(PATIENCE.image)
        while True:
            before = attempts.spent
            try:
                value = attempts.ask(ask, limit.seconds - limit.fetched)
            except TooSlowError:
                if _is_there(is_there):
                    reason = f"takes longer than {limit.seconds:g} s to fetch: quarantined"
                    raise TimeoutError(errno.ETIMEDOUT, reason, where) from None
                limit.fetched = 0.0
                failure = PassingError(f"{where}: the object store does not answer")
            except PassingError as error:
                failure = error
            else:
                limit.fetched += attempts.spent - before
                return value
            is_over = not attempts.pause(failure)
            if is_over or attempts.spent > limit.seconds:
                was_there, is_there_now = is_there_now, _is_there(is_there)
                if was_there and is_there_now:  # twice, as it may just have come back
                    said = str(failure).removeprefix(f"{where}: ")
                    reason = f"cannot be fetched ({said}): quarantined"
                    raise OSError(errno.EIO, reason, where) from None
                if is_over and not is_there_now:
                    raise failure


def _is_there(ask: Callable[[], bool]) -> bool:
    try:
        return waited(ask, PATIENCE.answer)
    except UnreachableError:
        return False


class _Call:
    """A call in a thread of its own, which ends with the process."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self.value: Any = None
        self.error: BaseException | None = None
        self.done = threading.Event()
        threading.Thread(target=self._run, name="object-store", daemon=True).start()

    def _run(self) -> None:
        try:
            self.value = self._call()
        except BaseException as error:  # it is raised where it is waited for
            self.error = error
        self.done.set()


def waited(
    call: Callable[[], T], seconds: float = float("inf"), stopwatch: Stopwatch | None = None
) -> T:
    """What `call` returns. Raises TooSlowError after `seconds`, KeyboardInterrupt on a signal.

    Then it goes on by itself: a request cannot be called back, and has limits of its own.
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
