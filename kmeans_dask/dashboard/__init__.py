"""A page of ours, `/kmeans`, on the Dask scheduler's dashboard: a running job, live.

A scheduler elsewhere shows it when it is started with `dask scheduler --preload
kmeans_dask.dashboard`.
"""

from __future__ import annotations

from typing import Any

from kmeans_dask.dashboard.state import TOPIC, Board, State, Step, state_of

__all__ = ["TOPIC", "Board", "State", "Step", "dask_setup", "install", "state_of"]


def install(scheduler: Any) -> bool:
    """Add the page to a running scheduler of this process, and to its menu.

    Returns False, and does nothing, where there is no bokeh or no dashboard.
    """
    try:
        from kmeans_dask.dashboard.page import add_page
    except ImportError:  # of bokeh, or of one that Dask can use
        return False
    return add_page(scheduler)


def dask_setup(scheduler: Any) -> None:
    """What --preload calls."""
    install(scheduler)
