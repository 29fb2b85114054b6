"""Engines of this process, which run tasks one after the other, or in threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from kmeans_dask.engine.engine import Engine, EventHandler, Item, Result
from kmeans_dask.engine.task import limited, listening, process_memory, tell
from kmeans_dask.files import Location
from kmeans_dask.interrupts import check_interrupted


@contextmanager
def this_process(memory: int | None = None) -> Iterator[Engine]:
    """Yield an engine that runs tasks in this process, one after the other.

    memory: bytes that a task may take; None where there is no limit
    """
    with limited(memory):
        yield _InProcess()


@contextmanager
def local_threads(cores: int | None = None) -> Iterator[Engine]:
    """Yield an engine that runs tasks in threads of this process, `cores` or one for each core."""
    cores = cores or count_cores()
    threads = ThreadPoolExecutor(cores)
    try:
        yield _Threads(threads, cores)
    finally:  # after an error or Ctrl-C, cancel tasks that have not begun
        threads.shutdown(cancel_futures=True)


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _InProcess:
    """Engine that runs each task as a call, at once when it is submitted."""

    place = "this process"
    is_here = True
    dashboard: str | None = None
    topic = "kmeans-dask"

    def __init__(self) -> None:
        self.cores = count_cores()

    @property
    def memory(self) -> int | None:
        return process_memory()

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
        self, folders: Sequence[Location], files: Sequence[tuple[str, int]] = ()
    ) -> Iterator[None]:
        yield

    @contextmanager
    def listening(self, handler: EventHandler) -> Iterator[None]:
        with listening(handler):
            yield

    def emit(self, event: dict[str, Any]) -> None:
        tell(event)

    def announce(self, event: dict[str, Any]) -> None:
        pass


class _Threads(_InProcess):
    """Engine that runs each task as a call in a thread."""

    place = "threads of this process"

    def __init__(self, threads: ThreadPoolExecutor, cores: int) -> None:
        self.cores = cores
        self._threads = threads

    def submit(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        check_interrupted()
        # A task waits for those it depends on, which were submitted before it and so have threads.
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
    return argument.result() if isinstance(argument, Future) else argument
