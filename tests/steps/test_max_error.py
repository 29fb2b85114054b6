"""Tests of `--max-error`: small important colours stay, in palettes and with lossy indices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

import kmeans_dask as kd
from tests.steps.strategies import noise, save

RED = (230, 20, 30)


@pytest.fixture(scope="module")
def chart() -> NDArray[np.uint8]:
    """Return a grey photograph with one small red square."""
    grey = data.camera()[:200, :200]  # type: ignore[no-untyped-call]
    pixels = np.repeat(grey[:, :, None], 3, axis=2)
    pixels[100:103, 40:43] = RED
    return np.asarray(pixels, np.uint8)


def errors_of(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the error of each pixel, 0 to 255: the root mean square over red, green and blue."""
    squares = (before[..., :3].astype(np.float64) - after[..., :3]) ** 2
    return np.asarray(np.sqrt(squares.mean(axis=-1)))


@pytest.mark.parametrize("space", ["rgb", "oklab"])
@pytest.mark.parametrize("colors", [8, 64])
def test_a_small_colour_stays(chart: NDArray[np.uint8], space: str, colors: int) -> None:
    options = {"color_space": space, "n_init": 1}
    plain = kd.quantize(chart, colors, **options)  # type: ignore[arg-type]
    kept = kd.quantize(chart, colors, max_error=25, **options)  # type: ignore[arg-type]
    if colors == 8:
        assert errors_of(chart, np.asarray(plain.image.convert("RGB"))).max() > 90
    found = errors_of(chart, np.asarray(kept.image.convert("RGB")))
    assert found.max() <= 25
    assert len(kept.palette) <= colors


def test_a_limit_without_room_is_missed_by_little(chart: NDArray[np.uint8]) -> None:
    kept = kd.quantize(chart, 8, max_error=19)
    assert 19 < errors_of(chart, np.asarray(kept.image.convert("RGB"))).max() < 40


def test_a_limit_that_the_palette_cannot_keep_leaves_it_as_it_is(chart: NDArray[np.uint8]) -> None:
    plain, tried = kd.quantize(chart, 4), kd.quantize(chart, 4, max_error=1)
    assert np.array_equal(plain.palette.entries, tried.palette.entries)


def test_translucent_colours_are_kept(tmp_path: Path) -> None:
    pixels = np.zeros((60, 60, 4), np.uint8)
    pixels[..., :3] = np.arange(60)[:, None, None] * 2
    pixels[..., 3] = 255
    pixels[10:12, 10:12] = (250, 250, 40, 128)
    found = kd.quantize(pixels, 6, max_error=12)
    after = np.asarray(found.image.convert("RGBA"))
    assert np.abs(after[10:12, 10:12].astype(int) - (250, 250, 40, 128)).max() <= 12


@pytest.mark.parametrize("chunk", [100, 1000, 1 << 22])
def test_chunks_do_not_change_the_palette(tmp_path: Path, chunk: int) -> None:
    save(tmp_path / "in" / "a.png", noise(1, (40, 40)))
    store = kd.ingest(tmp_path / "in", tmp_path / "s.zarr", workers=0)
    few = store.fit(24, max_error=60, chunk_colors=chunk, workers=0)
    whole = store.fit(24, max_error=60, chunk_colors=10**6, workers=0)
    assert np.array_equal(few.palette.entries, whole.palette.entries)
    assert few.palette.entries.shape[0] <= 24


@pytest.mark.parametrize("palette", ["shared", "image"])
@pytest.mark.parametrize("lossy", [0.0, 20.0])
def test_jobs_keep_the_limit_or_the_image(
    chart: NDArray[np.uint8], tmp_path: Path, palette: str, lossy: float
) -> None:
    save(tmp_path / "in" / "chart.png", chart)
    save(tmp_path / "in" / "noise.png", noise(2, (80, 80)))
    found = kd.compress(
        tmp_path / "in", tmp_path / "out", colors=32, palette=palette, max_error=40, lossy=lossy,
        workers=0,
    )  # fmt: skip
    assert found.max_error <= 40
    assert found.compressed + found.below_target + found.kept == 2 or found.kept
    for name in ("chart", "noise"):
        before = np.asarray(Image.open(tmp_path / "in" / f"{name}.png").convert("RGB"))
        after = np.asarray(Image.open(tmp_path / "out" / f"{name}.png").convert("RGB"))
        assert errors_of(before, after).max() <= 40
    chart_is_red = np.asarray(Image.open(tmp_path / "out" / "chart.png").convert("RGB"))[101, 41]
    assert np.abs(chart_is_red.astype(int) - RED).max() < 60


def test_the_fewest_colours_of_a_psnr_keep_the_limit(chart: NDArray[np.uint8]) -> None:
    free = kd.quantize(chart, 64, min_psnr=28)
    kept = kd.quantize(chart, 64, min_psnr=28, max_error=20)
    assert errors_of(chart, np.asarray(kept.image.convert("RGB"))).max() <= 20
    assert len(free.palette) < len(kept.palette) < 64
