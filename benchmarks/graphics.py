"""Bytes of graphics at equal or lower error: icons, emoji, screenshots and diagrams.

    python -m benchmarks.graphics [PNG-or-FOLDER...] [--effort 8] [--every 1] [--nofs]

Theirs is `pngquant --quality 65-90 --skip-if-larger`, then oxipng at level 4; a file that pngquant
leaves alone is only given to oxipng. Ours is the smallest file of `compress --palette image` with
the PSNR of their file as `--min-psnr`: with the fewest colours, with `--lossy auto` and 256 colours
(also shown alone), and with 192 and 4/3 of the fewest. The original is kept where it is smaller.
Where theirs lost nothing, ours may lose nothing. The error is that of the product's PSNR: colours
are multiplied by alpha, and alpha counts as a fourth channel. By default the graphics of the
optional folder, and icons that packages install.

    python -m benchmarks.graphics --seconds FOLDER

This measures CPU time, user and system, of whole processes instead: of `compress --palette image
--min-psnr 34` for all icons of a folder, without and with `--lossy auto`, and of one pngquant for
each icon. A job with the first icon alone is the start-up.
"""

from __future__ import annotations

import argparse
import io
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import oxipng
from numpy.typing import NDArray
from PIL import Image

import kmeans_dask as kd
from benchmarks.common import SHARED, versions
from benchmarks.defaults import ICONS, MATPLOTLIB, SKIMAGE
from kmeans_dask.api.images import decode_image
from kmeans_dask.color.psnr import psnr
from kmeans_dask.settings import Lossy

PNGQUANT = ("pngquant", "--quality", "65-90", "--skip-if-larger")
LEFT_ALONE = (98, 99)  # exit codes of pngquant: larger than the original, or of less quality
LOSSLESS = 200.0  # dB, which no image reaches that loses anything


class Compared(NamedTuple):
    """Bytes of a graphic: its own, theirs and ours; and PSNR in dB, None where nothing was lost.

    auto: bytes with `--lossy auto` from 256 colours
    """

    path: Path
    original: int
    theirs: int
    ours: int
    auto: int
    their_psnr: float | None
    our_psnr: float | None
    they_kept: bool
    we_kept: bool


def graphics(paths: list[Path]) -> dict[str, list[Path]]:
    """Return PNG files in groups, by their folder or by the package that installs them."""
    if paths:
        return {
            path.name: sorted(path.glob("*.png")) if path.is_dir() else [path] for path in paths
        }
    folders = sorted((SHARED / "graphics").glob("*"))
    packages = [
        SKIMAGE / "logo.png",
        *sorted((MATPLOTLIB / "images").glob("*.png")),
        *sorted((ICONS / "256x256/legacy").glob("*.png"))[::3],
        *sorted((ICONS / "48x48/legacy").glob("*.png"))[::8],
    ]
    return {
        **{folder.name: sorted(folder.glob("*.png")) for folder in folders},
        "packages": [path for path in packages if path.exists()],
    }


def read(path: Path) -> NDArray[np.int64]:
    """Return pixels (n, 4) in sRGB, by our own decoder: some files have a gamma or a profile."""
    decoded = decode_image(path)
    pixels, alphas = decoded.whole().pixels, decoded.whole().alphas
    found = np.full((len(pixels), 4), 255, np.int64)
    found[:, :3] = pixels
    if alphas is not None:
        found[:, 3] = alphas
    return found


def psnr_of(original: NDArray[np.int64], path: Path) -> float | None:
    """Return the PSNR of a PNG file, as the product measures it; None where nothing was lost."""
    shown = read(path)
    differences = [
        original[:, :3] * original[:, 3:] - shown[:, :3] * shown[:, 3:],
        255 * (original[:, 3:] - shown[:, 3:]),
    ]
    error = sum(int((each**2).sum()) for each in differences)
    return psnr(error, int(np.count_nonzero(original[:, 3])))


def by_pngquant(data: bytes, options: Sequence[str]) -> tuple[bytes, bool]:
    """Return the file after pngquant and oxipng, and whether pngquant left it alone."""
    done = subprocess.run([*PNGQUANT, *options, "-"], input=data, capture_output=True, check=False)
    left_alone = done.returncode in LEFT_ALONE
    if done.returncode and not left_alone:
        raise RuntimeError(done.stderr.decode())
    return oxipng.optimize_from_memory(data if left_alone else done.stdout, level=4), left_alone


