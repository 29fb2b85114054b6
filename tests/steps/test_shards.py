"""Collections too large for one store: docs/scaling.md's way through several, and its bounds."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from kmeans_dask.engine import Engine, connect
from kmeans_dask.errors import JobError
from kmeans_dask.job.progress import Progress
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.kmeans.plain import plain_distances
from kmeans_dask.plan.plan import Plan
from kmeans_dask.settings import DecodeSettings, FitSettings
from kmeans_dask.steps.fit import fit
from kmeans_dask.store import Store
from kmeans_dask.store.tally import Tally
from tests.clusters.processes import ROOT, run
from tests.command import palette_file, tree
from tests.steps.strategies import table_of

TEXT = (ROOT / "docs" / "scaling.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", TEXT, re.DOTALL)
INGEST, SUM, REST = [block for _, block in BLOCKS[-3:]]


def test_the_documents_way_through_several_stores_gives_the_same_bytes(
    photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(photos, tmp_path / "photos" / "a")
    shutil.copytree(photos / "cats", tmp_path / "photos" / "b")
    shutil.copyfile(photos / "coffee.webp", tmp_path / "photos" / "b" / "coffee.webp")
    (tmp_path / "photos" / "a" / "coffee.webp").unlink()
    here = 'kmeans-dask() { python -m kmeans_dask "$@"; }\nset -e\n'
    run("bash", "-c", here + INGEST, cwd=tmp_path)
    (tmp_path / "total.py").write_text(SUM)
    run("bash", "-c", f"python total.py\n{here}{REST}", cwd=tmp_path)
    run("compress", "photos", "whole", "--colors", "64", "--workers", "0", cwd=tmp_path)
    whole, parts = tree(tmp_path / "whole"), tree(tmp_path / "out")
    expected = palette_file(tmp_path / "whole")["colors"]
    for part in ("a", "b"):
        assert palette_file(tmp_path / "out" / part)["colors"] == expected
    names = {name for name in whole if name.startswith(("a/", "b/"))}
    assert len(names) == 5
    assert {name: parts[name] for name in names} == {name: whole[name] for name in names}


@pytest.fixture
def engine() -> Iterator[Engine]:
    with connect(workers=0) as opened:
        yield opened


def total_of(path: Path, histogram: ColorHistogram, translucent: int = 0) -> Store:
    """A store that holds a total only."""
    plan = Plan((), {}, (), {})
    store = Store.create(path, plan.as_record(), DecodeSettings().of_result)
    tally = Tally(1, histogram.pixels, 1, 0, translucent, 0, 0)
    store.write_colors(histogram, tally.as_record(plan.generation))
    return store


def a_lot(pixels: int, n: int = 3000) -> ColorHistogram:
    """So many pixels, of random colours."""
    random = np.random.default_rng(5)
    codes = np.sort(random.choice(1 << 24, n, replace=False)).astype(np.uint32)
    weights = random.integers(1, 2 * pixels // n, n)
    weights[-1] += pixels - weights.sum()
    return ColorHistogram(codes, weights)


def test_ten_to_the_fifteenth_pixels_are_summed_exactly(tmp_path: Path, engine: Engine) -> None:
    histogram = a_lot(10**15)
    assert histogram.pixels == 10**15
    assert histogram.weights.min() > 0
    store = total_of(tmp_path / "s.zarr", histogram)
    for chunk in (1 << 22, 700):  # in one task, and in rounds
        settings = FitSettings(8, tol=0, chunk_colors=chunk)
        result = fit(store, engine, Progress(), settings)
        assert result.converged
        assert result.weights.sum() == 10**15
        centroids = store.read_palette("k8").centroids
        labels = plain_distances(histogram.colors.astype(float), centroids).argmin(axis=1)
        for cluster in range(8):
            mine = labels == cluster
            weights = [int(weight) for weight in histogram.weights[mine]]
            for channel in range(3):
                values = histogram.colors[mine, channel].tolist()
                total = sum(w * v for w, v in zip(weights, values, strict=True))
                assert centroids[cluster, channel] == float(Fraction(total, sum(weights)))


@pytest.mark.parametrize(
    ("space", "translucent", "most"),
    [("rgb", 0, (2**63 - 1) // 255), ("rgb", 1, (2**63 - 1) // 255**2), ("oklab", 0, 2**49 - 1)],
)
def test_more_pixels_than_can_be_summed_exactly_are_refused(
    space: str, translucent: int, most: int, tmp_path: Path, engine: Engine
) -> None:
    alphas = np.array([255, 128 if translucent else 255, 255])
    colors = np.array([[0, 0, 0], [255, 0, 9], [255, 255, 255]])
    histogram = table_of(colors, alphas)
    settings = FitSettings(2, space=space, chunk_colors=1)  # each chunk by itself has fewer
    # Before each sum, the bound is looked at in floating point: that is a little lower.
    for pixels, name in ((most - (1 << 12), "a"), (most + 1, "b")):
        weights = np.array([pixels // 3, pixels // 3, pixels - 2 * (pixels // 3)])
        store = total_of(
            tmp_path / f"{name}.zarr", replace(histogram, weights=weights), translucent
        )
        if pixels <= most:
            assert fit(store, engine, Progress(), settings).weights.sum() == pixels
            continue
        with pytest.raises(JobError, match=rf"more than the {most:,} that can be summed exactly"):
            fit(store, engine, Progress(), settings)
        assert store.palette_names == []
