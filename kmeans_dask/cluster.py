"""Where tasks run: in this process, on a local cluster, or on any Dask scheduler.

The only file that knows `distributed`. The pipeline sees an `Engine`: it submits named tasks,
passes handles of results on to other tasks, and maps a task over many items with a bounded
number in flight. Every wait has an end: no worker for a stated time is an error that says so.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import secrets
import socket
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future as LocalFuture
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from kmeans_dask import dashboard
from kmeans_dask.admission import SAME_FILES, Admission, Guarded
from kmeans_dask.errors import ClusterError, UsageError
from kmeans_dask.interrupts import check_interrupted, uninterrupted_children
from kmeans_dask.settings import WORKER_TIMEOUT
from kmeans_dask.sight import Sight, look, open_sight, unseen
from kmeans_dask.storage import Place
from kmeans_dask.tls import OPTIONS, Tls, is_encrypted, refusal
from kmeans_dask.versions import PACKAGES, difference, versions_here

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster
    from distributed.security import Security

Item = TypeVar("Item")
Result = TypeVar("Result")
EventHandler = Callable[[dict[str, Any]], None]

_DASHBOARD_PORT = 8787  # where Dask's users look first
_IN_FLIGHT_PER_THREAD = 3  # enough to keep a thread busy, few enough to hold little
_STARTS = 3  # of a local cluster, until all of its processes are there
_ATTEMPTS = 6  # at a task, each of them until some workers have died with it
_LOOK_AGAIN = 2.0  # seconds between looks at the cluster's health
_SOON = 5.0  # seconds after which a scheduler that does not answer is asked whether it takes TLS
_LAST_WORDS = 5.0  # seconds in which what was announced must arrive, or is lost
_listeners: list[EventHandler] = []  # of tasks that run in this process
_memory: int | None = None  # that these may take, in bytes


class Engine(Protocol):
    """Runs tasks. `name` is a task's prefix on the dashboard.

    place: where tasks run, in words
    dashboard: the address of the Dask dashboard, where there is one
    topic: what tasks that emit events must be given
    cores: that a task which runs alone may use
    memory: bytes that a task may take on any worker; None where that is not limited
    """

    place: str
    dashboard: str | None
    topic: str
    cores: int

    @property
    def memory(self) -> int | None:
        """As above."""
        ...

    @property
    def threads(self) -> int:
        """Of all workers together."""
        ...

    def submit(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        """Start `function(*args)`; returns a handle, which later tasks may take as an argument."""
        ...

    def result(self, handle: Any) -> Any:
        """Wait for the value of a handle. Raises what the task raised, or ClusterError."""
        ...

    def map(
        self,
        name: str,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        rescue: Callable[[Item], Item] | None = None,
    ) -> Iterator[Result]:
        """Results of `function` over `items`, as they are done, a bounded number in flight.

        rescue: what to try instead of an item whose task was given up as its workers died
        """
        ...

    def compute(self, lazy: Sequence[Any]) -> list[Any]:
        """Start Dask's own lazy objects, together; returns their handles."""
        ...

    def sharing(
        self, folders: Sequence[Place], files: Sequence[tuple[str, int]] = ()
    ) -> AbstractContextManager[None]:
        """Inside the block, workers see `folders` and write to them, and see `files`, with sizes.

        Raises UsageError, naming one that does not. Of one that joins inside the block, its first
        task raises ClusterError.
        """
        ...

    def listening(self, handler: EventHandler) -> AbstractContextManager[None]:
        """Inside the block, call `handler` with every event that a task emits on our topic."""
        ...

    def emit(self, event: dict[str, Any]) -> None:
        """Say on our topic what happens outside of tasks."""
        ...

    def announce(self, event: dict[str, Any]) -> None:
        """Tell our page on the dashboard, if there is one, how far the job is. Waits for nobody."""
        ...


class _GivenUpError(ClusterError):
    """A task was given up, as each worker that had it died."""


def worker_memory() -> int | None:
    """From inside a task: bytes that it may take, where that is limited."""
    if "distributed" not in sys.modules:
        return _memory
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:  # this is no worker
        return _memory
    limit: int | None = worker.memory_manager.memory_limit
    return limit and limit // worker.state.nthreads


def emit(topic: str, event: dict[str, Any]) -> None:
    """From inside a task: tell those who listen to the engine that runs it."""
    for handler in _listeners:
        handler(event)
    if "distributed" in sys.modules:
        from distributed import get_worker

        try:
            worker = get_worker()
        except ValueError:  # this is no worker
            return
        worker.log_event(topic, event)


