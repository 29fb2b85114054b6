"""Cluster of worker processes on this machine."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kmeans_dask import dashboard
from kmeans_dask.errors import ClusterError
from kmeans_dask.interrupts import check_interrupted, uninterrupted_children

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

_DASHBOARD_PORT = 8787  # Dask's default, where users look first
_STARTS = 3  # attempts to start a local cluster with all of its processes


@contextmanager
def local_client(workers: int, timeout: float, memory: int | None) -> Iterator[Client]:
    """Yield a client of new worker processes of one thread each.

    timeout: most seconds to wait for the scheduler
    memory: bytes for each worker; None for its share of what the machine has

    The scheduler and the workers can be reached from this machine only.
    """
    import dask
    from distributed import Client

    # Dask's nannies make malloc return memory to the system at once. It then requests new pages
    # for each buffer, and clearing them costs as much as decoding does.
    settings = {
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
        # The profiler looks at a worker's threads a hundred times a second: 8 % of its time.
        "distributed.worker.profile.interval": "100ms",
        # Workers would spill results to disk, pickled. Results are small here.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        # Dask looks at a worker this long after each of its deaths. Where it is just starting again
        # then, as it has died another time, Dask would give it up. Its nanny, which is in this
        # process, restarts it however often.
        "distributed.deploy.lost-worker-timeout": "1000 days",
        # The engine supervises silent workers. Dask would end all workers where they and the
        # scheduler, which is in this process, continue after some minutes of suspension.
        "distributed.scheduler.worker-ttl": None,
    }
    with (
        _scratch(dask.config.get("temporary-directory")) as scratch,
        dask.config.set(settings | {"temporary-directory": scratch}),
        _started(workers, memory) as cluster,
        Client(cluster, timeout=timeout, set_as_default=False) as client,
    ):
        dashboard.install(cluster.scheduler)
        yield client


@contextmanager
def _scratch(parent: str | None) -> Iterator[str]:
    """Yield a new temporary folder for the scheduler, nannies and workers of this job alone.

    parent: the folder to create it in; None for the system's folder of temporary files

    By default, Dask uses one folder of a known name for all users of a machine, and its processes
    import modules from there before all other folders.
    """
    if parent:
        os.makedirs(parent, exist_ok=True)  # noqa: PTH103 - as Dask does
    with tempfile.TemporaryDirectory(
        prefix="kmeans-dask-", dir=parent, ignore_cleanup_errors=True
    ) as folder:
        yield folder


def _started(workers: int, memory: int | None) -> LocalCluster:
    from distributed import LocalCluster

    for attempt in range(_STARTS):
        try:
            with (
                warnings.catch_warnings(action="ignore", category=UserWarning),  # taken port
                uninterrupted_children(),
            ):
                return LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=memory or "auto",
                    host="127.0.0.1",
                    dashboard_address=f"127.0.0.1:{_free_port(_DASHBOARD_PORT)}",
                    silence_logs=logging.CRITICAL,
                )
        except RuntimeError as error:  # a process of the cluster has died
            check_interrupted()
            if attempt + 1 == _STARTS:
                raise ClusterError(
                    "the worker processes could not be started: try --workers 0, without any"
                ) from error
    raise AssertionError("there is at least one attempt")


def _free_port(wanted: int) -> int:
    """Return the port `wanted` if it is free, or else 0, which stands for any free port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return 0
    return wanted
