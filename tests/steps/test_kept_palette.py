"""Tests of `--keep-palette`: only outputs of new and changed images are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command import summary_here
from tests.steps.strategies import noise, save

Marks = dict[str, tuple[int, int]]


def marks_of(output: Path) -> Marks:
    """Return inode and modification time in nanoseconds of each image of an output, by name."""
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in output.iterdir()
        if path.suffix in (".png", ".gif")
    }


@pytest.fixture
def collection(tmp_path: Path) -> tuple[Path, Path, Marks]:
    """Return a folder of images, its compressed output, where one image was kept, and its marks."""
    folder, output = tmp_path / "in", tmp_path / "out"
    for number in range(9):
        save(folder / f"{number}.png", noise(number))
    save(folder / "tiny.gif", np.full((2, 2, 3), 30))
    found = compress(folder, output)
    assert (found["compressed"], found["kept"]) == (9, 1)
    return folder, output, marks_of(output)


def compress(folder: Path, output: Path, *words: str) -> dict[str, Any]:
    store = output.parent / "s.zarr"
    return summary_here(
        "compress", folder, output, "--store", store, "--workers", "0", "-k", "8",
        "--partition-pixels", "2000", *words,
    )  # fmt: skip


def written_since(output: Path, before: Marks) -> list[str]:
    now = marks_of(output)
    return sorted(name for name in now if now[name] != before.get(name))


def test_where_images_are_only_gone_none_is_written(
    collection: tuple[Path, Path, Marks],
) -> None:
    folder, output, before = collection
    (folder / "1.png").unlink()
    found = compress(folder, output, "--keep-palette")
    assert found["changes"]["gone"] == 1
    assert (found["compressed"], found["kept"]) == (8, 1)
    assert written_since(output, before) == []
    (folder / "6.png").unlink()
    (folder / "tiny.gif").unlink()
    assert compress(folder, output, "--keep-palette")["compressed"] == 7
    assert written_since(output, before) == []


def test_none_but_new_and_changed_images_are_written(
    collection: tuple[Path, Path, Marks],
) -> None:
    folder, output, before = collection
    (folder / "0.png").unlink()
    save(folder / "1.png", noise(40))
    save(folder / "new.png", noise(41))
    found = compress(folder, output, "--keep-palette")
    assert found["changes"] == {"new": 1, "changed": 1, "gone": 1}
    assert written_since(output, before) == ["1.png", "new.png"]


def test_a_damaged_output_file_is_written_again(collection: tuple[Path, Path, Marks]) -> None:
    folder, output, before = collection
    (folder / "1.png").unlink()
    whole = (output / "2.png").read_bytes()
    (output / "2.png").write_bytes(whole[:-1])
    compress(folder, output, "--keep-palette")
    assert written_since(output, before) == ["2.png"]
    assert (output / "2.png").read_bytes() == whole
