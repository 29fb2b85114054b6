"""Notices to the user while a job goes on: one line on stderr, once in every process."""

from __future__ import annotations

_said: set[str] = set()


def notice(message: str) -> None:
    """Say it, unless it was said before; programs that use the package catch it by `logging`."""
    import logging  # which few jobs need

    if message not in _said:
        _said.add(message)
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
        logging.getLogger("kmeans_dask").warning("kmeans-dask: warning: %s", shown)
