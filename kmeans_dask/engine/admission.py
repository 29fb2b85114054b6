"""What a worker is asked before it works for a job, also one that joins while the job runs."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kmeans_dask.engine.shared_files import Sight
from kmeans_dask.engine.versions import Versions, difference, versions_here
from kmeans_dask.errors import ClusterError


@dataclass(frozen=True)
class Admission:
    """What a worker must have: the job's versions, and its files in sight."""

    versions: Versions
    sight: Sight = Sight((), ())  # noqa: RUF009 - it is frozen


@dataclass(frozen=True)
class Guarded:
    """A task of workers that are admitted; elsewhere it is an error, and nothing is done."""

    function: Callable[..., Any]
    admission: Admission

    def __call__(self, *args: Any) -> Any:
        """Run the task. Raises ClusterError where the worker is not admitted."""
        admit(self.admission)
        return self.function(*args)


@functools.lru_cache(64)  # jobs; one that raises is asked again
def admit(admission: Admission) -> None:
    """From inside a task: raise ClusterError where this worker lacks something."""
    who = f"a worker on {socket.gethostname()} (process {os.getpid()}), which joined late,"
    differs = difference(admission.versions, dict(versions_here()), who)
    if differs:
        raise ClusterError(differs)
    missing = admission.sight.missing()
    if missing:
        raise ClusterError(f"{who} {missing}: {SAME_FILES}")


SAME_FILES = "all workers must see the same files under the same paths"
