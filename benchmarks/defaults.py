"""Evidence for defaults: colour space, dithering, effort and `--lossy`, by score, bytes and time.

    python -m benchmarks.defaults [--colors 256,128,64] [--every 1]

Each image gets a palette of its own. The score is SSIMULACRA2 (100: the same; higher is better).
Bytes are those of PNG files at the default effort, as a geometric mean of their ratios, so that
each image counts the same. Seconds are CPU time in this process. Images are of packages
(scikit-image, scikit-learn, matplotlib, Debian's Adwaita icons), of this documentation, and of the
optional folder. None has more than 0.3 megapixels: photographs, art and scans are reduced, and
screenshots and details are cropped.

--every: only one image in so many of each class, for a quick look
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import matplotlib
import numpy as np
import skimage.data
import sklearn.datasets
from numpy.typing import NDArray
from PIL import Image

import kmeans_dask as kd
from benchmarks.common import SHARED, versions
from benchmarks.quality import File, bytes_at
from kmeans_dask.color.color_lookup import squared_error
from kmeans_dask.color.lossy_indices import choose_indices, passes_of
from kmeans_dask.color.psnr import psnr
from kmeans_dask.color.ssimulacra2 import ssimulacra2
from kmeans_dask.images.png import encode_png
from kmeans_dask.settings import MAX_EFFORT, EncodeSettings
from kmeans_dask.steps.lossy_image import free_entries

MOST_PIXELS = 300_000
SPACES = ("rgb", "oklab")
DITHER = (0.0, 0.5, 0.75, 1.0)
LOSSY = (0.0, 1.0, 2.0, 4.0)
DEFAULT_EFFORT = EncodeSettings().effort
EFFORTS = range(MAX_EFFORT + 1)
SKIMAGE = Path(skimage.data.data_dir)
SKLEARN = Path(sklearn.datasets.__file__).parent / "images"
MATPLOTLIB = Path(matplotlib.get_data_path())
ICONS = Path("/usr/share/icons/Adwaita")
DOCS = Path(__file__).parents[1] / "docs/images"
CROPPED = ("screenshots", "details of art")
ALL = "all"


class Choice(NamedTuple):
    """Choices that an image is written with."""

    k: int
    space: str = "rgb"
    dither: float = 0.0
    lossy: float = 0.0


class Result(NamedTuple):
    """File of an image: its size, score, PSNR in dB (None: nothing was lost) and CPU seconds."""

    n_bytes: int
    score: float
    psnr: float | None
    seconds: float


class Written(NamedTuple):
    """File of an image at an effort: its size, and the CPU seconds of its encoder."""

    n_bytes: int
    seconds: float


class Measured(NamedTuple):
    """Results of an image, by its choices, and by number of colours and effort."""

    kind: str
    n_pixels: int
    results: dict[Choice, Result]
    efforts: dict[tuple[int, int], Written]


# -- images -------------------------------------------------------------------------------------


def paths_of_classes() -> dict[str, list[Path]]:
    """Return the images of each class; those that are not installed are left out."""
    photographs = [
        *(SKIMAGE / f"{n}.png" for n in ("astronaut", "chelsea", "coffee", "motorcycle_left")),
        SKIMAGE / "rocket.jpg",
        *(SKLEARN / f"{name}.jpg" for name in ("china", "flower")),
        MATPLOTLIB / "sample_data/grace_hopper.jpg",
        *images_in(SHARED / "kodak"),
        *images_in(SHARED / "photos/bsds")[::30],
        *images_in(SHARED / "photos/web")[::30],
        SHARED / "large/Kleiber_by_Lukas_Baubkus.jpg",
    ]
    screenshots = [
        *(DOCS / f"{name}.webp" for name in ("dashboard", "report", "slider")),
        *images_in(SHARED / "graphics/screenshots"),
        *images_in(SHARED / "graphics/diagrams"),
    ]
    icons = [
        SKIMAGE / "logo.png",
        *images_in(MATPLOTLIB / "images", "*_large.png"),
        *images_in(ICONS / "256x256/legacy")[::4],
        *images_in(ICONS / "48x48/legacy")[::40],
        *images_in(SHARED / "graphics/emoji")[::15],
        *images_in(SHARED / "graphics/oxygen")[::4],
        *images_in(SHARED / "small/sprites")[::25],
    ]
    art = [p for p in images_in(SHARED / "large") if not p.name.startswith("Kleiber")]
    scans = [
        *(SKIMAGE / f"{n}.png" for n in ("cell", "coins", "ihc", "microaneurysms", "moon")),
        *(SKIMAGE / f"{n}.png" for n in ("page", "text")),
        *(SKIMAGE / f"{n}.jpg" for n in ("hubble_deep_field", "retina")),
    ]
    classes = {
        "photographs": photographs,
        "screenshots": [path for path in screenshots if is_drawn(path, 60_000, 256)],
        "icons": [path for path in icons if is_drawn(path, 1, 64)],
        "art": art,
        "details of art": art,
        "scans": scans,
    }
    return {kind: [p for p in paths if p.exists()] for kind, paths in classes.items()}


def images_in(folder: Path, pattern: str = "*") -> list[Path]:
    return sorted(folder.glob(pattern))


def is_drawn(path: Path, pixels: int, colors: int) -> bool:
    """Return whether the file is no JPEG, and has at least `pixels` and more than `colors`."""
    if not path.exists() or path.suffix == ".jpg":
        return False
    found = read(path)
    distinct = len(np.unique(found.reshape(-1, found.shape[2]), axis=0))
    return found.shape[0] * found.shape[1] >= pixels and distinct > colors


def read(path: Path, *, cropped: bool = False) -> NDArray[np.uint8]:
    """Return pixels (h, w, 3), or (h, w, 4) with alpha, of at most `MOST_PIXELS`.

    cropped: take the middle of a larger image; otherwise it is reduced
    """
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(path) as opened:
        if not cropped:
            opened.draft("RGB", (1500, 1500))
        clear = "transparency" in opened.info or opened.mode in ("LA", "RGBA", "PA")
        image = opened.convert("RGBA" if clear else "RGB")
    part = math.sqrt(MOST_PIXELS / (image.width * image.height))
    if part < 1:
        width, height = int(image.width * part), int(image.height * part)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        if cropped:
            image = image.crop((left, top, left + width, top + height))
        else:
            image = image.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(image)


# -- measuring ----------------------------------------------------------------------------------


def choices_of(numbers: Sequence[int]) -> Iterator[Choice]:
    """Yield all choices; dithering and lossy indices exclude each other."""
    for k in numbers:
        for space in SPACES:
            yield from (Choice(k, space, dither=dither) for dither in DITHER)
            if k in ends(numbers):
                yield from (Choice(k, space, lossy=weight) for weight in LOSSY if weight)


def ends(numbers: Sequence[int]) -> set[int]:
    """Return the most and the fewest colours, with which all is tried."""
    return {numbers[0], numbers[-1]}


def measure(kind: str, pixels: NDArray[np.uint8], numbers: Sequence[int]) -> Measured:
    """Return the files of an image with all choices.

    The seconds are those of fit, indices and file. A palette is fitted once for all choices.
    """
    results: dict[Choice, Result] = {}
    efforts = {}
    fits: dict[tuple[int, str], tuple[kd.Quantized, float]] = {}
    for choice in choices_of(numbers):
        since = time.process_time()
        if choice == Choice(choice.k, choice.space):
            found = kd.quantize(pixels, choice.k, color_space=choice.space)
            fits[choice.k, choice.space] = found, time.process_time() - since
            before = 0.0
        else:
            plain, before = fits[choice.k, choice.space]
            found = (
                choose_lossy(pixels, plain, choice)
                if choice.lossy
                else dither(pixels, plain, choice)
            )
        indices = found.indices.astype(np.uint8)
        data = encode_png(indices, found.palette, DEFAULT_EFFORT, own_palette=True)
        seconds = before + time.process_time() - since
        shown = found.palette.entries[indices][..., : pixels.shape[2]]
        score = ssimulacra2(pixels, shown)
        results[choice] = Result(len(data), score, found.psnr, seconds)
        if choice == Choice(choice.k) and choice.k in ends(numbers):
            for effort in EFFORTS:
                efforts[choice.k, effort] = write(indices, found.palette, effort)
    return Measured(kind, pixels.shape[0] * pixels.shape[1], results, efforts)


def dither(pixels: NDArray[np.uint8], plain: kd.Quantized, choice: Choice) -> kd.Quantized:
    """Return the image dithered with the palette of its plain form."""
    return plain.palette.map(pixels, dither=choice.dither, color_space=choice.space)


def choose_lossy(pixels: NDArray[np.uint8], plain: kd.Quantized, choice: Choice) -> kd.Quantized:
    """Return the image with lossy indices, and a palette of its own that moves with them."""
    flat = pixels.reshape(-1, pixels.shape[2])
    colors = np.ascontiguousarray(flat[:, :3])
    alphas = np.ascontiguousarray(flat[:, 3]) if flat.shape[1] == 4 else None
    indices, palette = choose_indices(
        colors,
        alphas,
        pixels.shape[1],
        plain.indices.ravel(),
        plain.palette,
        choice.space,
        choice.lossy,
        passes_of(DEFAULT_EFFORT),
        free_entries(plain.palette),
    )
    error = squared_error(colors, alphas, indices, palette.entries).total
    n = len(colors) if alphas is None else int(np.count_nonzero(alphas))
    shaped = indices.reshape(pixels.shape[:2])
    return replace(plain, indices=shaped, palette=kd.Palette(palette.entries), psnr=psnr(error, n))


def write(indices: NDArray[np.uint8], palette: kd.Palette, effort: int) -> Written:
    """Return the size of the file, and the least seconds of three runs, or of one that is slow."""
    seconds = []
    for _ in range(3):
        since = time.process_time()
        data = encode_png(indices, palette, effort, own_palette=True)
        seconds.append(time.process_time() - since)
        if seconds[0] > 0.05:
            break
    return Written(len(data), min(seconds))


# -- tables -------------------------------------------------------------------------------------

Rows = Sequence[Measured]


def by_class(measured: Rows) -> Iterator[tuple[str, Rows]]:
    """Yield the images of each class, then all, with a name that has their number."""
    for kind in dict.fromkeys(image.kind for image in measured):
        some = [image for image in measured if image.kind == kind]
        yield f"{kind} ({len(some)})", some
    yield f"{ALL} ({len(measured)})", measured


def changed(measured: Rows, base: Choice, choice: Choice) -> str:
    """Return the change of bytes, and of the mean score and PSNR, from `base` to `choice`."""
    pairs = [(image.results[base], image.results[choice]) for image in measured]
    size = mean_ratio((new.n_bytes, old.n_bytes) for old, new in pairs)
    points = fmean(new.score - old.score for old, new in pairs)
    lost = [(old.psnr, new.psnr) for old, new in pairs]
    decibels = [new - old for old, new in lost if old is not None and new is not None]
    psnr = f"{fmean(decibels):+5.1f}" if decibels else "     "
    return f"{points:+6.1f} {100 * size - 100:+6.1f} % {psnr}"


def mean_ratio(pairs: Iterable[tuple[float, float]]) -> float:
    return math.exp(fmean(math.log(a / b) for a, b in pairs))


def lossy_by_palette(measured: Rows, k: int) -> Rows:
    """Return the images that lose something by `k` colours, for which the choice matters."""
    return [image for image in measured if image.results[Choice(k)].psnr is not None]


def show(title: str, head: str, rows: Iterable[tuple[str, str]]) -> None:
    print(f"\n{title}\n  {'':20} {head}")
    for name, row in rows:
        print(f"  {name:20} {row}")


def print_spaces(measured: Rows, k: int) -> None:
    some = lossy_by_palette(measured, k)
    show(
        f"colour space, k = {k}, undithered: oklab against rgb",
        "score of rgb; points, bytes, dB; images that score higher; CPU seconds a megapixel",
        (
            (
                name,
                f"{mean_score(rows, Choice(k)):5.1f} {changed(rows, Choice(k), Choice(k, 'oklab'))}"
                f"  {wins(rows, Choice(k), Choice(k, 'oklab')):3}"
                f"  {time_of(rows, Choice(k)):.2f}, {time_of(rows, Choice(k, 'oklab')):.2f}",
            )
            for name, rows in by_class(some)
        ),
    )


def mean_score(measured: Rows, choice: Choice) -> float:
    return fmean(image.results[choice].score for image in measured)


def time_of(measured: Rows, choice: Choice) -> float:
    """Return CPU seconds a megapixel."""
    pixels = sum(image.n_pixels for image in measured)
    return sum(image.results[choice].seconds for image in measured) / pixels * 1e6


def wins(measured: Rows, base: Choice, choice: Choice) -> int:
    return sum(image.results[choice].score > image.results[base].score for image in measured)


def print_dithering(measured: Rows, k: int, space: str) -> None:
    some = lossy_by_palette(measured, k)
    show(
        f"dithering, k = {k}, {space}, against none: points, bytes, dB (images that score lower)",
        "".join(f"{strength:^31}" for strength in DITHER[1:]),
        (
            (
                name,
                "   ".join(
                    f"{changed(rows, Choice(k, space), Choice(k, space, strength))}"
                    f" ({wins(rows, Choice(k, space, strength), Choice(k, space)):2})"
                    for strength in DITHER[1:]
                ),
            )
            for name, rows in by_class(some)
        ),
    )


def print_lossy(measured: Rows, k: int, space: str) -> None:
    show(
        f"lossy, k = {k}, {space}, against 0: points, bytes, dB",
        "".join(f"{weight:^26g}" for weight in LOSSY[1:]),
        (
            (
                name,
                "   ".join(
                    changed(rows, Choice(k, space), Choice(k, space, lossy=weight))
                    for weight in LOSSY[1:]
                ),
            )
            for name, rows in by_class(measured)
        ),
    )


def print_equal(measured: Rows, numbers: Sequence[int]) -> None:
    """Print the bytes at which each choice has the score of the plain palette of most colours."""
    k = numbers[0]
    some = lossy_by_palette(measured, k)
    ways: dict[str, Callable[[Measured], list[list[File]]]] = {}
    for space in SPACES:
        for strength in DITHER[1:] if space == "rgb" else DITHER:
            plain = [Choice(number, space, strength) for number in numbers]
            ways[f"{space}, dither {strength:g}"] = curves(plain)
        lossy = [[Choice(n, space, lossy=weight) for weight in LOSSY] for n in ends(numbers)]
        ways[f"{space}, lossy"] = curves(*lossy)

    def part(image: Measured, way: str) -> float:
        base = image.results[Choice(k)]
        return bytes_at(ways[way](image), base.score, "score") / base.n_bytes

    show(
        f"bytes at the score of rgb, undithered, k = {k}: medians of parts (images that reach it)",
        "  ".join(f"{way:>18}" for way in ways),
        (
            (
                name,
                "  ".join(
                    f"{median(parts):9.3f} ({sum(map(math.isfinite, parts)):3})    "
                    for parts in ([part(image, way) for image in rows] for way in ways)
                ),
            )
            for name, rows in by_class(some)
        ),
    )


def curves(*curves: Sequence[Choice]) -> Callable[[Measured], list[list[File]]]:
    """Return a function that returns the files of some curves, from the best to the worst."""

    def of(image: Measured) -> list[list[File]]:
        found = [[image.results[choice] for choice in curve] for curve in curves]
        return [[File(r.n_bytes, 0.0, r.score) for r in results] for results in found]

    return of


def print_efforts(measured: Rows, k: int) -> None:
    show(
        f"effort, k = {k}, against {DEFAULT_EFFORT}: bytes; CPU time of the encoder",
        "".join(f"{effort:^15}" for effort in EFFORTS),
        (
            (
                name,
                " ".join(
                    f"{100 * mean_ratio(pairs_of_sizes(rows, k, effort)) - 100:+6.1f} % "
                    f"{total_seconds(rows, k, effort) / total_seconds(rows, k):5.2f}"
                    for effort in EFFORTS
                ),
            )
            for name, rows in by_class(measured)
        ),
    )
    whole = sum(image.results[Choice(k)].seconds for image in measured)
    pixels = sum(image.n_pixels for image in measured)
    print(
        f"  {'effort':>6} {'bytes':>12} {'encoder':>9} {'whole':>7}  {'kB saved a second more':>22}"
    )
    for effort in EFFORTS:
        size = sum(image.efforts[k, effort].n_bytes for image in measured)
        seconds = total_seconds(measured, k, effort)
        job = whole - total_seconds(measured, k) + seconds
        before = effort - 1
        gain = math.nan
        if effort:
            saved = sum(image.efforts[k, before].n_bytes for image in measured) - size
            gain = saved / 1000 / max(seconds - total_seconds(measured, k, before), 1e-9)
        print(
            f"  {effort:6} {size:12,} {seconds / pixels * 1e9:6.0f} ns {job / whole:6.2f}x"
            f"  {gain:22.0f}"
        )


def pairs_of_sizes(measured: Rows, k: int, effort: int) -> Iterator[tuple[int, int]]:
    for image in measured:
        yield image.efforts[k, effort].n_bytes, image.efforts[k, DEFAULT_EFFORT].n_bytes


def total_seconds(measured: Rows, k: int, effort: int = DEFAULT_EFFORT) -> float:
    return sum(image.efforts[k, effort].seconds for image in measured)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--colors", default="256,128,64")
    words.add_argument("--every", type=int, default=1)
    args = words.parse_args()
    numbers = [int(number) for number in args.colors.split(",")]
    print(versions("numpy", "pillow", "deflate", "pyoxipng"))
    for name in ("microaneurysms.png", "logo.png"):  # opaque, and with alpha: kernels are loaded
        measure("warm", read(SKIMAGE / name), numbers)
    since = time.process_time()
    measured = []
    for kind, paths in paths_of_classes().items():
        for path in paths[:: args.every]:
            pixels = read(path, cropped=kind in CROPPED)
            measured.append(measure(kind, pixels, numbers))
    print(f"{len(measured)} images, {time.process_time() - since:.0f} CPU seconds")
    for k in (numbers[0], numbers[-1]):
        print_spaces(measured, k)
    for k in (numbers[0], numbers[-1]):
        for space in SPACES:
            print_dithering(measured, k, space)
    for k in (numbers[0], numbers[-1]):
        print_efforts(measured, k)
    for k in (numbers[0], numbers[-1]):
        for space in SPACES:
            print_lossy(measured, k, space)
    print_equal(measured, numbers)


if __name__ == "__main__":
    main()
