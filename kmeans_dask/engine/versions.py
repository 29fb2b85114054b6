"""Versions of the packages on which a job's result and messages depend: the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata

PACKAGES = (
    "kmeans-dask",
    "dask",
    "distributed",
    "numpy",
    "zarr",
    "pillow",
    "numba",
    "deflate",
)
Versions = tuple[tuple[str, str | None], ...]  # None where a package is not installed


def versions_here() -> Versions:
    """Return the versions that are installed where this runs."""
    return tuple((package, _version(package)) for package in PACKAGES)


def difference(wanted: Versions, found: Mapping[str, str | None], who: str) -> str | None:
    """Return the first difference between versions as text for a message; None without any.

    wanted: versions of the job
    found: versions of the scheduler or worker that is called `who` in the message
    """
    for package, version in wanted:
        there = found.get(package)
        if there is None and version is not None:
            return f"{who} lacks {package}, which the job has as {version}: {_INSTALL}"
        if there != version:
            has = f"has {package} {version}" if version else f"lacks {package}"
            return f"{who} has {package} {there}, the job {has}: {_INSTALL}"
    return None


_INSTALL = "install the same versions everywhere"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
