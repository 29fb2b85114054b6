"""Tests that a job which stays in memory keeps to the bytes that the model promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.engine.memory_model import pixels_within
from kmeans_dask.settings import PROCESS_BYTES
from tests.security.memory import peak_of

SIDE = 2400
COMPRESS = """
import sys
import kmeans_dask as kd
from kmeans_dask.steps import compress

held = compress.compress_in_memory
def note(*given):
    print("in memory")
    return held(*given)
compress.compress_in_memory = note
kd.compress(sys.argv[1], sys.argv[2], colors=16, max_iter=2, workers=0, memory_limit=sys.argv[3])
"""


def least_memory(n_pixels: int) -> int:
    """Return the least limit, in bytes, at which `n_pixels` are held in memory by the model."""
    low, high = PROCESS_BYTES, PROCESS_BYTES + 1000 * n_pixels
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if (pixels_within(middle) or 0) >= n_pixels else (middle, high)
    return high


@pytest.mark.parametrize("channels", [3, 4])
def test_a_job_in_memory_stays_within_the_limit(channels: int, tmp_path: Path) -> None:
    """Check noise whose colours can be fitted, at the least limit that admits its pixels."""
    noise = np.random.default_rng(0).integers(0, 64, (SIDE, SIDE, channels)).astype(np.uint8) * 4
    noise[..., 3:] |= 0x7F  # two alphas
    Image.fromarray(noise).save(tmp_path / "a.png", compress_level=1)
    limit = least_memory(SIDE * SIDE)
    said, peak = peak_of(COMPRESS, tmp_path / "a.png", tmp_path / "out", str(limit))
    assert said.count("in memory") == 1
    assert peak * 2**20 <= limit
    assert (tmp_path / "out" / "a.png").is_file()  # it did not fail for want of memory


def test_without_a_limit_any_number_of_pixels_is_held() -> None:
    assert pixels_within(None) is None
    assert pixels_within(0) == 0
