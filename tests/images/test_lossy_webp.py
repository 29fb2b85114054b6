from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from kmeans_dask.errors import ImageError
from kmeans_dask.images.lossy_webp import bytes_as_lossy_webp
from kmeans_dask.settings import DecodeSettings


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    pixels = skimage.data.chelsea()[40:200, 100:300]  # type: ignore[no-untyped-call]
    Image.fromarray(pixels).save(tmp_path / "cat.png")
    return tmp_path / "cat.png"


@pytest.mark.parametrize("quality", [20, 50, 80])
def test_the_smallest_file_of_the_quality_is_found(quality: int, photograph: Path) -> None:
    file = io.BytesIO()
    with Image.open(photograph) as image:
        original = np.asarray(image).astype(int)
        image.save(file, "WEBP", quality=quality, method=4)
    with Image.open(file) as image:
        error = ((np.asarray(image).astype(int) - original) ** 2).mean()
    psnr = float(10 * np.log10(255**2 / error))
    assert bytes_as_lossy_webp(photograph, psnr - 1e-9, DecodeSettings()) == file.tell()


def test_the_middle_of_a_large_image_stands_for_the_whole(
    photograph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bytes_as_lossy_webp(photograph, 35.0, DecodeSettings())
    monkeypatch.setattr("kmeans_dask.images.lossy_webp._MOST", 120 * 160)
    part = bytes_as_lossy_webp(photograph, 35.0, DecodeSettings())
    assert whole is not None
    assert part is not None
    assert 0.5 * whole < part < 2 * whole


def test_what_lossy_webp_cannot_do_is_none(photograph: Path, tmp_path: Path) -> None:
    assert bytes_as_lossy_webp(photograph, 80.0, DecodeSettings()) is None
    Image.new("RGBA", (9, 9), (1, 2, 3, 100)).save(tmp_path / "alpha.png")
    assert bytes_as_lossy_webp(tmp_path / "alpha.png", 30.0, DecodeSettings()) is None
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(ImageError):
        bytes_as_lossy_webp(tmp_path / "broken.png", 30.0, DecodeSettings())
