"""Make the pictures of docs/quality.md again: crops of images by pngquant and by kmeans-dask.

    python docs/quality_pictures.py [FOLDER]

`make pictures` runs it. It needs Debian's pngquant, and prints the table of the page. The images
are those that scikit-image, scikit-learn and matplotlib install, and two screenshots of this
documentation. FOLDER, if given, gets all crops as PNG files, for a closer look.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import oxipng
import skimage.data
import sklearn.datasets
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import kmeans_dask as kd
from kmeans_dask.color.ssimulacra2 import ssimulacra2
from kmeans_dask.images.png import encode_png

IMAGES = Path(__file__).parent / "images"
SKIMAGE = Path(skimage.data.data_dir)
SKLEARN = Path(sklearn.datasets.__file__).parent / "images"
SAMPLES = Path(matplotlib.get_data_path()) / "sample_data"
MOST = 640, 480  # pixels of an image
CROP = 128, 84  # pixels of a crop, which is shown twice as large
SCALE, LINE, GAP = 2, 22, 4  # pixels
EFFORT = 8  # of our files
QUALITY = 88  # of the WebP file

Pixels = NDArray[np.uint8]


class Picture(NamedTuple):
    """Image to compress, cut to `MOST` pixels from a corner, and the corner of its crop."""

    path: Path
    crop: tuple[int, int]
    corner: tuple[int, int] = (0, 0)


class File(NamedTuple):
    """PNG file of an image: its bytes, its pixels (h, w, 4) and its SSIMULACRA2."""

    n_bytes: int
    pixels: Pixels
    score: float


PHOTOGRAPHS = (
    Picture(SKIMAGE / "astronaut.png", (150, 20)),
    Picture(SKIMAGE / "coffee.png", (200, 40)),
    Picture(SKIMAGE / "rocket.jpg", (340, 100)),
    Picture(SKLEARN / "flower.jpg", (250, 150)),
)
GRAPHICS = (
    Picture(SKIMAGE / "logo.png", (190, 190)),
    Picture(SAMPLES / "Minduka_Present_Blue_Pack.png", (20, 20)),
    Picture(IMAGES / "slider.webp", (300, 250)),
    Picture(IMAGES / "dashboard.webp", (20, 60), (0, 330)),
)


def cut(picture: Picture) -> Image.Image:
    """Return the image, or the part of it that is compressed, without its colour profile."""
    with Image.open(picture.path) as image:
        alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        whole = Image.fromarray(np.asarray(image.convert("RGBA" if alpha else "RGB")))
    left, top = picture.corner
    size = min(MOST[0], whole.width - left), min(MOST[1], whole.height - top)
    return whole.crop((left, top, left + size[0], top + size[1]))


def judged(data: bytes, original: Image.Image) -> File:
    """Return a PNG file with its score."""
    with Image.open(io.BytesIO(data)) as image:
        shown = np.asarray(image.convert("RGBA"))
    return File(len(data), shown, ssimulacra2(np.asarray(original.convert("RGBA")), shown))


def by_pngquant(path: Path) -> bytes:
    """Return the file of pngquant with its defaults, which dithers, after oxipng."""
    done = subprocess.run(["pngquant", "-"], input=path.read_bytes(), capture_output=True)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return oxipng.optimize_from_memory(done.stdout, level=4)


def by_us(path: Path, score: float, folder: Path) -> tuple[str, bytes]:
    """Return our smallest file of at least this score, with the option that it took.

    Where no palette of 256 colours reaches the score without dithering, it is dithered.
    """
    kd.compress(
        path,
        folder,
        palette="image",
        color_space="oklab",
        min_ssimulacra2=min(score, 99.0),
        effort=EFFORT,
        workers=0,
        overwrite=True,
    )
    data = (folder / path.name).read_bytes()
    if data != path.read_bytes():
        return "lossy", data
    quantized = kd.quantize(path, color_space="oklab", dither=0.5)
    indices = quantized.indices.astype(np.uint8)
    return "dither 0.5", encode_png(indices, quantized.palette, EFFORT, own_palette=True)


def crop(pixels: Pixels, corner: tuple[int, int]) -> Image.Image:
    """Return a crop at twice its size, over white."""
    left, top = corner
    part = Image.fromarray(pixels).crop((left, top, left + CROP[0], top + CROP[1]))
    over = Image.alpha_composite(Image.new("RGBA", part.size, "white"), part).convert("RGB")
    return over.resize((CROP[0] * SCALE, CROP[1] * SCALE), Image.Resampling.NEAREST)


def draw(pictures: tuple[Picture, ...], name: str, folder: Path, kept: Path | None) -> None:
    """Compress the images, draw their crops into one file, and print the rows of a table."""
    width, height = CROP[0] * SCALE, CROP[1] * SCALE + LINE
    size = 3 * width + 2 * GAP, len(pictures) * (height + GAP) - GAP
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for row, picture in enumerate(pictures):
        original = cut(picture)
        path = folder / f"{picture.path.stem}.png"
        original.save(path)
        theirs = judged(by_pngquant(path), original)
        option, data = by_us(path, theirs.score, folder / "out")
        ours = judged(data, original)
        top = row * (height + GAP)
        columns = (
            (np.asarray(original.convert("RGBA")), f"{picture.path.stem}"),
            (theirs.pixels, f"pngquant: {words(theirs)}"),
            (ours.pixels, f"kmeans-dask, {option}: {words(ours)}"),
        )
        for column, (pixels, text) in enumerate(columns):
            part = crop(pixels, picture.crop)
            sheet.paste(part, (column * (width + GAP), top))
            pen.text((column * (width + GAP) + 2, top + height - LINE + 2), text, "black", font)
            if kept:
                part.save(kept / f"{picture.path.stem}-{column}.png")
        print(
            f"| {picture.path.name} | {words(theirs)} | {words(ours)} ({option}) "
            f"| {ours.n_bytes / theirs.n_bytes:.2f} |"
        )
    sheet.save(IMAGES / name, quality=QUALITY, method=6)
    print(f"{name}: {(IMAGES / name).stat().st_size / 1000:.0f} kB")


def words(file: File) -> str:
    """Return bytes and score."""
    return f"{file.n_bytes / 1000:.1f} kB, {file.score:.1f}"


def main() -> None:
    """Make both pictures."""
    kept = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as name:
        draw(PHOTOGRAPHS, "quality-photographs.webp", Path(name), kept)
        draw(GRAPHICS, "quality-graphics.webp", Path(name), kept)


if __name__ == "__main__":
    main()
