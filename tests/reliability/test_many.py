"""Many of everything: what is held stays the same, however many there are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from kmeans_dask.engine import connect
from kmeans_dask.job.progress import Progress
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.plan.plan import make_plan
from kmeans_dask.settings import DecodeSettings, FitSettings
from kmeans_dask.steps.collection import ingest_and_count, open_or_create
from kmeans_dask.steps.count import merge, tree_reduce
from kmeans_dask.steps.fit import fit
from kmeans_dask.store import Store
from kmeans_dask.store.tally import Tally
from tests.reliability.figures import Figures
from tests.reliability.pictures import save_pictures

Times = Callable[[int, int], int]
GROWTH = 256  # MB, from after the warm-up to the end: Dask keeps a log, of bounded length
OVERHEAD = 5.0  # ms for a partition


def held() -> tuple[float, int]:
    """MB and open files of this process, in which the scheduler is, too."""
    own = psutil.Process()
    return own.memory_info().rss / 1e6, own.num_fds()


def nothing(number: int) -> int:
    return number


Counted = tuple[ColorHistogram, Tally]


def one_color_each(before: Counted | None, partition_ids: Sequence[str]) -> Counted:
    """As a task adds up partitions, each of one image of one pixel."""
    parts = [before] if before else []
    for number in map(int, partition_ids):
        codes, weights = np.array([number % 5000], np.uint32), np.ones(1, np.int64)
        parts.append((ColorHistogram(codes, weights), Tally(1, 1, 1, 0, 0, 0, 0)))
    return merge(parts)


def test_partitions_take_no_memory_while_they_are_many(times: Times, figures: Figures) -> None:
    n, warm = times(300, 100_000), times(100, 5_000)
    with connect(workers=2) as engine:
        assert sum(1 for _ in engine.map("nothing", nothing, range(warm))) == warm
        (before, files), since, cpu = held(), time.monotonic(), time.process_time()
        assert sum(engine.map("nothing", nothing, range(n))) == n * (n - 1) // 2
        overhead = (time.monotonic() - since) / n * 1000
        own = (time.process_time() - cpu) / n * 1000
        after, files_after = held()
    assert after - before < GROWTH
    assert files_after - files < 20
    figures.note(
        f"{n:,} tiny partitions, ms for each", f"{overhead:.2f}, {own:.2f} of them of CPU time"
    )
    figures.note(f"{n:,} tiny partitions, MB of the scheduler", f"{before:.0f}, then {after:.0f}")
    if times(0, 1):  # of what others do on the machine, CPU time tells nothing
        assert own < OVERHEAD


def test_adding_up_many_partitions_takes_little_memory(times: Times, figures: Figures) -> None:
    n = times(300, 100_000)
    with connect(workers=2) as engine:
        list(engine.map("nothing", nothing, range(50)))
        (before, _), since = held(), time.monotonic()
        ids = [str(number) for number in range(n)]
        histogram, tally = engine.result(tree_reduce(engine, ids, one_color_each, merge))
        seconds, after = time.monotonic() - since, held()[0]
    assert tally.images == histogram.pixels == n
    assert len(histogram) == min(n, 5000)
    assert after - before < GROWTH
    figures.note(
        f"adding up {n:,} partitions", f"{seconds:.0f} s, {before:.0f} MB, then {after:.0f}"
    )


class Watching(Progress):
    """Looks at how much is held, as a job goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[int] = []
        self.iterations = 0

    def advance(self, n: int, failed: int = 0) -> None:
        self.files.append(held()[1])

    def iterate(self, event: Mapping[str, Any]) -> None:
        self.iterations += 1
        if self.iterations % 10 == 0:
            self.files.append(held()[1])


def assert_flat(files: list[int]) -> None:
    """No more at the end than after the beginning."""
    start = max(files[: max(3, len(files) // 4)])
    assert max(files) <= start + 3, files


@pytest.mark.parametrize("workers", [0, 1])
def test_open_files_are_no_more_with_many_images_and_iterations(
    workers: int, tmp_path: Path, times: Times, figures: Figures
) -> None:
    n, iterations = times(300, 10_000), times(40, 500)
    if workers and n < 1000:
        pytest.skip("is tried in the long form")
    folder = save_pictures(tmp_path / "in", 20, side=64)
    for number in range(n):
        rest, blue = divmod(number, 250)
        path = folder / "many" / f"{rest:04d}" / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (1, 1), (rest % 250, 77, blue)).save(path)
    plan = make_plan([folder], partition_pixels=20)
    assert len(plan.partitions) > n // 20
    with connect(workers=workers) as engine:
        watching = Watching()
        held_store = open_or_create(tmp_path / "s.zarr", plan, DecodeSettings())
        before = held()[0]
        summary = ingest_and_count(held_store, engine, watching)
        assert summary.failed == 0
        assert_flat(watching.files)
        while_ingesting = max(watching.files)
        store, watching = Store.open(tmp_path / "s.zarr"), Watching()
        for seed in range(100):
            settings = FitSettings(64, seed=seed, tol=0, n_init=1, chunk_colors=4000)
            fit(store, engine, watching, settings)
            if watching.iterations >= iterations:
                break
        assert watching.iterations >= iterations
        assert_flat(watching.files)
        after = held()[0]
    assert after - before < GROWTH
    where = "in this process" if workers == 0 else "of the scheduler"
    figures.note(f"{n:,} images, open files {where}, at most", while_ingesting)
    figures.note(
        f"{watching.iterations:,} iterations, open files {where}, at most", max(watching.files)
    )
