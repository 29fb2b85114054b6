"""Tests that images keep the indices of a palette that the caller gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kmeans_dask.images.palette_files import write_entries
from kmeans_dask.settings import EncodeSettings, FitSettings
from kmeans_dask.steps.palettes import read_palette_file
from tests.steps.strategies import job, save

COLORS = [[200, 10, 10, 255], [10, 200, 10, 255], [10, 10, 200, 255], [90, 90, 90, 255]]
CLEAR = [0, 0, 0, 0]
FILES = {
    "no clear entry": (COLORS, 4),  # a transparent entry is added last
    "clear last": ([*COLORS, CLEAR], 4),
    "clear first": ([CLEAR, *COLORS], 0),
    "clear amidst": ([*COLORS[:2], CLEAR, *COLORS[2:]], 2),
    "two clear": ([COLORS[0], CLEAR, COLORS[1], CLEAR, *COLORS[2:]], 1),
}
WHICH = np.arange(48).reshape(6, 8) % 4  # index in COLORS of each pixel


def indices_of(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.asarray(image)


@pytest.mark.parametrize("dither", [0.0, 1.0])
@pytest.mark.parametrize("suffix", ["png", "gif"])
@pytest.mark.parametrize("name", FILES)
def test_palette_indices_are_those_of_the_palette_file(
    name: str, suffix: str, dither: float, tmp_path: Path
) -> None:
    entries, clear = FILES[name]
    write_entries(tmp_path / "p.json", np.array(entries, np.uint8))
    pixels = np.array(COLORS, np.uint8)[WHICH]
    save(tmp_path / "in" / "opaque.png", pixels[..., :3])
    pixels[1, 3, 3] = pixels[4, :, 3] = 0
    save(tmp_path / "in" / "with holes.png", pixels)
    job(
        [tmp_path / "in"],
        tmp_path / "out",
        FitSettings(),
        EncodeSettings(suffix, always=True, dither=dither),
        palette=read_palette_file(tmp_path / "p.json"),
    )
    wanted = np.array([entries.index(color) for color in COLORS])[WHICH]
    assert np.array_equal(indices_of(tmp_path / "out" / f"opaque.{suffix}"), wanted)
    wanted[pixels[..., 3] == 0] = clear
    assert np.array_equal(indices_of(tmp_path / "out" / f"with holes.{suffix}"), wanted)
    with Image.open(tmp_path / "out" / f"with holes.{suffix}") as image:
        shown = np.asarray(image.convert("RGBA"))
    assert np.array_equal(shown[..., 3], pixels[..., 3])
    assert np.array_equal(shown[shown[..., 3] > 0], pixels[pixels[..., 3] > 0])
