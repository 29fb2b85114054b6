"""Progress of a job, sent to the page `/kmeans` on the dashboard in order and without waiting."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kmeans_dask import dashboard

if TYPE_CHECKING:
    from distributed import Client

_LAST_WORDS = 5.0  # seconds in which the last events must arrive, or are lost


class Announcements:
    """Queue of events that are sent to the scheduler of `client` in order."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._untold: deque[dict[str, Any]] = deque()
        self._telling = asyncio.Lock()

    def add(self, event: dict[str, Any]) -> None:
        """Send an event after those that were added before it, without waiting for that."""
        self._untold.append(event)
        loop: Any = self._client.loop
        loop.add_callback(self._tell)

    def close(self) -> None:
        """Wait some seconds for the events in the queue to be sent."""
        with suppress(Exception):
            self._client.sync(self._tell, callback_timeout=_LAST_WORDS)

    async def _tell(self) -> None:
        async with self._telling:  # else one event could overtake another
            while self._untold:
                events = [self._untold.popleft() for _ in range(len(self._untold))]
                scheduler: Any = self._client.scheduler
                with suppress(Exception):  # tasks report a scheduler that is lost
                    await scheduler.log_event(topic=dashboard.TOPIC, msg=events)
