"""Palettes and outputs by the command line: files read back by other programs."""

from __future__ import annotations

import base64
import itertools
import json
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from distributed import LocalCluster
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from kmeans_dask import open_indices
from kmeans_dask.engine import connection
from kmeans_dask.errors import ClusterError
from kmeans_dask.kmeans.plain import plain_labels
from tests.command import all_below, chunks, palette_file, tree
from tests.command import run_here as run
from tests.command import summary_here as summary
from tests.conftest import photograph, pixels_of

SUFFIXES = ("json", "gpl", "act", "pal", "hex", "png")
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


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def pictures(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs and a sprite that is clear in part, which every format holds."""
    folder = tmp_path_factory.mktemp("pictures") / "in"
    shutil.copytree(photos, folder)
    save_rgba(hard_sprite(), folder / "sprite.png")
    return folder


@pytest.fixture(scope="module")
def formats(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """The pictures in 16 colours, in each format."""
    root = tmp_path_factory.mktemp("formats")
    return {
        name: compress(pictures, root / name, "-k", "16", "--format", name)
        for name in ("png", "webp", "gif")
    }


@pytest.fixture(scope="module")
def store(scopes: dict[str, Done]) -> Path:
    """The photographs in a store, with the palette k16; each test fits another of its own."""
    return scopes["shared"].out.parent / "photos.zarr"


class Described(NamedTuple):
    """Images with metadata, and what became of them in 16 colours.

    bare_store: ingested without metadata
    """

    source: Path
    kept: Path
    dropped: Path
    bare_store: Path


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Described:
    """A photograph on its side with EXIF and density, and one with texts."""
    root = tmp_path_factory.mktemp("described")
    source, store = root / "in", root / "bare.zarr"
    source.mkdir()
    exif = Image.Exif()
    exif[ORIENTATION], exif[ARTIST] = 6, "Ada"
    photo = photograph("astronaut.png", (120, 80))
    photo.save(source / "turned.jpg", quality=90, exif=exif, dpi=(300, 150), comment="by hand")
    text = PngInfo()
    text.add_text("Title", "Sea")
    text.add_itxt("Author", "\N{LATIN CAPITAL LETTER Z WITH CARON}ofie")
    photo.save(source / "texts.png", pnginfo=text, dpi=(72, 72))
    kept = compress(source, root / "kept", "-k", "16", "--keep-metadata").out
    dropped = compress(source, root / "dropped", "-k", "16", "--store", store).out
    return Described(source, kept, dropped, store)


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


# -- alpha ------------------------------------------------------------------------------------


def over_all_channels(images: Iterable[tuple[Path, Path]]) -> float:
    """PSNR of images with alpha: of colours times alpha, and alpha, over three values a pixel."""
    squared = n = 0.0
    for source, written in images:
        ours, theirs = (rgba_of(path).astype(np.float64) for path in (source, written))
        for pixels in (ours, theirs):
            pixels[..., :3] *= pixels[..., 3:] / 255
        squared += float(((ours - theirs) ** 2).sum())
        n += np.count_nonzero(ours[..., 3])
    return float(10 * np.log10(255**2 * 3 * n / squared))


def test_partial_transparency_is_kept_and_opaque_images_stay_opaque(tmp_path: Path) -> None:
    folder, sprite = tmp_path / "in", soft_sprite()
    save_rgba(sprite, folder / "sprite.png")
    photograph("astronaut.png", (150, 100)).save(folder / "photo.png")
    photograph("coffee.png", (120, 90)).save(folder / "photo2.png")
    faded = np.array(photograph("chelsea.png", (120, 80)).convert("RGBA"))
    faded[..., 3] = np.linspace(0, 255, 120).astype(np.uint8)
    save_rgba(faded, folder / "faded.png")
    (folder / "sprite.png").touch()

    out, found = compress(folder, tmp_path / "image", "--palette", "image")
    assert found["composited"] == 0
    np.testing.assert_array_equal(rgba_of(out / "sprite.png"), rgba_of(folder / "sprite.png"))
    assert found["psnr"] == pytest.approx(over_all_channels(pairs(folder, out)))

    out, found = compress(folder, tmp_path / "shared", "-k", "48")
    assert (found["compressed"], found["composited"]) == (4, 0)
    assert found["psnr"] == pytest.approx(over_all_channels(pairs(folder, out)))
    for name in ("photo.png", "photo2.png"):
        assert b"tRNS" not in chunks(out / name)
        assert (rgba_of(out / name)[..., 3] == 255).all()
    for name, pixels in (("sprite.png", sprite), ("faded.png", faded)):
        alpha, written = pixels[..., 3].astype(int), rgba_of(out / name)[..., 3].astype(int)
        np.testing.assert_array_equal(written == 0, alpha == 0)
        assert (written[alpha == 255] == 255).all()
        assert ((written > 0) & (written < 255)).any()
        assert np.abs(written - alpha).mean() < 16

    webp = compress(folder, tmp_path / "webp", "-k", "48", "--format", "webp").out
    for name in ("sprite", "faded", "photo"):
        np.testing.assert_array_equal(rgba_of(webp / f"{name}.webp"), rgba_of(out / f"{name}.png"))


def test_gif_holds_no_partial_transparency_which_is_laid_over_white_and_counted(
    tmp_path: Path,
) -> None:
    sprite = soft_sprite()
    save_rgba(sprite, tmp_path / "in" / "sprite.png")
    save_rgba(hard_sprite(), tmp_path / "in" / "hard.png")
    out, found = compress(tmp_path / "in", tmp_path / "out", "--format", "gif")
    assert (found["compressed"], found["composited"]) == (2, 1)
    alpha = sprite[..., 3:] / 255
    over_white = np.where(alpha > 0, sprite[..., :3] * alpha + 255 * (1 - alpha), 0)
    written = rgba_of(out / "sprite.gif")
    np.testing.assert_allclose(written[..., :3], over_white, atol=1)
    np.testing.assert_array_equal(written[..., 3], np.where(sprite[..., 3] > 0, 255, 0))


def test_real_icons_of_few_colours_keep_every_pixel(shared: Path, tmp_path: Path) -> None:
    icons = shared / "graphics" / "icons"
    out, found = compress(icons, tmp_path / "out", "--palette", "image")
    assert found["failed"] == 0
    exact = translucent = 0
    for source in files_of(icons):
        written = out / source.relative_to(icons).with_suffix(".png")
        if written.exists():
            pixels = rgba_of(source)
            if len(np.unique(pixels.reshape(-1, 4), axis=0)) <= 256:
                np.testing.assert_array_equal(rgba_of(written), pixels)
                exact += 1
                translucent += bool(((pixels[..., 3] > 0) & (pixels[..., 3] < 255)).any())
    assert exact > translucent > 0


# -- dithering --------------------------------------------------------------------------------


def test_dithering_keeps_local_means_and_is_off_unless_asked_for(tmp_path: Path) -> None:
    ramp = np.linspace((40, 70, 100, 255), (90, 100, 160, 255), 192)
    gradient = np.round(np.broadcast_to(ramp, (64, 192, 4))).astype(np.uint8)
    gradient[:8, :8] = 0
    source = tmp_path / "in" / "gradient.png"
    save_rgba(gradient, source)
    words: dict[str, tuple[str, ...]] = {
        "off": (), "half": ("--dither", "0.5"), "on": ("--dither", "1"), "again": ("--dither", "1")
    }  # fmt: skip
    outs = {name: tmp_path / name for name in words}
    for name, some in words.items():
        run("compress", source, outs[name], "-k", "5", "--workers", "0", "--always", *some)
    assert tree(outs["on"]) == tree(outs["again"])
    assert len({tree(outs[name])["gradient.png"] for name in ("off", "half", "on")}) == 3
    palettes = {tuple(palette_file(out)["colors"]) for out in outs.values()}
    assert len(palettes) == 1

    def means(path: Path) -> NDArray[np.float64]:
        pixels = rgba_of(path)[8:, :, :3].astype(np.float64)
        blocks: NDArray[np.float64] = pixels.reshape(7, 8, 24, 8, 3).mean(axis=(1, 3))
        return blocks

    off = {
        name: np.abs(means(out / "gradient.png") - means(source)).mean()
        for name, out in outs.items()
    }
    assert off["on"] < 0.4 * off["off"]
    assert off["on"] < off["half"] < off["off"]
    for out in outs.values():
        alpha = rgba_of(out / "gradient.png")[..., 3]
        np.testing.assert_array_equal(alpha, gradient[..., 3])


# -- formats ----------------------------------------------------------------------------------


def test_every_format_shows_the_same_pixels(pictures: Path, formats: dict[str, Done]) -> None:
    png = formats["png"]
    assert rgba_of(png.out / "sprite.png")[..., 3].min() == 0
    for name, (out, found) in formats.items():
        stems = [path.relative_to(pictures).with_suffix(f".{name}") for path in files_of(pictures)]
        assert tree(out).keys() == {*map(str, stems), "palette.json"}
        assert (out / "palette.json").read_bytes() == (png.out / "palette.json").read_bytes()
        assert found["psnr"] == png.summary["psnr"]
        for stem in stems:
            with Image.open(out / stem) as image:
                assert image.format == name.upper()
            expected = rgba_of(png.out / stem.with_suffix(".png"))
            np.testing.assert_array_equal(rgba_of(out / stem), expected)


def needs(command: str, *version: str, says: str = "") -> str:
    """The path of a program; the test is skipped where there is none."""
    path = shutil.which(command)
    if path is None:
        pytest.skip(f"needs the program {command}")
    if says:
        done = subprocess.run([path, *version], capture_output=True, text=True, timeout=60)
        if says not in done.stdout:
            pytest.skip(f"needs {says}'s {command}")
    return path


def written_by(formats: dict[str, Done], name: str) -> Iterator[Path]:
    paths = sorted(formats[name].out.rglob(f"*.{name}"))
    assert len(paths) == 5
    yield from paths


def test_libwebp_decodes_what_pillow_does(formats: dict[str, Done], tmp_path: Path) -> None:
    dwebp = needs("dwebp")
    for path in written_by(formats, "webp"):
        decoded = tmp_path / "decoded.png"
        subprocess.run(
            [dwebp, "-quiet", path, "-o", decoded], check=True, capture_output=True, timeout=60
        )
        np.testing.assert_array_equal(rgba_of(decoded), rgba_of(path))


def test_pngcheck_finds_nothing_wrong(
    formats: dict[str, Done], scopes: dict[str, Done], described: Described, tmp_path: Path
) -> None:
    pngcheck = needs("pngcheck")
    best = compress(described.source, tmp_path / "best", "--effort", "9", "-k", "2").out
    paths = [*written_by(formats, "png"), *scopes["image"].out.rglob("*.png")]
    paths += [*described.kept.glob("*.png"), *best.glob("*.png")]
    assert len(paths) == 13
    done = subprocess.run([pngcheck, "-q", *paths], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", ["png", "gif"])
def test_imagemagick_decodes_what_pillow_does(name: str, formats: dict[str, Done]) -> None:
    convert = needs("convert", "-version", says="ImageMagick")
    for path in written_by(formats, name):
        expected = rgba_of(path)
        done = subprocess.run(
            [convert, path, "-depth", "8", "rgba:-"], check=True, capture_output=True, timeout=60
        )
        decoded = np.frombuffer(done.stdout, np.uint8).reshape(expected.shape).copy()
        decoded[decoded[..., 3] == 0] = 0
        np.testing.assert_array_equal(decoded, expected)


PAGE = """<!doctype html><body><script>
const urls = URLS, shown = {};
for (const [name, url] of Object.entries(urls)) {
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    canvas.width = image.width;
    canvas.height = image.height;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    shown[name] = Array.from(context.getImageData(0, 0, image.width, image.height).data);
    if (Object.keys(shown).length == Object.keys(urls).length)
      document.body.textContent = JSON.stringify(shown);
  };
  image.src = url;
}
</script></body>"""


def test_a_browser_shows_what_pillow_does(tmp_path: Path) -> None:
    chromium = needs("chromium")
    folder = tmp_path / "in"
    fading = np.array(photograph("astronaut.png", (24, 16)).convert("RGBA"))
    fading[..., 3] = np.linspace(0, 255, 24).astype(np.uint8)
    fading[4:, 6:, 3] = 255
    save_rgba(fading, folder / "small.png")
    paths = [
        compress(folder, tmp_path / name, "-k", "60", "--format", name).out / f"small.{name}"
        for name in ("png", "webp", "gif")
    ]
    urls = {
        path.name: f"data:image/{path.suffix[1:]};base64,"
        + base64.b64encode(path.read_bytes()).decode()
        for path in paths
    }
    page = tmp_path / "page.html"
    page.write_text(PAGE.replace("URLS", json.dumps(urls)))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"]
    done = subprocess.run(
        [chromium, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page],
        capture_output=True,
        text=True,
        timeout=120,
    )
    body = re.search(r"<body>(\{.*\})\s*</body>", done.stdout, re.DOTALL)
    assert body, done.stdout + done.stderr
    shown = json.loads(body[1])
    for path in paths:
        expected = rgba_of(path)
        seen = np.array(shown[path.name]).reshape(expected.shape)
        np.testing.assert_array_equal(seen[..., 3], expected[..., 3])
        opaque = expected[..., 3] == 255
        assert opaque.any()
        assert not opaque.all()
        np.testing.assert_array_equal(seen[opaque], expected[opaque])


# -- tokens -----------------------------------------------------------------------------------


def entries_of(store: Path, name: str) -> NDArray[np.uint8]:
    """A palette of a store, (k, 4)."""
    colors = summary("palette", store, "--palette-name", name)["colors"]
    return np.array([list(bytes.fromhex(color[1:].ljust(8, "f"))) for color in colors], np.uint8)


def test_tokens_and_their_palette_give_back_the_pixels_of_the_images(
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


def test_tokens_of_more_colours_than_a_byte_holds_are_exact(
    photos: Path, store: Path, tmp_path: Path
) -> None:
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


# -- effort -----------------------------------------------------------------------------------


def test_more_effort_never_means_more_bytes_or_other_pixels(tmp_path: Path) -> None:
    source, store = tmp_path / "photo.png", tmp_path / "store.zarr"
    photograph("coffee.png", (600, 400)).save(source)
    encode = ("--workers", "0", "--always")
    run("ingest", source, store, "--workers", "0")
    run("fit", store, "-k", "32", "--workers", "0")
    run("encode", store, tmp_path / "webp", "--format", "webp", "--effort", "8", *encode)
    for effort in "0123456789":
        run("encode", store, tmp_path / effort, "--effort", effort, *encode)
    written = [tmp_path / str(effort) / "photo.png" for effort in range(10)]
    sizes = [path.stat().st_size for path in written]
    assert all(more <= 1.01 * less for less, more in itertools.pairwise(sizes[:9])), sizes
    assert sizes[9] <= sizes[8] < 0.95 * sizes[0]
    for path in (*written[1:], tmp_path / "webp" / "photo.webp"):
        np.testing.assert_array_equal(pixels_of(path), pixels_of(written[0]))


# -- metadata ---------------------------------------------------------------------------------

ARTIST, ORIENTATION = 0x013B, 0x0112


def test_metadata_is_kept_where_that_is_asked_for_and_only_there(
    described: Described, tmp_path: Path
) -> None:
    with Image.open(described.kept / "turned.png") as image:
        exif = image.getexif()
        assert (exif[ARTIST], exif[ORIENTATION]) == ("Ada", 1)
        assert image.size == (80, 120)
        # 300 to the inch were along the rows that are columns now
        assert image.info["dpi"] == pytest.approx((150, 300), rel=1e-3)
        assert image.info["Comment"] == "by hand"
    with Image.open(described.kept / "texts.png") as image:
        assert image.info["Title"] == "Sea"
        assert image.info["Author"] == "\N{LATIN CAPITAL LETTER Z WITH CARON}ofie"
        assert image.info["dpi"] == pytest.approx((72, 72), rel=1e-3)
        assert len(image.getexif()) == 0
    for name in ("turned.png", "texts.png"):
        kept, dropped = (folder / name for folder in (described.kept, described.dropped))
        assert chunks(dropped).keys() == {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
        np.testing.assert_array_equal(pixels_of(dropped), pixels_of(kept))

    words = ("-k", "16", "--format", "webp")
    kept = compress(described.source, tmp_path / "webp", *words, "--keep-metadata").out
    with Image.open(kept / "turned.webp") as image:
        exif = image.getexif()
        assert (exif[ARTIST], exif[ORIENTATION]) == ("Ada", 1)
        assert image.size == (80, 120)
    dropped = compress(described.source, tmp_path / "bare", *words).out
    with Image.open(dropped / "turned.webp") as image:
        assert len(image.getexif()) == 0
        assert image.size == (80, 120)


def test_a_store_keeps_metadata_only_if_it_was_ingested_with_it(
    described: Described, tmp_path: Path
) -> None:
    store, keep = tmp_path / "with.zarr", ("--keep-metadata", "--workers", "0")
    run("ingest", described.source, store, *keep)
    run("fit", store, "-k", "16", "--workers", "0")
    run("encode", store, tmp_path / "out", "--always", *keep)
    assert tree(tmp_path / "out") == tree(described.kept)
    done = run("encode", described.bare_store, tmp_path / "none", *keep, code=2)
    assert "--keep-metadata" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "none").exists()


# -- what cannot be done ----------------------------------------------------------------------

COMPRESS = ("compress", "photos", "out", "--workers", "0")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--fixed-colors", "nonsense"], ["--fixed-colors", "'nonsense'"]),
        (["--fixed-colors", "#f00,#0f0,#00f", "-k", "2"], ["--fixed-colors names 3", "--colors"]),
        (["--fixed-colors", "#ff000080"], ["--fixed-colors"]),
        (["--palette", "nonsense"], ["--palette is 'nonsense'"]),
        (["--palette", "auto"], ["--palette auto", "--min-psnr"]),
        (["--palette-file", "missing.gpl"], ["missing.gpl", "does not exist"]),
        (["--palette-file", "garbage.gpl"], ["garbage.gpl"]),
        (["--palette-file", "good.hex", "--colors", "8"], ["--palette-file", "--colors"]),
        (
            ["--palette-file", "good.hex", "--fixed-colors", "#f00"],
            ["--palette-file", "--fixed-colors"],
        ),
        (["--min-psnr", "0"], ["--min-psnr is 0"]),
        (["--min-psnr", "-3"], ["--min-psnr is -3"]),
        (["--min-psnr", "30", "--dither", "1"], ["--min-psnr", "--dither"]),
        (["--format", "nonsense"], ["--format is 'nonsense'"]),
        (["--format", "gif", "--keep-metadata"], ["--format gif", "--keep-metadata"]),
        (["--effort", "10"], ["--effort is 10"]),
        (["--dither", "2"], ["--dither is 2"]),
        (["--colors", "300"], ["--colors is 300", "tokenize"]),
        (["--store", "s.zarr", "--palette", "image"], ["--store", "--palette"]),
        (["--format", "tokens"], ["--format is 'tokens'"]),
        (["tokenize", "photos", "full"], ["full exists and is no store"]),
        (["tokenize", "photos", "s.zarr", "--palette-name", "k4"], ["--palette-name", "INPUT"]),
        (["tokenize", "photos", "s.zarr", "-k", "65537"], ["--colors is 65537"]),
        (["tokenize", "s.zarr", "--colors", "4"], ["STORE alone", "--colors"]),
        (["palette", "missing.json"], ["missing", "does not exist"]),
        (["palette", "good.hex", "garbage.gpl"], ["garbage.gpl exists already", "--overwrite"]),
        (["palette", "good.hex", "new.txt"], ["new.txt", "choose .json"]),
        (["palette", "garbage.gpl"], ["garbage.gpl"]),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_and_nothing_is_written(
    words: list[str],
    says: list[str],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(photos)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "garbage.gpl").write_bytes(bytes(range(256)))
    (tmp_path / "good.hex").write_text("ff0000\n00ff00\n")
    before = all_below(tmp_path), tree(tmp_path), tree(photos)
    done = run(*(COMPRESS if words[0].startswith("-") else ()), *words, code=2)
    assert all(part in done.stderr for part in says), done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("kmeans-dask: ")
    assert done.stderr.count("\n") == 1
    assert (all_below(tmp_path), tree(tmp_path), tree(photos)) == before


LONG = "n" * 300
CANNOT = "cannot be written"
WORKERS = ("--workers", "0")
# Command lines by name, where `{}` is the target. No target folder may be called like an image.
TO_FOLDERS = {
    "compress": ("compress", "photos", "{}"),
    "tokens": ("tokenize", "photos", "{}"),
    "--store": ("compress", "photos", "out", "--store", "{}"),
    "ingest": ("ingest", "photos", "{}"),
    "encode": ("encode", "s.zarr", "{}"),
}
TO_FILES = {
    "palette": ("palette", "s.zarr", "{}.hex"),
    "report": ("report", "s.zarr", "{}.html"),
    "plot": ("plot", "s.zarr", "--output", "{}"),
}


@pytest.fixture(scope="module")
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


@pytest.mark.parametrize("command", TO_FOLDERS)
@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("file/out", "file is in the way: it is no folder"),
        ("file/in/out", "file is in the way: it is no folder"),
        ("/dev/null/out", "/dev/null is in the way: it is no folder"),
        ("/proc/out", CANNOT),
        ("/sys/out/deep", CANNOT),
        (LONG, f"{LONG} {CANNOT} (File name too long)"),
        (f"new/{LONG}/out", CANNOT),
        ("circle", f"circle {CANNOT} (Too many levels of symbolic links)"),
        ("circle/out", CANNOT),
        ("-", "- looks like a file: name a folder to write to"),
        ("x.png", "x.png looks like a file: name a folder to write to"),
        ("new/x.JPEG", "x.JPEG looks like a file: name a folder to write to"),
    ],
    ids=lambda text: text[:20],
)
def test_a_folder_that_cannot_be_written_is_refused(
    command: str, target: str, says: str, here: Path
) -> None:
    words = [word.format(target) for word in TO_FOLDERS[command]]
    refuse(here, words, says)


@pytest.mark.parametrize("command", TO_FILES)
@pytest.mark.parametrize("target", ["file/a", "/proc/a", "/sys/a", LONG], ids=lambda text: text[:9])
def test_a_file_that_cannot_be_written_is_refused(command: str, target: str, here: Path) -> None:
    refuse(here, [word.format(target) for word in TO_FILES[command]], CANNOT)


def test_a_report_is_written_to_no_file_that_is_called_as_if_it_were_none(here: Path) -> None:
    done = run("report", "s.zarr", "-", code=2)
    assert "FILE - is no name of a file" in done.stderr
    assert not (here / "-").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["compress", "photos"], "OUTPUT is missing: name images, and then the folder"),
        (["compress"], "OUTPUT is missing: name images, and then the folder"),
        (["ingest", "photos"], "STORE is missing: name images, and then the store"),
        (["encode", "s.zarr"], "OUTPUT is missing: name a folder to write to"),
        (["tokenize"], "STORE is missing: name images, and then the store"),
    ],
)
def test_a_place_that_is_missing_is_named(words: list[str], says: str, here: Path) -> None:
    refuse(here, words, says)


def test_a_folder_whose_name_ends_as_an_images_does_may_be_written_to(here: Path) -> None:
    (here / "x.png").mkdir()
    run("compress", "photos/astronaut.png", "x.png", "-k", "4", *WORKERS)
    assert (here / "x.png" / "astronaut.png").is_file()


@pytest.mark.parametrize("command", ["compress", "tokens", "--store", "ingest", "encode"])
def test_a_full_disk_at_the_very_beginning_leaves_nothing(command: str, here: Path) -> None:
    """Check a limit of 0 bytes a file: the kernel's error is then not that of a full disk."""
    words = [word.format("new/place") for word in TO_FOLDERS[command]]
    before = all_below(here), tree(here)
    done = subprocess.run(
        [sys.executable, "-m", "kmeans_dask", *words, *WORKERS],
        capture_output=True,
        text=True,
        timeout=240,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    assert done.returncode == 2, done.stderr
    assert f"{CANNOT} (File too large): name another folder" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (all_below(here), tree(here)) == before


@pytest.mark.parametrize("command", ["compress", "ingest", "encode", "fit"])
def test_what_broke_off_before_anything_was_done_is_not_said_to_be_kept(
    command: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check a cluster that goes away before any work; only `ingest` has made a store by then."""

    def connect(**where: Any) -> None:
        raise ClusterError("the cluster went away")

    monkeypatch.setattr(connection, "connect", connect)
    words = {**TO_FOLDERS, "fit": ("fit", "s.zarr", "-k", "5")}[command]
    before = tree(here)
    done = run(*(word.format("new") for word in words), code=3)
    hint = "; what is done is kept: --resume goes on from there"
    assert done.stderr == f"kmeans-dask: the cluster went away{hint * (command == 'ingest')}\n"
    assert (tree(here) == before) == (command != "ingest")


@pytest.mark.parametrize(
    "words",
    [["compress", "in", "out", "--store", "kept.zarr"], ["tokenize", "in", "out"]],
    ids=["compress", "tokenize"],
)
def test_no_room_for_the_transparent_colour_leaves_no_store_behind(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_rgba(hard_sprite(), tmp_path / "in" / "sprite.png")
    fix = ("--fixed-colors", "#f00,#0f0", "-k", "2")
    done = run(*words, "--workers", "0", *fix, code=2)
    assert "--colors 2 has no room" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("scope", ["shared", "image"])
def test_animations_are_refused_by_name_and_the_rest_is_done(scope: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    first, second = (photograph(f"{name}.png", (60, 40)) for name in ("astronaut", "coffee"))
    animations = {folder / f"moving {suffix}.{suffix}" for suffix in ("gif", "png", "webp")}
    for path in animations:
        first.save(path, save_all=True, append_images=[second])
    first.save(folder / "still.png")
    out, found = compress(folder, tmp_path / "out", "--palette", scope, "-k", "16", code=1)
    assert (found["images"], found["compressed"], found["failed"]) == (4, 1, 3)
    assert {Path(failure["path"]) for failure in found["failures"]} == animations
    assert all("frame" in failure["reason"] for failure in found["failures"])
    lines = (out / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == found["failures"]
    assert [path.name for path in out.glob("*.png")] == ["still.png"]
    assert found["psnr"] == pytest.approx(psnr([(folder / "still.png", out / "still.png")]))


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


# -- showing palettes -------------------------------------------------------------------------


def test_a_palette_is_shown_as_plain_text_when_piped_and_as_json(
    photos: Path, store: Path, scopes: dict[str, Done], tmp_path: Path
) -> None:
    told = summary("palette", store, "--palette-name", "k16")
    assert told["name"] == "k16"
    colors = palette_file(scopes["shared"].out)["colors"]
    assert told["colors"] == colors
    pixels = np.concatenate([pixels_of(path) for _, path in pairs(photos, scopes["shared"].out)])
    numbers = [int((pixels == place).all(axis=1).sum()) for place in places_of(colors)]
    assert told["pixels"] == numbers

    done = run("palette", store, "--palette-name", "k16")
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()[-16:]
    for index, (line, color, number) in enumerate(zip(lines, colors, numbers, strict=True)):
        share = f"{100 * number / len(pixels):.2f}"
        assert line.split() == [str(index), color, share, "%"]

    from_file = summary("palette", scopes["shared"].out / "palette.json", tmp_path / "x.gpl")
    assert from_file["colors"] == colors
    shown = run("palette", tmp_path / "x.gpl").stdout
    assert re.findall("#[0-9a-f]{6}", shown) == colors
