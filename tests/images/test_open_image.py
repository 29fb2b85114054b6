"""Tests of images refused for their headers: too many pixels or frames, or samples of 32 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.errors import ImageError
from kmeans_dask.images.decode import decode
from kmeans_dask.images.header import read_header
from tests.images.files import handmade_png, saved, written
from tests.images.pixels import Pixels, pixels_of, refusal


def test_more_pixels_than_the_limit_are_refused_before_decoding(tmp_path: Path) -> None:
    png = saved(Image.new("L", (100, 101)), "PNG")
    without_pixels = written(tmp_path, png[:60])
    assert "limit of 10000" in refusal(without_pixels, 10_000)
    with pytest.raises(ImageError, match="limit of 10000"):
        read_header(without_pixels, 10_000)
    assert "limit" not in refusal(without_pixels, 10_100)


def test_exactly_as_many_pixels_as_the_limit_are_decoded(tmp_path: Path) -> None:
    path = written(tmp_path, saved(Image.new("L", (100, 100)), "PNG"))
    assert decode(path, 10_000).width == 100


def test_a_header_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, handmade_png((60_000, 60_000), 8, 2, [bytes(10)]))
    assert "60000 x 60000 pixels are more" in refusal(path)
    with pytest.raises(ImageError, match="limit"):
        decode(path)


def frames(n: int) -> list[Image.Image]:
    return [Image.new("RGB", (8, 8), (90 * number, 10, 10)) for number in range(n)]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_more_than_one_frame_is_refused(tmp_path: Path, kind: str) -> None:
    first, *others = frames(3)
    content = saved(first, kind, save_all=True, append_images=others)
    wanted = "a TIFF of 3 pages" if kind == "TIFF" else "of more than one frame"
    assert wanted in refusal(written(tmp_path, content))


def test_an_animation_of_one_frame_is_an_image(tmp_path: Path) -> None:
    content = saved(frames(2)[1], "GIF", save_all=True)
    assert pixels_of(decode(written(tmp_path, content)))[0, 0].tolist() == [90, 10, 10]


def test_of_a_photograph_with_previews_the_photograph_is_taken(
    tmp_path: Path, photograph: Pixels
) -> None:
    image = Image.fromarray(photograph)
    content = saved(image, "MPO", save_all=True, append_images=[image.resize((8, 8))])
    found = pixels_of(decode(written(tmp_path, content)))
    assert found.shape == photograph.shape
    assert np.abs(found.astype(int) - photograph).mean() < 5


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_samples_are_refused_with_advice(tmp_path: Path, mode: str) -> None:
    reason = refusal(written(tmp_path, saved(Image.new(mode, (2, 2)), "TIFF")))
    assert ("signed" if mode == "I" else "floating-point") in reason
    assert "convert" in reason
