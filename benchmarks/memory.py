"""Benchmark of the most memory that a worker takes for one image.

    python -m benchmarks.memory [--megapixels 1,10,30] [--kinds "NAME;..."] [--steps NAME,...]

The images are photographs and random noise, in several formats. Each step runs in a worker process
of its own, whose peak resident size (VmHWM) is read when the step is done: `start` (no image),
`ingest`, `encode`, `image` (a palette of its own, all in one task), and `fit`. The figures are for
comparison with the model in `engine.memory_model`, which `--memory-limit` and `estimate` use.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.common import ELEPHANTS, photographs, versions
from kmeans_dask.engine import connect
from kmeans_dask.job.job_settings import JobSettings
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.work_folder import open_work_folder
from kmeans_dask.plan.plan import make_plan
from kmeans_dask.settings import DecodeSettings, EncodeSettings, FitSettings
from kmeans_dask.steps.collection import ingest_and_count, open_or_create
from kmeans_dask.steps.compress import compress
from kmeans_dask.steps.encode import encode
from kmeans_dask.steps.fit import fit

STEPS = ("start", "ingest", "encode", "image", "fit")
_FIT = FitSettings(16, max_iter=3, n_init=1)
_ALL = FitSettings(256, max_iter=3, n_init=1)  # most entries: most memory for each colour


def photo(side: int) -> Image.Image:
    """Return a photograph, scaled to `side` by `side` pixels."""
    path = ELEPHANTS if ELEPHANTS.exists() else photographs("none")[0]
    with Image.open(path) as image:
        return image.convert("RGB").resize((side, side))


def noise(side: int, channels: int = 3) -> Image.Image:
    """Return an image of `side` by `side` pixels with random samples, 1 to 254."""
    samples = np.random.default_rng(0).integers(1, 255, (side, side, channels), np.uint8)
    return Image.fromarray(samples)


def grey16(side: int) -> Image.Image:
    samples = np.random.default_rng(0).integers(0, 1 << 16, (side, side), np.uint16)
    return Image.fromarray(samples)


def quantized(side: int) -> Image.Image:
    return photo(side).quantize(256, dither=Image.Dither.NONE)


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


KINDS: dict[str, tuple[str, Callable[[int], Image.Image], dict[str, Any]]] = {
    "JPEG, photograph": ("jpg", photo, {"quality": 90}),
    "JPEG, progressive": ("jpg", photo, {"quality": 90, "progressive": True}),
    "JPEG, noise, turned": ("jpg", noise, {"exif": turned()}),
    "JPEG, CMYK": ("jpg", lambda side: photo(side).convert("CMYK"), {}),
    "PNG, noise": ("png", noise, {"compress_level": 1}),
    "PNG, noise, alpha": ("png", lambda side: noise(side, 4), {"compress_level": 1}),
    "PNG, 16-bit grey": ("png", grey16, {"compress_level": 1}),
    "PNG, palette": ("png", quantized, {}),
    "TIFF, noise, turned": ("tif", noise, {"exif": turned()}),
    "TIFF, noise, alpha, LZW": ("tif", lambda side: noise(side, 4), {"compression": "tiff_lzw"}),
    "BMP, noise": ("bmp", noise, {}),
    "GIF": ("gif", quantized, {}),
    "WebP, photograph": ("webp", photo, {"method": 0}),
    "WebP, noise, alpha": ("webp", lambda side: noise(side, 4), {"lossless": True, "method": 0}),
    "JPEG 2000, noise, alpha": ("jp2", lambda side: noise(side, 4), {}),
    "AVIF, photograph": ("avif", photo, {"speed": 10}),
}  # fmt: skip


def peak_mib(_: object = None) -> float:
    """Return the peak resident size of this process, in MiB.

    Not from `ru_maxrss`, which a process inherits from the process that started it.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(step: str, path: Path) -> float:
    """Return the peak resident size, in MiB, of a new worker that has done `step` with an image."""
    folder, progress, decode = path.parent, Progress(), DecodeSettings(max_pixels=1 << 30)
    plan = make_plan([path], max_pixels=decode.max_pixels)
    if step in ("encode", "fit"):
        with connect(workers=0) as engine:
            store = ingest_and_count(
                open_or_create(folder / "s.zarr", plan, decode), engine, progress
            ).store
            fitted = fit(store, engine, progress, _FIT) if step == "encode" else None
    with connect(workers=1) as engine:
        if step == "ingest":
            ingest_and_count(open_or_create(folder / "s.zarr", plan, decode), engine, progress)
        elif step == "fit":
            fit(store, engine, progress, _ALL)
        elif step == "encode":
            assert fitted
            always = EncodeSettings(effort=0, always=True)
            encode(store, folder / "out", folder / "records", fitted, engine, progress, always)
        elif step == "image":
            settings = JobSettings(_FIT, EncodeSettings(effort=0, always=True), decode, "image")
            with open_work_folder(folder / "out", {}, resume=False, overwrite=False) as work:
                work.begin()
                done = compress(plan, work, engine, progress, settings)
                assert done.compressed == 1, done.failures
        return max(engine.map("peak", peak_mib, range(4)))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--megapixels", default="1,10,30")
    words.add_argument("--kinds", default=";".join(KINDS), help="With semicolons.")
    words.add_argument("--steps", default=",".join(STEPS[:-1]))
    words.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = words.parse_args()
    Image.MAX_IMAGE_PIXELS = None
    if args.one:
        print(measure(args.one[0], Path(args.one[1])))
        return
    print(versions("numpy", "pillow", "distributed"))
    for kind in args.kinds.split(";"):
        suffix, make, options = KINDS[kind]
        for megapixels in args.megapixels.split(","):
            side = round((float(megapixels) * 1e6) ** 0.5)
            with tempfile.TemporaryDirectory() as name:
                path = Path(name) / f"a.{suffix}"
                make(side).save(path, **options)
                peaks = []
                for step in args.steps.split(","):
                    with tempfile.TemporaryDirectory(dir=name) as inside:
                        (there := Path(inside) / path.name).symlink_to(path)
                        command = [sys.executable, "-m", "benchmarks.memory", "--one"]
                        done = subprocess.run(
                            [*command, step, str(there)], stdout=subprocess.PIPE, text=True
                        )
                    peaks.append(f"{step} {float(done.stdout or 'nan'):,.0f}")
            print(f"  {kind:24} {megapixels:>3} megapixels: {', '.join(peaks)} MiB", flush=True)


if __name__ == "__main__":
    main()
