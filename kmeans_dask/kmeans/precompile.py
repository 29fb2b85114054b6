"""Compilation of kernels by another process, before they are needed, the first time only.

    python -m kmeans_dask.kmeans.precompile

compiles the kernels of Lloyd's step, which take longest, writes a byte, and continues with those of
seeding and of the search for a start. Numba compiles one kernel at a time in a process, and holds
up all else in it meanwhile.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from kmeans_dask.kernels.jit import compiled_elsewhere
from kmeans_dask.kernels.private_folders import is_own, kernel_folder
from kmeans_dask.kmeans import boxed_step
from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.breathing import breathe
from kmeans_dask.kmeans.coarse_colors import coarse_colors
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.kmeans.points import color_points
from kmeans_dask.kmeans.seeding import kmeans_plus_plus

_STEP = "step_boxed"
# Time limit in seconds for the other process to compile the step; after it, this process does so.
# Compiling takes half a minute, or minutes on a busy machine, where a second attempt would take as
# long: so the limit is only for a process that hangs.
_LONGEST = 600.0


@contextmanager
def compiled_ahead() -> Iterator[None]:
    """Compile kernels in another process while the block runs, if they are not on disk yet.

    A thread of this process that needs Lloyd's step waits for it. When the block ends, the other
    process is killed, and what it has not compiled is left.
    """
    if not _is_worthwhile():
        yield
        return
    with subprocess.Popen(  # noqa: S603 - it runs this module
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout
        said = process.stdout

        def wait() -> None:
            select.select([said], [], [], _LONGEST)  # until a byte comes, or the process ends

        try:
            with compiled_elsewhere(_STEP, wait):
                yield
        finally:
            process.kill()


def _is_worthwhile() -> bool:
    """Return whether the kernel of Lloyd's step is not on disk, and can be written there."""
    source = Path(boxed_step.__file__)
    folder = kernel_folder(source)
    if not folder or not os.access(folder, os.W_OK):
        return False
    written = source.stat().st_mtime
    # the names that numba gives to index files of the kernel, when compiled from this source
    found = folder.glob(f"{source.stem}.{_STEP}-*.nbi")
    return not any(is_own(file) and file.stat().st_mtime >= written for file in found)


def _compile() -> None:
    codes = np.arange(0, 1 << 24, 4099, dtype=np.uint32)
    points = color_points(ColorHistogram(codes, np.ones(len(codes), np.int64)))
    Assignment(points).labels(points.values[::64].astype(np.float64))
    sys.stdout.write(".")
    sys.stdout.flush()
    few = coarse_colors(points, codes, 1 << 10)
    breathe(few, kmeans_plus_plus(few, 8, 0))


if __name__ == "__main__":
    _compile()
