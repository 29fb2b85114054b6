"""Previews: thumbnails of large images, which save decoding these images again for a report.

    OUTPUT/.kmeans-dask/previews/<digest of the path>.webp

A preview is written when its image is decoded, and kept while the job is running. The report
decodes an image again that has no preview.
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
from kmeans_dask.images.decoded_image import DecodedImage
from kmeans_dask.images.header import read_header
from kmeans_dask.images.thumbnail import as_webp, shrunk
from kmeans_dask.plan.output_names import WORK_FOLDER
from kmeans_dask.plan.plan import Plan

_FOLDER = f"{WORK_FOLDER}/previews"
_MOST = 1 << 20  # bytes of a preview, at most
_FROM = 1 << 20  # pixels of a large image: most smaller ones are not shown, and they decode quickly
# Number of large images up to which previews are worthwhile: one preview takes a sixteenth of the
# time of decoding, and the report shows a dozen images. With more images than these, it takes no
# longer to decode the dozen again.
_WORTHWHILE = 192


def previews_of(output: Path) -> Path:
    """Return the folder of the previews of a job that writes to `output`."""
    return output / _FOLDER


def previews_for(plan: Plan, output: Location) -> Path | None:
    """Return the folder of the previews, or None where they are not worthwhile for `plan`.

    Previews are never written to an object store: writing one would take as long as decoding.
    """
    large = islice((each for each in plan.sources if each.n_pixels >= _FROM), _WORTHWHILE + 1)
    if not isinstance(output, Path) or sum(1 for _ in large) > _WORTHWHILE:
        return None
    return previews_of(output.absolute())  # workers run in other folders


def name_of_preview(path: str) -> str:
    """Return the name, below the output, of the preview of the image at `path`."""
    return f"{_FOLDER}/{_name(path)}"


def keep_preview(folder: Path, path: str, decoded: DecodedImage, *, flat: bool) -> None:
    """Write the preview of the image at `path`, where it is large and its pixels are unchanged.

    flat: whether partly transparent pixels were composited over white
    """
    is_large = decoded.width * decoded.height >= _FROM
    if is_large and not (flat and decoded.translucent):
        with suppress(OSError, ValueError):  # errors of the disk, or of Pillow
            write_file(folder / _name(path), as_webp(shrunk(decoded.image)))


def read_preview(file: Location) -> tuple[bytes, tuple[int, int]] | None:
    """Return a preview file, and its width and height in pixels; None where there is none."""
    try:
        data = read_regular(file, _MOST) if isinstance(file, Path) else None
        header = read_header(file) if data else None
        return (data, header.size) if data and header else None
    except (OSError, DamagedError, ImageError):
        return None


def _name(path: str) -> str:
    return f"{hashlib.sha256(path.encode(errors='surrogateescape')).hexdigest()}.webp"
