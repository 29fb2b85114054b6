"""Compilation of kernels at their first call, to code that runs without the GIL, cached on disk.

Importing numba takes longer than everything else here. It is imported only when a kernel is called,
so that a user who asks for help, or makes a mistake, does not wait for it.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kmeans_dask.kernels.compiler import import_numba
from kmeans_dask.kernels.private_folders import bring_kernels, kernel_folder

_compiling = threading.RLock()
# For kernels that another process compiles: the function that waits for it, by the kernel's name.
_elsewhere: dict[str, Callable[[], None]] = {}
# Flags of LLVM: one rounding for a product and a sum, no care for NaN nor for the sign of zero.
_ROUGH = {"contract", "nnan", "nsz"}


class Kernel:
    """Function that numba compiles at its first call; other kernels may call it too.

    py_func: the Python function; dispatcher: numba's dispatcher, None before the first call
    """

    def __init__(self, function: Callable[..., Any], *, rough: bool) -> None:
        functools.update_wrapper(self, function)
        self.py_func = function
        self._rough = rough
        self.dispatcher: Any = None

    def __call__(self, *args: Any) -> Any:
        """Call the compiled function, and compile it first where that is not done yet."""
        return (self.dispatcher or self._compile())(*args)

    def __reduce__(self) -> str:
        return self.py_func.__qualname__  # pickled as a name, which is this kernel in its module

    @property
    def _numba_type_(self) -> Any:
        """Return the type that numba gives to this kernel where it compiles a caller."""
        return (self.dispatcher or self._compile())._numba_type_

    def _compile(self) -> Any:
        numba = import_numba()
        _elsewhere.get(self.py_func.__qualname__, _nothing)()
        options: dict[str, Any] = {"nogil": True, "fastmath": _ROUGH if self._rough else False}
        with _compiling:
            if self.dispatcher is None:
                dispatcher = numba.njit(**options)(self.py_func)
                folder = kernel_folder(Path(self.py_func.__code__.co_filename))
                if folder and not numba.config.DISABLE_JIT:
                    from kmeans_dask.kernels.cache import KernelCache

                    # not `cache=True`: that cache loads files from any folder
                    dispatcher._cache = KernelCache(self.py_func, folder)
                self.dispatcher = dispatcher
        return self.dispatcher


@contextmanager
def compiled_elsewhere(name: str, wait: Callable[[], None]) -> Iterator[None]:
    """Call `wait` inside the block before the kernel `name` is compiled: it may then be on disk."""
    _elsewhere[name] = wait
    try:
        yield
    finally:
        del _elsewhere[name]


def _nothing() -> None:
    """Return at once: there is nothing to wait for."""


def jit(kernel: Callable[..., Any]) -> Kernel:
    """Return `kernel` as a function that numba compiles, with the rounding of plain Python code.

    Labels and sums must equal those of the plain loop to the last bit, so nothing may be rounded
    otherwise, except in a rough kernel (`rough_jit`), whose results are bounds with a margin.
    Threads are left to Dask: `parallel=True` must never be used, because its threading layer
    aborts under two Dask threads.
    """
    return Kernel(kernel, rough=False)


def rough_jit(kernel: Callable[..., Any]) -> Kernel:
    """Return `kernel` as a function that numba compiles for speed, with looser rounding.

    Its caller must check its results.
    """
    return Kernel(kernel, rough=True)


bring_kernels(os.environ.get("KMEANS_DASK_KERNELS"), os.environ.get("NUMBA_CACHE_DIR"))
