"""Palettes and palette indices by the command line: weights, fixed colours, files, spaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask import open_indices
from kmeans_dask.kmeans.plain import plain_labels
from tests.cli.conftest import (
    Done,
    colors_of,
    compress,
    files_of,
    hard_sprite,
    pairs,
    places_of,
    psnr,
    rgba_of,
    save_rgba,
)
from tests.command import palette_file, tree
from tests.command import run_here as run
from tests.command import summary_here as summary
from tests.conftest import photograph, pixels_of

SUFFIXES = ("json", "gpl", "act", "pal", "hex", "png")


# -- weights, fixed colours, palettes from files, spaces --------------------------------------


def test_with_images_weighed_alike_a_small_one_is_not_drowned(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    photograph("astronaut.png", (300, 200)).save(folder / "large.png")
    hues = np.stack(np.meshgrid([0, 90, 255], [0, 128, 255], [40, 200, 255]), axis=-1)
    save_rgba(hues.reshape(3, 9, 3).repeat(2, axis=0).astype(np.uint8), folder / "small.png")
    quality = {}
    for weight in ("pixels", "images"):
        out = compress(folder, tmp_path / weight, "-k", "8", "--weight", weight).out
        quality[weight] = [psnr([pair]) for pair in pairs(folder, out)]
    assert quality["images"][0] < quality["pixels"][0]
    assert quality["images"][1] > quality["pixels"][1] + 1


FIXED = ["#ff0000", "#00ff00"]


def test_fixed_colours_come_first_in_every_palette_and_in_their_order(
    photos: Path, store: Path, tmp_path: Path
) -> None:
    fix = ("--fixed-colors", "#ff0000,#0f0", "-k", "9", "--workers", "0")
    compress = ("compress", photos)
    run(*compress, tmp_path / "folder", *fix, "--always", "--palette", "folder")
    run(
        *compress,
        tmp_path / "image",
        *fix,
        "--always",
        "--palette",
        "image",
        "--color-space",
        "oklab",
    )
    run("fit", store, *fix)
    run("encode", store, tmp_path / "store", "--palette-name", "k9", "--always", "--workers", "0")
    for name in ("folder", "image", "store"):
        written = sorted((tmp_path / name).rglob("*.png"))
        assert len(written) == 4
        for path in written:
            colors = colors_of(path)
            assert colors[:2] == FIXED
            assert len(set(colors)) == len(colors) == 9
    for folder in ("folder", "folder/cats", "store"):
        assert palette_file(tmp_path / folder)["colors"][:2] == FIXED


def test_fixed_colours_may_be_all_there_are_and_stand_behind_a_clear_entry(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    photograph("astronaut.png", (90, 60)).save(folder / "photo.png")
    words = ("--fixed-colors", "#0f0,#ff0000", "--palette")
    out = compress(folder, tmp_path / "two", *words, "image", "-k", "2").out
    assert colors_of(out / "photo.png") == FIXED[::-1]
    save_rgba(hard_sprite(), folder / "sprite.png")
    out = compress(folder, tmp_path / "three", *words, "shared", "-k", "3").out
    assert palette_file(out)["colors"] == ["#00000000", *FIXED[::-1]]
    assert (rgba_of(out / "sprite.png")[..., 3] == hard_sprite()[..., 3]).all()


def test_a_palette_from_a_file_of_any_format_gives_the_same_images(
    photos: Path, scopes: dict[str, Done], tmp_path: Path
) -> None:
    expected = scopes["shared"]
    made = {suffix: tmp_path / f"colors.{suffix}" for suffix in SUFFIXES}
    words = ("--workers", "0", "--always", "--palette-file")
    for name, path in made.items():
        run("palette", expected.out / "palette.json", path)
        run("compress", photos, tmp_path / name, *words, path)
    wanted = tree(expected.out)
    del wanted["palette.json"]  # which says how many pixels have each colour
    for suffix in SUFFIXES:
        out = tmp_path / suffix
        assert palette_file(out)["colors"] == palette_file(expected.out)["colors"]
        with_palette = tree(out)
        del with_palette["palette.json"]
        assert with_palette == wanted, suffix
    found = compress(photos, tmp_path / "last", "--palette-file", made["gpl"]).summary
    assert (found["private"], found["psnr"]) == (0, expected.summary["psnr"])


def test_a_palette_with_a_clear_entry_gives_the_same_images_from_a_file_that_holds_it(
    pictures: Path, formats: dict[str, Done], tmp_path: Path
) -> None:
    expected = formats["png"].out
    colors = palette_file(expected)["colors"]
    assert colors[0] == "#00000000"
    run("palette", expected / "palette.json", tmp_path / "x.act")
    out = compress(pictures, tmp_path / "out", "--palette-file", tmp_path / "x.act").out
    assert palette_file(out)["colors"] == colors
    for source in files_of(pictures):
        name = source.relative_to(pictures).with_suffix(".png")
        assert (out / name).read_bytes() == (expected / name).read_bytes()
    done = run("palette", expected / "palette.json", tmp_path / "x.gpl", code=2)
    assert "holds no alpha" in done.stderr
    assert not (tmp_path / "x.gpl").exists()


def to_oklab(colors: NDArray[Any]) -> NDArray[np.float64]:
    """Ottosson's definition in floating point: colours (n, 3), 0 to 255, to L, a, b."""
    part = colors / 255
    light = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    to_cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    to_lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    lab: NDArray[np.float64] = np.cbrt(light @ np.array(to_cones).T) @ np.array(to_lab).T
    return lab


