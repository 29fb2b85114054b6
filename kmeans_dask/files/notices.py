"""Warnings to the user while a job runs: one line on stderr, once in each process."""

from __future__ import annotations

_said: set[str] = set()


def notice(message: str) -> None:
    """Warn the user of `message`, unless this process has done so before.

    The warning goes to the logger "kmeans_dask", where programs that use the package can catch it.
    """
    import logging  # imported here, as few jobs need it

    if message not in _said:
        _said.add(message)
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
        logging.getLogger("kmeans_dask").warning("kmeans-dask: warning: %s", shown)
