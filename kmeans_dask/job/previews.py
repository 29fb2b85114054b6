"""Thumbnails of large images, kept while these are decoded: a report need not decode them again.

    OUTPUT/.kmeans-dask/previews/<digest of the path>.webp

They last as long as the job is at work. An image that has none is decoded once more.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from itertools import islice
from pathlib import Path

from kmeans_dask.errors import ImageError
from kmeans_dask.files import Location
from kmeans_dask.files.atomic_files import read_regular, write_file
from kmeans_dask.files.documents import DamagedError
from kmeans_dask.images.decode import DecodedImage, read_header
from kmeans_dask.images.thumbnail import as_webp, shrunk
from kmeans_dask.plan.output_names import WORK_FOLDER
from kmeans_dask.plan.plan import Plan

_FOLDER = f"{WORK_FOLDER}/previews"
_MOST = 1 << 20  # bytes of one
_FROM = 1 << 20  # pixels: of fewer, many are not shown, and those that are decode quickly
# Large images. A preview takes a sixteenth of decoding, and a dozen are shown: so of more, it
# takes no less to decode that dozen again.
_WORTHWHILE = 192


def previews_of(output: Path) -> Path:
    """The folder of those of a job that writes to `output`."""
    return output / _FOLDER


def previews_for(plan: Plan, output: Location) -> Path | None:
    """The same where they are worthwhile for the images of `plan`.

    Not as objects: to write one takes as long as decoding does.
    """
    large = islice((each for each in plan.sources if each.n_pixels >= _FROM), _WORTHWHILE + 1)
    if not isinstance(output, Path) or sum(1 for _ in large) > _WORTHWHILE:
        return None
    return previews_of(output.absolute())  # workers run in other folders


def name_of_preview(path: str) -> str:
    """That of the image at `path`, below the output."""
    return f"{_FOLDER}/{_name(path)}"


def keep_preview(folder: Path, path: str, decoded: DecodedImage, *, flat: bool) -> None:
    """Write that of the image at `path`, where it is large, and its pixels are as they were.

    flat: whether partly transparent ones were laid over white
    """
    is_large = decoded.width * decoded.height >= _FROM
    if is_large and not (flat and decoded.translucent):
        with suppress(OSError, ValueError):  # of the disk, or of Pillow
            write_file(folder / _name(path), as_webp(shrunk(decoded.image)))


def read_preview(file: Location) -> tuple[bytes, tuple[int, int]] | None:
    """All of it, and its width and height; None where there is none."""
    try:
        data = read_regular(file, _MOST) if isinstance(file, Path) else None
        header = read_header(file) if data else None
        return (data, header.size) if data and header else None
    except (OSError, DamagedError, ImageError):
        return None


def _name(path: str) -> str:
    return f"{hashlib.sha256(path.encode(errors='surrogateescape')).hexdigest()}.webp"