def by_us(path: Path, wanted: float | None, effort: int, folder: Path) -> tuple[bytes, bytes]:
    """Return our smallest file of at least the PSNR `wanted`, and the one of `--lossy auto`."""

    def compressed(colors: int, lossy: Lossy) -> bytes:
        kd.compress(
            path,
            folder,
            colors=colors,
            palette="image",
            min_psnr=LOSSLESS if wanted is None else wanted,
            lossy=lossy,
            effort=effort,
            workers=0,
            overwrite=True,
        )
        return (folder / path.name).read_bytes()

    plain = compressed(256, 0)
    if wanted is None:
        return plain, plain
    files = [plain, compressed(256, "auto"), compressed(192, "auto")]
    with Image.open(io.BytesIO(plain)) as image:
        fewest = len(image.getpalette() or ()) // 3 if image.mode == "P" else 0
    if 0 < fewest < 192:
        files.append(compressed(fewest * 4 // 3 + 1, "auto"))
    return min(files, key=len), files[1]


def compare(path: Path, effort: int, folder: Path, options: Sequence[str]) -> Compared:
    data = path.read_bytes()
    original = read(path)
    theirs, they_kept = by_pngquant(data, options)
    written = folder / "theirs.png"
    written.write_bytes(theirs)
    their_psnr = psnr_of(original, written)
    ours, auto = by_us(path, their_psnr, effort, folder / "ours")
    written.write_bytes(ours)
    return Compared(
        path,
        len(data),
        len(theirs),
        len(ours),
        len(auto),
        their_psnr,
        psnr_of(original, written),
        they_kept,
        ours == data,
    )


def cpu_seconds(*words: object) -> float:
    """Run a command, and return its CPU time, of user and system."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(word) for word in words], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def print_seconds(folder: Path, runs: int = 3) -> None:
    """Print the CPU time of a folder of icons, by us and by pngquant, in turn."""
    paths = sorted(folder.glob("*.png"))
    with tempfile.TemporaryDirectory() as name:
        one, out = Path(name) / "one", Path(name) / "out"
        one.mkdir()
        shutil.copy(paths[0], one)
        command = (sys.executable, "-m", "kmeans_dask", "compress")
        options = ("--palette", "image", "--min-psnr", 34, "--overwrite")
        for _ in range(runs):
            for more in ((), ("--lossy", "auto")):
                start = cpu_seconds(*command, one, out, *options, *more)
                whole = cpu_seconds(*command, folder, out, *options, *more)
                each = 1000 * (whole - start) / (len(paths) - 1)
                size = sum((out / path.name).stat().st_size for path in paths)
                what = " ".join(("ours", *more))
                print(
                    f"{what:18} {whole:6.2f} s, one {start:.2f} s, {each:6.1f} ms, {size:,} bytes"
                )
            theirs = Path(name) / "theirs.png"
            seconds, size = 0.0, 0
            for path in paths:
                seconds += cpu_seconds("pngquant", "--force", "--output", theirs, path)
                size += theirs.stat().st_size
            each = 1000 * seconds / len(paths)
            print(f"{'pngquant':18} {seconds:6.2f} s, {'':10} {each:6.1f} ms, {size:,} bytes")


def rows_of(name: str, some: list[Compared]) -> Iterator[str]:
    """Yield lines of all graphics of a group, and of those that both sides have rewritten."""
    both = [each for each in some if not each.they_kept and not each.we_kept]
    for what, part in ((name, some), ("  rewritten by both", both)):
        original = sum(each.original for each in part)
        theirs = sum(each.theirs for each in part)
        ours = sum(each.ours for each in part)
        auto = sum(each.auto for each in part)
        larger = sum(each.ours > each.theirs for each in part)
        kept = sum(each.they_kept for each in part), sum(each.we_kept for each in part)
        yield (
            f"{what:20} {len(part):5} {original:10,} {theirs:10,} {ours:10,}"
            f" {ours / max(theirs, 1):6.3f} {auto / max(theirs, 1):6.3f} {larger:6}"
            f"  {kept[0]:4} {kept[1]:4}"
        )


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("paths", nargs="*", type=Path)
    words.add_argument("--effort", type=int, default=8)
    words.add_argument("--every", type=int, default=1, help="take one of so many of each group")
    words.add_argument("--worst", type=int, default=12)
    words.add_argument("--nofs", action="store_true", help="pngquant without dithering")
    words.add_argument("--seconds", type=Path)
    args = words.parse_args()
    if args.seconds:
        print_seconds(args.seconds)
        return
    print(versions("numpy", "pillow", "deflate", "pyoxipng"))
    heads = f"{'files':>5} {'original':>10} {'theirs':>10} {'ours':>10}   part   auto larger  kept"
    print(f"{'':20} {heads}")
    every: list[Compared] = []
    options = ["--nofs"] if args.nofs else []
    since = time.process_time()
    with tempfile.TemporaryDirectory() as name:
        for group, paths in graphics(args.paths).items():
            some = [
                compare(path, args.effort, Path(name), options) for path in paths[:: args.every]
            ]
            print(*rows_of(group, some), sep="\n", flush=True)
            every += some
    print(*rows_of("all", every), sep="\n")
    print(f"{time.process_time() - since:.0f} CPU seconds; those that lose the most bytes:")
    for each in sorted(every, key=lambda c: c.theirs - c.ours)[: args.worst]:
        decibels = [f"{p:.1f}" if p else "exact" for p in (each.their_psnr, each.our_psnr)]
        print(
            f"  {each.path.name[-48:]:48} {each.original:8,} {each.theirs:8,} {each.ours:8,}  "
            f"{' '.join(decibels)}{' kept by them' * each.they_kept}{' kept by us' * each.we_kept}"
        )


if __name__ == "__main__":
    main()
