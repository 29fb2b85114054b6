"""How every kernel is compiled: without the GIL, cached on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def jit(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `kernel` with numba.

    Threads are Dask's business: never `parallel=True`, whose threading layer aborts under two
    Dask threads. Never `fastmath`: labels must be those of the plain loop, to the last bit.
    """
    try:
        compiled: Callable[..., Any] = numba.njit(nogil=True, cache=True)(kernel)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        compiled = numba.njit(nogil=True)(kernel)
    return compiled
