"""What a pixel, a colour and an image cost: the figures that docs/scaling.md multiplies.

    python -m benchmarks.units [IMAGE-or-FOLDER...] [--colors 256] [--images 1000000]

Core-seconds are CPU time of this process, which does all the work itself, in one thread where that
can be chosen. Tables of all 2^24 colours are made up, with random weights: no collection has more.
By default the photographs, small and large, of the optional folder.
"""

from __future__ import annotations

import argparse
import functools
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

from benchmarks.common import SHARED, photographs, versions
from kmeans_dask.color.spaces import Space
from kmeans_dask.engine import connect
from kmeans_dask.files.atomic_files import bytes_below, sealed
from kmeans_dask.job.job_settings import JobSettings
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.work_folder import open_work_folder
from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.cluster_sums import merge_partials
from kmeans_dask.kmeans.histogram import ColorHistogram, merge_histograms
from kmeans_dask.kmeans.lloyd import fit as lloyd
from kmeans_dask.kmeans.morton_codes import N_CODES
from kmeans_dask.plan.plan import Plan, Source, cut, make_plan, numbered
from kmeans_dask.settings import CHUNK_COLORS, DecodeSettings, EncodeSettings, FitSettings
from kmeans_dask.steps.collection import ingest_and_count, open_or_create
from kmeans_dask.steps.compress import compress
from kmeans_dask.steps.encode import encode, encode_partition
from kmeans_dask.steps.fit import fit
from kmeans_dask.steps.ingest import ingest_partition
from kmeans_dask.steps.quantize import start_of
from kmeans_dask.steps.quarantine import WorkItem
from kmeans_dask.steps.scored_images import choose_scored
from kmeans_dask.store.records import PLAN

MANY = [SHARED / name for name in ("photos", "large", "kodak")]
N_STEPS = 20


def core_seconds(do: Callable[[], Any]) -> tuple[float, Any]:
    """CPU time that `do` takes, and what it returns."""
    since = time.process_time()
    found = do()
    return time.process_time() - since, found


def show(what: str, value: str) -> None:
    print(f"  {what:58} {value}", flush=True)


def pixels_and_bytes(plan: Plan, k: int) -> None:
    """Ingest, count and encode real images."""
    megapixels, n = plan.n_pixels / 1e6, len(plan.partitions)
    print(f"{plan.n_images} images, {megapixels:.0f} megapixels, {n} partitions")
    settings, encoding = DecodeSettings(), EncodeSettings()
    with tempfile.TemporaryDirectory() as name, connect(workers=0) as engine:
        folder = Path(name)
        for _ in range(2):  # the first compiles, or loads what was compiled
            shutil.rmtree(folder / "s.zarr", ignore_errors=True)
            progress = Progress()
            held = open_or_create(folder / "s.zarr", plan, settings)
            ingesting, done = core_seconds(
                functools.partial(ingest_and_count, held, engine, progress)
            )
        store = done.store
        fitted = fit(store, engine, Progress(), FitSettings(k))
        for _ in range(2):
            shutil.rmtree(folder / "out", ignore_errors=True)
            records = folder / "out" / ".kmeans-dask" / "done"
            write = functools.partial(
                encode, store, folder / "out", records, fitted, engine, Progress(), encoding
            )
            encoding_seconds, encoded = core_seconds(write)
        show("ingest and count, core-s a megapixel", f"{ingesting / megapixels:.4f}")
        show("encode, core-s a megapixel", f"{encoding_seconds / megapixels:.4f}")
        given = JobSettings(FitSettings(), encoding, settings, palette=fitted.palette)
        with open_work_folder(folder / "given", {}, resume=False, overwrite=False) as work:
            work.begin(plan)
            again = functools.partial(compress, plan, work, engine, Progress(), given)
            spent = core_seconds(again)[0] / megapixels
            show("compress with a palette that is given, core-s a megapixel", f"{spent:.4f}")
        parts = [store.partition(each) for each in store.partition_ids]
        pixels = bytes_below(store.path / "partitions")
        distinct = sum(len(part.histogram) for part in parts)
        show("distinct colours, in all", f"{store.n_colors:,}")
        iterate(store.read_colors(), k)
        show("distinct colours of a partition, on average", f"{distinct / n:,.0f}")
        show("bytes of a pixel in the store", f"{pixels / plan.n_pixels:.2f}")
        files = sum(path.is_file() for path in (store.path / "partitions").rglob("*"))
        show("files of a partition in the store", f"{files / n:.1f}")
        input_bytes = plan.n_bytes / plan.n_pixels
        show("bytes of a pixel in the input, and in the output",
             f"{input_bytes:.2f}, {encoded.output_bytes / plan.n_pixels:.2f}")  # fmt: skip

        name, sources = next(iter(plan.partitions.items()))
        sixteen = tuple(sources[i % len(sources)] for i in range(16))
        task = functools.partial(ingest_partition, store.path, settings), WorkItem(name, 0, sixteen)
        show("bytes of an ingest task of 16 images", f"{len(pickle.dumps(task)):,}")
        of_partition = functools.partial(
            encode_partition,
            store.path,
            folder / "out",
            records,
            fitted,
            encoding,
            None,
            choose_scored(plan),
        )
        show("bytes of an encode task, and of its result",
             f"{len(pickle.dumps((of_partition, (name, sources)))):,}, "
             f"{len(pickle.dumps(of_partition((name, sources)))):,}")  # fmt: skip


