"""Tests of what headers tell: whether samples may be labels, and the memory for decoding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.images.decode import FEW_GREYS, decode, read_header
from tests.formats.gif_files import Gif
from tests.formats.tiff_files import PALETTE, Tiff

BLOCKS = (np.arange(400).reshape(20, 20) % 256).astype(np.uint8)
COLORS = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)


def greys(n: int) -> Image.Image:
    return Image.fromarray((np.arange(400).reshape(20, 20) % n).astype(np.uint8))


def deep_greys(n: int) -> Image.Image:
    return Image.fromarray((np.arange(400).reshape(20, 20) % n * 7).astype(np.uint16))


@pytest.mark.parametrize(
    ("name", "image", "indexed"),
    [
        ("a.png", greys(4), True),
        ("a.png", greys(FEW_GREYS), True),
        ("a.png", greys(FEW_GREYS + 1), False),
        ("a.png", greys(200).convert("P"), True),
        ("a.gif", greys(4).convert("P"), True),
        ("a.bmp", greys(4).convert("P"), True),
        ("a.tif", greys(4).convert("P"), True),
        ("a.png", greys(2).convert("1"), True),
        ("a.png", greys(4).convert("RGB"), False),
        ("a.png", greys(4).convert("RGBA"), False),
        ("a.jpg", greys(200), False),
        ("a.png", deep_greys(FEW_GREYS), True),
        ("a.tif", deep_greys(FEW_GREYS), True),
        ("a.tif", deep_greys(FEW_GREYS + 1), False),
    ],
)
def test_samples_that_may_be_labels_are_told(
    name: str, image: Image.Image, indexed: bool, tmp_path: Path
) -> None:
    image.save(tmp_path / name)
    assert decode(tmp_path / name).indexed is indexed


@pytest.mark.parametrize(
    "content",
    [
        Gif(values=BLOCKS, colors=COLORS, canvas=(30, 30), place=(5, 5)),  # RGBA, once loaded
        Tiff(values=BLOCKS[..., None], photometric=PALETTE, palette=COLORS, order=">", big=True),
    ],
    ids=["a GIF's frame in a larger canvas", "a TIFF that tifffile reads"],
)
def test_palette_indices_that_pillow_does_not_give_may_be_labels(
    content: Gif | Tiff, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(content.encode())
    assert decode(tmp_path / "a").indexed


@pytest.mark.parametrize(
    ("name", "mode", "of_pixel"),
    [
        ("a.jpg", "RGB", 14), ("a.jpg", "CMYK", 14), ("a.png", "RGB", 14), ("a.png", "RGBA", 22),
        ("a.png", "LA", 22), ("a.tif", "RGBA", 22), ("a.webp", "RGB", 25), ("a.jp2", "RGB", 25),
        ("a.gif", "P", 14),
    ],
)  # fmt: skip
def test_the_memory_of_decoding_depends_on_format_and_alpha(
    name: str, mode: str, of_pixel: int, tmp_path: Path
) -> None:
    Image.new(mode, (30, 20)).save(tmp_path / name)
    assert read_header(tmp_path / name).pixel_bytes == of_pixel
