"""Step that merges the histograms and tallies of all partitions, in a tree of tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from kmeans_dask.engine import Engine
from kmeans_dask.files import Location
from kmeans_dask.job.progress import Progress
from kmeans_dask.kmeans.histogram import ColorCounter, ColorHistogram, merge_histograms
from kmeans_dask.store import PixelSource, Store
from kmeans_dask.store.tally import Tally

_TOGETHER = 8  # partitions that a task merges, at least
_TASKS = 1024  # tasks that merge partitions, at most about
_WEIGHT = 1 << 46  # weight of all images together: times any coordinate it stays below 2^63


_Counted = tuple[ColorHistogram, Tally]


def count(store: Store, engine: Engine, progress: Progress) -> Tally:
    """Return the tally of `store`; merge and store all histograms first, unless that is done."""
    if store.is_counted:
        return Tally.read(store)
    progress.start("count", None, "")
    merged = tree_reduce(engine, store.partition_ids, partial(merge_partitions, store.path), merge)
    generation = store.plan.generation
    total = engine.submit("merge-histograms", store_total, store.path, generation, merged)
    tally: Tally = engine.result(total)
    progress.finish()
    return tally


def tree_reduce(
    engine: Engine, ids: Sequence[str], add: Callable[..., Any], merge: Callable[..., Any]
) -> Any:
    """Return the handle of a task whose result is the total of all partitions.

    There are as many lanes as threads. Each lane is a chain of tasks that add a few partitions to
    the total so far: so there are never more histograms than lanes, however many partitions there
    are. The totals of the lanes are merged two by two, as each may have all colours there are.

    add: returns the total of a lane so far (None at first) and of the partitions of some ids
    merge: returns the total of a list of totals
    """
    size = max(_TOGETHER, len(ids) // _TASKS)
    pieces = [ids[start : start + size] for start in range(0, len(ids), size)]
    lanes: list[Any] = [None] * min(len(pieces), engine.threads)
    for number, piece in enumerate(pieces):
        lane = number % len(lanes)
        lanes[lane] = engine.submit("merge-histograms", add, lanes[lane], piece)
    while len(lanes) > 1:
        lanes = [
            engine.submit("merge-histograms", merge, lanes[start : start + 2])
            for start in range(0, len(lanes), 2)
        ]
    return lanes[0]


def merge_partitions(
    store_path: Location, before: _Counted | None, partition_ids: Sequence[str]
) -> _Counted:
    """Return the total of `before`, if any, and of some partitions of a store, as one task."""
    store = Store.open(store_path)
    histogram, tallies = merge_histograms([]), []
    for partition_id in partition_ids:
        partition = store.partition(partition_id)
        histogram = merge_histograms([histogram, partition.histogram])
        tallies.append(Tally.of(partition))
    counted = histogram, Tally.total(tallies)
    return merge([before, counted]) if before else counted


def merge(parts: Sequence[_Counted]) -> _Counted:
    """Return the total of the results of other tasks, as one task."""
    return merge_histograms([histogram for histogram, _ in parts]), Tally.total(
        [tally for _, tally in parts]
    )


def store_total(store_path: Location, generation: int, counted: _Counted) -> Tally:
    """Store the histogram and the tally of all partitions, as the last task."""
    histogram, tally = counted
    Store.open(store_path).write_colors(histogram, tally.as_record(generation))
    return tally


def compute_image_weights(store: Store, engine: Engine, progress: Progress) -> None:
    """Store the weight of each colour where all images weigh the same. Reads all pixels again."""
    progress.start("weigh", None, "")
    weight = image_weight(Tally.read(store).images)
    add = partial(weigh_partitions, store.path, weight)
    merged = tree_reduce(engine, store.partition_ids, add, merge_histograms)
    engine.result(engine.submit("merge-histograms", store_image_weights, store.path, merged))
    progress.finish()


def image_weight(images: int) -> int:
    """Return the weight of each of `images` images in a fit where all of them weigh the same."""
    return _WEIGHT // max(1, images)


def most_weight(tally: Tally) -> int:
    """Return an upper bound of the sum of all weights where every image weighs the same.

    Each colour of an image weighs at least 1, so the sum may exceed the weight of the images.
    """
    return _WEIGHT + tally.pixels


def share_weight(histogram: ColorHistogram, weight: int) -> ColorHistogram:
    """Return the histogram of an image, with `weight` shared out in proportion to the pixels.

    Shares are rounded, but each is at least 1, so that no colour is lost.
    """
    pixels = max(1, histogram.pixels)
    each, rest = divmod(weight, pixels)
    wide = histogram.weights if pixels < 1 << 31 else histogram.weights.astype(object)
    shares = wide * each + (wide * rest + pixels // 2) // pixels
    return ColorHistogram(histogram.codes, np.maximum(shares, 1).astype(np.int64))


def weigh_partitions(
    store_path: Location, weight: int, before: ColorHistogram | None, partition_ids: Sequence[str]
) -> ColorHistogram:
    """Return the merged histogram of partitions whose images each weigh `weight`, as one task.

    before: histogram to merge with these, or None
    """
    store, total = Store.open(store_path), merge_histograms([before] if before else [])
    for partition_id in partition_ids:
        weights = image_weights(store.partition(partition_id), weight)
        total = merge_histograms([total, weights])
    return total


def image_weights(partition: PixelSource, weight: int) -> ColorHistogram:
    """Return the histogram of a partition in a fit where each of its images weighs `weight`."""
    counter, tables = ColorCounter(), []
    for _, pieces in partition.read_images():
        for pixels, alphas in pieces:
            counter.add(pixels, alphas)
        tables.append(share_weight(counter.histogram(), weight))
    return merge_histograms(tables)


def store_image_weights(store_path: Location, histogram: ColorHistogram) -> None:
    """Store the weights of all colours where each image weighs the same, as the last task."""
    Store.open(store_path).write_image_weights(histogram.weights)
