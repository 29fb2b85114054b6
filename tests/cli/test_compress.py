"""Scopes of palettes, and targets, by the command line: files read back by other programs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from distributed import LocalCluster
from PIL import Image

from kmeans_dask.kmeans.plain import plain_labels
from tests.cli.conftest import (
    SCOPES,
    TARGET,
    Done,
    colors_of,
    compress,
    files_of,
    pairs,
    places_of,
    psnr,
    rgba_of,
    save_rgba,
    words_of,
)
from tests.command import palette_file, tree
from tests.command import run_here as run
from tests.command import summary_here as summary
from tests.conftest import photograph, pixels_of

# -- scopes -----------------------------------------------------------------------------------


def test_each_scope_writes_its_palettes_where_they_belong(
    photos: Path, scopes: dict[str, Done]
) -> None:
    images = {str(path.relative_to(photos).with_suffix(".png")) for path in files_of(photos)}
    assert tree(scopes["shared"].out).keys() == images | {"palette.json"}
    assert tree(scopes["folder"].out).keys() == images | {"palette.json", "cats/palette.json"}
    assert tree(scopes["image"].out).keys() == images
    assert tree(scopes["auto"].out).keys() == images | {"palette.json"}

    def palettes(scope: str) -> dict[str, list[str]]:
        return {name: colors_of(scopes[scope].out / name) for name in sorted(images)}

    shared = palette_file(scopes["shared"].out)["colors"]
    assert all(colors == shared for colors in palettes("shared").values())
    assert palette_file(scopes["auto"].out)["colors"] == shared
    for name, colors in palettes("folder").items():
        assert colors == palette_file((scopes["folder"].out / name).parent)["colors"]
    assert len({tuple(colors) for colors in palettes("folder").values()}) == 2
    assert len({tuple(colors) for colors in palettes("image").values()}) == 4


@pytest.mark.parametrize("scope", SCOPES)
def test_the_figures_of_each_scope_are_those_of_its_files(
    scope: str, photos: Path, scopes: dict[str, Done]
) -> None:
    out, found = scopes[scope]
    counted = [found[name] for name in ("images", "compressed", "kept", "failed", "below_target")]
    assert counted == [4, 4, 0, 0, 0]
    assert found["psnr"] == pytest.approx(psnr(pairs(photos, out)))
    if scope != "auto":
        assert found["private"] == (4 if scope == "image" else 0)
    assert found["colors"] == (16 if scope in ("shared", "auto") else None)
    assert found["pixels"] == sum(len(pixels_of(path)) for path in files_of(photos))


@pytest.mark.parametrize("scope", SCOPES)
def test_in_each_scope_every_pixel_gets_the_nearest_colour_of_its_palette(
    scope: str, photos: Path, scopes: dict[str, Done]
) -> None:
    for source, written in pairs(photos, scopes[scope].out):
        with Image.open(written) as image:
            indices = np.asarray(image).ravel()
        expected = plain_labels(pixels_of(source), places_of(colors_of(written)))
        np.testing.assert_array_equal(indices, expected)


def test_an_image_is_better_off_with_a_palette_of_its_own(
    photos: Path, scopes: dict[str, Done]
) -> None:
    shared, folder, image = (pairs(photos, scopes[scope].out) for scope in SCOPES[:3])
    for of_all, of_folder, of_one in zip(shared, folder, image, strict=True):
        assert psnr([of_one]) > psnr([of_all]) + 1
        alone = of_one[0].parent.name == "cats"
        assert psnr([of_one]) == psnr([of_folder]) if alone else psnr([of_one]) > psnr([of_folder])


def test_with_auto_every_image_reaches_the_target(photos: Path, scopes: dict[str, Done]) -> None:
    for pair in pairs(photos, scopes["auto"].out):
        assert psnr([pair]) >= TARGET
        assert len(colors_of(pair[1])) <= 16


def test_auto_gives_a_palette_of_its_own_to_just_the_images_that_need_it(
    photos: Path, scopes: dict[str, Done]
) -> None:
    out, found = scopes["auto"]
    shared = palette_file(out)["colors"]
    needing = []
    in_both = zip(pairs(photos, out), pairs(photos, scopes["shared"].out), strict=True)
    for (source, written), (_, with_shared) in in_both:
        needs_it = psnr([(source, with_shared)]) < TARGET
        assert (colors_of(written) != shared) == needs_it
        if needs_it:
            needing.append(source.name)
        else:
            assert written.read_bytes() == with_shared.read_bytes()
    assert needing == ["astronaut.png", "chelsea.jpg", "coffee.webp"]
    assert found["private"] == 3


def test_partitions_change_no_byte_of_auto(
    photos: Path, scopes: dict[str, Done], tmp_path: Path
) -> None:
    words = (*words_of("auto", tmp_path), "--partition-pixels", "1")
    out = compress(photos, tmp_path / "out", *words).out
    assert tree(out) == tree(scopes["auto"].out)


def test_workers_change_no_byte_in_any_scope(
    photos: Path, scopes: dict[str, Done], tmp_path: Path
) -> None:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        words = ("--scheduler", cluster.scheduler_address, "--always")
        shown = {
            scope: run("compress", photos, tmp_path / scope, *words, *words_of(scope, tmp_path))
            for scope in ("folder", "image", "auto")
        }
    for scope, done in shown.items():
        assert tree(tmp_path / scope) == tree(scopes[scope].out)
        private = re.search(r"^own palette +(\d) of the compressed$", done.stdout, re.MULTILINE)
        assert int(private[1] if private else 0) == scopes[scope].summary["private"]


# -- a target ---------------------------------------------------------------------------------


def test_each_image_gets_the_fewest_colours_that_reach_the_target(
    photos: Path, tmp_path: Path
) -> None:
    out, found = compress(photos, tmp_path / "out", "--palette", "image", "--min-psnr", "31")
    assert (found["compressed"], found["below_target"]) == (4, 0)
    used = {}
    for source, written in pairs(photos, out):
        assert psnr([(source, written)]) >= 31
        used[source.name] = len(colors_of(written))
    assert len(set(used.values())) > 1
    for name in ("astronaut.png", "coffee.webp"):
        words = ("--palette", "image", "-k", str(used[name] - 1))
        image = (
            compress(photos / name, tmp_path / Path(name).stem, *words).out
            / f"{Path(name).stem}.png"
        )
        assert len(colors_of(image)) == used[name] - 1
        assert psnr([(photos / name, image)]) < 31


def test_an_image_that_no_palette_brings_to_the_target_is_kept_as_it_was(
    photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    shutil.copytree(photos, folder)
    flag = np.array([[200, 0, 30, 255], [250, 250, 250, 255]], np.uint8)[np.arange(2400) % 2]
    save_rgba(flag.reshape(40, 60, 4), folder / "flag.png")
    words = ("--palette", "image", "-k", "4", "--min-psnr", "30")
    out, found = compress(folder, tmp_path / "out", *words)
    assert (found["compressed"], found["kept"], found["below_target"]) == (1, 4, 4)
    assert found["private"] == 1
    originals, written = tree(folder), tree(out)
    np.testing.assert_array_equal(rgba_of(out / "flag.png"), rgba_of(folder / "flag.png"))
    del originals["flag.png"], written["flag.png"]
    assert written == originals


def test_a_store_is_fitted_with_the_fewest_colours_that_reach_a_target(
    photos: Path, store: Path, tmp_path: Path
) -> None:
    fitted = summary("fit", store, "-k", "200", "--min-psnr", "30", "--workers", "0")
    assert fitted["psnr"] >= 30
    assert fitted["colors"] < 200
    fewer = summary("fit", store, "-k", str(fitted["colors"] - 1), "--workers", "0")
    assert fewer["psnr"] < 30
    words = ("--palette-name", fitted["palette"], "--always", "--workers", "0")
    found = summary("encode", store, tmp_path / "out", *words)
    originals, written = tree(photos), tree(tmp_path / "out")
    kept = [name for name in originals if written.get(name) == originals[name]]
    assert len(kept) == found["below_target"] == found["kept"] > 0
    good = [
        (photos / name, tmp_path / "out" / Path(name).with_suffix(".png"))
        for name in originals.keys() - set(kept)
    ]
    assert len(good) == found["compressed"] > 0
    assert min(psnr([pair]) for pair in good) >= 30


# -- what cannot be done ----------------------------------------------------------------------


def test_many_tiny_images_each_get_a_palette_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    photo = photograph("astronaut.png", (400, 320))
    for i in range(500):
        left, top = 16 * (i % 25), 16 * (i // 25)
        photo.crop((left, top, left + 16, top + 16)).save(folder / f"{i:03}.png")
    out, found = compress(folder, tmp_path / "out", "--palette", "image")
    assert (found["compressed"], found["private"], found["failed"]) == (500, 500, 0)
    assert found["psnr"] is None  # no more colours than pixels: all are kept
    for source, written in pairs(folder, out):
        np.testing.assert_array_equal(pixels_of(written), pixels_of(source))