def test_oklab_looks_nearer_and_takes_the_colours_that_look_nearest(tmp_path: Path) -> None:
    source = tmp_path / "in" / "photo.png"
    source.parent.mkdir()
    photograph("astronaut.png", (300, 200)).save(source)
    outs = {name: tmp_path / name for name in ("rgb", "oklab", "again")}
    words = ("-k", "8", "--workers", "0", "--always", "--color-space")
    for name, out in outs.items():
        run("compress", source, out, *words, "rgb" if name == "rgb" else "oklab")
    assert tree(outs["oklab"]) == tree(outs["again"])
    seen = to_oklab(pixels_of(source))
    off = {}
    for name in ("rgb", "oklab"):
        written = outs[name] / "photo.png"
        off[name] = np.linalg.norm(seen - to_oklab(pixels_of(written)), axis=1)
        colors = to_oklab(places_of(colors_of(written)))
        nearest = np.linalg.norm(seen[:, None] - colors[None], axis=2).min(axis=1)
        if name == "oklab":
            np.testing.assert_allclose(off[name], nearest, atol=2e-4)
        else:
            assert (off[name] > nearest + 2e-4).any()
    assert off["oklab"].mean() < 0.98 * off["rgb"].mean()
    assert psnr([(source, outs["oklab"] / "photo.png")]) < psnr(
        [(source, outs["rgb"] / "photo.png")]
    )


# -- tokens -----------------------------------------------------------------------------------


def entries_of(store: Path, name: str) -> NDArray[np.uint8]:
    """A palette of a store, (k, 4)."""
    colors = summary("palette", store, "--palette-name", name)["colors"]
    return np.array([list(bytes.fromhex(color[1:].ljust(8, "f"))) for color in colors], np.uint8)


def test_palette_indices_and_their_palette_reproduce_the_pixels(
    pictures: Path, formats: dict[str, Done], tmp_path: Path
) -> None:
    made, stepwise = tmp_path / "made.zarr", tmp_path / "steps.zarr"
    found = summary("tokenize", pictures, made, "--workers", "0", "-k", "16")
    assert (found["images"], found["failed"], found["dtype"]) == (5, 0, "uint8")
    here = ("--workers", "0")
    run("ingest", pictures, stepwise, "--partition-pixels", "50000", *here)
    run("fit", stepwise, "-k", "16", *here)
    run("tokenize", stepwise, *here)
    written = [path for _, path in pairs(pictures, formats["png"].out)]
    expected = np.concatenate([rgba_of(path).reshape(-1, 4) for path in written])
    assert found["pixels"] == len(expected)
    entries = entries_of(made, "k16")
    for path in (made, stepwise):
        tokens = open_indices(path, "k16")
        assert tokens.dtype == np.uint8
        np.testing.assert_array_equal(entries[tokens.compute()], expected)


def test_palette_indices_of_two_bytes_are_exact(photos: Path, store: Path, tmp_path: Path) -> None:
    run("fit", store, "-k", "300", "--workers", "0")
    words = ("--palette-name", "k300", "--workers", "0")
    found = summary("tokenize", store, *words)
    assert (found["colors"], found["dtype"]) == (300, "uint16")
    entries = entries_of(store, "k300")
    assert len(np.unique(entries, axis=0)) == 300
    tokens = open_indices(store, "k300")
    assert tokens.dtype == np.uint16
    pixels = np.concatenate([pixels_of(path) for path in files_of(photos)])
    assert tokens.shape == (len(pixels),)
    expected = plain_labels(pixels[::11], entries[:, :3].astype(np.float64))
    np.testing.assert_array_equal(tokens[::11].compute(), expected)
    done = run("encode", store, tmp_path / "out", *words, code=2)
    assert "--colors is 300" in done.stderr
    assert not (tmp_path / "out").exists()
