"""Tests of estimates of the time, memory and quality of a job, which are made from a sample."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.color.ssimulacra2 import ssimulacra2
from kmeans_dask.engine import connect
from kmeans_dask.engine.memory_model import bytes_to_decode, bytes_to_fit
from kmeans_dask.job.job_settings import JobSettings
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.work_folder import open_work_folder
from kmeans_dask.plan.plan import make_plan
from kmeans_dask.settings import DecodeSettings, EncodeSettings, FitSettings
from kmeans_dask.steps.estimate import Estimate, estimate, sample_of
from tests.steps.strategies import job, noise, save

SECONDS = {"plan": 100.0, "start": 50.0, "ingest": 2.0, "fit": 3.0, "encode": 0.5, "compress": 7.0}


class Clock(Progress):
    """Progress in which each step takes the seconds of `SECONDS`, each time."""

    def finish(self) -> None:
        super().finish()
        self.seconds[self._step] = SECONDS[self._step]


def estimated(
    folder: Path,
    output: Path,
    images: int,
    scope: str = "shared",
    colors: int = 8,
    progress: Progress | None = None,
) -> tuple[Estimate, float]:
    """Return an estimate from a sample of at most `images` images, and the ratio of pixels.

    The ratio is that of the pixels of all images to the pixels of the sample.
    """
    plan = make_plan([folder])
    sample = sample_of(plan, images)
    settings = JobSettings(FitSettings(colors), EncodeSettings(), DecodeSettings(), scope)
    with (
        open_work_folder(output, {}, resume=False, overwrite=False) as work,
        connect(workers=0) as engine,
    ):
        work.begin()
        found = estimate(plan, sample, work, engine, progress or Clock(), settings)
    return found, plan.n_pixels / sample.plan.n_pixels


def pixels_of(folder: Path, name: str) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Return the pixels of an image before and after."""
    return [np.asarray(Image.open(folder / each / name).convert("RGB")) for each in ("in", "out")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(24):
        save(tmp_path / "in" / f"{number:02}.png", noise(number, (20 + number, 30)))
    return tmp_path / "in"


def test_seconds_grow_with_the_pixels_and_those_of_a_fit_with_their_root(
    folder: Path, tmp_path: Path
) -> None:
    for images in (6, 12, 24):
        found, share = estimated(folder, tmp_path / f"{images}", images)
        assert 0 < found.sampled <= images
        assert share > 1.5 or images == 24
        steps = SECONDS["ingest"] + SECONDS["encode"]
        assert found.seconds == pytest.approx(steps * share + SECONDS["fit"] * math.sqrt(share))
    found, share = estimated(folder, tmp_path / "image", 6, "image")
    assert found.seconds == pytest.approx(SECONDS["compress"] * share)


def test_seconds_of_what_was_done_before_are_left_out(folder: Path, tmp_path: Path) -> None:
    progress = Progress()
    progress.seconds = {"plan": 9.0, "ingest": 1000.0, "fit": 1000.0, "encode": 1000.0}
    found, _ = estimated(folder, tmp_path / "out", 24, progress=progress)
    assert 0 < found.seconds < 1000


@pytest.mark.parametrize(
    ("mode", "suffix", "of_pixel"),
    [("RGB", "png", 14), ("RGBA", "png", 22), ("RGB", "webp", 25), ("RGB", "jpg", 14)],
)
def test_memory_is_that_of_the_image_that_takes_most(
    mode: str, suffix: str, of_pixel: int, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (50, 40)).save(tmp_path / "in" / "small.webp")
    Image.new("RGB", (1100, 100)).save(tmp_path / "in" / "wide.png")
    Image.new(mode, (1000, 1000)).save(tmp_path / "in" / f"large.{suffix}")
    found, _ = estimated(tmp_path / "in", tmp_path / "out", 24)
    assert found.worker_bytes == bytes_to_decode(1_000_000, of_pixel)


def test_a_smaller_image_may_take_more_than_the_largest(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (1000, 1000)).save(tmp_path / "in" / "large.png")
    Image.new("RGB", (1000, 800)).save(tmp_path / "in" / "thirsty.webp")
    Image.new("RGB", (1000, 500)).save(tmp_path / "in" / "small.webp")
    found, _ = estimated(tmp_path / "in", tmp_path / "out", 24)
    assert found.worker_bytes == bytes_to_decode(800_000, 25)


@pytest.mark.parametrize("scope", ["shared", "image", "folder"])
def test_memory_is_that_of_the_colours_where_these_take_more(scope: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pixels = [rng.integers(0, 256, (60, 50, 3)) for _ in range(2)]
    for number, each in enumerate(pixels):
        save(tmp_path / "in" / f"{number}.png", each)
    distinct = [len(np.unique(each.reshape(-1, 3), axis=0)) for each in pixels]
    of_all = len(np.unique(np.concatenate(pixels).reshape(-1, 3), axis=0))
    found, _ = estimated(tmp_path / "in", tmp_path / "out", 24, scope)
    n = max(distinct) if scope == "image" else of_all
    assert found.worker_bytes == bytes_to_fit(n, opaque=True) > bytes_to_decode(3000, 25)


def test_colours_of_a_collection_are_at_most_as_many_times_those_of_a_sample(
    folder: Path, tmp_path: Path
) -> None:
    whole, _ = estimated(folder, tmp_path / "whole", 24)
    part, share = estimated(folder, tmp_path / "part", 6)
    assert share > 2
    assert part.worker_bytes >= whole.worker_bytes


@pytest.mark.parametrize("scope", ["shared", "image"])
def test_psnr_is_that_of_the_summary(scope: str, folder: Path, tmp_path: Path) -> None:
    save(folder / "plain.png", np.full((90, 90, 3), 9))  # one colour: nothing is lost
    save(folder / "kept.png", np.full((1, 1, 3), 9))
    done = job([folder], tmp_path / "out", FitSettings(8), scope=scope)
    assert done.kept
    found, _ = estimated(folder, tmp_path / "whole", 99, scope)
    assert found.psnr == pytest.approx(done.psnr, abs=1e-9)
    assert found.psnr_off == 0
    assert found.output_bytes == done.output_bytes
    assert done.scored < done.compressed
    assert found.scored == done.scored


def test_the_score_of_all_images_is_that_of_the_summary(folder: Path, tmp_path: Path) -> None:
    for number in range(12, 24):
        (folder / f"{number}.png").unlink()
    done = job([folder], tmp_path / "out", FitSettings(8))
    assert done.ssimulacra2 is not None
    found, _ = estimated(folder, tmp_path / "whole", 99)
    assert (found.scored, found.ssimulacra2_off) == (done.scored, 0)
    assert found.ssimulacra2 == pytest.approx(done.ssimulacra2, abs=1e-3)
    assert found.as_dict()["ssimulacra2"] == found.ssimulacra2


def test_a_score_of_a_sample_is_within_what_it_may_be_off_by(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for number in range(60):
        pixels = rng.normal(120, rng.uniform(5, 60), (24, 24, 3)).clip(0, 255)
        save(tmp_path / "in" / f"{number:03}.png", pixels)
    done = job([tmp_path / "in"], tmp_path / "out", FitSettings(8), scope="image")
    scores = [ssimulacra2(*pixels_of(tmp_path, path.name)) for path in (tmp_path / "in").iterdir()]
    assert done.compressed == len(scores)
    found, share = estimated(tmp_path / "in", tmp_path / "part", 30, "image")
    assert share > 1.5
    assert found.ssimulacra2 is not None
    assert 0 < found.ssimulacra2_off < 20
    assert abs(found.ssimulacra2 - float(np.mean(scores))) < 1.5 * found.ssimulacra2_off


def test_psnr_of_a_sample_is_within_what_it_may_be_off_by(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for number in range(200):
        spread = rng.uniform(5, 60)
        pixels = rng.normal(120, spread, (24, 24, 3)).clip(0, 255)
        save(tmp_path / "in" / f"{number:03}.png", pixels)
    done = job([tmp_path / "in"], tmp_path / "out", FitSettings(8), scope="image")
    assert done.psnr is not None
    found, share = estimated(tmp_path / "in", tmp_path / "part", 60, "image")
    assert share > 2
    assert found.psnr is not None
    assert 0 < found.psnr_off < 2
    assert abs(found.psnr - done.psnr) < 2 * found.psnr_off
