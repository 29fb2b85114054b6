"""From inside a task: what it may take, and who is told of it, whichever engine runs it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kmeans_dask.engine.engine import EventHandler

_listeners: list[EventHandler] = []  # of tasks that run in this process
_memory: int | None = None  # that these may take, in bytes


def worker_memory() -> int | None:
    """Bytes that this task may take, where that is limited."""
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
    """Tell those who listen to the engine that runs this task."""
    tell(event)
    if "distributed" in sys.modules:
        from distributed import get_worker

        try:
            worker = get_worker()
        except ValueError:  # this is no worker
            return
        worker.log_event(topic, event)


def process_memory() -> int | None:
    """Bytes that a task in this process may take, where that is limited."""
    return _memory


@contextmanager
def limited(memory: int | None) -> Iterator[None]:
    """Inside the block, tasks in this process may take so many bytes."""
    global _memory
    before, _memory = _memory, memory
    try:
        yield
    finally:
        _memory = before


@contextmanager
def listening(handler: EventHandler) -> Iterator[None]:
    """Inside the block, call `handler` with every event of tasks in this process."""
    _listeners.append(handler)
    try:
        yield
    finally:
        _listeners.remove(handler)


def tell(event: dict[str, Any]) -> None:
    """Tell those who listen in this process."""
    for handler in _listeners:
        handler(event)
