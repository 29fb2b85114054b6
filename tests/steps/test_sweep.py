"""Tests that a sweep says what a job would do, for each number of colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kmeans_dask.engine import connect
from kmeans_dask.job.progress import Progress
from kmeans_dask.plan.plan import make_plan
from kmeans_dask.settings import DecodeSettings, EncodeSettings, FitSettings
from kmeans_dask.steps import sweep as module
from kmeans_dask.steps.sweep import Sweep, sweep
from tests.conftest import photograph
from tests.steps.strategies import job, noise, save

COLORS = (2, 5, 16, 120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of images; the more colours are used, the more of the files would grow."""
    for number in range(4):
        save(tmp_path / "in" / f"{number}.png", noise(number, (20 + number, 30), "both"))
    save(tmp_path / "in" / "plain.png", np.full((8, 8, 3), 30))
    for quality in (20, 95):
        photo = photograph("coffee.png", (90, 60))
        photo.save(tmp_path / "in" / f"photo {quality}.jpg", quality=quality)
    return tmp_path / "in"


def swept(
    folder: Path,
    store: Path,
    encode: EncodeSettings,
    weights: Sequence[float] = (0.0,),
    n_crops: int = 0,
) -> Sweep:
    with connect(workers=0) as engine:
        decode = DecodeSettings(flat=encode.flat)
        return sweep(
            *(make_plan([folder]), store, engine, Progress(), COLORS, weights),
            *(FitSettings(), encode, decode, n_crops),
        )


@pytest.mark.parametrize("change", [{}, {"dither": 1.0}, {"lossy": 500.0}], ids=str)
@pytest.mark.parametrize("always", [False, True])
@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_a_sweep_of_all_images_is_what_comes_out(
    suffix: str, always: bool, change: dict[str, float], folder: Path, tmp_path: Path
) -> None:
    encode = EncodeSettings(suffix, always=always, **change)  # type: ignore[arg-type]
    weight = change.get("lossy", 0.0)
    found = swept(folder, tmp_path / "s.zarr", replace(encode, lossy=0.0), (weight,))
    assert found.sampled == 7
    for point in found.points:
        done = job([folder], tmp_path / f"{point.colors}", FitSettings(point.colors), encode)
        assert point.n_bytes == done.output_bytes
        assert point.kept == done.kept
        assert (point.psnr is None) == (done.psnr is None)
        assert point.psnr == done.psnr
        assert done.fitted
        assert point.palette_psnr == done.fitted.psnr
        assert (point.scored, point.ssimulacra2) == (done.scored, done.ssimulacra2)
    if not always and "lossy" not in change:
        assert len({point.kept for point in found.points}) > 1


def test_bytes_of_a_sample_are_scaled_by_those_of_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SAMPLE_IMAGES", 1)
    monkeypatch.setattr(module, "_SAMPLE_PIXELS", 1)
    for number in range(3):  # files that are equal, byte for byte
        save(tmp_path / "in" / f"{number}.png", noise(7))
    found = swept(tmp_path / "in", tmp_path / "s.zarr", EncodeSettings())
    assert found.sampled == 1
    done = job([tmp_path / "in"], tmp_path / "out", FitSettings(16))
    assert [point.n_bytes for point in found.points if point.colors == 16] == [done.output_bytes]
