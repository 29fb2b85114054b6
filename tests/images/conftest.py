"""What the tests of images share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from kmeans_dask.color.palette import Palette
from kmeans_dask.settings import MAX_EFFORT


@pytest.fixture(scope="session")
def photograph() -> NDArray[np.uint8]:
    """(120, 160, 3) uint8: a face, skin, an orange suit and a flag."""
    astronaut: NDArray[np.uint8] = data.astronaut()  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(astronaut[40:160, 150:310])


def some_palette(
    rng: np.random.Generator, entries: int, *, transparent: bool = False, partial: bool = False
) -> Palette:
    """In no order, black among it; `partial`: half of the colours have some alpha, 0 to 255."""
    codes = rng.choice(1 << 24, entries - transparent, replace=False)
    codes[len(codes) // 2 :][:1] = 0
    columns = [codes >> 16, codes >> 8 & 255, codes & 255]
    if partial:
        alphas = rng.integers(0, 256, len(codes))
        alphas[alphas == 10] = 11  # Pillow misreads a tRNS chunk of one 0 and a last 10
        columns.append(np.where(rng.random(len(codes)) < 0.5, alphas, 255))
    return Palette.of_colors(np.stack(columns, axis=1).astype(np.uint8), transparent=transparent)


def needs_oxipng(effort: int) -> None:
    if effort == MAX_EFFORT:
        pytest.importorskip("oxipng", reason="the highest effort needs oxipng")


Entries = NDArray[np.uint8]


def of(*hexes: str) -> Entries:
    """Entries of rrggbbaa."""
    return np.array([list(bytes.fromhex(text)) for text in hexes], np.uint8)


def opaque(count: int) -> Entries:
    """Different colours, the first of them 0, 0, 1."""
    codes = np.arange(1, count + 1)
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255, codes * 0 + 255], 1).astype("u1")


FOUR = of("000000ff", "ff8000ff", "010203ff", "ff8000ff")
FOUR_CLEAR = of("ff8000ff", "00000000", "010203ff", "ff8000ff")
FOUR_PARTIAL = of("ff800080", "00000000", "010203ff", "ff800080")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all examples of a property: each overwrites the file of the one before."""
    return tmp_path_factory.mktemp("palettes")
