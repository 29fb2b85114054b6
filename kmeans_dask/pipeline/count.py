"""What the partitions amount to, added up as a tree on the workers: colours above all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kmeans_dask.cluster import Engine
from kmeans_dask.clustering.counts import ColorCounter, ColorCounts, merge_counts
from kmeans_dask.pipeline.progress import Progress
from kmeans_dask.store import Partition, Store

_FAN_IN = 8
_WEIGHT = 1 << 46  # of all images together: times any coordinate it stays below 2^63


@dataclass(frozen=True)
class Tally:
    """Sums over partitions.

    images: that were read
    pixels: of these, transparent ones included
    n_bytes: of their files
    transparent, translucent: images with fully, and with partly transparent pixels
    failed: images that could not be read
    """

    images: int
    pixels: int
    n_bytes: int
    transparent: int
    translucent: int
    failed: int

    @classmethod
    def of(cls, partition: Partition) -> Tally:
        """The tally of one partition."""
        images = partition.images
        return cls(
            images=len(images),
            pixels=sum(image["height"] * image["width"] for image in images),
            n_bytes=sum(image["n_bytes"] for image in images),
            transparent=sum(image["transparent"] for image in images),
            translucent=sum(image["translucent"] for image in images),
            failed=len(partition.failures),
        )

    @classmethod
    def total(cls, tallies: Sequence[Tally]) -> Tally:
        """The tallies of several, added up."""
        return cls(*map(sum, zip(*(astuple(tally) for tally in tallies), strict=True)))

    @classmethod
    def read(cls, store: Store) -> Tally:
        """The tally of a whole store, as `count` left it."""
        return cls(**store.colors_attrs)


_Counted = tuple[ColorCounts, Tally]


def count(store: Store, engine: Engine, progress: Progress) -> Tally:
    """Add up all partitions and store the total."""
    progress.start("count", None, "")
    ids = store.partition_ids
    level = [
        engine.submit("merge-counts", merge_partitions, store.path, ids[start : start + _FAN_IN])
        for start in range(0, len(ids), _FAN_IN)
    ]
    merged = _merge_tree(level, merge_counted, engine)
    tally: Tally = engine.result(engine.submit("merge-counts", store_total, store.path, merged))
    progress.finish()
    return tally


def _merge_tree(level: list[Any], merge: Callable[..., Any], engine: Engine) -> Any:
    """A handle of all of `level`, merged on the workers."""
    while len(level) > 1:
        level = [
            engine.submit("merge-counts", merge, level[start : start + _FAN_IN])
            for start in range(0, len(level), _FAN_IN)
        ]
    return level[0]


def merge_partitions(store_path: Path, partition_ids: Sequence[str]) -> _Counted:
    """One task: some partitions, read from the store and added up."""
    store = Store.open(store_path)
    partitions = [store.partition(partition_id) for partition_id in partition_ids]
    return merge_counted([(partition.counts, Tally.of(partition)) for partition in partitions])


def merge_counted(parts: Sequence[_Counted]) -> _Counted:
    """One task: what other tasks have added up, added up."""
    return merge_counts([counts for counts, _ in parts]), Tally.total([tally for _, tally in parts])


def store_total(store_path: Path, counted: _Counted) -> Tally:
    """The last task: store the total."""
    counts, tally = counted
    Store.open(store_path).write_colors(counts, asdict(tally))
    return tally


def weigh_images(store: Store, engine: Engine, progress: Progress) -> None:
    """Store what each colour weighs where every image counts the same. Reads all pixels again."""
    progress.start("weigh", None, "")
    weight = image_weight(Tally.read(store).images)
    level = [
        engine.submit("weigh", weigh_partition, store.path, weight, partition_id)
        for partition_id in store.partition_ids
    ]
    merged = _merge_tree(level, merge_counts, engine)
    engine.result(engine.submit("merge-counts", store_weighed, store.path, merged))
    progress.finish()


def image_weight(images: int) -> int:
    """Of each of so many images, in a fit where all count the same."""
    return _WEIGHT // max(1, images)


def weighed(counts: ColorCounts, weight: int) -> ColorCounts:
    """The colours of an image, `weight` spread over them as its pixels are.

    None is lost: the lightest colour weighs 1.
    """
    pixels = max(1, counts.pixels)
    each, rest = divmod(weight, pixels)
    wide = counts.weights if pixels < 1 << 31 else counts.weights.astype(object)
    shares = wide * each + (wide * rest + pixels // 2) // pixels
    return ColorCounts(counts.codes, np.maximum(shares, 1).astype(np.int64))


def weigh_partition(store_path: Path, weight: int, partition_id: str) -> ColorCounts:
    """One task: the colours of a partition's images, each of which weighs `weight`."""
    counter, tables = ColorCounter(), []
    for _, pieces in Store.open(store_path).partition(partition_id).read_images():
        for pixels, alphas in pieces:
            counter.add(pixels, alphas)
        tables.append(weighed(counter.counts(), weight))
    return merge_counts(tables)


def store_weighed(store_path: Path, counts: ColorCounts) -> None:
    """The last task: store the total."""
    Store.open(store_path).write_weighed(counts.weights)
