"""Time limits on the answers of a scheduler and its workers, and lists of silent workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from kmeans_dask.stopwatch import Stopwatch, pace_of

_LAST = 1.0  # seconds for a cancelled call to end
_NAMED = 3  # addresses in a message

LOST = "the connection to the scheduler is lost: is it still running?"

Answer = TypeVar("Answer")


async def within(seconds: float, ask: Callable[..., Awaitable[Answer]], **words: Any) -> Answer:
    """Return the answer to `ask(**words)`. Raises TimeoutError after `seconds` without any."""
    asking = asyncio.ensure_future(ask(**words))
    pace = pace_of(seconds)
    stopwatch = Stopwatch(pace)
    try:
        while not asking.done():
            if stopwatch.read() > seconds:
                raise TimeoutError
            await asyncio.wait([asking], timeout=pace)
        return asking.result()
    finally:
        if not asking.done():
            asking.cancel()
            await asyncio.wait([asking], timeout=_LAST)  # the call may have to close a connection


def why_unanswered(error: OSError, seconds: float) -> str:
    """Return the message for an `error` of `within`: no answer in `seconds`, or no connection."""
    if isinstance(error, TimeoutError):
        return f"the scheduler has not answered for {seconds:g} s: is it still running?"
    return LOST


def listed(addresses: Iterable[str]) -> str:
    """Return the first few addresses as text for a message, and the number of the others."""
    all_of_them = sorted(addresses)
    more = len(all_of_them) - _NAMED
    return ", ".join(all_of_them[:_NAMED]) + (f" and {more} more" if more > 0 else "")
