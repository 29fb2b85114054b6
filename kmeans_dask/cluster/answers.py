"""Answers that must come in time, and those that have not given any."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from kmeans_dask.stopwatch import Stopwatch, pace_of

_LAST = 1.0  # second for what is given up to end
_NAMED = 3

Answer = TypeVar("Answer")


async def within(seconds: float, ask: Callable[..., Awaitable[Answer]], **words: Any) -> Answer:
    """The answer to `ask(**words)`. Raises TimeoutError where it takes longer than `seconds`."""
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
            await asyncio.wait([asking], timeout=_LAST)  # it may have something to close


def listed(addresses: Iterable[str]) -> str:
    """A few of them, for a message."""
    all_of_them = sorted(addresses)
    more = len(all_of_them) - _NAMED
    return ", ".join(all_of_them[:_NAMED]) + (f" and {more} more" if more > 0 else "")
