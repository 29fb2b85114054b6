"""GIF files: plain ones beside Pillow's, and lossy ones beside deflate's choice and gifsicle's.

    python -m benchmarks.gif [IMAGE...] [--colors 16,256] [--effort 3]

Plain files have the same indices and palette as Pillow's. Lossy ones are compared at equal squared
error: with the indices that are chosen for deflate, in files that Pillow writes, as `--lossy` once
did for GIF; and with `gifsicle --lossy -O3` of the plain file, where that is installed. Bytes
between two weights, or two values of gifsicle's, are interpolated. Seconds are CPU time.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common import photographs, read_pixels, versions
from kmeans_dask import quantize
from kmeans_dask.color.lossy_formats import choose_for_format
from kmeans_dask.color.palette import Palette
from kmeans_dask.images.gif import encode_gif

WEIGHTS = {256: (2.0, 8.0, 30.0), 16: (50.0, 200.0, 800.0)}
AROUND = (0.35, 1.0, 3.0)  # weights for deflate, as parts of ours
GIFSICLE = (5, 10, 20, 40, 80, 160)


class Curve(NamedTuple):
    """Mean squared errors in ascending order, and the bytes at each."""

    errors: list[float]
    sizes: list[float]

    @classmethod
    def of(cls, points: Sequence[tuple[float, float]]) -> Curve:
        """Return the curve through points of an error and bytes."""
        errors, sizes = zip(*sorted(points), strict=True)
        return cls(list(errors), list(sizes))

    def at(self, error: float) -> float:
        """Return the bytes at an error, or not-a-number where it is outside the curve."""
        if not self.errors[0] <= error <= self.errors[-1]:
            return float("nan")
        return float(np.interp(error, self.errors, self.sizes))


def by_pillow(indices: NDArray[np.uint8], palette: Palette) -> bytes:
    image = Image.fromarray(indices)
    image.putpalette(palette.entries[:, :3].tobytes())
    file = io.BytesIO()
    image.save(file, "GIF", optimize=False)
    return file.getvalue()


def error_of(pixels: NDArray[np.uint8], shown: NDArray[np.uint8]) -> float:
    difference = pixels.astype(np.int64) - shown.reshape(-1, 3)
    return float((difference**2).sum(axis=1).mean())


def by_gifsicle(file: bytes, pixels: NDArray[np.uint8]) -> Curve:
    points = []
    for lossy in GIFSICLE:
        command = ["gifsicle", f"--lossy={lossy}", "-O3"]
        found = subprocess.run(command, input=file, capture_output=True, check=True).stdout
        with Image.open(io.BytesIO(found)) as image:
            shown = np.asarray(image.convert("RGB"))
        points.append((error_of(pixels, shown), len(found)))
    return Curve.of(points)


def compare(path: Path, k: int, effort: int) -> None:
    pixels = read_pixels(path)
    plain = quantize(path, k)
    indices = plain.indices.astype(np.uint8)
    palette = plain.palette
    start = time.process_time()
    pillow = by_pillow(indices, palette)
    middle = time.process_time()
    ours = encode_gif(indices, palette, effort)
    took = (time.process_time() - middle) / (middle - start)
    print(f"{path.name} k={k}: plain {len(ours) / len(pillow):.3f} of Pillow's bytes, {took:.1f} x")
    free = np.ones(len(palette), np.bool_)

    def chosen(format_: str, weight: float) -> tuple[float, NDArray[np.uint8], Palette]:
        found = choose_for_format(
            format_, effort, pixels, None, indices.shape[1], indices.ravel(), palette, "rgb",
            weight, free,
        )  # fmt: skip
        shown = found.palette.entries[found.indices][:, :3]
        return error_of(pixels, shown), found.indices.reshape(indices.shape), found.palette

    weights = WEIGHTS[256 if k > 64 else 16]
    points = []
    for weight in sorted({each * part for each in weights for part in AROUND}):
        error, found, moved = chosen("png", weight)
        points.append((error, len(by_pillow(found, moved))))
    deflate = Curve.of(points)
    gifsicle = by_gifsicle(ours, pixels) if shutil.which("gifsicle") else None
    for weight in weights:
        start = time.process_time()
        error, found, moved = chosen("gif", weight)
        seconds = (time.process_time() - start) / indices.size * 1e6
        size = len(encode_gif(found, moved, effort))
        beside = f"{size / gifsicle.at(error):.3f}" if gifsicle else "none"
        print(
            f"  weight {weight:5.0f}: error {error:6.1f}, {size / len(pillow):.3f} of plain; at "
            f"equal error {size / deflate.at(error):.3f} of deflate's choice by Pillow, "
            f"{beside} of gifsicle's; {seconds:.2f} s a megapixel",
            flush=True,
        )


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("images", nargs="*", type=Path, default=photographs())
    words.add_argument("--colors", default="16,256")
    words.add_argument("--effort", type=int, default=3)
    args = words.parse_args()
    print(versions("pillow", "numba"))
    small = np.zeros((9, 9), np.uint8)  # compiles
    encode_gif(small, Palette.of_colors(np.zeros((2, 3), np.uint8)))
    rgb = np.zeros((81, 3), np.uint8)
    black = Palette.of_colors(rgb[:2])
    for format_ in ("png", "gif"):
        choose_for_format(
            format_, args.effort, rgb, None, 9, small.ravel(), black, "rgb", 1.0, np.ones(2, bool)
        )
    for k in map(int, args.colors.split(",")):
        for path in args.images:
            compare(path, k, args.effort)


if __name__ == "__main__":
    main()
