"""Exact, distributed k-means colour quantisation for collections of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kmeans_dask.arrays import open_indices, open_pixels
    from kmeans_dask.estimator import KMeans

__version__ = "0.1.0"
__all__ = ["KMeans", "__version__", "open_indices", "open_pixels"]


def __getattr__(name: str) -> Any:  # the command line needs no Dask to say what it can do
    if name in ("open_indices", "open_pixels"):
        from kmeans_dask import arrays

        return getattr(arrays, name)
    if name == "KMeans":
        from kmeans_dask.estimator import KMeans

        return KMeans
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
