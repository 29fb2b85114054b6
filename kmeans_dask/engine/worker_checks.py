"""Checks of a scheduler and its workers before a job: their versions, and the files they see."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from kmeans_dask.engine.admission import SAME_FILES
from kmeans_dask.engine.answers import listed, why_unanswered, within
from kmeans_dask.engine.shared_files import Sight, look, unseen
from kmeans_dask.engine.versions import PACKAGES, difference, versions_here
from kmeans_dask.errors import UsageError

if TYPE_CHECKING:
    from distributed import Client

_SOON = 5.0  # seconds for a worker to answer alone, after the whole timeout for all together


class Questions:
    """Questions to a scheduler and its workers, which must answer within `timeout` seconds."""

    def __init__(self, client: Client, timeout: float) -> None:
        self._client = client
        self._timeout = timeout

    def check_versions(self) -> None:
        """Raise UsageError where scheduler or workers have other versions than this process.

        Dask itself answers, so that a worker which lacks this package does so too.
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

    def check_sight(self, sight: Sight) -> None:
        """Raise UsageError where a worker does not see `sight`, or its files are not seen here."""
        from distributed.protocol.pickle import dumps

        answers = self._asked_workers(op="run", function=dumps(_look), args=dumps((sight,)))
        for address, answer in answers.items():
            host, missing, written = answer["result"]
            folder = None if missing else unseen(written)
            if folder:
                missing = f"writes to {folder}, and that is not seen here"
            if missing:
                raise UsageError(f"the worker at {address} ({host}) {missing}: {SAME_FILES}")

    def _asked_workers(self, **ask: Any) -> dict[str, Any]:
        """Return the answers by worker address, without workers that are silent or have left.

        A worker that is left out is checked again by its first task. Raises UsageError where a
        worker cannot do what it is asked, and where all workers are silent.
        """
        from distributed.protocol.pickle import loads

        found = {}
        for address, answer in self._answers(ask).items():
            if not isinstance(answer, bytes):
                found[address] = answer
                continue
            error = loads(answer)
            if not isinstance(error, OSError):  # that is: the connection to it was not lost
                raise UsageError(
                    f"the worker at {address} fails ({type(error).__name__}: {error}): "
                    "is kmeans-dask installed there?"
                )
        return found

    def _answers(self, ask: dict[str, Any]) -> dict[str, Any]:
        """Return the answers by worker address, with a pickled error for a worker that fails.

        All workers are asked at once and, where that takes too long, each alone. Raises UsageError
        where no worker answers.
        """
        scheduler: Any = self._client.scheduler
        words = {"msg": ask, "on_error": "return_pickle"}
        try:
            together: dict[str, Any] = self._client.sync(
                within, self._timeout, scheduler.broadcast, **words
            )
            return together
        except OSError:  # a silent worker holds up the answers of all
            addresses = list(self._asked(scheduler.ncores))

        def asked_alone(address: str) -> Awaitable[dict[str, Any]]:
            return within(_SOON, scheduler.broadcast, **words, workers=[address])

        async def each_asked() -> list[Any]:
            asked = map(asked_alone, addresses)
            answers: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
            return answers

        one_by_one: list[Any] = self._client.sync(each_asked)
        given = [each for each in one_by_one if not isinstance(each, BaseException)]
        if not given:
            raise UsageError(
                f"no worker has answered for {self._timeout:g} s ({listed(addresses)}): do they "
                "hang, or are they suspended?"
            )
        return {address: answer for each in given for address, answer in each.items()}

    def _asked(self, ask: Callable[..., Any], **words: Any) -> Any:
        """Return the scheduler's answer to `ask(**words)`. Raises UsageError where it has none."""
        try:
            return self._client.sync(within, self._timeout, ask, **words)
        except OSError as error:  # a timeout is one too
            raise UsageError(why_unanswered(error, self._timeout)) from error


def _look(sight: Sight) -> tuple[str, str | None, list[str]]:
    """Return the name of this host, and what `look` returns here. Runs on a worker."""
    return socket.gethostname(), *look(sight)
