"""Files in the output folder: written whole, and never outside of it."""

from __future__ import annotations

import errno
import json
import os
import stat
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.palette import Palette
from kmeans_dask.errors import ImageError, StoreError
from kmeans_dask.files import Location, ObjectPath
from kmeans_dask.files.atomic_files import write_file
from kmeans_dask.images.palette_files import entries_as
from kmeans_dask.job.encode_totals import Written
from kmeans_dask.plan.output_names import FAILURES_FILE, PALETTE_FILE, WORK_FOLDER
from kmeans_dask.plan.plan import Failure

# What is wrong with one file's name, and stops no other: too long, of characters that the file
# system has not, or with a file or a link in its way.
_OF_NAME = {
    errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL,
    errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ELOOP,
}  # fmt: skip


STAGING = PurePosixPath(WORK_FOLDER, "aside")  # in the output: files before they are put in place


def below(output: Location, name: str) -> Location:
    """The path of `name` below `output`.

    Raises StoreError for a name that would leave it, ImageError where a link in it would.
    """
    check_below(output, name)
    return output / name


def check_below(output: Location, name: str) -> None:
    """The same, where no path is wanted. In strings: of many small images paths are the most."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not parts or "\0" in name:
        raise StoreError(f"the store names an output outside the output folder: {name!r}")
    if isinstance(output, ObjectPath):
        return
    folder = str(output)
    for part in parts[:-1]:
        folder += f"/{part}"
        # realpath, for Path.resolve raises where a link leads to itself
        is_link = os.path.islink(folder)  # noqa: PTH114
        if is_link and not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(output)):
            raise ImageError("its folder in OUTPUT is a link that leads out of it")


def write_below(output: Location, name: str, data: bytes) -> Written:
    """Write `data` to the file `name` below `output`, and return its name, size and CRC-32.

    A local file with the same content is left as it is, with its time of change. Raises ImageError
    where the file system refuses the name, or a link in it leads out of the output; StoreError
    where the name itself does.
    """
    path = below(output, name)
    try:
        if not _holds(path, data):
            write_file(path, data, output / STAGING)
    except OSError as error:
        if error.errno not in _OF_NAME:
            raise
        raise ImageError(f"its name in OUTPUT cannot be had: {error.strerror}") from error
    return name, len(data), zlib.crc32(data)


def _holds(path: Location, data: bytes) -> bool:
    """Return whether `path` is a local file with the content `data` and no other name."""
    if isinstance(path, ObjectPath):  # a request costs as much as writing
        return False
    try:
        status = path.lstat()
        alike = stat.S_ISREG(status.st_mode) and status.st_size == len(data)
        return alike and status.st_nlink == 1 and path.read_bytes() == data
    except OSError:
        return False


def write_palette(
    output: Location,
    palette: Palette,
    weights: NDArray[np.int64] | None = None,
    folder: str = "",
) -> Written:
    """Write `palette.json` into `output`, or a `folder` below it as `below` has it.

    weights: (k,), pixels of each colour, if known
    """
    pixels = None if weights is None else palette.pixels_of_entries(weights)
    name = str(PurePosixPath(folder, PALETTE_FILE))
    return write_below(output, name, entries_as(".json", palette.entries, pixels))


def write_failures(output: Location, failures: Sequence[Failure]) -> None:
    """Write `failures.jsonl`; remove one of an earlier run where there is nothing to write."""
    if not failures:
        (output / FAILURES_FILE).unlink(missing_ok=True)
        return
    lines = [json.dumps(asdict(failure)) + "\n" for failure in failures]
    write_file(output / FAILURES_FILE, "".join(lines).encode(), output / STAGING)
