"""Gallery of the images of a job: as many as a page can show, with figures about all of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.color_lookup import Indices
from kmeans_dask.color.palette import Palette
from kmeans_dask.files.documents import Count, Name
from kmeans_dask.kmeans.histogram import ColorHistogram

T = TypeVar("T")

MAX_ROWS = 2000
MAX_SHOWN = 6  # images among the best, and among the worst
CLOUD = 4000  # colours in a cloud, about

_RATIOS = np.linspace(0, 1.5, 31).tolist()  # edges of bins: bytes after / bytes before
_DECIBELS = np.linspace(10, 60, 26).tolist()  # edges of bins: PSNR in dB
_N_RATIOS, _N_DECIBELS = len(_RATIOS) - 1, len(_DECIBELS) - 1

Histogram = tuple[Count, ...]
_Pair = Annotated[
    tuple[Annotated[int, msgspec.Meta(ge=0, le=255)], ...], msgspec.Meta(min_length=6, max_length=6)
]
_OfRatios = Annotated[Histogram, msgspec.Meta(min_length=_N_RATIOS, max_length=_N_RATIOS)]
_OfDecibels = Annotated[Histogram, msgspec.Meta(min_length=_N_DECIBELS, max_length=_N_DECIBELS)]
Cloud = tuple[_Pair, ...]  # for each pixel r, g, b before, and r, g, b after


class ImageRow(NamedTuple):
    """Row of a report: one image of the output.

    name: name of the image below the output folder where it is copied as it is (`Source.kept_as`)
    output: name of the file that was written, below the output folder
    path: path of the input file
    status: "compressed", "kept" (copied as it was) or "below target" (copied for its quality)
    psnr: in dB; None where nothing was lost, or the image was copied
    pixels: number of pixels that the PSNR is over: those of a compressed image that are not fully
        transparent; 0 where the image was copied
    score: SSIMULACRA2; None where the image was not scored
    """

    name: Name
    output: Name
    path: Name
    status: Literal["compressed", "kept", "below target"]
    input_bytes: Count
    output_bytes: Count
    psnr: float | None
    pixels: int = 0
    score: float | None = None

    @property
    def ratio(self) -> float:
        """Return the bytes of the output as a fraction of the bytes of the input."""
        return self.output_bytes / max(1, self.input_bytes)

    @property
    def quality(self) -> float:
        """Return the PSNR in dB, infinite where nothing was lost."""
        return float("inf") if self.psnr is None else self.psnr


@dataclass(frozen=True)
class Gallery:
    """Gallery: rows of some of many images, histograms of all, and a sample of pixels.

    Galleries can be merged in any order, and stay small.

    rows: the first images by name, at most `MAX_ROWS`
    left_out: number of images without a row
    worst, best: the compressed images of lowest and of highest PSNR
    ratios, decibels: number of images in each bin of `ImageRow.ratio` and of PSNR; the outer bins
        are open
    cloud: sampled pixels, and the colours that they have become
    """

    rows: tuple[ImageRow, ...] = ()
    left_out: Count = 0
    worst: tuple[ImageRow, ...] = ()
    best: tuple[ImageRow, ...] = ()
    ratios: _OfRatios = (0,) * _N_RATIOS
    decibels: _OfDecibels = (0,) * _N_DECIBELS
    cloud: Cloud = ()

    @classmethod
    def of(cls, rows: Iterable[ImageRow], cloud: Cloud = ()) -> Gallery:
        """Return the gallery of the images `rows`, with the sampled pixels `cloud`."""
        rows = sorted(rows, key=lambda row: row.name)
        done = [row for row in rows if row.status == "compressed"]
        return cls(
            tuple(rows[:MAX_ROWS]),
            len(rows[MAX_ROWS:]),
            _first(done, best=False),
            _first([row for row in done if row.psnr is not None], best=True),
            _histogram([row.ratio for row in rows], _RATIOS),
            _histogram([row.quality for row in done if row.psnr is not None], _DECIBELS),
            cloud,
        )

    @classmethod
    def total(cls, galleries: Sequence[Gallery]) -> Gallery:
        """Return the merged gallery of all images of `galleries`."""
        rows = sorted(_all(gallery.rows for gallery in galleries), key=lambda row: row.name)
        cloud = tuple(_all(gallery.cloud for gallery in galleries))
        while len(cloud) > 8 * CLOUD:
            cloud = cloud[::2]
        return cls(
            tuple(rows[:MAX_ROWS]),
            sum(gallery.left_out for gallery in galleries) + len(rows[MAX_ROWS:]),
            _first(_all(gallery.worst for gallery in galleries), best=False),
            _first(_all(gallery.best for gallery in galleries), best=True),
            tuple(map(sum, zip(*(gallery.ratios for gallery in galleries), strict=True))),
            tuple(map(sum, zip(*(gallery.decibels for gallery in galleries), strict=True))),
            cloud,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the gallery ready for JSON, as `report.job_page` reads it."""
        cloud = self.cloud[:: max(1, len(self.cloud) // CLOUD)]
        return {
            "rows": [row._asdict() for row in self.rows],
            "rows_left_out": self.left_out,
            "worst": [row._asdict() for row in self.worst],
            "best": [row._asdict() for row in self.best],
            "ratio_histogram": {"edges": _RATIOS, "counts": list(self.ratios)},
            "psnr_histogram": {"edges": _DECIBELS, "counts": list(self.decibels)},
            "cloud": cloud_as_dict(cloud),
        }


def cloud_of(histogram: ColorHistogram, entries: Indices, palette: Palette, n: int) -> Cloud:
    """Return about `n` pixels of `histogram`: their colours, and those they became.

    The pixels are spread evenly over the histogram.

    entries: (u,) indices into `palette`, one for each colour of the histogram
    """
    pixels = histogram.pixels
    n = min(n, pixels)
    if not n:
        return ()
    places = (2 * np.arange(n) + 1) * (pixels / (2 * n))
    some = np.searchsorted(np.cumsum(histogram.weights), places, side="right")
    some = np.minimum(some, len(histogram) - 1)
    after: NDArray[np.uint8] = palette.entries[entries[some], :3]
    pairs = np.concatenate([histogram.colors[some], after], axis=1)
    return tuple(map(tuple, pairs.tolist()))


def cloud_as_dict(cloud: Cloud) -> dict[str, list[str]]:
    """Return the colours of `cloud` before and after as `#rrggbb`, ready for JSON."""
    return {
        "before": [_hex(colors[:3]) for colors in cloud],
        "after": [_hex(colors[3:]) for colors in cloud],
    }


def _all(parts: Iterable[Iterable[T]]) -> list[T]:
    return list(chain.from_iterable(parts))


def _first(rows: Iterable[ImageRow], *, best: bool) -> tuple[ImageRow, ...]:
    sign = -1 if best else 1
    ordered = sorted(rows, key=lambda row: (sign * row.quality, row.name))
    return tuple(ordered[:MAX_SHOWN])


def _histogram(values: list[float], edges: list[float]) -> Histogram:
    counts = [0] * (len(edges) - 1)
    inner = edges[1:-1]
    for value in values:
        counts[bisect_right(inner, value)] += 1
    return tuple(counts)


def _hex(color: tuple[int, ...]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