@contextmanager
def current_engine() -> Iterator[Engine]:
    """The cluster of the current Dask client, if there is one, else threads of this process."""
    client = None
    if "distributed" in sys.modules:
        from distributed import default_client

        with suppress(ValueError):  # there is none
            client = default_client()
    if client:
        yield _Distributed(client, "the cluster of the current client", WORKER_TIMEOUT)
    else:
        with local_threads() as engine:
            yield engine


@contextmanager
def local_threads(cores: int | None = None) -> Iterator[Engine]:
    """Threads of this process, by default as many as there are cores."""
    cores = cores or count_cores()
    with ThreadPoolExecutor(cores) as threads:
        yield _Threads(threads, cores)


@contextmanager
def connect(
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    timeout: float = WORKER_TIMEOUT,
    memory: int | None = None,
    tls: Tls | None = None,
) -> Iterator[Engine]:
    """An engine: the cluster at `scheduler`, or `workers` local processes, or with 0 this process.

    By default one local process per core, with `memory` bytes each, or else their share of what
    the machine has. Raises UsageError when the scheduler cannot be reached, has no worker
    within `timeout` seconds, or where versions differ.
    """
    if scheduler:
        place = f"the cluster at {scheduler}"
        with (
            _remote(scheduler, timeout, tls) as client,
            closing(_Distributed(client, place, timeout, is_ours=False)) as engine,
        ):
            engine.check_versions()
            yield engine
    elif workers == 0:
        with _limited(memory):
            yield _InProcess()
    else:
        place = "local worker processes"
        with (
            _local(workers or count_cores(), timeout, memory) as client,
            closing(_Distributed(client, place, timeout, count_cores())) as engine,
        ):
            yield engine


