"""Tests that run the Python and the commands of README.md and docs/guide.md as they stand."""

from __future__ import annotations

import logging
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from kmeans_dask.cli.app import app
from tests.command import run_here
from tests.conftest import photograph

ROOT = Path(__file__).parents[1]
README, GUIDE = ((ROOT / name).read_text() for name in ("README.md", "docs/guide.md"))
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README + GUIDE, re.DOTALL)
PYTHON = [block for language, block in BLOCKS if language == "python"]
COMMANDS = [
    line.partition("#")[0] if "--fixed-colors" not in line else line.rpartition("#")[0]
    for _, block in BLOCKS
    for line in block.splitlines()
    if line.startswith("kmeans-dask ")
    and "--scheduler" not in line  # those are run in tests/clusters
]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
# Options of other programs, those of Typer for shell completion, and the one that shows the rest.
OTHERS = {
    *("--constraint", "--host", "--port", "--nworkers", "--nthreads", "--preload", "--wait"),
    *("--scale", "--rm", "--quality", "--posterize", "--install-completion", "--show-completion"),
    "--help",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make small images with the names that the documents use."""
    for name in ("photos", "photos/cats", "sprites", "more"):
        (tmp_path / name).mkdir()
    photograph("chelsea.png", (60, 40)).save(tmp_path / "photos" / "cats" / "a.png")
    photograph("astronaut.png", (40, 60)).save(tmp_path / "photos" / "b.png")
    photograph("rocket.jpg", (80, 54)).save(tmp_path / "photos" / "cathedral.jpg")
    photograph("rocket.jpg", (80, 54)).save(tmp_path / "photo.jpg")
    photograph("coffee.png", (60, 40)).save(tmp_path / "more" / "d.png")
    rgba = np.dstack([np.asarray(photograph("coffee.png", (32, 32))), np.full((32, 32), 255)])
    rgba[:, :9, 3] = 0
    Image.fromarray(rgba.astype(np.uint8)).save(tmp_path / "sprites" / "c.png")
    return tmp_path


@pytest.fixture
def logger() -> Iterator[None]:
    """Undo what `--verbose` sets for its process."""
    yield
    logging.getLogger("kmeans_dask").setLevel(logging.NOTSET)


@pytest.mark.parametrize("block", PYTHON)
def test_the_python_of_the_documents_runs_as_it_stands(block: str, folder: Path) -> None:
    """Run a block as a script, so that its guard is needed where it starts workers."""
    script = folder / "script.py"
    script.write_text(block)
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("logger")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_documents_run_as_they_stand(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    words = shlex.split(command)
    name, *rest = words[1:]
    makes_store = rest[:2] == ["photos/", "photos.zarr"]
    if "--keep-palette" in rest or ("photos.zarr" in rest[:2] and not makes_store):
        run_here("compress", "photos/", "out/", "--store", "photos.zarr", "--workers", "0")
        run_here("fit", "photos.zarr", "--colors", "16", "--workers", "0")
    if name == "palette":
        (folder / "out").mkdir(exist_ok=True)
        (folder / "out" / "palette.json").write_text('{"colors": ["#102030", "#ffeedd"]}')
    else:
        (folder / "brand.gpl").write_text("GIMP Palette\n0 0 0\n200 180 90\n")
    takes_workers = name not in ("compare", "info", "palette", "plot", "report")
    if takes_workers and "--workers" not in rest:
        rest += ["--workers", "0"]
    run_here(name, *rest)


def test_the_guide_shows_each_command_and_each_option() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    options = {
        option
        for command in (group, *group.commands.values())
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    }
    shown = set(OPTION.findall(GUIDE))
    assert options - shown <= OTHERS
    assert shown - options <= OTHERS
    assert set(group.commands) == set(re.findall(r"^\| `kmeans-dask (\w+) ", GUIDE, re.MULTILINE))


def test_the_documents_have_an_example_of_every_choice() -> None:
    examples = " ".join(COMMANDS)
    for option in ("--palette folder", "--palette image", "--palette auto", "--min-psnr",
                   "--weight", "--fixed-colors", "--palette-file", "--color-space", "--format webp",
                   "tokenize photos/", "--palette-name", "--effort", "--dither", "--keep-metadata",
                   "--always", "--overwrite", "--resume", "--store", "--keep-palette", "--checksum",
                   "--include", "--exclude", "--white 4095", "--white auto", "--max-pixels",
                   "--memory-limit", "--image-timeout", "--workers", "--tol", "--seed", "--n-init",
                   "--init", "--max-iter", "--dry-run", "--json", "--quiet", "--verbose",
                   "--repair"):  # fmt: skip
        assert option in examples


def test_the_readme_is_about_one_screen() -> None:
    assert len(README.splitlines()) <= 90
