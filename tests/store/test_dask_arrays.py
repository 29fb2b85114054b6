from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kmeans_dask import open_pixels
from kmeans_dask.errors import StoreError
from kmeans_dask.plan.plan import make_plan
from tests.conftest import pixels_of
from tests.steps.strategies import ingested


@pytest.mark.parametrize("partition_pixels", [1, 1 << 24])
def test_a_store_is_one_array_of_all_its_pixels(
    photos: Path, tmp_path: Path, partition_pixels: int
) -> None:
    ingested([photos], tmp_path / "s.zarr", partition_pixels)
    sources = make_plan([photos]).sources
    expected = np.concatenate([pixels_of(Path(source.path)) for source in sources])
    pixels = open_pixels(tmp_path / "s.zarr")
    assert (pixels.shape, pixels.dtype) == (expected.shape, np.uint8)
    np.testing.assert_array_equal(pixels.compute(scheduler="sync"), expected)


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        open_pixels(tmp_path)
