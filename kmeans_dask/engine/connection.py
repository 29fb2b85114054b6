"""Choice of the engine that a job runs on: this process, a local cluster, or any scheduler."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from kmeans_dask.engine.dask_engine import scheduled
from kmeans_dask.engine.engine import Engine
from kmeans_dask.engine.local_cluster import local_client
from kmeans_dask.engine.local_engine import count_cores, local_threads, this_process
from kmeans_dask.engine.remote_cluster import remote_client
from kmeans_dask.engine.tls import Tls
from kmeans_dask.settings import WORKER_TIMEOUT

if TYPE_CHECKING:
    from distributed import Client


@contextmanager
def connect(
    *,
    client: Client | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    timeout: float = WORKER_TIMEOUT,
    memory: int | None = None,
    tls: Tls | None = None,
) -> Iterator[Engine]:
    """Yield an engine that runs tasks on a cluster, in local worker processes, or in this process.

    client: Dask client of the cluster
    scheduler: address of the cluster's scheduler; without it and `client` run on this machine
    workers: number of local worker processes; 0 for this process, None for one per core
    timeout: most seconds to wait for the scheduler, and to be without any worker
    memory: bytes for each local worker, by default its share of what the machine has; bytes for
        each task in this process, by default without a limit
    tls: files for a scheduler that requires TLS; None for those of Dask's configuration

    Raises UsageError where the scheduler cannot be reached, has no worker within `timeout` seconds,
    or where versions differ.
    """
    if client:
        place = "the cluster of the client"
        with scheduled(client, place, timeout, is_ours=False) as engine:
            yield engine
    elif scheduler:
        place = f"the cluster at {scheduler}"
        with (
            remote_client(scheduler, timeout, tls) as remote,
            scheduled(remote, place, timeout, is_ours=False) as engine,
        ):
            yield engine
    elif workers == 0:
        with this_process(memory) as engine:
            yield engine
    else:
        place = "local worker processes"
        with (
            local_client(workers or count_cores(), timeout, memory) as local,
            scheduled(local, place, timeout, count_cores()) as engine,
        ):
            yield engine


@contextmanager
def current_engine() -> Iterator[Engine]:
    """Yield an engine of the current Dask client, or else of threads of this process."""
    client = None
    if "distributed" in sys.modules:
        from distributed import default_client

        with suppress(ValueError):  # there is none
            client = default_client()
    if client:
        place = "the cluster of the current client"
        with scheduled(client, place, WORKER_TIMEOUT) as engine:
            yield engine
    else:
        with local_threads() as engine:
            yield engine
