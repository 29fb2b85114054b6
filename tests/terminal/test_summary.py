"""Tests of what a summary says of images that a palette serves badly, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.command import run_here
from tests.steps.strategies import noise, save


def compress(*words: str | Path, code: int = 0) -> tuple[dict[str, Any], str]:
    """Run `compress`; return the summary of its record, and what it wrote to stdout."""
    out = next(word for word in words if isinstance(word, Path) and word.name == "out")
    said = run_here("compress", *words, "--workers", "0", "--overwrite", code=code).stdout
    summary: dict[str, Any] = json.loads((out / "report.json").read_text())["summary"]
    return summary, said


def line_of(said: str, name: str) -> str | None:
    found = [line for line in said.splitlines() if line.startswith(name + " ")]
    return found[0][len(name) :].strip() if found else None


def mixed(folder: Path) -> Path:
    save(folder / "noise.png", noise(1))
    save(folder / "tiny.gif", np.full((2, 2, 3), 34))  # a file that no palette makes smaller
    return folder


@pytest.mark.parametrize(
    ("words", "without"),
    [
        ((), 1),
        (("--palette", "shared"), 1),
        (("--palette-file", "p.hex"), 1),
        (("--always",), 0),
        (("--palette", "image"), 0),
        (("--palette", "folder"), 0),
        (("--palette", "auto", "--min-psnr", "10"), 0),
    ],
)
def test_images_that_have_not_the_palette_of_all_are_counted(
    words: tuple[str, ...], without: int, tmp_path: Path
) -> None:
    (tmp_path / "p.hex").write_text("000000\nffffff\n")
    words = tuple(str(tmp_path / word) if word == "p.hex" else word for word in words)
    summary, said = compress(mixed(tmp_path / "in"), tmp_path / "out", *words)
    assert summary["without_palette"] == without
    assert summary["kept"] == (0 if "--always" in words else 1)
    wanted = "1 of the kept: --always gives all the palette" if without else None
    assert line_of(said, "own colours") == wanted
    assert ("without the palette" in (tmp_path / "out" / "report.html").read_text()) is bool(
        without
    )


def test_an_image_below_the_target_is_not_one_that_always_would_write(tmp_path: Path) -> None:
    save(tmp_path / "in" / "noise.png", noise(1))
    summary, _ = compress(tmp_path / "in", tmp_path / "out", "-k", "2", "--min-psnr", "60")
    assert (summary["below_target"], summary["without_palette"]) == (1, 0)


@pytest.mark.parametrize("scope", ["shared", "image"])
def test_the_summary_warns_of_renumbered_label_masks(scope: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    labels = np.random.default_rng(1).choice(np.array([0, 7, 15, 255], np.uint8), (64, 64))
    grey = Image.fromarray(labels)
    grey.save(tmp_path / "in" / "grey.png", compress_level=0)
    mask = Image.fromarray(labels)
    mask.putpalette(bytes(range(256)) * 3)
    mask.save(tmp_path / "in" / "mask.png", compress_level=0)
    save(tmp_path / "in" / "noise.png", noise(1, (64, 64)))
    summary, said = compress(tmp_path / "in", tmp_path / "out", "--palette", scope)
    assert (summary["compressed"], summary["reindexed"]) == (3, 2)
    said_of = line_of(said, "renumbered")
    assert said_of == "2 indexed, or of few greys: leave label masks out"


@pytest.mark.parametrize("words", [(), ("--palette", "image"), ("--dither", "1")])
@pytest.mark.parametrize("via", ["memory", "store"])
def test_nine_patches_stay_where_their_frame_would_not(
    via: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    pixels = noise(2, (40, 40))
    pixels[0] = pixels[-1] = pixels[:, 0] = pixels[:, -1] = (0, 0, 0)
    patch = save(tmp_path / "in" / "button.9.png", pixels)
    save(tmp_path / "in" / "button.png", pixels)
    if via == "store" and "image" not in words:
        words = (*words, "--store", str(tmp_path / "s.zarr"))
    summary, said = compress(tmp_path / "in", tmp_path / "out", "-k", "3", "--always", *words)
    assert (summary["compressed"], summary["kept"], summary["nine_patches"]) == (1, 1, 1)
    assert summary["without_palette"] == 0
    assert (tmp_path / "out" / "button.9.png").read_bytes() == patch.read_bytes()
    wanted = "1 of the kept: their frame has to stay as it is"
    assert line_of(said, "nine-patches") == wanted


@pytest.mark.parametrize("words", [(), ("--palette", "image"), ("--dither", "1")])
@pytest.mark.parametrize("via", ["memory", "store"])
def test_the_largest_error_is_that_of_the_pixel_that_is_off_by_most(
    via: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    map_ = np.full((60, 60, 3), 250, np.uint8)
    map_[::2] = 240
    map_[10:12, 10:12] = (255, 0, 0)  # a small area of another colour
    save(tmp_path / "in" / "map.bmp", map_)
    save(tmp_path / "in" / "grey.bmp", np.full((60, 60, 3), 245))
    if via == "store" and "image" not in words:
        words = (*words, "--store", str(tmp_path / "s.zarr"))
    chosen = ("-k", "2", "--init", "random", "--seed", "1", "--n-init", "1", "--max-iter", "1")
    summary, said = compress(tmp_path / "in", tmp_path / "out", *chosen, *words)
    assert summary["compressed"] == 2
    worst = {}
    for name in ("map", "grey"):
        with (
            Image.open(tmp_path / "in" / f"{name}.bmp") as before,
            Image.open(tmp_path / "out" / f"{name}.png") as after,
        ):
            apart = np.asarray(before).astype(float) - np.asarray(after.convert("RGB"))
        worst[f"{name}.bmp"] = np.sqrt((apart**2).mean(axis=2).max())
    name = max(worst, key=lambda name: worst[name])
    assert summary["max_error"] == pytest.approx(worst[name], abs=1e-9)
    assert worst[name] > 20
    assert summary["max_error_in"] == name
    assert line_of(said, "largest error") == f"{worst[name]:.1f} of 255, in {name}"


def test_where_nothing_is_lost_there_is_no_largest_error(tmp_path: Path) -> None:
    save(tmp_path / "in" / "plain.bmp", np.full((20, 20, 3), 9))
    summary, said = compress(tmp_path / "in", tmp_path / "out")
    assert (summary["max_error"], summary["max_error_in"], summary["psnr"]) == (0, None, None)
    assert line_of(said, "largest error") is None


def test_an_input_file_that_changed_after_ingest_is_not_what_is_written(tmp_path: Path) -> None:
    small = save(tmp_path / "in" / "small.gif", np.full((2, 2, 3), 34))
    store = tmp_path / "s.zarr"
    run_here("ingest", tmp_path / "in", store, "--workers", "0")
    run_here("fit", store, "-k", "4", "--workers", "0")
    save(small, np.arange(12).reshape(2, 2, 3))
    said = run_here("encode", store, tmp_path / "out", "--workers", "0").stdout
    wanted = "1 than the input file, which is gone or has changed"
    assert line_of(said, "larger") == wanted
    with Image.open(tmp_path / "out" / "small.png") as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), np.full((2, 2, 3), 34))
