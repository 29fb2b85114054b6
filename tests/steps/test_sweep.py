"""Tests that a sweep says what a job would do, for each number of colours."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.engine import connect
from kmeans_dask.job.progress import Progress
from kmeans_dask.plan.plan import make_plan
from kmeans_dask.settings import PARTITION_PIXELS, DecodeSettings, EncodeSettings, FitSettings
from kmeans_dask.steps import sweep as module
from kmeans_dask.steps.sweep import Point, Sweep, suggest, sweep
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
    partition_pixels: int = PARTITION_PIXELS,
) -> Sweep:
    with connect(workers=0) as engine:
        decode = DecodeSettings(flat=encode.flat)
        return sweep(
            *(
                make_plan([folder], partition_pixels=partition_pixels),
                store,
                engine,
                Progress(),
                COLORS,
                weights,
            ),
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


def test_each_weight_is_what_comes_out(folder: Path, tmp_path: Path) -> None:
    encode = EncodeSettings(always=True)
    found = swept(folder, tmp_path / "s.zarr", encode, (500.0, 0.0, 20.0, 0.0))
    assert [(point.colors, point.lossy) for point in found.points] == [
        (k, weight) for k in COLORS for weight in (0, 20, 500)
    ]
    assert found.weights == [0, 20, 500]
    for point in found.points:
        fit, writing = FitSettings(point.colors), replace(encode, lossy=point.lossy)
        done = job([folder], tmp_path / f"{point.colors} {point.lossy}", fit, writing)
        assert (point.n_bytes, point.kept, point.psnr) == (done.output_bytes, done.kept, done.psnr)
        assert done.fitted
        assert (point.palette_psnr, point.entries) == (done.fitted.psnr, len(done.fitted.palette))
        assert (point.scored, point.ssimulacra2) == (done.scored, done.ssimulacra2)


@pytest.mark.parametrize("partition_pixels", [1, 2000])
def test_crops_are_those_of_the_files_of_a_job(
    partition_pixels: int, folder: Path, tmp_path: Path
) -> None:
    encode, weights = EncodeSettings(), (0.0, 500.0)
    found = swept(folder, tmp_path / "s.zarr", encode, weights, 9)
    again = swept(folder, tmp_path / "t.zarr", encode, weights, 9, partition_pixels)
    assert again.points == found.points
    assert [(crop.before, crop.after) for crop in again.crops] == [
        (crop.before, crop.after) for crop in found.crops
    ]
    assert len({crop.window.name for crop in found.crops}) == 7
    assert "crops" not in found.as_dict()
    seen = set()
    for number, point in enumerate(found.points):
        output = tmp_path / f"{point.colors} {point.lossy}"
        writing = replace(encode, lossy=point.lossy)
        job([folder], output, FitSettings(point.colors), writing)
        for crop in found.crops:
            window, after = crop.window, crop.after[number]
            kept = output / window.name
            file = kept.with_suffix(".png")
            seen.add(after is None)
            if after is None:
                assert kept.read_bytes() == (folder / window.name).read_bytes()
                continue
            with Image.open(file) as image, Image.open(io.BytesIO(after)) as shown:
                left, top = window.left, window.top
                part = image.convert("RGBA").crop(
                    (left, top, left + window.width, top + window.height)
                )
                assert np.array_equal(np.asarray(part), np.asarray(shown.convert("RGBA")))
    assert seen == {True, False}


def point_of(colors: int, lossy: float, n_bytes: int, quality: float | None) -> Point:
    return Point(colors, lossy, colors, 1, quality, quality, quality, 1, 0.1, n_bytes, 0)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(2, 0, 1, 20.0), (4, 0, 2, 30.0), (8, 0, 3, 32.0), (16, 0, 4, 33.0)], (4, 0)),
        ([(2, 3, 1, 20.0), (4, 3, 2, 30.0), (8, 3, 3, 32.0), (16, 3, 4, 33.0)], (4, 3)),
        ([(2, 0, 1, 20.0), (4, 0, 2, None)], None),
        # of two weights: the plain points are below the hull of the lossy ones
        (
            [
                *((2, 0, 20, 20.0), (2, 1, 10, 19.0), (4, 0, 40, 50.0), (4, 1, 22, 49.0)),
                *((8, 0, 80, 60.0), (8, 1, 60, 58.0)),
            ],
            (4, 1),
        ),
        ([(2, 0, 10, None), (2, 1, 10, None)], None),
    ],
)
def test_the_suggestion_is_the_knee_of_the_best_points(
    points: list[tuple[int, float, int, float | None]], expected: tuple[int, float] | None
) -> None:
    found = suggest([point_of(*each) for each in points])
    assert (found and (found.colors, found.lossy)) == expected
