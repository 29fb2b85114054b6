"""Writer of files in the output folder, whole files only, and never outside of the folder."""

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
from kmeans_dask.store.records import Failure

# Errors about the name of one file, which stop no other file: the name is too long, has characters
# that the file system does not allow, or a file or link is in its way.
_OF_NAME = {
    errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL,
    errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ELOOP,
}  # fmt: skip


STAGING = PurePosixPath(WORK_FOLDER, "aside")  # in the output: files that are being written


def below(output: Location, name: str) -> Location:
    """Return the path of `name` below `output`.

    Raises StoreError where the name leads out of `output`, ImageError where a link in it does.
    """
    check_below(output, name)
    return output / name


def check_below(output: Location, name: str) -> None:
    """Raise StoreError where `name` leads out of `output`, ImageError where a link in it does.

    The check works on strings: making paths would take most of the time with many small images.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not parts or "\0" in name:
        raise StoreError(f"the store names an output outside the output folder: {name!r}")
    if isinstance(output, ObjectPath):
        return
    folder = str(output)
    for part in parts[:-1]:
        folder += f"/{part}"
        # realpath, because Path.resolve raises where a link leads to itself
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
    if isinstance(path, ObjectPath):  # to ask would cost as much as writing
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
    """Write `palette.json` into `output`, or into `folder` below it, as `write_below` does.

    weights: (k,) number of pixels of each colour; None where they are not known

    Returns name, size and CRC-32 of the file; raises the errors of `write_below`.
    """
    pixels = None if weights is None else palette.pixels_of_entries(weights)
    name = str(PurePosixPath(folder, PALETTE_FILE))
    return write_below(output, name, entries_as(".json", palette.entries, pixels))


def write_failures(output: Location, failures: Sequence[Failure]) -> None:
    """Write `failures.jsonl` into `output`; without failures, remove that of an earlier run."""
    if not failures:
        (output / FAILURES_FILE).unlink(missing_ok=True)
        return
    lines = [json.dumps(asdict(failure)) + "\n" for failure in failures]
    write_file(output / FAILURES_FILE, "".join(lines).encode(), output / STAGING)
