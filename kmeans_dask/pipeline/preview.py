"""Thumbnails of large images, kept while these are decoded: a report need not decode them again.

    OUTPUT/.kmeans-dask/previews/<digest of the path>.webp

They last as long as the job is at work. An image that has none is decoded once more.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from kmeans_dask.errors import ImageError
from kmeans_dask.imaging.decode import DecodedImage, read_size
from kmeans_dask.imaging.thumbnail import as_webp, shrunk
from kmeans_dask.pipeline.plan import WORK_FOLDER
from kmeans_dask.storage import Place
from kmeans_dask.storage.files import DamagedError, read_regular, write_file

_FOLDER = f"{WORK_FOLDER}/previews"
_MOST = 1 << 20  # bytes of one
_FROM = 1 << 20  # pixels: of fewer, many are not shown, and those that are decode quickly


def previews_of(output: Place) -> Place:
    """The folder of those of a job that writes to `output`."""
    return output / _FOLDER


def name_of_preview(path: str) -> str:
    """That of the image at `path`, below the output."""
    return f"{_FOLDER}/{_name(path)}"


def keep_preview(folder: Place, path: str, decoded: DecodedImage, *, flat: bool) -> None:
    """Write that of the image at `path`, where it is large, and its pixels are as they were.

    flat: whether partly transparent ones were laid over white. Objects are not written: that
    would take as long as decoding does.
    """
    is_large = decoded.width * decoded.height >= _FROM
    if isinstance(folder, Path) and is_large and not (flat and decoded.translucent):
        with suppress(OSError, ValueError):  # of the disk, or of Pillow
            write_file(folder / _name(path), as_webp(shrunk(decoded.image)))


def read_preview(file: Place) -> tuple[bytes, tuple[int, int]] | None:
    """All of it, and its width and height; None where there is none."""
    try:
        data = read_regular(file, _MOST) if isinstance(file, Path) else None
        return (data, read_size(file)) if data else None
    except (OSError, DamagedError, ImageError):
        return None


def _name(path: str) -> str:
    return f"{hashlib.sha256(path.encode(errors='surrogateescape')).hexdigest()}.webp"
