"""Choice of the images of a plain job that get an SSIMULACRA2 score, and of their rows.

Scores of all images would take a tenth of the time of a large job and more. The choice depends on
the plan alone, so it is the same for any workers and partitions, and after a job is resumed.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterable

from kmeans_dask.plan.plan import Plan
from kmeans_dask.store.records import ImageRecord

MOST = 16  # images of a job that are scored
_BAND = 1 << 19  # pixels of an image that are scored, at most about
_ROWS = 96  # of a band, at least: fewer are too few for most scales of the score
_LEAST = 5 << 19  # pixels of a job that are scored, beside a part of all
_PART = 12  # pixels of a job of which one is scored
_WIDEST = 1 << 14  # pixels of a row, beyond which an image is not scored


def choose_scored(plan: Plan) -> frozenset[str]:
    """Return the names (`kept_as`) of the images of a plan that are scored; see `choose_names`."""
    return choose_names((source.kept_as, source.n_pixels) for source in plan.sources)


def choose_names(images: Iterable[tuple[str, int]], *, quick: bool = True) -> frozenset[str]:
    """Return the names of at most `MOST` images, in effect chosen at random, the same each time.

    images: name and number of pixels of each
    quick: whether they have at most 2.5 mebipixels and 1/12 of all pixels together, where only the
        band of a large image counts that `scored_rows` returns
    """
    given = list(images)
    left = _LEAST + sum(pixels for _, pixels in given) // _PART
    chosen = set[str]()
    for name, pixels in heapq.nsmallest(MOST, given, key=lambda image: _order(image[0])):
        left -= min(pixels, _BAND)
        if quick and left < 0:
            break
        chosen.add(name)
    return frozenset(chosen)


def scored_rows(record: ImageRecord) -> range:
    """Return the rows of an image that are scored, all or a band in the middle; none if too wide.

    A task that reads an image piece by piece then holds only these rows.
    """
    if record.width > _WIDEST:
        return range(0)
    rows = min(record.height, max(_ROWS, _BAND // record.width))
    top = (record.height - rows) // 2
    return range(top, top + rows)


def _order(name: str) -> tuple[int, str]:
    return zlib.crc32(name.encode("utf-8", "surrogateescape")), name
