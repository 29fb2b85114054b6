"""Memory limit and events of the task that calls these functions, whichever engine runs it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kmeans_dask.engine.engine import EventHandler

_listeners: list[EventHandler] = []  # handlers of events of tasks in this process
_memory: int | None = None  # bytes that such a task may take; None without a limit


def worker_memory() -> int | None:
    """Return the bytes that the calling task may take, or None where there is no limit."""
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
    """Send an event from a task to those who listen on the `topic` of its engine."""
    tell(event)
    if "distributed" in sys.modules:
        from distributed import get_worker

        try:
            worker = get_worker()
        except ValueError:  # this is no worker
            return
        worker.log_event(topic, event)


def process_memory() -> int | None:
    """Return the bytes that a task in this process may take, or None where there is no limit."""
    return _memory


@contextmanager
def limited(memory: int | None) -> Iterator[None]:
    """Limit each task in this process to `memory` bytes inside the block; None for no limit."""
    global _memory
    before, _memory = _memory, memory
    try:
        yield
    finally:
        _memory = before


@contextmanager
def listening(handler: EventHandler) -> Iterator[None]:
    """Call `handler`, inside the block, with each event of tasks in this process."""
    _listeners.append(handler)
    try:
        yield
    finally:
        _listeners.remove(handler)


def tell(event: dict[str, Any]) -> None:
    """Send an event to those who listen in this process."""
    for handler in _listeners:
        handler(event)
