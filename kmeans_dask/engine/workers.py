"""Supervision of a cluster's workers during a job: tasks of silent workers go to others."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kmeans_dask.engine.answers import listed, why_unanswered, within
from kmeans_dask.errors import ClusterError
from kmeans_dask.settings import WORKER_TIMEOUT
from kmeans_dask.stopwatch import Stopwatch

if TYPE_CHECKING:
    from dask.typing import Key
    from distributed import Client

_LOOK_AGAIN = 2.0  # seconds between looks at the cluster's health
_LISTENINGS = 8  # checks of a worker's heartbeat within the time after which it counts as silent
# Workers send a heartbeat every half second, or every one or two seconds where there are many, and
# later where a machine is busy. Dask, too, waits for at least ten heartbeats.
_SHORTEST, _PER_WORKER = 5.0, 0.1  # seconds
_RESTART = 10.0  # seconds in which a nanny must have ended its worker


class Workers:
    """Workers of the scheduler of `client`, and their heartbeats.

    timeout: seconds without a worker, or without an answer of the scheduler, until a job ends
    """

    def __init__(self, client: Client, timeout: float) -> None:
        self._client = client
        self._timeout = timeout
        self._threads = 0
        self._looked_at = self._listened_at = -math.inf
        self._lacking = Stopwatch(_LOOK_AGAIN)
        self._pulses: dict[str, _Pulse] = {}
        self._silent: list[str] = []  # addresses of the workers that were given up last

    def asked(self, ask: Callable[..., Any], **words: Any) -> Any:
        """Return the scheduler's answer to `ask(**words)`. Raises ClusterError without any."""
        try:
            return self._client.sync(within, self._timeout, ask, **words)
        except OSError as error:  # a timeout is one too
            raise ClusterError(why_unanswered(error, self._timeout)) from error

    def threads(self) -> int:
        """Return the number of threads of all workers, or 1 where there is no worker yet."""
        self._count()
        return max(1, self._threads)

    def memory(self) -> int | None:
        """Return the least memory per thread of any worker, in bytes; None without a limit."""
        limits = [
            each["memory_limit"] // each["nthreads"]
            for each in self._identities().values()
            if each["memory_limit"]
        ]
        return min(limits, default=None)

    def look(self) -> int:
        """Return the number of threads, at least 1; check the workers, at most every two seconds.

        Tasks of a silent worker go to others. Raises ClusterError where there has been no worker,
        or no worker that answers, for too long, and where the scheduler does not answer.
        """
        if time.monotonic() - self._looked_at > _LOOK_AGAIN:
            self._count()
            if self._threads:
                self._lacking = Stopwatch(_LOOK_AGAIN)
            elif self._lacking.read() > self._timeout:
                since = f" since {listed(self._silent)} fell silent" if self._silent else ""
                raise ClusterError(
                    f"the cluster has had no worker for {self._timeout:g} s{since}: start workers "
                    "and run the job again"
                )
            if time.monotonic() - self._listened_at > self._pause:
                self._listen()
            self._looked_at = time.monotonic()
        return max(1, self._threads)

    def holding(self, key: Key) -> list[str]:
        """Return the addresses of the workers that hold the result of the task `key`."""
        found = self.asked(self._scheduler.who_has, keys=[key])
        return list(found.get(key, ()))

    def give_up(self, addresses: Collection[str]) -> bool:
        """Restart the workers at `addresses`, so that others redo their tasks and results.

        A nanny restarts its worker. A worker without a nanny is removed from the scheduler for
        good, so it is kept where there are no other workers. Return whether any other worker is
        there, or any was restarted.
        """
        found = self._identities()
        others = found.keys() - set(addresses)
        lost = [each for each in addresses if each in found and (others or found[each]["nanny"])]
        if not lost:
            return bool(others)
        ends: dict[str, str] = {}
        with suppress(Exception):  # the next look notices a scheduler that fails
            ends = self._client.sync(
                within,
                3 * _RESTART,
                self._scheduler.restart_workers,
                workers=lost,
                timeout=_RESTART,
                wait_for_workers=False,
                on_error="return",
                stimulus_id=f"kmeans-dask-silent-{time.time()}",
            )
        self._silent = lost
        return bool(others) or "OK" in ends.values()

    @property
    def _scheduler(self) -> Any:
        return self._client.scheduler

    @property
    def _pause(self) -> float:
        """Return the seconds between two checks of the workers' heartbeats."""
        return max(_LOOK_AGAIN, min(self._timeout, WORKER_TIMEOUT) / _LISTENINGS)

    def _count(self) -> None:
        self._threads = sum(self.asked(self._scheduler.ncores).values())

    def _identities(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.asked(self._scheduler.identity, n_workers=-1)[
            "workers"
        ]
        return found

    def _listen(self) -> None:
        """Give up silent workers. Raises ClusterError where all workers stay silent."""
        found = self._identities()
        for address, about in found.items():
            pulse = self._pulses.get(address)
            if pulse is None or pulse.sign != about["last_seen"]:
                self._pulses[address] = _Pulse(about["last_seen"], Stopwatch(self._pause))
        for address in self._pulses.keys() - found.keys():
            del self._pulses[address]
        self._listened_at = time.monotonic()
        silences = {address: pulse.silence() for address, pulse in self._pulses.items()}
        least = _SHORTEST + _PER_WORKER * len(found)
        limit = max(least, min(self._timeout, WORKER_TIMEOUT))
        silent = [address for address, silence in silences.items() if silence > limit]
        if silent and self.give_up(silent):
            return
        longest = max(least, self._timeout)
        if silences and min(silences.values()) > longest:
            raise ClusterError(
                f"no worker has answered for {longest:g} s ({listed(silent)}): do they hang, or "
                "are they suspended?"
            )


@dataclass
class _Pulse:
    """Last heartbeat of a worker, and the time since then.

    sign: when the scheduler received the heartbeat, in seconds since 1970
    """

    sign: float
    _since: Stopwatch = field(repr=False)

    def silence(self) -> float:
        return self._since.read()
