"""Choice of the images of a plain job that get an SSIMULACRA2 score, and of their rows.

A score of every image would take a tenth of the time of a job and more. The choice depends on the
plan alone, so it is the same for any workers and partitions, and after a job is resumed.
"""

from __future__ import annotations

import heapq
import zlib

from kmeans_dask.plan.plan import Plan
from kmeans_dask.store.records import ImageRecord

MOST = 16  # images of a job that are scored
_BAND = 1 << 19  # pixels of an image that are scored, at most about
_ROWS = 96  # of a band, at least: fewer are too few for most scales of the score
_LEAST = 1 << 20  # pixels of a job that are scored, beside a part of all
_PART = 24  # pixels of a job of which one is scored
_WIDEST = 1 << 14  # pixels of a row, beyond which an image is not scored


def choose_scored(plan: Plan) -> frozenset[str]:
    """Return the names (`kept_as`) of at most `MOST` images of a plan, in effect chosen at random.

    They have at most a mebipixel and 1/24 of all pixels together, where only the band of a large
    image counts that `scored_rows` returns. The same names are chosen each time.
    """
    left = _LEAST + plan.n_pixels // _PART
    chosen = set[str]()
    for source in heapq.nsmallest(MOST, plan.sources, key=lambda source: order(source.kept_as)):
        left -= min(source.n_pixels, _BAND)
        if left < 0:
            break
        chosen.add(source.kept_as)
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


def order(name: str) -> tuple[int, str]:
    """Return the place of an image in the order in which images are chosen, by its name."""
    return zlib.crc32(name.encode("utf-8", "surrogateescape")), name
