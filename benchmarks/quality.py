"""Bytes at equal quality, with the number of colours and `--lossy` chosen together.

    python -m benchmarks.quality [IMAGE...] [--colors 256,128,64,32] [--lossy 0,1,2,4,8,16,32]

For each image, files of all combinations are compared with those of Debian's pngquant, as written
and after oxipng (the extra `optimize`): with its default, dithered, at equal SSIMULACRA2, and with
`--nofs` at equal mean squared error. Bytes between two values of `--lossy` are interpolated. Our
palettes are fitted in Oklab for the first comparison and in RGB for the second. Images are decoded
as RGB. By default the photographs of the optional folder.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import oxipng
from numpy.typing import NDArray
from PIL import Image

import kmeans_dask as kd
from benchmarks.common import photographs, versions
from kmeans_dask.color.ssimulacra2 import ssimulacra2
from kmeans_dask.images.png import encode_png

EFFORT = 8
Pixels = NDArray[np.uint8]


class File(NamedTuple):
    """Size of a file, its mean squared error over three channels, and its SSIMULACRA2."""

    n_bytes: int
    error: float
    score: float


def judge(original: Pixels, shown: Pixels, n_bytes: int, *, with_score: bool) -> File:
    difference = original.astype(np.int64) - shown
    error = float((difference**2).sum(axis=2).mean())
    return File(n_bytes, error, ssimulacra2(original, shown) if with_score else 0.0)


def ours(pixels: Pixels, k: int, weight: float, space: str) -> File:
    found = kd.quantize(pixels, k, lossy=weight, color_space=space)
    indices = found.indices.astype(np.uint8)
    data = encode_png(indices, found.palette, EFFORT, own_palette=True)
    shown = found.palette.entries[indices][..., :3]
    return judge(pixels, shown, len(data), with_score=space == "oklab")


def pngquant(pixels: Pixels, *options: str) -> tuple[File, File]:
    """Return the file that pngquant writes, and the same after oxipng."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    command = [shutil.which("pngquant") or "pngquant", "256", *options, "-"]
    data = subprocess.run(command, input=file.getvalue(), capture_output=True, check=True).stdout
    with Image.open(io.BytesIO(data)) as image:
        shown = np.asarray(image.convert("RGB"))
    written = judge(pixels, shown, len(data), with_score=not options)
    return written, written._replace(n_bytes=len(oxipng.optimize_from_memory(data, level=4)))


def bytes_at(curves: Sequence[Sequence[File]], wanted: float, field: str) -> float:
    """Return the fewest bytes at which some curve is as good as `wanted`, or infinity.

    curves: for each number of colours, files from the least to the most lossy
    field: "score", of which more is better, or "error"
    """
    sign = -1.0 if field == "score" else 1.0
    found = [np.inf]
    for curve in curves:
        losses = [sign * getattr(file, field) for file in curve]
        sizes = [np.log(file.n_bytes) for file in curve]
        for i, (loss, size) in enumerate(zip(losses, sizes, strict=True)):
            if loss <= sign * wanted:
                found.append(size)
            elif i and losses[i - 1] <= sign * wanted:
                part = (sign * wanted - losses[i - 1]) / (loss - losses[i - 1])
                found.append(sizes[i - 1] + part * (size - sizes[i - 1]))
    return float(np.exp(min(found)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", nargs="*", type=Path)
    parser.add_argument("--colors", default="256,128,64,32")
    parser.add_argument("--lossy", default="0,1,2,4,8,16,32")
    given = parser.parse_args()
    numbers = [int(number) for number in given.colors.split(",")]
    weights = [float(weight) for weight in given.lossy.split(",")]
    print(versions("kmeans-dask", "numpy", "pillow", "deflate", "pyoxipng"))
    print("part of pngquant's bytes: as written and after oxipng, at equal SSIMULACRA2; --nofs")
    print("then oxipng, at equal error")
    parts = []
    for path in given.images or photographs():
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        dithered, optimized = pngquant(pixels)
        _, plain = pngquant(pixels, "--nofs")
        curves = {
            space: [[ours(pixels, k, weight, space) for weight in weights] for k in numbers]
            for space in ("oklab", "rgb")
        }
        by_score = bytes_at(curves["oklab"], dithered.score, "score")
        by_error = bytes_at(curves["rgb"], plain.error, "error")
        row = (
            by_score / dithered.n_bytes,
            by_score / optimized.n_bytes,
            by_error / plain.n_bytes,
        )
        parts.append(row)
        shown = "  ".join(f"{part:5.2f}" for part in row)
        print(f"  {path.name:40} {shown}  (score {dithered.score:.1f})", flush=True)
    for what, of in (("median", median), ("worst", max)):
        shown = "  ".join(f"{of(column):5.2f}" for column in zip(*parts, strict=True))
        print(f"  {what:40} {shown}")


if __name__ == "__main__":
    main()
