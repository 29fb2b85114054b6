"""How every kernel is compiled: when it is first called, without the GIL, and cached on disk.

Numba takes longer to import than all else here: who asks for help, or makes a mistake, does not
wait for it.
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
_elsewhere: dict[str, Callable[[], None]] = {}  # by a kernel's name, how to wait for it
# Multiplying and adding in one step, minima without NaN: in other words, in other roundings.
_ROUGH = {"contract", "nnan", "nsz"}


class Kernel:
    """A function that is compiled by numba at its first call; other kernels may call it, too.

    py_func: the function itself; dispatcher: numba's, from the first call on
    """

    def __init__(self, function: Callable[..., Any], *, rough: bool) -> None:
        functools.update_wrapper(self, function)
        self.py_func = function
        self._rough = rough
        self.dispatcher: Any = None

    def __call__(self, *args: Any) -> Any:
        """What the function returns."""
        return (self.dispatcher or self._compile())(*args)

    def __reduce__(self) -> str:
        return self.py_func.__qualname__  # of its module, where it is this kernel

    @property
    def _numba_type_(self) -> Any:
        """What numba takes it for, where it compiles a caller."""
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

                    # instead of the cache of `cache=True`, which loads from any folder
                    dispatcher._cache = KernelCache(self.py_func, folder)
                self.dispatcher = dispatcher
        return self.dispatcher


@contextmanager
def compiled_elsewhere(name: str, wait: Callable[[], None]) -> Iterator[None]:
    """Inside the block, `wait` before the kernel called `name` is compiled: it may be on disk."""
    _elsewhere[name] = wait
    try:
        yield
    finally:
        del _elsewhere[name]


def _nothing() -> None:
    """There is nothing to wait for."""


def jit(kernel: Callable[..., Any]) -> Kernel:
    """Compile `kernel` with numba.

    Threads are Dask's business: never `parallel=True`, whose threading layer aborts under two
    Dask threads. Labels and sums must be those of the plain loop, to the last bit: so nothing
    may be rounded otherwise, but in a rough kernel, whose results are bounds with a margin.
    """
    return Kernel(kernel, rough=False)


def rough_jit(kernel: Callable[..., Any]) -> Kernel:
    """Compile a kernel whose results are checked by the caller, as fast as they can be had."""
    return Kernel(kernel, rough=True)


bring_kernels(os.environ.get("KMEANS_DASK_KERNELS"), os.environ.get("NUMBA_CACHE_DIR"))
