"""Output files by the command line, read back by other programs: alpha, formats, metadata."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.cli.conftest import (
    Done,
    compress,
    files_of,
    hard_sprite,
    pairs,
    rgba_of,
    save_rgba,
    soft_sprite,
)
from tests.command import chunks, palette_file, tree
from tests.command import run_here as run
from tests.conftest import photograph, pixels_of


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
