"""What the tests of the command line share: jobs that were run once, and their files."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.command import all_below, chunks, tree
from tests.command import run_here as run
from tests.command import summary_here as summary
from tests.conftest import pixels_of

SCOPES = ("shared", "folder", "image", "auto")
TARGET = 27.0  # dB: with 16 colours, the shared palette reaches it for one photograph, not for all


class Done(NamedTuple):
    """A job's output folder and summary."""

    out: Path
    summary: dict[str, Any]


def compress(source: Path, out: Path, *words: str | Path, code: int = 0) -> Done:
    """`compress` in one process, with every image written; the summary is of what is there."""
    found = summary("compress", source, out, "--workers", "0", "--always", *words, code=code)
    there = [out / name for name in tree(out) if Path(name).suffix not in _OURS]
    assert found["compressed"] + found["kept"] == len(there)
    assert found["output_bytes"] == sum(path.stat().st_size for path in there)
    assert found["compressed"] + found["kept"] + found["failed"] == found["images"]
    return Done(out, found)


_OURS = (".json", ".jsonl", ".html")


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def pairs(source: Path, out: Path, suffix: str = ".png") -> list[tuple[Path, Path]]:
    """Each image of `source` and what became of it, which must be there."""
    found = [
        (path, out / path.relative_to(source).with_suffix(suffix)) for path in files_of(source)
    ]
    assert found
    assert all(written.is_file() for _, written in found)
    return found


def psnr(images: Iterable[tuple[Path, Path]]) -> float:
    """Of opaque images together, in dB, from the files."""
    off = [pixels_of(source).astype(np.float64) - pixels_of(written) for source, written in images]
    return float(10 * np.log10(255**2 / (np.concatenate(off) ** 2).mean()))


def rgba_of(path: Path) -> NDArray[np.uint8]:
    """(h, w, 4) by Pillow; all 0 where it is clear."""
    with Image.open(path) as image:
        pixels = np.array(image.convert("RGBA"))
    pixels[pixels[..., 3] == 0] = 0
    return pixels


def colors_of(path: Path) -> list[str]:
    """The palette of a PNG file."""
    entries = np.frombuffer(chunks(path)[b"PLTE"], np.uint8).reshape(-1, 3)
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in entries.tolist()]


def places_of(colors: list[str]) -> NDArray[np.float64]:
    """Colours `#rrggbb` as numbers (k, 3)."""
    return np.array([list(bytes.fromhex(color[1:])) for color in colors], np.float64)


def save_rgba(pixels: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def soft_sprite() -> NDArray[np.uint8]:
    """A disc of two colours on nothing, its edge fading: 10 colours beside clear, (64, 64, 4)."""
    y, x = np.mgrid[:64, :64]
    from_centre = np.hypot(x - 31.5, y - 31.5)
    sprite = np.zeros((64, 64, 4), np.uint8)
    sprite[..., :3] = np.where((x < 32)[..., None], (230, 40, 20), (20, 60, 220))
    sprite[..., 3] = 51 * (((31 - from_centre) / 3).clip(0, 5)).astype(np.uint8)
    return sprite


def hard_sprite() -> NDArray[np.uint8]:
    """The same without partial transparency."""
    sprite = soft_sprite()
    sprite[..., 3] = np.where(sprite[..., 3] > 100, 255, 0)
    return sprite


@pytest.fixture(scope="session")
def scopes(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """The photographs in 16 colours, in each scope."""
    root = tmp_path_factory.mktemp("scopes")
    return {scope: compress(photos, root / scope, *words_of(scope, root)) for scope in SCOPES}


def words_of(scope: str, root: Path) -> tuple[str | Path, ...]:
    more: dict[str, tuple[str | Path, ...]] = {
        "shared": ("--store", root / "photos.zarr"),
        "auto": ("--min-psnr", str(TARGET)),
    }
    return ("--palette", scope, "-k", "16", *more.get(scope, ()))


@pytest.fixture(scope="session")
def pictures(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs and a sprite that is clear in part, which every format holds."""
    folder = tmp_path_factory.mktemp("pictures") / "in"
    shutil.copytree(photos, folder)
    save_rgba(hard_sprite(), folder / "sprite.png")
    return folder


@pytest.fixture(scope="session")
def formats(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """The pictures in 16 colours, in each format."""
    root = tmp_path_factory.mktemp("formats")
    return {
        name: compress(pictures, root / name, "-k", "16", "--format", name)
        for name in ("png", "webp", "gif")
    }


@pytest.fixture(scope="session")
def store(scopes: dict[str, Done]) -> Path:
    """The photographs in a store, with the palette k16; each test fits another of its own."""
    return scopes["shared"].out.parent / "photos.zarr"


LONG = "n" * 300
CANNOT = "cannot be written"
WORKERS = ("--workers", "0")
TO_FILES = {
    "palette": ("palette", "s.zarr", "{}.hex"),
    "report": ("report", "s.zarr", "{}.html"),
    "plot": ("plot", "s.zarr", "--output", "{}"),
}


@pytest.fixture(scope="session")
def small_store(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of one image, with the palette k4."""
    path = tmp_path_factory.mktemp("small") / "s.zarr"
    run("ingest", photos / "astronaut.png", path, *WORKERS)
    run("fit", path, "-k", "4", *WORKERS)
    return path


@pytest.fixture
def here(photos: Path, small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder: with images, a store, a file, and a link to itself."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(photos)
    shutil.copytree(small_store, tmp_path / "s.zarr")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "circle").symlink_to("circle")
    return tmp_path


def refuse(here: Path, words: Iterable[str], says: str) -> None:
    """Check that a command is refused in one line that contains `says`, and writes nothing."""
    before = all_below(here), tree(here)
    words = list(words)
    done = run(*words, *([] if words[0] in TO_FILES else WORKERS), code=2)
    assert says in done.stderr
    assert done.stderr.startswith("kmeans-dask: ")
    assert done.stderr.count("\n") == 1
    assert "--resume" not in done.stderr
    assert done.stdout == ""
    assert (all_below(here), tree(here)) == before
