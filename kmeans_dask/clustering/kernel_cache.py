"""Numba's cache of one kernel, on disk: of its files those that nobody else can have written.

They are pickles, which run what they hold. Not imported before it is needed, as numba is not.
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

from kmeans_dask.clustering.compiler import import_numba
from kmeans_dask.clustering.folders import is_own

import_numba()

from numba.core.caching import (  # noqa: E402 - not before it is without settings of a file
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    _CacheLocator,
    _SourceFileBackedLocatorMixin,
)


class KernelCache(FunctionCache):
    """Keeps a kernel in a folder that is given, whatever numba is told of others."""

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        self._impl_class = functools.partial(_Results, folder=folder)  # type: ignore[assignment]
        super().__init__(function)
        results = self._impl
        self._cache_file = _Files(
            str(folder), results.filename_base, results.locator.get_source_stamp()
        )

    def save_overload(self, *what: Any) -> None:
        """Keep what was compiled, if that can be: it is as good if not."""
        with suppress(OSError):  # a folder that is read-only, or full
            super().save_overload(*what)


class _Results(CompileResultCacheImpl):
    """Numba's cache, but for the choice of its folder."""

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        source = Path(function.__code__.co_filename)
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Locator(source, self._lineno, folder)
        self._filename_base = self.get_filename_base(
            f"{source.stem}.{function.__qualname__}", getattr(sys, "abiflags", "")
        )


class _Locator(_SourceFileBackedLocatorMixin, _CacheLocator):
    """The folder of a cache, and the source that it belongs to."""

    def __init__(self, source: Path, line: int, folder: Path) -> None:
        self._py_file, self._lineno, self._folder = str(source), line, str(folder)

    def get_cache_path(self) -> str:
        return self._folder


class _Files(IndexDataCacheFile):
    """An index and what it names: nothing of them that is not our own is read."""

    def _load_index(self) -> dict[Any, str]:
        return dict(super()._load_index()) if _is_own(self._index_path) else {}

    def _load_data(self, name: str) -> Any:
        path = self._data_path(name)
        if not _is_own(path):
            raise FileNotFoundError(path)  # so it is compiled anew, and written over
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
