"""What scheduler and workers are asked before a job, and what is made of their answers."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kmeans_dask.cluster.admission import SAME_FILES
from kmeans_dask.cluster.sight import Sight, look, unseen
from kmeans_dask.cluster.versions import PACKAGES, difference, versions_here
from kmeans_dask.errors import UsageError

if TYPE_CHECKING:
    from distributed import Client


class Questions:
    """To the servers of a cluster, of which each must answer within `timeout` seconds."""

    def __init__(self, client: Client, timeout: float) -> None:
        self._client = client
        self._timeout = timeout

    def check_versions(self) -> None:
        """Raise UsageError where scheduler or workers have other versions than this process.

        Dask's own servers answer: a worker that lacks this package does so too.
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
        """Raise UsageError where a worker does not see that, or where we do not see its files."""
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
        """What each worker answers; one that has gone by now is left out.

        Raises UsageError of one that cannot do what is asked.
        """
        from distributed.protocol.pickle import loads

        scheduler: Any = self._client.scheduler
        answers = self._asked(scheduler.broadcast, msg=ask, on_error="return_pickle")
        found = {}
        for address, answer in answers.items():
            if not isinstance(answer, bytes):
                found[address] = answer
                continue
            error = loads(answer)
            if not isinstance(error, OSError):  # which is of a connection that was lost
                raise UsageError(
                    f"the worker at {address} fails ({type(error).__name__}: {error}): "
                    "is kmeans-dask installed there?"
                )
        return found

    def _asked(self, ask: Callable[..., Any], **words: Any) -> Any:
        """What scheduler or workers answer. Raises UsageError where they do not."""
        try:
            return self._client.sync(ask, callback_timeout=self._timeout, **words)
        except OSError as error:  # a timeout is one too
            raise UsageError(
                f"scheduler or workers have not answered for {self._timeout:g} s: does one hang?"
            ) from error


def _look(sight: Sight) -> tuple[str, str | None, list[str]]:
    """From a worker: its host, and what `look` says there."""
    return socket.gethostname(), *look(sight)
