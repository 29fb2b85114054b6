"""Functions and classes that programs import; the command line calls the same functions."""

from kmeans_dask.api import jobs
from kmeans_dask.api.images import Palette, Quantized, fit_palette, quantize
from kmeans_dask.api.jobs import compress, estimate, info, plan, sweep, tokenize, verify
from kmeans_dask.api.running import ProgressEvent
from kmeans_dask.api.store import Store, StoredImage, ingest

__all__ = [
    "Palette",
    "ProgressEvent",
    "Quantized",
    "Store",
    "StoredImage",
    "compress",
    "estimate",
    "fit_palette",
    "info",
    "ingest",
    "jobs",
    "plan",
    "quantize",
    "sweep",
    "tokenize",
    "verify",
]