@contextmanager
def _limited(memory: int | None) -> Iterator[None]:
    """Inside the block, tasks in this process may take so many bytes."""
    global _memory
    before, _memory = _memory, memory
    try:
        yield
    finally:
        _memory = before


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _InProcess:
    """The plainest engine: a task is a call."""

    place = "this process"
    dashboard: str | None = None
    topic = "kmeans-dask"

    def __init__(self) -> None:
        self.cores = count_cores()

    @property
    def memory(self) -> int | None:
        return _memory

    @property
    def threads(self) -> int:
        return 1

    def submit(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        check_interrupted()
        return function(*args)

    def result(self, handle: Any) -> Any:
        return handle

    def map(
        self,
        name: str,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        rescue: Callable[[Item], Item] | None = None,
    ) -> Iterator[Result]:
        for item in items:
            yield self.submit(name, function, item)

    def compute(self, lazy: Sequence[Any]) -> list[Any]:
        from dask.base import compute

        return list(compute(*lazy, scheduler="threads"))

    @contextmanager
    def sharing(
        self, folders: Sequence[Place], files: Sequence[tuple[str, int]] = ()
    ) -> Iterator[None]:
        yield

    @contextmanager
    def listening(self, handler: EventHandler) -> Iterator[None]:
        _listeners.append(handler)
        try:
            yield
        finally:
            _listeners.remove(handler)

    def emit(self, event: dict[str, Any]) -> None:
        for handler in _listeners:
            handler(event)

    def announce(self, event: dict[str, Any]) -> None:
        pass


class _Threads(_InProcess):
    """A task is a call in a thread."""

    place = "threads of this process"

    def __init__(self, threads: ThreadPoolExecutor, cores: int) -> None:
        self.cores = cores
        self._threads = threads

    def submit(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        check_interrupted()
        # A task waits for those it needs. They were submitted before it, so they have a thread.
        return self._threads.submit(lambda: function(*map(_resolved, args)))

    def result(self, handle: Any) -> Any:
        return _resolved(handle)

    def map(
        self,
        name: str,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        rescue: Callable[[Item], Item] | None = None,
    ) -> Iterator[Result]:
        return map(_resolved, [self.submit(name, function, item) for item in items])


def _resolved(argument: Any) -> Any:
    if isinstance(argument, list):
        return [_resolved(item) for item in argument]
    return argument.result() if isinstance(argument, LocalFuture) else argument


class _Distributed:
    """Tasks are tasks of a Dask scheduler.

    is_ours: whether its workers are of this process, so that they are as it is
    """

    def __init__(
        self, client: Client, place: str, timeout: float, cores: int = 1, *, is_ours: bool = True
    ) -> None:
        self.place = place
        self.cores = cores
        self.dashboard = client.dashboard_link or None
        self._client = client
        self._timeout = timeout
        self._run = secrets.token_hex(4)
        self._n_tasks = 0
        self._untold: deque[dict[str, Any]] = deque()
        self._telling = asyncio.Lock()
        self.topic = f"kmeans-dask-{self._run}"
        self._admission = None if is_ours else Admission(versions_here())

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

    def check_versions(self) -> None:
        """Raise UsageError where scheduler or workers have other versions than this process.

        Dask's own servers answer: a worker that lacks this package does so too.
        """
        scheduler: Any = self._client.scheduler
        packages = list(PACKAGES)
        found = {"scheduler": self._asked(scheduler.versions, packages=packages)}
        found |= self._asked_workers(op="versions", packages=packages)
        for address, each in found.items():
            who = "the scheduler" if address == "scheduler" else f"the worker at {address}"
            differs = difference(versions_here(), each["packages"], who)
            if differs:
                raise UsageError(differs)

    @contextmanager
    def sharing(
        self, folders: Sequence[Place], files: Sequence[tuple[str, int]] = ()
    ) -> Iterator[None]:
        if self._admission is None:
            yield
            return
        from distributed.protocol.pickle import dumps

        before = self._admission
        with open_sight(folders, files) as sight:
            answers = self._asked_workers(op="run", function=dumps(_look), args=dumps((sight,)))
            for address, answer in answers.items():
                host, missing, written = answer["result"]
                folder = None if missing else unseen(written)
                if folder:
                    missing = f"writes to {folder}, and that is not seen here"
                if missing:
                    raise UsageError(f"the worker at {address} ({host}) {missing}: {SAME_FILES}")
            self._admission = Admission(before.versions, sight)
            try:
                yield
            finally:
                self._admission = before

    def _asked_workers(self, **ask: Any) -> dict[str, Any]:
        """What each worker answers; one that has gone by now is left out.

        Raises UsageError of one that cannot do what is asked.
        """
        from distributed.protocol.pickle import loads

        scheduler: Any = self._client.scheduler
        answers = self._asked(scheduler.broadcast, msg=ask, on_error="return_pickle")
        found = {}
        for address, answer in answers.items():
            if not isinstance(answer, bytes):
                found[address] = answer
                continue
            error = loads(answer)
            if not isinstance(error, OSError):  # which is of a connection that was lost
                raise UsageError(
                    f"the worker at {address} fails ({type(error).__name__}: {error}): "
                    "is kmeans-dask installed there?"
                )
        return found

    def _asked(self, ask: Callable[..., Any], **words: Any) -> Any:
        """What scheduler or workers answer. Raises UsageError where they do not."""
        try:
            return self._client.sync(ask, callback_timeout=self._timeout, **words)
        except OSError as error:  # a timeout is one too
            raise UsageError(
                f"scheduler or workers have not answered for {self._timeout:g} s: does one hang?"
            ) from error

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
        self._untold.append({"run": self._run, **event})
        loop: Any = self._client.loop
        loop.add_callback(self._tell)

    def close(self) -> None:
        """Let what was announced arrive, if it can."""
        with suppress(Exception):
            self._client.sync(self._tell, callback_timeout=_LAST_WORDS)

    async def _tell(self) -> None:
        async with self._telling:  # else one event could overtake another
            while self._untold:
                events = [self._untold.popleft() for _ in range(len(self._untold))]
                scheduler: Any = self._client.scheduler
                with suppress(Exception):  # of a lost scheduler the tasks will tell
                    await scheduler.log_event(topic=dashboard.TOPIC, msg=events)

    def _threads(self) -> int:
        """Threads of all workers. Raises ClusterError where the scheduler does not answer."""
        try:
            scheduler = self._client.scheduler
            assert scheduler is not None
            threads = self._client.sync(scheduler.ncores, callback_timeout=self._timeout)
        except OSError as error:  # a timeout is one too
            raise ClusterError(
                f"the scheduler has not answered for {self._timeout:g} s: is it still running?"
            ) from error
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


def _look(sight: Sight) -> tuple[str, str | None, list[str]]:
    """From a worker: its host, and what `look` says there."""
    return socket.gethostname(), *look(sight)


@contextmanager
def _remote(address: str, timeout: float, tls: Tls | None) -> Iterator[Client]:
    from distributed import Client
    from distributed.versions import VersionMismatchWarning

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters we say ourselves
    security = _security(address, tls)
    try:
        _await_greeting(address, timeout, security)
        with warnings.catch_warnings(action="ignore", category=VersionMismatchWarning):
            client = Client(address, timeout=timeout, set_as_default=False, security=security)
    except UsageError:
        raise
    except Exception as error:  # an address that does not parse raises nearly anything
        raise UsageError(
            f"no scheduler answers at {address} within {timeout:g} s: check the address, or leave "
            "--scheduler out to work on this machine"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=timeout)
        except TimeoutError:
            raise UsageError(
                f"the scheduler at {address} has no worker within {timeout:g} s: start one with "
                f"`dask worker {address}`"
            ) from None
        yield client


def _security(address: str, tls: Tls | None) -> Security:
    """How to talk to `address`: with these files, or with those that Dask's configuration names.

    Raises UsageError where there are none, where they cannot be read, or where TLS is not meant.
    """
    from distributed.security import Security

    if tls and not is_encrypted(address):
        raise UsageError(f"{OPTIONS} are for a scheduler at tls://, this one is at {address}")
    try:
        security = (
            Security(
                tls_ca_file=str(tls.ca), tls_client_cert=str(tls.cert), tls_client_key=str(tls.key)
            )
            if tls
            else Security()
        )
        context = security.get_connection_args("client")["ssl_context"]
    except (OSError, ValueError) as error:  # an error of TLS is an OSError
        raise UsageError(
            "the files for TLS cannot be read: give PEM files of a CA, a certificate and its own "
            f"key ({error})"
        ) from error
    if is_encrypted(address) and context is None:
        raise UsageError(f"the scheduler at {address} wants TLS: add {OPTIONS}")
    if security.require_encryption and not is_encrypted(address):
        raise UsageError(
            f"Dask's configuration requires encryption, and {address} has none: name a tls:// one"
        )
    return security


def _await_greeting(address: str, timeout: float, security: Security) -> None:
    """Wait until a scheduler answers. Raises UsageError where TLS is in the way."""
    arguments = security.get_connection_args("client")
    soon = min(timeout, _SOON)
    # A client waits for ever on a port that takes connections and says nothing. In a thread,
    # as the caller's may have an event loop already, in a notebook for one.
    with ThreadPoolExecutor(1) as thread:
        try:
            thread.submit(asyncio.run, _greet(address, soon, arguments)).result()
        except Exception:
            why = refusal(address, arguments["ssl_context"])
            if why:
                raise UsageError(f"the scheduler at {address} refuses this client: {why}") from None
            if timeout <= soon:
                raise
            thread.submit(asyncio.run, _greet(address, timeout - soon, arguments)).result()


async def _greet(address: str, timeout: float, arguments: dict[str, Any]) -> None:
    """Ask who is there. Raises ValueError where it is no scheduler, TimeoutError if nobody says."""
    from distributed.comm.core import connect as connect_comm

    async with asyncio.timeout(timeout):
        comm = await connect_comm(address, timeout=timeout, **arguments)
        try:
            await comm.write({"op": "identity", "reply": True})
            answer = await comm.read()
        finally:
            comm.abort()
    if answer.get("type") != "Scheduler":
        raise ValueError(f"{address} is a {answer.get('type')}")


@contextmanager
def _local(workers: int, timeout: float, memory: int | None) -> Iterator[Client]:
    """Worker processes on this machine, of one thread each, reachable from this machine only."""
    import dask
    from distributed import Client

    # The nanny would have malloc give memory back at once. Then it also asks for each buffer
    # anew, and clearing those pages costs as much as decoding does.
    settings = {
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
        # Workers would write results that they hold to disk, pickled. Ours are small.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        # A worker that died, and is just starting again so long afterwards as it had died another
        # time, would be given up. Its nanny is of this process, and starts it however often.
        "distributed.deploy.lost-worker-timeout": "1000 days",
    }
    with (
        dask.config.set(settings),
        _started(workers, memory) as cluster,
        Client(cluster, timeout=timeout, set_as_default=False) as client,
    ):
        dashboard.install(cluster.scheduler)
        yield client


def _started(workers: int, memory: int | None) -> LocalCluster:
    from distributed import LocalCluster

    for attempt in range(_STARTS):
        try:
            with (
                warnings.catch_warnings(action="ignore", category=UserWarning),  # of a port taken
                uninterrupted_children(),
            ):
                return LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=memory or "auto",
                    host="127.0.0.1",
                    dashboard_address=f"127.0.0.1:{_free_port(_DASHBOARD_PORT)}",
                    silence_logs=logging.CRITICAL,
                )
        except RuntimeError as error:  # a process of it has died
            check_interrupted()
            if attempt + 1 == _STARTS:
                raise ClusterError(
                    "the worker processes could not be started: try --workers 0, without any"
                ) from error
    raise AssertionError("there is at least one attempt")


def _free_port(wanted: int) -> int:
    """`wanted` if nobody listens there, else 0: any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return 0
    return wanted
