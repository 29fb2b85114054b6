"""Tests of headers: the size of an image, and the memory for decoding it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from kmeans_dask.images.header import read_header
from tests.images.files import saved, written


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "JPEG2000"])
def test_the_size_is_read_from_the_header(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, saved(Image.new("RGB", (7, 3)), kind))
    assert read_header(path).size == (7, 3)


@pytest.mark.parametrize(
    ("name", "mode", "of_pixel"),
    [
        ("a.jpg", "RGB", 14), ("a.jpg", "CMYK", 14), ("a.png", "RGB", 14), ("a.png", "RGBA", 22),
        ("a.png", "LA", 22), ("a.tif", "RGBA", 22), ("a.webp", "RGB", 25), ("a.jp2", "RGB", 25),
        ("a.gif", "P", 14),
    ],
)  # fmt: skip
def test_what_decoding_takes_is_told_by_format_and_alpha(
    name: str, mode: str, of_pixel: int, tmp_path: Path
) -> None:
    Image.new(mode, (30, 20)).save(tmp_path / name)
    assert read_header(tmp_path / name).pixel_bytes == of_pixel
