"""Numba's cache of one kernel on disk, which reads only files that no other user can have written.

The files are pickles, and loading a pickle can run any code. This module imports numba, which is
slow, so it is imported only where it is needed.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from kmeans_dask.kernels.compiler import import_numba
from kmeans_dask.kernels.private_folders import is_own

import_numba()

from numba.core.caching import (  # noqa: E402 - `import_numba` must come first
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    _CacheLocator,
    _SourceFileBackedLocatorMixin,
)


class KernelCache(FunctionCache):
    """Cache of a kernel in a given folder, whatever folder numba's settings name."""

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        self._impl_class = functools.partial(_Results, folder=folder)  # type: ignore[assignment]
        super().__init__(function)
        results = self._impl
        self._cache_file = _Files(
            str(folder), results.filename_base, results.locator.get_source_stamp()
        )

    def save_overload(self, *what: Any) -> None:
        """Write a compiled kernel to the cache, or do nothing where the folder is not writable."""
        with suppress(OSError):  # the folder is read-only, or the disk is full
            super().save_overload(*what)


class _Results(CompileResultCacheImpl):
    """Numba's cache of compile results, in a given folder instead of one that numba chooses."""

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        source = Path(function.__code__.co_filename)
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Locator(source, self._lineno, folder)
        self._filename_base = self.get_filename_base(
            f"{source.stem}.{function.__qualname__}", getattr(sys, "abiflags", "")
        )


class _Locator(_SourceFileBackedLocatorMixin, _CacheLocator):
    """Location of a cache: its folder, and the source file whose kernels are cached there."""

    def __init__(self, source: Path, line: int, folder: Path) -> None:
        self._py_file, self._lineno, self._folder = str(source), line, str(folder)

    def get_cache_path(self) -> str:
        return self._folder


class _Files(IndexDataCacheFile):
    """Index file and data files of a cache, read only where no other user can have written them."""

    def _load_index(self) -> dict[Any, str]:
        return dict(super()._load_index()) if _is_own(self._index_path) else {}

    def _load_data(self, name: str) -> Any:
        path = self._data_path(name)
        if not _is_own(path):
            raise FileNotFoundError(path)  # numba then compiles anew, and replaces the file
        return super()._load_data(name)

    @contextmanager
    def _open_for_write(self, path: str) -> Iterator[IO[bytes]]:
        with super()._open_for_write(path) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            os.fchmod(file.fileno(), mode & ~(stat.S_IWGRP | stat.S_IWOTH))
            yield file


def _is_own(path: str) -> bool:
    try:
        return is_own(Path(path))
    except OSError:
        return False
