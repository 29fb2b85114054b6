"""Numba, whose settings come from the environment alone.

By itself it reads `.numba_config.yaml` of the current folder, among images that came from anywhere,
when it is imported and again whenever it compiles: so all import it from here.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

_SETTINGS = "numba.core.config"
_FILE = ".numba_config.yaml"
_NONE = ""  # the name of a file that is never there
_importing = threading.Lock()


def import_numba() -> Any:
    """Numba, without the settings of any file: where others imported it, from now on."""
    if _SETTINGS not in sys.modules:
        with _importing:
            if _finder not in sys.meta_path:
                # It stays: while it is taken out, other threads' imports would miss a finder.
                sys.meta_path.insert(0, _finder)
    import numba

    config = sys.modules[_SETTINGS]
    if getattr(config, "_config_fname", _NONE) != _NONE:
        config._config_fname = _NONE  # type: ignore[attr-defined]
        config.reload_config()
    return numba


class _Finder(MetaPathFinder):
    """Finds numba's settings, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _SETTINGS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Loads them with another name for their file: they are read while they are loaded."""

    def get_code(self, fullname: str) -> CodeType | None:
        code = super().get_code(fullname)
        return code and code.replace(
            co_consts=tuple(_NONE if each == _FILE else each for each in code.co_consts)
        )


_finder = _Finder()
