"""Tests that options of other types are refused in one line, and that NumPy's numbers are taken."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kmeans_dask as kd

COLORS = "choose a whole number, 2 to 256, or up to 65536 with the command tokenize"
FIXED = "choose colours (r, g, b), 0 to 255"
PATTERNS = "choose patterns of names, such as ['*.png']"
IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
OUTPUTS = (f"out {number}" for number in count())
PATH = "is no path: name a file or folder by its path or URL"


def quantized(**options: Any) -> Any:
    return kd.quantize(IMAGE, **options)


def fitted(**options: Any) -> Any:
    return kd.fit_palette([IMAGE], **options)


def saved(**options: Any) -> Any:
    return quantized().save("a.png", **options)


def mapped(**options: Any) -> Any:
    return kd.Palette.of([[0, 0, 0]]).map(IMAGE, **options)


def compressed(**options: Any) -> Any:
    return kd.compress(**{"inputs": "in", "output": next(OUTPUTS)} | options)


def figures(found: Any) -> Any:
    """Return a result without its times."""
    if isinstance(found, kd.Quantized):
        return found.indices.tolist(), found.palette.entries.tolist()
    return {**found.as_dict(), "seconds": None}


def swept(**options: Any) -> Any:
    return kd.sweep("in", **options)


def estimated(**options: Any) -> Any:
    return kd.estimate("in", **options)


@pytest.mark.parametrize(
    ("call", "option", "value", "says"),
    [
        (quantized, "colors", "64", f"--colors is '64': {COLORS}"),
        (quantized, "colors", None, f"--colors is None: {COLORS}"),
        (quantized, "colors", True, f"--colors is True: {COLORS}"),
        (quantized, "colors", np.array([2, 3]), f"--colors is (2, 3): {COLORS}"),
        (quantized, "colors", np.float64(64), f"--colors is 64.0: {COLORS}"),
        (quantized, "seed", "x", "--seed is 'x': choose a whole number, 0 or more"),
        (quantized, "seed", False, "--seed is False: choose a whole number, 0 or more"),
        (quantized, "seed", np.int8(-1), "--seed is -1: choose 0 or more"),
        (quantized, "tol", "small", "--tol is 'small': choose a number, 0 (to the fixed point) or"),
        (quantized, "tol", True, "--tol is True: choose a number, 0 (to the fixed point) or more"),
        (quantized, "tol", np.inf, "--tol is inf: choose 0 (to the fixed point) or more"),
        (quantized, "max_iter", 1.5, "--max-iter is 1.5: choose a whole number, 1 or more"),
        (quantized, "n_init", "3", "--n-init is '3': choose a whole number, 1 or more"),
        (quantized, "min_psnr", "40", "--min-psnr is '40': choose a number, more than 0 dB"),
        (quantized, "dither", "yes", "--dither is 'yes': choose a number, 0 (none) to 1"),
        (quantized, "fixed_colors", ["red"], f"--fixed-colors is ('red',): {FIXED}"),
        (quantized, "fixed_colors", "red", f"--fixed-colors is 'red': {FIXED}"),
        (quantized, "fixed_colors", (1, 2, 3), f"--fixed-colors is (1, 2, 3): {FIXED}"),
        (quantized, "fixed_colors", [(1, 2, 256)], f"--fixed-colors is ((1, 2, 256),): {FIXED}"),
        (quantized, "fixed_colors", [(1, 2, 0.5)], f"--fixed-colors is ((1, 2, 0.5),): {FIXED}"),
        (quantized, "color_space", 3, "--color-space is 3: choose rgb or oklab"),
        (quantized, "init", np.array([[1]]), "--init is array([[1]]): choose k-means++ or random"),
        (quantized, "white", "x", "--white is 'x': choose 1 to 65535, or 'auto'"),
        (quantized, "white", 0, "--white is 0: choose 1 to 65535, or 'auto'"),
        (quantized, "max_pixels", None, "--max-pixels is None: choose a whole number, 1 or more"),
        (fitted, "colors", 2.5, f"--colors is 2.5: {COLORS}"),
        (fitted, "white", 1.5, "--white is 1.5: choose 1 to 65535, or 'auto'"),
        (fitted, "progress", "yes", "progress is 'yes': choose True, False or a function"),
        (mapped, "dither", None, "--dither is None: choose a number, 0 (none) to 1"),
        (saved, "effort", "3", "--effort is '3': choose a whole number, 0 to 9"),
        (compressed, "inputs", 3, f"3 {PATH}"),
        (compressed, "inputs", ["a.png", None], f"None {PATH}"),
        (compressed, "output", b"out", f"b'out' {PATH}"),
        (compressed, "store", 3, f"3 {PATH}"),
        (compressed, "colors", "64", f"--colors is '64': {COLORS}"),
        (compressed, "palette", 3, "--palette is 3: choose shared, folder, image or auto"),
        (compressed, "palette", np.zeros((2, 3)), "--palette is array([[0., 0"),
        (compressed, "format", None, "--format is None: choose png, webp or gif"),
        (compressed, "effort", None, "--effort is None: choose a whole number, 0 to 9"),
        (compressed, "always", 1, "--always is 1: choose True or False"),
        (compressed, "keep_metadata", "no", "--keep-metadata is 'no': choose True or False"),
        (compressed, "overwrite", "no", "--overwrite is 'no': choose True or False"),
        (compressed, "resume", None, "--resume is None: choose True or False"),
        (compressed, "keep_palette", 1, "--keep-palette is 1: choose True or False"),
        (compressed, "checksum", 1, "--checksum is 1: choose True or False"),
        (compressed, "include", 3, f"--include is 3: {PATTERNS}"),
        (compressed, "exclude", [3], f"--exclude is (3,): {PATTERNS}"),
        (compressed, "partition_pixels", "x", "--partition-pixels is 'x': choose a whole number"),
        (compressed, "partition_pixels", 0, "--partition-pixels is 0: choose 1 or more"),
        (compressed, "max_pixels", None, "--max-pixels is None: choose a whole number, 1 or more"),
        (compressed, "image_timeout", "1", "--image-timeout is '1': choose a number, more than 0"),
        (compressed, "image_timeout", 0, "--image-timeout is 0: choose more than 0 seconds"),
        (compressed, "workers", "2", "workers is '2': choose a whole number, 0 (this process) or"),
        (compressed, "memory_limit", [1], "memory_limit is (1,): choose a size, such as '2GB'"),
        (compressed, "client", "tcp://a:1", "client is 'tcp://a:1': give a Client"),
        (compressed, "progress", "yes", "progress is 'yes': choose True, False or a function"),
        (swept, "colors", 8, "--colors is 8: choose several whole numbers, such as (4, 16, 64)"),
        (swept, "colors", [2, "4"], "--colors is (2, '4'): choose several whole numbers"),
        (estimated, "palette", 3, "--palette is 3: choose shared, folder, image or auto"),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_a_value_of_another_type_is_refused_in_one_line(
    call: Callable[..., Any],
    option: str,
    value: Any,
    says: str,
    tmp_path: Path,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").symlink_to(photos)
    with pytest.raises(kd.UsageError) as caught:
        call(**{option: value})
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("call", "option", "value", "same"),
    [
        (quantized, "colors", np.int64(64), 64),
        (quantized, "seed", np.uint8(3), 3),
        (quantized, "tol", np.float32(0.5), 0.5),
        (quantized, "tol", 0, 0.0),
        (quantized, "max_iter", np.int16(2), 2),
        (quantized, "min_psnr", np.float64(30), 30),
        (quantized, "dither", np.float16(0.5), 0.5),
        (quantized, "fixed_colors", np.array([[1, 2, 3]]), [(1, 2, 3)]),
        (quantized, "fixed_colors", iter([(np.uint8(1), 2, 3)]), [(1, 2, 3)]),
        (quantized, "white", np.uint16(4095), 4095),
        (quantized, "max_pixels", np.int32(1000), 1000),
        (compressed, "colors", np.int64(8), 8),
        (compressed, "fixed_colors", [np.array([1, 2, 3], np.uint8)], [(1, 2, 3)]),
        (compressed, "min_psnr", np.float32(30), 30.0),
        (compressed, "effort", np.uint8(1), 1),
        (compressed, "always", np.True_, True),
        (compressed, "partition_pixels", np.int64(30_000), 30_000),
        (compressed, "image_timeout", np.float32(60), 60),
        (compressed, "workers", np.int64(0), 0),
        (compressed, "memory_limit", np.int64(2 << 30), 2 << 30),
        (compressed, "include", "*.png", ["*.png"]),
        (compressed, "exclude", np.array(["*.png"]), ("*.png",)),
        (swept, "colors", np.array([2, 4]), [2, 4]),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_a_number_of_numpy_or_a_single_pattern_is_taken(
    call: Callable[..., Any],
    option: str,
    value: Any,
    same: Any,
    tmp_path: Path,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("astronaut.png", "coffee.webp"):
        (tmp_path / "in" / name).write_bytes((photos / name).read_bytes())
    here = {} if call == quantized else {"workers": 0}
    found, expected = (call(**here | {option: given}) for given in (value, same))
    assert figures(found) == figures(expected)
