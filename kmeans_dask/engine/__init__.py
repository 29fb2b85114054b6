"""Where tasks run: in this process, on a local cluster, or on any Dask scheduler.

The only floor beside the dashboard that knows `distributed`. The pipeline sees an `Engine`: it
submits named tasks, passes handles of results on to other tasks, and maps a task over many items
with a bounded number in flight. Every wait has an end: no worker for a stated time is an error
that says so.
"""

from kmeans_dask.engine.connect import connect, current_engine
from kmeans_dask.engine.engine import Engine
from kmeans_dask.engine.local_engine import count_cores, local_threads
from kmeans_dask.engine.task import emit, worker_memory

__all__ = [
    "Engine",
    "connect",
    "count_cores",
    "current_engine",
    "emit",
    "local_threads",
    "worker_memory",
]
