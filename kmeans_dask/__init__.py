"""Exact, distributed k-means colour quantisation for collections of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kmeans_dask.estimator.kmeans import KMeans
    from kmeans_dask.store.dask_arrays import open_indices, open_pixels

__version__ = "0.1.0"
__all__ = ["KMeans", "__version__", "open_indices", "open_pixels"]


def __getattr__(name: str) -> Any:  # the command line shows its help without importing Dask
    if name in ("open_indices", "open_pixels"):
        from kmeans_dask.store import dask_arrays

        return getattr(dask_arrays, name)
    if name == "KMeans":
        from kmeans_dask.estimator.kmeans import KMeans

        return KMeans
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
