"""Totals of encoding: counts, bytes, errors, failures and files of an image, partition or job."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from kmeans_dask.files.documents import Count, Name
from kmeans_dask.job.gallery import Cloud, Gallery
from kmeans_dask.store.records import Failure

_NOT_ADDED_UP = (
    "colors_bytes", "brightest", "largest_error", "largest_in", "failures", "gallery", "files",
)  # fmt: skip


Written = tuple[Name, Count, Count]  # a file's name below the output, its size and its CRC-32


@dataclass(frozen=True)
class EncodeTotals:
    """Result of encoding one image, a partition, or all: counts, errors, failures and files.

    compressed: images written with a palette
    kept: images copied as they were, because compression would make them larger, or worse than
        asked for
    below_target: kept images that would be worse than asked for with every palette tried
    private: compressed images with a palette of their own
    composited: compressed images whose partly transparent pixels were laid over white
    reindexed: compressed images whose file had palette indices or few greys, which may be class
        labels: the numbers have been replaced by others
    outgrown: compressed images larger than their input file, which is gone or has changed
    dim: compressed images whose 16-bit samples use less than half of their range
    brightest: upper bound of the samples of these images
    nine_patches: kept images that are Android nine-patches, whose frame would have changed
    input_bytes, output_bytes: bytes of the compressed and kept images, before and after
    all_pixels: number of pixels of the compressed and kept images
    pixels: number of pixels of the compressed images, without fully transparent ones
    squared_error: sum over these pixels, in 1 / `color.color_lookup.ERROR_UNITS` of a squared
        8-bit value
    palette_error: what this sum would be without lossy indices
    lossy: compressed images with lossy indices
    scored: compressed images with an SSIMULACRA2 score
    score: sum of these scores, in thousandths
    largest_error: squared error of the worst of these pixels, in the same unit
    largest_in: the image with this pixel; empty where nothing was lost
    colors_bytes: bytes of memory that fitting a palette to an image or folder takes, at most
    failures: images that could not be read or written
    gallery: the compressed and kept images, for the report
    files: the files that were written: names below the output, sizes in bytes and CRC-32
    """

    compressed: Count = 0
    kept: Count = 0
    below_target: Count = 0
    private: Count = 0
    composited: Count = 0
    reindexed: Count = 0
    outgrown: Count = 0
    dim: Count = 0
    brightest: Count = 0
    nine_patches: Count = 0
    input_bytes: Count = 0
    output_bytes: Count = 0
    all_pixels: Count = 0
    pixels: Count = 0
    squared_error: int = 0
    palette_error: int = 0
    lossy: Count = 0
    scored: Count = 0
    score: int = 0
    largest_error: int = 0
    largest_in: str = ""
    colors_bytes: int = 0
    failures: tuple[Failure, ...] = ()
    gallery: Gallery = field(default_factory=Gallery)
    files: tuple[Written, ...] = ()

    @classmethod
    def total(cls, parts: Iterable[EncodeTotals]) -> EncodeTotals:
        """Return the totals of all `parts` together."""
        parts = list(parts) or [cls()]
        sums = {
            each.name: sum(getattr(part, each.name) for part in parts)
            for each in fields(cls)
            if each.name not in _NOT_ADDED_UP
        }
        largest, name = min((-part.largest_error, part.largest_in) for part in parts)
        failures = tuple(failure for part in parts for failure in part.failures)
        gallery = Gallery.total([part.gallery for part in parts])
        written = tuple(file for part in parts for file in part.files)
        return cls(
            **sums,
            largest_error=-largest,
            largest_in=name,
            colors_bytes=max(part.colors_bytes for part in parts),
            brightest=max(part.brightest for part in parts),
            failures=failures,
            gallery=gallery,
            files=written,
        )

    def __add__(self, other: EncodeTotals) -> EncodeTotals:
        return EncodeTotals.total([self, other])

    def as_record(self) -> dict[str, Any]:
        """Return the totals, ready for JSON."""
        return vars(self) | {
            "failures": [asdict(failure) for failure in self.failures],
            "gallery": vars(self.gallery),
        }

    def with_cloud(self, cloud: Cloud) -> EncodeTotals:
        """Return the totals with `cloud` as the sample of pixels in their gallery."""
        return replace(self, gallery=replace(self.gallery, cloud=cloud))

    def with_failures(self, failures: tuple[Failure, ...]) -> EncodeTotals:
        """Return the totals with `failures` in place of their own."""
        return replace(self, failures=failures)

    def without_files(self) -> EncodeTotals:
        """Return the totals without the list of written files."""
        return replace(self, files=())

    @property
    def images(self) -> int:
        """Return the number of images in the output, compressed or kept."""
        return self.compressed + self.kept
