"""Admission of workers to a job: checks of their package versions and of the files they see.

Each task makes these checks on its worker, so that a worker which joins while the job runs is
checked too.
"""

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
    """Requirements of a job on each worker: the same package versions, and the same files in sight.

    versions: package versions in the process that started the job
    sight: files and folders that the worker must see
    """

    versions: Versions
    sight: Sight = Sight((), ())  # noqa: RUF009 - the default is frozen


@dataclass(frozen=True)
class Guarded:
    """Task that runs only on workers that are admitted.

    function: the task itself, which is not called on other workers
    """

    function: Callable[..., Any]
    admission: Admission

    def __call__(self, *args: Any) -> Any:
        """Return the result of the task. Raises ClusterError where the worker is not admitted."""
        admit(self.admission)
        return self.function(*args)


@functools.lru_cache(64)  # a check that raises is not cached: it is made again
def admit(admission: Admission) -> None:
    """Raise ClusterError where the worker that runs this task does not meet the requirements."""
    who = f"a worker on {socket.gethostname()} (process {os.getpid()}), which joined late,"
    differs = difference(admission.versions, dict(versions_here()), who)
    if differs:
        raise ClusterError(differs)
    missing = admission.sight.missing()
    if missing:
        raise ClusterError(f"{who} {missing}: {SAME_FILES}")


SAME_FILES = "all workers must see the same files under the same paths"
