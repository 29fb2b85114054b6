"""Exact, distributed k-means colour quantisation for collections of images.

>>> import kmeans_dask as kd
>>> kd.quantize("photo.jpg", 16).save("photo.png")  # doctest: +SKIP
>>> kd.compress("photos", "out", colors=64)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kmeans_dask.api import (
        Palette,
        ProgressEvent,
        Quantized,
        Store,
        compress,
        estimate,
        fit_palette,
        ingest,
        quantize,
        sweep,
        tokenize,
        verify,
    )
    from kmeans_dask.errors import (
        ClusterError,
        ImageError,
        JobError,
        KMeansDaskError,
        StoreError,
        UsageError,
    )
    from kmeans_dask.estimator.kmeans import KMeans
    from kmeans_dask.store.dask_arrays import open_indices, open_pixels

__version__ = "0.1.0"
__all__ = [
    "ClusterError",
    "ImageError",
    "JobError",
    "KMeans",
    "KMeansDaskError",
    "Palette",
    "ProgressEvent",
    "Quantized",
    "Store",
    "StoreError",
    "UsageError",
    "__version__",
    "compress",
    "estimate",
    "fit_palette",
    "ingest",
    "open_indices",
    "open_pixels",
    "quantize",
    "sweep",
    "tokenize",
    "verify",
]


def __getattr__(name: str) -> Any:  # the command line shows its help without importing Dask
    if name.startswith("_") or name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("open_indices", "open_pixels"):
        home = "store.dask_arrays"
    elif name == "KMeans":
        home = "estimator.kmeans"
    else:
        home = "errors" if name.endswith("Error") else "api"
    return getattr(importlib.import_module(f"kmeans_dask.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
