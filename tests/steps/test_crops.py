"""Tests that crops are cut where errors are largest, and show what a job would write."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kmeans_dask.engine import connect
from kmeans_dask.job.progress import Progress
from kmeans_dask.settings import FitSettings
from kmeans_dask.steps import crops
from kmeans_dask.steps.crops import Window, choose_windows, find_windows
from kmeans_dask.steps.fit import fit
from kmeans_dask.store import Store
from tests.steps.strategies import ingested, noise, save


def windows_in(store: Store, n: int, colors: int = 2) -> tuple[Window, ...]:
    with connect(workers=0) as engine:
        fitted = fit(store, engine, Progress(), FitSettings(colors))
    proposals = []
    for partition_id in store.partition_ids:
        places = tuple(range(len(store.partition(partition_id).images)))
        proposals.append(find_windows(store.path, fitted, (partition_id, places)))
    chosen = choose_windows(proposals, n)
    assert choose_windows(proposals[::-1], n) == chosen
    return chosen


def plain(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 40, np.uint8)


@pytest.mark.parametrize(
    ("shape", "at", "expected"),
    [
        ((60, 40), (10, 10), (0, 0, 40, 60)),
        ((400, 500), (300, 350), (192, 160, 192, 192)),
        ((200, 192), (5, 5), (0, 0, 192, 192)),
        ((100, 600), (20, 500), (384, 0, 192, 100)),
    ],
    ids=str,
)
def test_the_first_window_has_the_largest_error(
    shape: tuple[int, int], at: tuple[int, int], expected: tuple[int, ...], tmp_path: Path
) -> None:
    pixels = plain(*shape)
    rows, columns = slice(at[0], at[0] + 40), slice(at[1], at[1] + 20)
    pixels[rows, columns] = noise(1, pixels[rows, columns].shape[:2])
    save(tmp_path / "in" / "a.png", pixels)
    (window,) = windows_in(ingested([tmp_path / "in"], tmp_path / "s.zarr"), 1)
    left, top, width, height = window.left, window.top, window.width, window.height
    assert (window.name, width, height) == ("a.png", *expected[2:])
    assert 0 <= left <= shape[1] - width
    assert 0 <= top <= shape[0] - height
    assert top <= at[0]
    assert top + height >= min(at[0] + 40, shape[0] - shape[0] % 32)
    assert left <= at[1]
    assert left + width >= at[1] + 20


def test_windows_are_of_different_images_and_do_not_overlap_in_one(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "in" / f"{number}.png", noise(number, (260, 480)))
    for pixels in (1, 1 << 24):
        store = ingested([tmp_path / "in"], tmp_path / f"{pixels}.zarr", pixels)
        chosen = windows_in(store, 4)
        assert len({window.name for window in chosen[:3]}) == 3
        of_one = [window for window in chosen if window.name == chosen[3].name]
        assert len(of_one) == 2
        assert abs(of_one[0].left - of_one[1].left) >= crops.SIDE
    assert 4 <= len(windows_in(store, 99)) <= 6


def test_a_clear_part_has_no_error(tmp_path: Path) -> None:
    pixels = noise(5, (192, 384), "both")
    pixels[:, :192, 3] = 0
    save(tmp_path / "in" / "a.png", pixels)
    (window,) = windows_in(ingested([tmp_path / "in"], tmp_path / "s.zarr"), 1, 4)
    assert window.left == 192


@pytest.mark.parametrize("alphas", ["opaque", "both"])
def test_a_crop_holds_the_pixels_as_they_were(alphas: str, tmp_path: Path) -> None:
    pixels = noise(7, (50, 60), alphas)
    save(tmp_path / "in" / "a.png", pixels)
    store = ingested([tmp_path / "in"], tmp_path / "s.zarr")
    (partition_id,) = store.partition_ids
    record = store.partition(partition_id).images[0]
    window = Window(partition_id, 0, "a.png", 32, 5, 20, 30)
    over = pixels[..., 3].ravel() if alphas == "both" else None
    file = window.cut(pixels[..., :3].reshape(-1, 3), over, record)
    with Image.open(io.BytesIO(file)) as image:
        found = np.asarray(image.convert("RGBA" if alphas == "both" else "RGB"))
    assert np.array_equal(found, pixels[5:35, 32:52])
