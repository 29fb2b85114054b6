"""Versions of what a job's result and its messages hang on: they must be the same everywhere."""

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
Versions = tuple[tuple[str, str | None], ...]  # None: it is not installed


def versions_here() -> Versions:
    """As they are installed where this runs."""
    return tuple((package, _version(package)) for package in PACKAGES)


def difference(wanted: Versions, found: Mapping[str, str | None], who: str) -> str | None:
    """The first difference, in words; None where there is none.

    who: where `found` was found
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
