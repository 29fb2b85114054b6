"""A folder of traps: images, and files that libraries take for their own."""

from __future__ import annotations

import importlib
import os
import pickle
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from numba.core.caching import _CacheLocator

from kmeans_dask import color, kmeans
from kmeans_dask.kernels.jit import Kernel
from tests.steps.strategies import noise, save

# Names of modules of the standard library, and of installed packages.
MODULES = (
    "dask", "distributed", "kmeans_dask", "matplotlib", "numba", "numpy", "pkgutil", "select",
    "signal", "sitecustomize", "tempfile", "usercustomize", "yaml", "zlib",
)  # fmt: skip


class Payload:
    """An object whose pickle reports that it was unpickled, and by which process."""

    def __init__(self, told: Path) -> None:
        self._told = told

    def __reduce__(self) -> tuple[object, ...]:
        return exec, (says(self._told, "unpickled"),)


def set_traps(here: Path, told: Path) -> None:
    """Fill the folder `here` with traps; each one that is run adds a line to the file `told`."""
    for name in ("a", "b"):
        save(here / "in" / f"{name}.png", noise(ord(name)))
    for module in MODULES:
        (here / f"{module}.py").write_text(says(told, f"imported {module}"))
    (here / "trap.pth").write_text(f"import sys; open({str(told)!r}, 'a').write('pth')\n")
    for name in (".env", "setup.cfg", "tox.ini"):
        (here / name).write_text("[trap]\nPYTHONSTARTUP=signal.py\nNUMBA_CACHE_DIR=.k\n")
    (here / "pyproject.toml").write_text("[tool.kmeans-dask]\ntrap = true\n")

    # for numba: a cache of pickles, and a setting of which it would complain
    (here / ".numba_config.yaml").write_text("cache_dir: .k\nopt: of_a_trap\n")
    for kernel in kernels():
        crafted(index_below(here / ".k", kernel), told)

    # for Matplotlib: a setting of which it would complain
    for name in ("matplotlibrc", ".matplotlib/matplotlibrc", ".config/matplotlib/matplotlibrc"):
        write(here / name, "of_a_trap: 1\n")

    # for Dask: a module that its processes would load; for Zarr and Bokeh: a setting
    preload = f"preload: [{here / 'signal.py'}]"
    settings = "distributed:\n" + "".join(
        f"  {who}:\n    {preload}\n" for who in ("scheduler", "nanny", "worker", "client")
    )
    for name in ("dask", "distributed", "trap"):
        for folder in ("", ".dask", ".config/dask", "~/.config/dask", "etc/dask"):
            write(here / folder / f"{name}.yaml", settings)
    for name in ("zarr.yaml", ".config/zarr/zarr.yaml", "bokeh.yaml", ".bokeh/bokeh.yaml"):
        write(here / name, "of_a_trap: 1\n")


def says(told: Path, what: str) -> str:
    """Return Python code that adds a line to the file `told`: `what`, and its process's command."""
    said = f"file.write(f'{what}: {{sys.orig_argv}}\\n')"
    return f"import sys\nwith open({str(told)!r}, 'a') as file: {said}\n"


def kernels() -> Iterator[Kernel]:
    """Yield every kernel of the rooms `kmeans` and `color`."""
    for room in (kmeans, color):
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, Kernel) and value.py_func.__module__ == module.name:
                    yield value


def index_below(cache: Path, kernel: Kernel) -> Path:
    """Return the index file of a kernel in the folder `cache`, which numba reads first."""
    code = kernel.py_func.__code__
    locate: Callable[[str], str] = _CacheLocator.get_suitable_cache_subpath
    folder = locate(code.co_filename)
    return cache / folder / index_name(kernel)


def index_name(kernel: Kernel) -> str:
    code = kernel.py_func.__code__
    version = f"py{sys.version_info[0]}{sys.version_info[1]}{sys.abiflags}"
    stem, name = Path(code.co_filename).stem, kernel.py_func.__qualname__
    name = name.replace("<", "").replace(">", "")
    return f"{stem}.{name}-{code.co_firstlineno}.{version}.nbi"


def crafted(path: Path, told: Path) -> None:
    """Write to `path`, in place of an index or a kernel, a pickle that reports its unpickling."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(Payload(told)))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def plain_environment(**more: str) -> dict[str, str]:
    """Return the environment of a process for which no cache and no settings are chosen."""
    chosen = ("NUMBA_", "DASK_", "KMEANS_DASK_", "MPL", "MATPLOTLIB", "XDG_", "ZARR_", "PYTHON")
    mine = {name: value for name, value in os.environ.items() if not name.startswith(chosen)}
    return mine | more
