"""Engines, which run tasks in this process, on a local cluster, or on any Dask scheduler.

Only this package and `dashboard` use `distributed`. All others see an `Engine`: they submit named
tasks, pass handles of results on to other tasks, and map a task over many items with a bounded
number in flight. Every wait has a time limit: where there is no worker for so long, the error says
so.
"""

from kmeans_dask.engine.connection import connect, current_engine
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
