"""Functions and classes that programs import; the command line calls the same functions."""

from kmeans_dask.api.collection_jobs import compress, estimate, plan, sweep
from kmeans_dask.api.images import Palette, Quantized, quantize
from kmeans_dask.api.palette_fit import fit_palette
from kmeans_dask.api.running import ProgressEvent
from kmeans_dask.api.store import Store, StoredImage, ingest
from kmeans_dask.api.store_jobs import info, tokenize, verify

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
    "plan",
    "quantize",
    "sweep",
    "tokenize",
    "verify",
]