def all_colors() -> ColorHistogram:
    """A table of all there are."""
    weights = np.random.default_rng(0).integers(1, 1 << 27, N_CODES)
    return ColorHistogram(np.arange(N_CODES, dtype=np.uint32), weights)


def colors(k: int) -> None:
    """Merge, seed and iterate over all colours there are."""
    table = all_colors()
    print(f"a table of {len(table):,} colours, {table.pixels / 1e15:.2f} x 10^15 pixels")
    some = ColorHistogram(table.codes[::32], table.weights[::32])
    merge_histograms([some, some])
    merging = [
        core_seconds(functools.partial(merge_histograms, [table, some]))[0] for _ in range(3)
    ]
    show(f"to add a partition's {len(some):,} colours to it, core-s", f"{median(merging):.3f}")
    both = [core_seconds(functools.partial(merge_histograms, [table, table]))[0] for _ in range(3)]
    show("to add two such tables up, core-s", f"{median(both):.3f}")
    show("bytes of it, as it travels", f"{table.codes.nbytes + table.weights.nbytes:,}")
    iterate(table, k)


def iterate(table: ColorHistogram, k: int) -> None:
    """Seed, and a few iterations, over chunks of colours."""
    settings, space = FitSettings(k), Space()
    seeding, start = core_seconds(
        lambda: start_of(space.points(table), table.codes, space, k, settings.seed, settings)
    )
    show(f"to make points of them and seed k = {k}, core-s", f"{seeding:.2f}")
    chunks = [
        Assignment(space.points(table.slice(first, first + CHUNK_COLORS)))
        for first in range(0, len(table), CHUNK_COLORS)
    ]
    each: list[float] = []

    def measure(centroids: Any, n_far: int = 0) -> Any:
        spent, partial = core_seconds(
            lambda: merge_partials([chunk.partial(centroids, n_far) for chunk in chunks])
        )
        each.append(spent)
        return partial

    lloyd(start, measure, max_iter=N_STEPS, tol=0)
    show(
        f"an iteration over them, k = {k}: first, median of {N_STEPS}, core-s",
        f"{each[0]:.3f}, {median(each):.3f}",
    )
    sizes = (len(pickle.dumps(each)) for each in (chunks[0], start, chunks[0].partial(start)))
    show(
        "bytes of a chunk, of centroids, of sums, as they travel",
        ", ".join(map("{:,}".format, sizes)),
    )


def images(n: int) -> None:
    """Plan images that are not there: what is known of them, to a file and back."""
    own = psutil.Process()
    before = own.memory_info().rss
    names = [f"{i // 1000:06d}/image-{i:09d}" for i in range(n)]
    sources = [
        Source(
            f"/data/photos/{name}.jpg", f"{name}.jpg", name, 300_000 + i, (17 << 56) + i, 10**6, 14
        )
        for i, name in enumerate(names)
    ]
    partitions = numbered(cut(sources, 1 << 24))
    plan = Plan((), partitions, (), {}, first_free=len(partitions))
    print(f"a plan of {n:,} images")
    held = own.memory_info().rss - before
    writing, data = core_seconds(lambda: sealed(plan.as_record(), PLAN))
    reading, found = core_seconds(lambda: Plan.of_record(PLAN.decode(data.partition(b"\n")[2])))
    assert found == plan
    most = own.memory_info().rss - before
    show("bytes of an image in the plan", f"{len(data) / n:.0f}")
    show("images in 2 GiB of it", f"{(1 << 31) * n / len(data):,.0f}")
    show(
        "bytes of an image in memory, planned, and at most since", f"{held / n:.0f}, {most / n:.0f}"
    )
    show("to write it, and to read it, core-s a million images",
         f"{writing / n * 1e6:.1f}, {reading / n * 1e6:.1f}")  # fmt: skip


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    there = all(folder.is_dir() for folder in MANY)
    words.add_argument("inputs", nargs="*", type=Path, default=MANY if there else photographs())
    words.add_argument("--colors", type=int, default=256)
    words.add_argument("--images", type=int, default=1_000_000)
    args = words.parse_args()
    print(versions("numpy", "numba", "pillow", "zarr"))
    since = time.perf_counter()
    plan = make_plan(args.inputs)
    spent = time.perf_counter() - since
    pixels_and_bytes(plan, args.colors)
    show(
        "to find an image and read its header, s a thousand", f"{1000 * spent / plan.n_images:.2f}"
    )
    colors(args.colors)
    images(args.images)


if __name__ == "__main__":
    main()
