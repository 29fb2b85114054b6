"""Page `/kmeans` of a Dask scheduler's dashboard, which shows a running job live.

A scheduler that this package has not started shows the page when it is started with `dask scheduler
--preload kmeans_dask.dashboard`.
"""

from __future__ import annotations

from typing import Any

from kmeans_dask.dashboard.state import TOPIC, Board, State, Step, state_of

__all__ = ["TOPIC", "Board", "State", "Step", "dask_setup", "install", "state_of"]


def install(scheduler: Any) -> bool:
    """Add the page to the dashboard of a running scheduler of this process, and to its menu.

    Returns False, and does nothing, where there is no bokeh or no dashboard.
    """
    try:
        from kmeans_dask.dashboard.page import add_page
    except ImportError:  # there is no bokeh, or none that Dask can use
        return False
    return add_page(scheduler)


def dask_setup(scheduler: Any) -> None:
    """Add the page to a scheduler: `dask scheduler --preload` calls this function."""
    install(scheduler)
