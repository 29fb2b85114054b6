"""Import of numba with settings from environment variables alone, for use by the whole package.

Numba by itself reads `.numba_config.yaml` in the current folder, both when it is imported and
whenever it compiles. That folder may hold files from anywhere, beside images.
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
_NONE = ""  # a file name that never exists
_importing = threading.Lock()


def import_numba() -> Any:
    """Return the module numba, without settings from a file.

    If other code has already imported numba, its settings are reloaded without the file.
    """
    if _SETTINGS not in sys.modules:
        with _importing:
            if _finder not in sys.meta_path:
                # The finder stays: its removal could make imports of other threads skip a finder.
                sys.meta_path.insert(0, _finder)
    import numba

    config = sys.modules[_SETTINGS]
    if getattr(config, "_config_fname", _NONE) != _NONE:
        config._config_fname = _NONE  # type: ignore[attr-defined]
        config.reload_config()
    return numba


class _Finder(MetaPathFinder):
    """Import finder for the module of numba's settings, which is loaded by `_Loader`."""

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
    """Import loader that replaces the name of the settings file in the module of numba's settings.

    The name is replaced in the code of the module, which reads the file while it is loaded.
    """

    def get_code(self, fullname: str) -> CodeType | None:
        code = super().get_code(fullname)
        return code and code.replace(
            co_consts=tuple(_NONE if each == _FILE else each for each in code.co_consts)
        )


_finder = _Finder()
