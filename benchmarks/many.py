"""Many images: images a second, and what ten times as many cost.

    python -m benchmarks.many [FOLDER...] [--workers N] [--cores 1] [--times 10] [--runs 3]

One palette for all, starting left out: seconds of all steps, images a second and core, and the
peak of resident memory of client and workers; then the same with each folder as often as said. By
default the optional folder's thumbnails, else as many that are cut from a photograph. Files are
where TMPDIR is: of thumbnails, making a file can be the most that they take.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from PIL import Image

from benchmarks.common import SHARED, photographs, versions

_SIDE = 32
_LOOK = 0.02  # seconds between looks at memory


def thumbnails(folder: Path) -> Path:
    """As many as a photograph has."""
    folder.mkdir()
    with Image.open(photographs("none")[0]) as image:
        for number in range(600):
            left, top = number % 24 * 20, number // 24 * 19
            image.crop((left, top, left + _SIDE, top + _SIDE)).save(folder / f"{number}.png")
    return folder


def run(folder: Path, output: Path, words: list[str]) -> tuple[dict[str, Any], float]:
    """What a job says of itself, and the most memory that one of its processes has held, in MiB."""
    command = [sys.executable, "-m", "kmeans_dask", "compress", str(folder), str(output)]
    most = 0
    with subprocess.Popen(
        [*command, *words, "--always", "--overwrite", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout
        this = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                for each in (this, *this.children(recursive=True)):
                    most = max(most, each.memory_info().rss)
            except psutil.NoSuchProcess:
                pass
            time.sleep(_LOOK)
        said = json.loads(process.stdout.read().splitlines()[-1])
    return said, most / 2**20


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("inputs", nargs="*", type=Path)
    words.add_argument("--colors", type=int, default=256)
    words.add_argument("--workers", type=int)
    words.add_argument("--cores", type=int, default=1)
    words.add_argument("--times", type=int, default=10)
    words.add_argument("--runs", type=int, default=3)
    args = words.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])  # of children, too
    print(versions("dask", "pillow", "deflate"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        there = SHARED / "small/thumbnails"
        given = args.inputs or [there if there.is_dir() else thumbnails(folder / "made")]
        once, more = folder / "once", folder / "more"
        for place, each in enumerate(given):
            shutil.copytree(each, once / f"{place}")
        for number in range(args.times):
            shutil.copytree(once, more / f"{number}")
        options = ["--colors", str(args.colors)]
        if args.workers is not None:
            options += ["--workers", str(args.workers)]
        seconds = []
        for some in (once, more):
            runs = [run(some, folder / "out", options) for _ in range(args.runs + 1)][1:]
            spent = [sum(said["seconds"].values()) - said["seconds"]["start"] for said, _ in runs]
            seconds.append(median(spent))
            said = runs[-1][0]
            rate = said["images"] / median(spent) / args.cores
            steps = ", ".join(f"{step} {each:.2f}" for step, each in said["seconds"].items())
            print(f"{said['images']} images, {said['pixels']:,} pixels, k = {args.colors}")
            print(f"  {median(spent):.2f} s, {rate:,.0f} images a second and core; {steps}")
            print(f"  at most {max(most for _, most in runs):,.0f} MiB in one process")
        print(f"  {args.times} times the images: {seconds[1] / seconds[0]:.1f} times the time")


if __name__ == "__main__":
    main()
