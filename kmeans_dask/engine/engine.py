"""What runs tasks, as the floors above see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from kmeans_dask.files import Location

Item = TypeVar("Item")
Result = TypeVar("Result")
EventHandler = Callable[[dict[str, Any]], None]


class Engine(Protocol):
    """Runs tasks. `name` is a task's prefix on the dashboard.

    place: where tasks run, in words; is_here: whether that is this process
    dashboard: the address of the Dask dashboard, where there is one
    topic: what tasks that emit events must be given
    cores: that a task which runs alone may use
    memory: bytes that a task may take on any worker; None where that is not limited
    """

    place: str
    is_here: bool
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
        self, folders: Sequence[Location], files: Sequence[tuple[str, int]] = ()
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
