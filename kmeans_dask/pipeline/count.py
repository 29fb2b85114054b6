"""What the partitions amount to, added up as a tree on the workers: colours above all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from kmeans_dask.cluster import Engine
from kmeans_dask.clustering.counts import ColorCounts, merge_counts
from kmeans_dask.pipeline.progress import Progress
from kmeans_dask.store import Partition, Store

_FAN_IN = 8


@dataclass(frozen=True)
class Tally:
    """Sums over partitions.

    images: that were read
    pixels: of these, transparent ones included
    n_bytes: of their files
    transparent, composited: images with clear pixels, and with pixels laid over white
    failed: images that could not be read
    """

    images: int
    pixels: int
    n_bytes: int
    transparent: int
    composited: int
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
            composited=sum(image["composited"] for image in images),
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
    while len(level) > 1:
        level = [
            engine.submit("merge-counts", merge_counted, level[start : start + _FAN_IN])
            for start in range(0, len(level), _FAN_IN)
        ]
    tally: Tally = engine.result(engine.submit("merge-counts", store_total, store.path, level[0]))
    progress.finish()
    return tally


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
