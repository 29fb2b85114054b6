"""Whole processes, from a command to its end: help, one photograph, and jobs of several sizes.

    python -m benchmarks.instant [IMAGE] [--colors 256] [--runs 5]

`--help` against `import numpy`. A photograph of 2.3 megapixels, as PNG, against pngquant (left
out where it is not installed), which dithers unless it is told not to; with the kernels that numba
has on disk, and once with none. Jobs of more and more photographs, in one process and on two
workers: where the one ends to be sooner.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from benchmarks.common import ELEPHANTS, in_turn, photographs, show, versions
from benchmarks.private import pixels_of

_SIZE = 1920, 1200
_JOBS = (1, 2, 5, 7)  # such photographs


def call(*words: object, **more: str) -> Callable[[], None]:
    """A process, from its start to its end. Python keeps what it has compiled, as it would."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def run() -> None:
        command = [str(word) for word in words]
        subprocess.run(command, env=kept | more, stdout=subprocess.DEVNULL, check=True)

    return run


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("image", nargs="?", type=Path, default=ELEPHANTS)
    words.add_argument("--colors", type=int, default=256)
    words.add_argument("--runs", type=int, default=5)
    args = words.parse_args()
    path = args.image if args.image.exists() else photographs()[0].with_name("retina.jpg")
    print(versions("numpy", "numba", "pillow", "typer"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        photo, theirs = folder / "in" / "0.png", folder / "pngquant.png"
        Image.MAX_IMAGE_PIXELS = None
        with Image.open(path) as image:
            image.convert("RGB").resize(_SIZE).save(photo)

        def job(source: Path, *more: object, **environment: str) -> Callable[[], None]:
            command = ["compress", source, folder / "out", "--colors", args.colors, "--always"]
            return call(
                *(sys.executable, "-m", "kmeans_dask", *command, "--overwrite", "--json", *more),
                **environment,
            )

        sides = {
            "import numpy": call(sys.executable, "-c", "import numpy"),
            "kmeans-dask --help": call(sys.executable, "-m", "kmeans_dask", "--help"),
        }
        for each in sides.values():
            each()
        show(in_turn(sides, args.runs)[0], {})

        job(photo)()
        sides = {}
        if shutil.which("pngquant"):
            command = ["pngquant", "--force", "--output", theirs, args.colors, photo]
            sides["pngquant"] = call(*command)
            sides["pngquant --nofs"] = call(*command[:1], "--nofs", *command[1:])
        sides["kmeans-dask"] = job(photo)
        print(f"{path.name} as a PNG of {_SIZE[0]} x {_SIZE[1]}, k = {args.colors}:")
        show(in_turn(sides, args.runs)[0], {})
        error = ((pixels_of(folder / "out" / "0.png") - pixels_of(photo)) ** 2).mean()
        print(f"  mean squared error {error:.3f}", end="")
        if theirs.exists():  # as the last side but one has left it
            other = ((pixels_of(theirs) - pixels_of(photo)) ** 2).mean()
            print(f", of pngquant --nofs {other:.3f}", end="")
        print()
        cold = {"no kernels on disk": job(photo, NUMBA_CACHE_DIR=str(folder / "kernels"))}
        show(in_turn(cold, 1)[0], {})

        for number in range(1, _JOBS[-1]):
            with Image.open(photo) as image:
                image.transpose(Image.Transpose(number % 7)).point(
                    lambda value, number=number: value - value // (9 + number)
                ).save(folder / "in" / f"{number}.png")
        for size in _JOBS:
            some = folder / f"{size}"
            some.mkdir()
            for number in range(size):
                shutil.copy(folder / "in" / f"{number}.png", some)
            print(f"{size} photographs, {size * _SIZE[0] * _SIZE[1] / 1e6:.1f} megapixels:")
            sides = {
                "one process": job(some, "--workers", "0"),
                "two workers": job(some, "--workers", "2"),
            }
            show(in_turn(sides, max(1, args.runs // 2))[0], {})


if __name__ == "__main__":
    main()
