"""Tests of the SSIMULACRA2 scores of plain jobs: of which images, of which rows, and their mean."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.color.ssimulacra2 import ssimulacra2
from kmeans_dask.plan.plan import make_plan
from kmeans_dask.settings import EncodeSettings, FitSettings
from kmeans_dask.steps import compress, scored_images
from kmeans_dask.steps.scored_images import MOST, choose_names, choose_scored, scored_rows
from tests.conftest import photograph
from tests.steps.strategies import job, noise, save

FEW = FitSettings(8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of 20 images: more than are scored."""
    for number in range(20):
        save(tmp_path / "in" / f"{number:02}.png", noise(number, (20 + number, 24)))
    return tmp_path / "in"


def pixels_of(path: Path, channels: str = "RGBA") -> np.ndarray[Any, np.dtype[np.uint8]]:
    with Image.open(path) as image:
        return np.asarray(image.convert(channels))


@pytest.mark.parametrize(
    ("images", "pixels", "n"),
    [
        (1, 10, 1),
        (16, 10, 16),
        (17, 10, 16),
        (12, 400_000, 7),
        (16, 1_000_000, 7),
        (1, 90_000_000, 1),
        (1, 0, 1),
    ],
)
def test_some_images_are_scored(images: int, pixels: int, n: int) -> None:
    names = [f"{number}.png" for number in range(images)]

    def chosen(order: list[str]) -> frozenset[str]:
        sources = [SimpleNamespace(kept_as=name, n_pixels=pixels) for name in order]
        plan: Any = SimpleNamespace(sources=iter(sources), n_pixels=images * pixels)
        return choose_scored(plan)

    assert len(chosen(names)) == n
    assert len(choose_names([(name, pixels) for name in names], quick=False)) == min(MOST, images)
    assert chosen(names[::-1]) == chosen(names) <= set(names)


@pytest.mark.parametrize(
    ("width", "height", "rows"),
    [
        (24, 30, range(30)),
        (1024, 512, range(512)),
        (1024, 4096, range(1792, 2304)),
        (16_384, 200, range(52, 148)),
        (16_385, 8, range(0)),
        (1, 1 << 22, range(1_835_008, 2_359_296)),
    ],
)
def test_rows_in_the_middle_of_a_large_image_are_scored(
    width: int, height: int, rows: range
) -> None:
    record: Any = SimpleNamespace(width=width, height=height)
    assert scored_rows(record) == rows


def test_the_choice_is_that_of_the_plan_for_any_way_of_the_images(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = job([folder], tmp_path / "held", FEW, EncodeSettings(always=True))
    assert held.scored == MOST
    monkeypatch.setattr(compress, "fits_in_memory", lambda plan, engine: False)
    for pixels in (700, 5000):
        stored = job(
            [folder],
            tmp_path / f"{pixels}",
            FEW,
            EncodeSettings(always=True),
            partition_pixels=pixels,
        )
        assert (stored.scored, stored.ssimulacra2) == (held.scored, held.ssimulacra2)


@pytest.mark.parametrize(
    ("change", "scope"),
    [
        ({}, "shared"),
        ({}, "image"),
        ({}, "folder"),
        ({}, "auto"),
        ({"dither": 0.5}, "shared"),
        ({"dither": 0.5}, "image"),
        ({"format": "webp"}, "shared"),
    ],
    ids=str,
)
def test_the_score_is_the_mean_over_the_compressed_images_of_the_choice(
    change: dict[str, Any], scope: str, folder: Path, tmp_path: Path
) -> None:
    fit = FEW if scope != "auto" else FitSettings(8, min_psnr=5.0)
    encode = EncodeSettings(always=True, **change)
    done = job([folder], tmp_path / "out", fit, encode, scope=scope)
    scores = [
        ssimulacra2(
            pixels_of(folder / name),
            pixels_of((tmp_path / "out" / name).with_suffix(encode.suffix)),
        )
        for name in choose_scored(make_plan([folder]))
    ]
    assert done.scored == len(scores) == MOST
    assert done.ssimulacra2 == pytest.approx(np.mean(scores), abs=2e-3)
    assert done.as_dict()["scored"] == MOST


def test_kept_images_have_no_score(tmp_path: Path) -> None:
    save(tmp_path / "in" / "plain.png", np.full((1, 1, 3), 9))
    done = job([tmp_path / "in"], tmp_path / "out", FEW)
    assert (done.kept, done.scored, done.ssimulacra2) == (1, 0, None)


@pytest.mark.parametrize("way", ["held", "stored", "own palette"])
def test_of_a_large_image_a_band_is_scored(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "stored":
        monkeypatch.setattr(compress, "fits_in_memory", lambda plan, engine: False)
    monkeypatch.setattr(scored_images, "_BAND", 120 * 100)
    (tmp_path / "in").mkdir()
    photograph("coffee.png", (120, 200)).save(tmp_path / "in" / "a.png")
    scope = "image" if way == "own palette" else "shared"
    done = job([tmp_path / "in"], tmp_path / "out", FEW, scope=scope)
    before, after = (pixels_of(tmp_path / name / "a.png", "RGB") for name in ("in", "out"))
    band = slice(50, 150)
    assert done.ssimulacra2 == pytest.approx(ssimulacra2(before[band], after[band]), abs=1e-3)
    assert done.ssimulacra2 != pytest.approx(ssimulacra2(before, after), abs=0.1)
