"""A palette for each image, against pngquant on as many processes: time, error and bytes.

    python -m benchmarks.private [PNG...] [--colors 16,256] [--workers 2] [--runs 3]

Starting the workers is left out, on pngquant's side starting each process is not: that is how it
is used. Needs Debian's pngquant; without it only our side is measured.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common import in_turn, photographs, show, versions
from kmeans_dask.engine import connect
from kmeans_dask.job.job_settings import JobSettings
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.work_folder import open_work_folder
from kmeans_dask.plan.plan import make_plan
from kmeans_dask.settings import PRIVATE_TOL, DecodeSettings, EncodeSettings, FitSettings
from kmeans_dask.steps.compress import compress


def pixels_of(path: Path) -> NDArray[np.int64]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(np.int64)


def pngquant(paths: list[Path], output: Path, k: int, processes: int) -> None:
    output.mkdir(exist_ok=True)
    words = "pngquant --nofs --speed 4 --force"
    command = f'{words} --output "$1/$(basename "$0")" {k} -- "$0"'
    subprocess.run(
        ["xargs", "-P", str(processes), "-I", "{}", "sh", "-c", command, "{}", str(output)],
        input="\n".join(map(str, paths)),
        text=True,
        check=True,
    )


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("images", nargs="*", type=Path, default=photographs())
    words.add_argument("--colors", default="16,256")
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--runs", type=int, default=3)
    args = words.parse_args()
    plan = make_plan(args.images)
    paths = [Path(source.path) for source in plan.sources]
    print(f"{plan.n_images} images, {plan.n_pixels:,} pixels; {versions('numpy', 'pillow')}")
    with tempfile.TemporaryDirectory() as folder, connect(workers=args.workers) as engine:
        ours, theirs = Path(folder) / "ours", Path(folder) / "theirs"
        for k in map(int, args.colors.split(",")):
            settings = JobSettings(
                FitSettings(k, tol=PRIVATE_TOL),
                EncodeSettings(always=True),
                DecodeSettings(),
                scope="image",
            )

            def run(settings: JobSettings = settings) -> Any:
                shutil.rmtree(ours, ignore_errors=True)
                with open_work_folder(ours, {}, resume=False, overwrite=False) as work:
                    return compress(plan, work, engine, Progress(), settings)

            def run_peer(k: int = k) -> None:
                pngquant(paths, theirs, k, args.workers)

            sides: dict[str, Callable[[], Any]] = {"kmeans-dask": run}
            if shutil.which("pngquant"):
                sides["pngquant --nofs --speed 4"] = run_peer
            seconds, results = in_turn(sides, args.runs, warm={"kmeans-dask": run})
            found = results["kmeans-dask"]
            print(f"k = {k}: {found.output_bytes:,} bytes, {found.psnr:.2f} dB")
            show(seconds, {})
            if theirs.is_dir():
                compare(paths, ours, theirs)


def compare(paths: list[Path], ours: Path, theirs: Path) -> None:
    """Bytes of all, and the squared error of each image, against the peer's."""
    ratios = []
    for path in paths:
        original = pixels_of(path)
        error, other = (
            ((pixels_of(folder / path.name) - original) ** 2).mean() for folder in (ours, theirs)
        )
        ratios.append(error / other)
    sizes = [sum(path.stat().st_size for path in folder.glob("*.png")) for folder in (ours, theirs)]
    print(f"  bytes {sizes[0] / sizes[1]:.3f} of its own; error, image by image:")
    print("  ", " ".join(f"{ratio:.3f}" for ratio in ratios))


if __name__ == "__main__":
    since = time.perf_counter()
    main()
    print(f"{time.perf_counter() - since:.0f} s")
