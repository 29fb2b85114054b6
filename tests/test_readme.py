"""The README's Python and its commands, run as they stand."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.command import run_here
from tests.conftest import photograph

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.partition("#")[0] if "--fixed-colors" not in line else line.rpartition("#")[0]
    for _, block in BLOCKS
    for line in block.splitlines()
    if line.startswith("kmeans-dask ")
    and "--scheduler" not in line  # those are run in tests/clusters
]


def test_the_python_of_the_readme_runs_as_it_stands(photos: Path, tmp_path: Path) -> None:
    run_here("ingest", photos, tmp_path / "photos.zarr", "--workers", "0")
    blocks = [block for language, block in BLOCKS if language == "python"]
    assert blocks
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", block],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the README's commands speak of, small."""
    for name in ("photos", "photos/cats", "sprites", "more"):
        (tmp_path / name).mkdir()
    photograph("chelsea.png", (60, 40)).save(tmp_path / "photos" / "cats" / "a.png")
    photograph("astronaut.png", (40, 60)).save(tmp_path / "photos" / "b.png")
    photograph("rocket.jpg", (80, 54)).save(tmp_path / "photos" / "cathedral.jpg")
    photograph("coffee.png", (60, 40)).save(tmp_path / "more" / "d.png")
    rgba = np.dstack([np.asarray(photograph("coffee.png", (32, 32))), np.full((32, 32), 255)])
    rgba[:, :9, 3] = 0
    Image.fromarray(rgba.astype(np.uint8)).save(tmp_path / "sprites" / "c.png")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_readme_run_as_they_stand(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    words = shlex.split(command)
    if {"--keep-palette", "more/", "verify"} & set(words):  # of a store that is there
        run_here("compress", "photos/", "out/", "--store", "photos.zarr", "--workers", "0")
    palette = '{"colors": ["#102030", "#ffeedd"]}'
    if words[1] == "palette":
        (folder / "out").mkdir()
        (folder / "out" / "palette.json").write_text(palette)
    else:
        (folder / "brand.gpl").write_text("GIMP Palette\n0 0 0\n200 180 90\n")
        alone = "--workers" in words or words[1] in ("compare", "plot")
        words += [] if alone else ["--workers", "0"]
    run_here(*words[1:])


def test_the_readme_has_an_example_of_every_choice() -> None:
    said = " ".join(COMMANDS)
    for option in ("--palette folder", "--palette image", "--palette auto", "--min-psnr",
                   "--weight", "--fixed-colors", "--palette-file", "--color-space", "--format webp",
                   "tokenize photos", "--effort", "--dither", "--keep-metadata"):  # fmt: skip
        assert option in said
