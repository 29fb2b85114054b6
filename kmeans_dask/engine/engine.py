"""Interface of the engines, which run the tasks of a job."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from kmeans_dask.files import Location

Item = TypeVar("Item")
Result = TypeVar("Result")
EventHandler = Callable[[dict[str, Any]], None]


class Engine(Protocol):
    """Engine that runs tasks in this process, on a local cluster, or on any Dask scheduler.

    place: where tasks run, in words
    is_here: whether tasks run in this process
    dashboard: address of the Dask dashboard, or None where there is none
    topic: name under which tasks emit their events
    cores: number of cores that a task may use when it runs alone

    The `name` of a task is the prefix by which Dask's dashboard shows it.
    """

    place: str
    is_here: bool
    dashboard: str | None
    topic: str
    cores: int

    @property
    def memory(self) -> int | None:
        """Return the bytes that a task may take on any worker; None where there is no limit."""
        ...

    @property
    def threads(self) -> int:
        """Return the number of threads of all workers together."""
        ...

    def submit(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        """Start `function(*args)` and return a handle, which may be an argument of later tasks."""
        ...

    def result(self, handle: Any) -> Any:
        """Return the value of a handle, once it is there.

        Raises what the task raised, or ClusterError where the cluster fails.
        """
        ...

    def map(
        self,
        name: str,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        rescue: Callable[[Item], Item] | None = None,
    ) -> Iterator[Result]:
        """Yield the results of `function` over `items`, as they are done.

        rescue: returns the item to retry with, for an item whose workers died; by default the same

        A bounded number of tasks is in flight.
        """
        ...

    def compute(self, lazy: Sequence[Any]) -> list[Any]:
        """Start the computation of lazy Dask objects together, and return their handles."""
        ...

    def sharing(
        self, folders: Sequence[Location], files: Sequence[tuple[str, int]] = ()
    ) -> AbstractContextManager[None]:
        """Check, inside the block, that workers see `files` and can write to `folders`.

        files: paths, and sizes in bytes

        Raises UsageError that names a worker for which that fails. On such a worker that joins
        inside the block, the first task raises ClusterError.
        """
        ...

    def listening(self, handler: EventHandler) -> AbstractContextManager[None]:
        """Call `handler`, inside the block, with each event that is emitted on `topic`."""
        ...

    def emit(self, event: dict[str, Any]) -> None:
        """Emit an event on `topic` from outside of tasks."""
        ...

    def announce(self, event: dict[str, Any]) -> None:
        """Send an event to the page `/kmeans` of the dashboard, if there is one; do not wait."""
        ...
