"""How every kernel is compiled: without the GIL, cached on disk where that is possible."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

# Multiplying and adding in one step, minima without NaN: in other words, in other roundings.
_ROUGH = {"contract", "nnan", "nsz"}


def bring_kernels(source: str | None, cache: str | None) -> None:
    """Copy the kernels that an image brings, compiled, to numba's cache, if there is none yet.

    Numba takes a cache only where it can write, and the image may be read-only. Whole or not at
    all: several processes may begin at once. Without them kernels are compiled as ever.
    """
    if not source or not cache or Path(cache).exists():
        return
    passing = f"{cache}.{secrets.token_hex(8)}"
    try:
        shutil.copytree(source, passing)
        Path(passing).rename(cache)
    except OSError:  # no image, no space, or another process was first
        shutil.rmtree(passing, ignore_errors=True)


def jit(kernel: Callable[..., Any], *, rough: bool = False) -> Callable[..., Any]:
    """Compile `kernel` with numba.

    Threads are Dask's business: never `parallel=True`, whose threading layer aborts under two
    Dask threads. Labels and sums must be those of the plain loop, to the last bit: so nothing
    may be rounded otherwise, but in a `rough` kernel, whose results are bounds with a margin.
    """
    options: dict[str, Any] = {"nogil": True, "fastmath": _ROUGH if rough else False}
    try:
        compiled: Callable[..., Any] = numba.njit(cache=True, **options)(kernel)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        compiled = numba.njit(**options)(kernel)
    return compiled


def rough_jit(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel whose results are checked by the caller, as fast as they can be had."""
    return jit(kernel, rough=True)


bring_kernels(os.environ.get("KMEANS_DASK_KERNELS"), os.environ.get("NUMBA_CACHE_DIR"))
