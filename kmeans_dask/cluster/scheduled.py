"""Tasks of a Dask scheduler, a bounded number in flight, and no wait without an end."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from kmeans_dask.cluster.admission import Admission, Guarded
from kmeans_dask.cluster.announcements import Announcements
from kmeans_dask.cluster.engine import Engine, EventHandler, Item, Result
from kmeans_dask.cluster.questions import Questions
from kmeans_dask.cluster.sight import open_sight
from kmeans_dask.cluster.versions import versions_here
from kmeans_dask.errors import ClusterError
from kmeans_dask.interrupts import check_interrupted
from kmeans_dask.storage import Place

if TYPE_CHECKING:
    from distributed import Client, Future

_IN_FLIGHT_PER_THREAD = 3  # enough to keep a thread busy, few enough to hold little
_ATTEMPTS = 6  # at a task, each of them until some workers have died with it
_LOOK_AGAIN = 2.0  # seconds between looks at the cluster's health


class _GivenUpError(ClusterError):
    """A task was given up, as each worker that had it died."""


@contextmanager
def scheduled(
    client: Client, place: str, timeout: float, cores: int = 1, *, is_ours: bool = True
) -> Iterator[Engine]:
    """The scheduler of `client`.

    is_ours: whether its workers are of this process, so that they are as it is; else UsageError
    is raised where versions differ
    """
    with closing(_Scheduled(client, place, timeout, cores, is_ours=is_ours)) as engine:
        engine.check()
        yield engine


class _Scheduled:
    """A task is one of a Dask scheduler."""

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
        self._questions = Questions(client, timeout)
        self._announcements = Announcements(client)
        self.topic = f"kmeans-dask-{self._run}"
        self._admission = None if is_ours else Admission(versions_here())

    def check(self) -> None:
        """Raise UsageError where a cluster that is not ours has other versions."""
        if self._admission:
            self._questions.check_versions()

    def submit(self, name: str, function: Callable[..., Any], *args: Any) -> Future[Any]:
        self._n_tasks += 1
        # A name and two opaque numbers: no file's name ever reaches the scheduler's pages.
        key = f"{name}-{self._run}-{self._n_tasks}"
        if self._admission:
            function = Guarded(function, self._admission)
        return self._client.submit(function, *args, key=key, pure=False)

    @property
    def threads(self) -> int:
        return max(1, self._threads())

    @property
    def memory(self) -> int | None:
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        limits = [
            each["memory_limit"] // each["nthreads"] for each in workers if each["memory_limit"]
        ]
        return min(limits, default=None)

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
        looked = -math.inf
        while True:
            if time.monotonic() - looked > _LOOK_AGAIN:  # workers may have come or gone
                threads, looked = self.threads, time.monotonic()
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
                    # It may have died with a worker that another task had killed.
                    another = rescue(item) if rescue else item
                    running[self.submit(name, function, another)] = another, attempt + 1
                else:
                    yield result

    @contextmanager
    def sharing(
        self, folders: Sequence[Place], files: Sequence[tuple[str, int]] = ()
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
        self._client.log_event(self.topic, event)

    def announce(self, event: dict[str, Any]) -> None:
        self._announcements.add({"run": self._run, **event})

    def close(self) -> None:
        """Let what was announced arrive, if it can."""
        self._announcements.close()

    def _threads(self) -> int:
        """Threads of all workers. Raises ClusterError where the scheduler does not answer."""
        try:
            scheduler = self._client.scheduler
            assert scheduler is not None
            threads = self._client.sync(scheduler.ncores, callback_timeout=self._timeout)
        except OSError as error:  # a timeout is one too
            waited = isinstance(error, TimeoutError)
            since = f"has not answered for {self._timeout:g} s" if waited else "cannot be reached"
            raise ClusterError(f"the scheduler {since}: is it still running?") from error
        return sum(threads.values())

    def _wait(self, futures: Collection[Future[Any]]) -> set[Future[Any]]:
        """Wait until one of `futures` is done, for as long as there are workers."""
        from distributed import CancelledError, wait

        seen = time.monotonic()
        while True:
            check_interrupted()
            try:
                with self._client.as_current():
                    return set(wait(futures, _LOOK_AGAIN, "FIRST_COMPLETED").done)
            except CancelledError as error:
                raise ClusterError(
                    "the connection to the scheduler is lost: is it still running?"
                ) from error
            except TimeoutError:
                if self._threads():
                    seen = time.monotonic()
                elif time.monotonic() - seen > self._timeout:
                    raise ClusterError(
                        f"the cluster has had no worker for {self._timeout:g} s: start workers "
                        "and run the job again"
                    ) from None

    def _value(self, future: Future[Any]) -> Any:
        from distributed import CancelledError, KilledWorker

        try:
            return future.result(timeout=self._timeout)
        except KilledWorker as error:
            raise _GivenUpError(
                f"task {future.key} was given up: each worker that tried it died, perhaps for "
                "lack of memory"
            ) from error
        except CancelledError as error:
            raise ClusterError(f"task {future.key} was lost by the scheduler") from error
        except TimeoutError as error:
            raise ClusterError(
                f"the result of task {future.key} did not arrive within {self._timeout:g} s"
            ) from error
