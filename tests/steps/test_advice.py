from __future__ import annotations

from pathlib import Path

import pytest
import skimage.data

from kmeans_dask.engine import connect
from kmeans_dask.images.lossy_webp import bytes_as_lossy_webp
from kmeans_dask.job.gallery import ImageRow
from kmeans_dask.settings import DecodeSettings
from kmeans_dask.steps.advice import share_as_lossy_webp
from tests.steps.strategies import save


def row(path: Path, psnr: float | None, n_bytes: int, status: str = "compressed") -> ImageRow:
    name = path.name
    return ImageRow(name, name, str(path), status, 999, n_bytes, psnr, 100)  # type: ignore[arg-type]


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    pixels = skimage.data.chelsea()[40:140, 100:260]  # type: ignore[no-untyped-call]
    return save(tmp_path / "cat.png", pixels)


def test_the_share_is_that_of_the_images_that_were_tried(photograph: Path) -> None:
    rows = [row(photograph, 34.0, 9000), row(photograph, 30.0, 5000)]
    found = [bytes_as_lossy_webp(photograph, psnr, DecodeSettings()) for psnr in (34.0, 30.0)]
    with connect(workers=0) as engine:
        share = share_as_lossy_webp(rows, engine, DecodeSettings())
    assert share == pytest.approx(sum(each or 0 for each in found) / 14_000)


def test_without_loss_there_is_no_advice(photograph: Path, tmp_path: Path) -> None:
    rows = [
        row(photograph, None, 9000),
        row(photograph, None, 9000, "kept"),
        row(tmp_path / "gone.png", 30.0, 9000),
    ]
    with connect(workers=0) as engine:
        assert share_as_lossy_webp(rows, engine, DecodeSettings()) is None
        assert share_as_lossy_webp([], engine, DecodeSettings()) is None
