"""Advice from a sample: whether lossy WebP would be smaller at the same quality."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from kmeans_dask.engine import Engine
from kmeans_dask.errors import ImageError, UnreachableError
from kmeans_dask.files import parse_location
from kmeans_dask.images.lossy_webp import bytes_as_lossy_webp
from kmeans_dask.job.gallery import ImageRow
from kmeans_dask.settings import DecodeSettings

_TRIED = 6  # images, which take about half a second each


def share_as_lossy_webp(
    rows: Sequence[ImageRow], engine: Engine, settings: DecodeSettings
) -> float | None:
    """Return the bytes of some images as lossy WebP of their PSNR, as a part of their own bytes.

    rows: images that were compressed

    Return None where none of them loses anything, or lossy WebP does not reach their quality.
    """
    lossy = [row for row in rows if row.status == "compressed" and row.psnr is not None]
    some = lossy[:: max(1, -(-len(lossy) // _TRIED))]
    task = functools.partial(_try_webp, settings)
    tried = [each for each in engine.map("webp", task, some) if each]
    ours = sum(own for own, _ in tried)
    return sum(webp for _, webp in tried) / ours if ours else None


def _try_webp(settings: DecodeSettings, row: ImageRow) -> tuple[int, float] | None:
    """Return the bytes of an image with its palette and as lossy WebP, as one task."""
    assert row.psnr is not None
    try:
        found = bytes_as_lossy_webp(parse_location(row.path), row.psnr, settings)
    except (ImageError, UnreachableError, OSError):
        return None
    return None if found is None else (row.output_bytes, found)
