"""Tally of a store: sums over its images, such as their number, pixels and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass

from kmeans_dask.store import PixelSource, Store
from kmeans_dask.store.records import TotalRecord


@dataclass(frozen=True)
class Tally:
    """Sums over the images of partitions.

    images: number of images that were read
    pixels: number of their pixels, transparent ones included
    n_bytes: bytes of their files
    transparent, translucent: images with fully, and with partly transparent pixels
    dim: images whose 16-bit samples use less than half of their range
    failed: images that could not be read
    """

    images: int
    pixels: int
    n_bytes: int
    transparent: int
    translucent: int
    dim: int
    failed: int

    @classmethod
    def of(cls, partition: PixelSource) -> Tally:
        """Return the tally of one partition."""
        images = partition.images
        return cls(
            images=len(images),
            pixels=sum(image.height * image.width for image in images),
            n_bytes=sum(image.n_bytes for image in images),
            transparent=sum(image.transparent for image in images),
            translucent=sum(image.translucent for image in images),
            dim=sum(image.brightest is not None for image in images),
            failed=len(partition.failures),
        )

    @classmethod
    def total(cls, tallies: Sequence[Tally]) -> Tally:
        """Return the sum of several tallies."""
        return cls(*map(sum, zip(*(astuple(tally) for tally in tallies), strict=True)))

    @classmethod
    def read(cls, store: Store) -> Tally:
        """Return the tally of a whole store, which the step `count` has stored."""
        total = store.total
        return cls(**{name: getattr(total, name) for name in cls.__dataclass_fields__})

    def as_record(self, generation: int) -> TotalRecord:
        """Return the tally as a store keeps it, with the `generation` of its plan."""
        return TotalRecord(**asdict(self), generation=generation)
