from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kmeans_dask.kernels.jit import compiled_elsewhere, jit
from kmeans_dask.kernels.private_folders import kernel_folder
from kmeans_dask.kmeans import boxed_step, precompile
from kmeans_dask.kmeans.precompile import compiled_ahead

_STEP = "boxed_step.step_boxed"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, for this process to ask about and for others to fill."""
    folder = tmp_path / "kernels"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
    return folder


def test_the_other_process_leaves_the_step_on_disk_says_so_and_goes_on_with_seeding(
    cache: Path,
) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "kmeans_dask.kmeans.precompile"],
        capture_output=True,
        check=True,
        timeout=1200,
    )
    assert said.stdout == b"."
    assert list(cache.glob(f"*/{_STEP}-*.nbi"))
    assert list(cache.glob("*/seeding._choose-*.nbi"))
    assert not precompile._is_worthwhile()


def test_a_process_that_has_none_of_it_waits_and_takes_it_from_disk(cache: Path) -> None:
    """What it compiles itself numba counts as a miss of the cache, and what is there as a hit."""
    script = """
import numpy as np
from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.boxed_step import step_boxed
from kmeans_dask.kmeans.precompile import compiled_ahead
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.kmeans.points import color_points

codes = np.arange(0, 1 << 24, 50_000, dtype=np.uint32)
points = color_points(ColorHistogram(codes, np.ones(len(codes), np.int64)))
with compiled_ahead():
    labels = Assignment(points).labels(points.values[::9].astype(float))
stats = step_boxed.dispatcher.stats
print(len(stats.cache_hits), len(stats.cache_misses), labels.max())
"""
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, timeout=1200, text=True
    )
    n_colors = len(range(0, 1 << 24, 50_000))
    assert said.stdout.split() == ["1", "0", str((n_colors - 1) // 9)]


@pytest.mark.parametrize("state", ["none", "older than the source", "writable by others", "there"])
def test_it_is_worthwhile_where_the_step_is_not_on_disk_as_it_is_now(
    cache: Path, state: str
) -> None:
    folder = kernel_folder(Path(boxed_step.__file__))
    assert folder
    assert folder.parent == cache
    if state != "none":
        index = folder / f"{_STEP}-1.py3.nbi"
        index.write_bytes(b"")
        written = Path(boxed_step.__file__).stat().st_mtime + (
            -1 if state.startswith("older") else 1
        )
        os.utime(index, (written, written))
        index.chmod(0o666 if state.startswith("writable") else 0o644)
    assert precompile._is_worthwhile() == (state != "there")


def test_it_is_not_where_nothing_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "relative")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(boxed_step, "__file__", shutil.copy(boxed_step.__file__, tmp_path))
    (tmp_path / "__pycache__").touch()
    assert not precompile._is_worthwhile()


def test_without_a_cache_of_its_own_it_looks_beside_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    source = Path(shutil.copy(boxed_step.__file__, tmp_path))
    monkeypatch.setattr(boxed_step, "__file__", str(source))
    assert precompile._is_worthwhile()
    (tmp_path / "__pycache__" / f"{_STEP}-165.py311.nbi").write_bytes(b"")
    assert not precompile._is_worthwhile()


def test_the_other_process_ends_with_the_block(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[subprocess.Popen[bytes]] = []

    class Sleeping(subprocess.Popen[bytes]):
        def __init__(self, *_words: object, **_options: object) -> None:
            words = [sys.executable, "-c", "import time; time.sleep(5000)"]
            super().__init__(words, stdout=subprocess.PIPE)
            begun.append(self)

    monkeypatch.setattr(subprocess, "Popen", Sleeping)

    def fail() -> None:
        with compiled_ahead():
            assert begun[0].poll() is None
            raise RuntimeError("of the block")

    with pytest.raises(RuntimeError, match="of the block"):
        fail()
    assert begun[0].poll() is not None


def test_a_kernel_that_is_compiled_elsewhere_is_waited_for_once() -> None:
    waited = []

    @jit
    def twice(x: int) -> int:
        return x * 2

    with compiled_elsewhere(twice.py_func.__qualname__, lambda: waited.append(1)):
        assert [twice(3), twice(4)] == [6, 8]
    assert len(waited) == 1

    @jit
    def again(x: int) -> int:
        return x * 2

    assert again(np.int64(3)) == 6
    assert len(waited) == 1
