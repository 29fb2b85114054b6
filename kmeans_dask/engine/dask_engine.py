"""Engine of a Dask scheduler: a bounded number of tasks in flight, and a limit on every wait."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent import futures
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from kmeans_dask.engine.admission import Admission, Guarded
from kmeans_dask.engine.answers import LOST
from kmeans_dask.engine.engine import Engine, EventHandler, Item, Result
from kmeans_dask.engine.progress_events import Announcements
from kmeans_dask.engine.shared_files import open_sight
from kmeans_dask.engine.versions import versions_here
from kmeans_dask.engine.worker_checks import Questions
from kmeans_dask.engine.workers import Workers
from kmeans_dask.errors import ClusterError
from kmeans_dask.files import Location
from kmeans_dask.interrupts import check_interrupted
from kmeans_dask.stopwatch import PACE, Stopwatch

if TYPE_CHECKING:
    from distributed import CancelledError, Client, Future

_IN_FLIGHT_PER_THREAD = 3  # enough to keep a thread busy, few enough to hold little
_ATTEMPTS = 6  # submissions of a task, each of which ends when several workers have died with it
_WHY_LOST = {  # messages by Dask's reasons to cancel a task
    "scheduler-connection-lost": LOST,
    "scheduler-restart": "the cluster was restarted by someone, and has forgotten the job's tasks",
}


class _GivenUpError(ClusterError):
    """A task was given up by the scheduler, as each worker that had it died."""


@contextmanager
def scheduled(
    client: Client, place: str, timeout: float, cores: int = 1, *, is_ours: bool = True
) -> Iterator[Engine]:
    """Yield an engine that runs tasks on the scheduler of `client`.

    place: where tasks run, in words
    timeout: most seconds to be without any worker, or without an answer
    cores: number of cores that a task may use when it runs alone
    is_ours: whether this process has started the workers, so that they have its versions

    Raises UsageError where the versions of a cluster that is not ours differ.
    """
    with closing(_Scheduled(client, place, timeout, cores, is_ours=is_ours)) as engine:
        engine.check()
        yield engine


class _Scheduled:
    """Engine whose tasks are those of a Dask scheduler."""

    def __init__(
        self, client: Client, place: str, timeout: float, cores: int, *, is_ours: bool
    ) -> None:
        self.place, self.is_here = place, False
        self.cores = cores
        self.dashboard = client.dashboard_link or None
        self._client = client
        self._timeout = timeout
        self._run = secrets.token_hex(4)
        self._n_tasks = 0
        self._workers = Workers(client, timeout)
        self._questions = Questions(client, timeout)
        self._announcements = Announcements(client)
        self.topic = f"kmeans-dask-{self._run}"
        self._admission = None if is_ours else Admission(versions_here())

    def check(self) -> None:
        """Raise UsageError where a cluster that this process has not started has other versions."""
        if self._admission:
            self._questions.check_versions()

    def submit(self, name: str, function: Callable[..., Any], *args: Any) -> Future[Any]:
        self._n_tasks += 1
        # The key holds no name of a file, which would be shown on the scheduler's pages.
        key = f"{name}-{self._run}-{self._n_tasks}"
        if self._admission:
            function = Guarded(function, self._admission)
        return self._client.submit(function, *args, key=key, pure=False)

    @property
    def threads(self) -> int:
        return self._workers.threads()

    @property
    def memory(self) -> int | None:
        return self._workers.memory()

    def result(self, handle: Future[Any]) -> Any:
        self._wait([handle])
        return self._value(handle)

    def map(
        self,
        name: str,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        rescue: Callable[[Item], Item] | None = None,
    ) -> Iterator[Result]:
        waiting = ((item, 1) for item in items)
        running: dict[Future[Any], tuple[Item, int]] = {}
        while True:
            threads = self._workers.look()  # workers may have come or gone
            room = _IN_FLIGHT_PER_THREAD * threads - len(running)
            for _, (item, attempt) in zip(range(room), waiting, strict=False):
                running[self.submit(name, function, item)] = item, attempt
            if not running:
                return
            for future in self._wait(list(running)):
                item, attempt = running.pop(future)
                try:
                    result = self._value(future)
                except _GivenUpError:
                    if attempt == _ATTEMPTS:
                        raise
                    # The task may be innocent: another one may have killed its workers.
                    another = rescue(item) if rescue else item
                    running[self.submit(name, function, another)] = another, attempt + 1
                else:
                    yield result

    @contextmanager
    def sharing(
        self, folders: Sequence[Location], files: Sequence[tuple[str, int]] = ()
    ) -> Iterator[None]:
        if self._admission is None:
            yield
            return
        before = self._admission
        with open_sight(folders, files) as sight:
            self._questions.check_sight(sight)
            self._admission = Admission(before.versions, sight)
            try:
                yield
            finally:
                self._admission = before

    @contextmanager
    def listening(self, handler: EventHandler) -> Iterator[None]:
        listening = True

        def pass_on(event: tuple[float, dict[str, Any]]) -> None:
            if listening:  # the client keeps calling after it has unsubscribed
                handler(event[1])

        self._client.subscribe_topic(self.topic, pass_on)
        try:
            yield
        finally:
            listening = False
            self._client.unsubscribe_topic(self.topic)

    def compute(self, lazy: Sequence[Any]) -> list[Any]:
        futures: list[Any] = self._client.compute(list(lazy))
        return futures

    def emit(self, event: dict[str, Any]) -> None:
        scheduler: Any = self._client.scheduler
        self._workers.asked(scheduler.log_event, topic=self.topic, msg=event)

    def announce(self, event: dict[str, Any]) -> None:
        self._announcements.add({"run": self._run, **event})

    def close(self) -> None:
        """Wait some seconds for announced events to be sent."""
        self._announcements.close()

    def _wait(self, handles: Collection[Future[Any]]) -> set[Future[Any]]:
        """Wait until at least one of `handles` is done, and return all that are.

        Raises ClusterError where the tasks are cancelled, where the scheduler is lost or silent,
        and where there are no workers.
        """
        from distributed import CancelledError, wait

        while True:
            check_interrupted()
            try:
                with self._client.as_current():
                    return set(wait(handles, PACE, "FIRST_COMPLETED").done)
            except CancelledError as error:
                raise ClusterError(_why_lost(error)) from error
            except TimeoutError:
                self._workers.look()

    def _value(self, future: Future[Any]) -> Any:
        from distributed import CancelledError, KilledWorker

        try:
            return self._gathered(future)
        except KilledWorker as error:
            raise _GivenUpError(
                f"task {future.key} was given up: each worker that tried it died, or was silent, "
                f"perhaps for lack of memory; the last one at {error.last_worker.address}"
            ) from error
        except CancelledError as error:
            raise ClusterError(_why_lost(error)) from error

    def _gathered(self, future: Future[Any]) -> Any:
        """Return the result of a finished task, fetched from a worker that holds it.

        A worker that does not send it within the timeout is given up, and others run the task
        again. Raises ClusterError where the result does not arrive after that either.
        """
        loop: Any = self._client.loop
        fetching = asyncio.run_coroutine_threadsafe(
            self._client.gather(future, asynchronous=True), loop.asyncio_loop
        )
        stopwatch, is_given_up = Stopwatch(), False
        try:
            while not futures.wait([fetching], PACE).done:
                check_interrupted()
                self._workers.look()
                if future.status == "pending":  # its worker is gone: the task runs again
                    stopwatch = Stopwatch()
                elif stopwatch.read() > self._timeout:
                    holding = self._workers.holding(future.key)
                    if is_given_up or not self._workers.give_up(holding):
                        raise ClusterError(
                            f"the result of task {future.key} did not arrive within "
                            f"{self._timeout:g} s from {' or '.join(holding) or 'any worker'}"
                        )
                    stopwatch, is_given_up = Stopwatch(), True
            return fetching.result()
        finally:
            fetching.cancel()


def _why_lost(error: CancelledError) -> str:
    """Return a message that says why tasks were cancelled."""
    groups = getattr(error, "error_groups", [error])  # an error of several tasks, or of one
    reasons = [getattr(each, "reason", None) for each in groups]
    return next((_WHY_LOST[each] for each in reasons if each in _WHY_LOST), _CANCELLED)


_CANCELLED = "someone has cancelled the job's tasks at the scheduler"
