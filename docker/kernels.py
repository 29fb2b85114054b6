"""Runs every kernel of the package, so that numba keeps them compiled: part of making the image.

Fails where one is never run: then what is run here has to grow.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dask.array as da
import numpy as np
from PIL import Image

from kmeans_dask import KMeans, cli, color, images, kmeans
from kmeans_dask.color.ssimulacra2 import ssimulacra2
from kmeans_dask.kernels.jit import Kernel

# Arrays that came over a network are read-only, which to numba is another type: hence workers.
JOBS = (
    "compress {images} {out}/a --workers 2 --colors 64",
    "compress {images}/some {out}/b --colors 64 --init random --weight images",
    "compress {images}/some {out}/c --colors 16 --palette image --workers 2",
    "compress {images}/opaque {out}/j --colors 64 --palette image --effort 5",
    "compress {images}/opaque {out}/k --colors 64 --palette image --lossy 20",
    "compress {images}/opaque {out}/l --colors 64 --palette image --lossy 20 --format gif",
    "compress {images}/some {out}/d --colors 64 --palette auto --min-psnr 30",
    "compress {images}/some {out}/e --colors 16 --color-space oklab --dither 1",
    "compress {images}/some {out}/f --colors 16 --dither 1 --fixed-colors #ff00ff --workers 2",
    "compress {images}/opaque {out}/g --colors 16 --dither 0.5 --format gif",
    "tokenize {images} {out}/h.zarr --colors 300 --workers 2",
    "ingest {images} {out}/i.zarr --workers 2",
    "fit {out}/i.zarr --colors 256 --tol 0 --max-iter 30 --workers 2",
    "encode {out}/i.zarr {out}/i --workers 2",
    "verify {out}/i.zarr --workers 2",
    "sweep {images}/some --colors 2,8 --workers 2",
    "estimate {images}/some --colors 8 --workers 2",
)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_images(work / "images")
        for job in JOBS:
            words = job.format(images=work / "images", out=work / "out").split()
            code = cli._main(words if "--workers" in words else [*words, "--workers", "0"])
            if code:
                sys.exit(f"{job}: exit code {code}")
    cluster_arrays()
    scores()
    cache = Path(os.environ["NUMBA_CACHE_DIR"])
    idle = [name for name in kernels() if not list(cache.glob(f"*/{name}-*.nbi"))]
    if idle:
        sys.exit(f"never run: {', '.join(idle)}")


def kernels() -> Iterator[str]:
    """Yield the name of every kernel of the package, as numba names its file."""
    for room in (kmeans, color, images):
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, Kernel) and value.py_func.__module__ == module.name:
                    yield f"{module.name.rpartition('.')[2]}.{value.py_func.__qualname__}"


def make_images(folder: Path) -> None:
    """A large one, whose colours are counted in a table of all, small ones, and clear ones."""
    for part in ("opaque", "some"):
        (folder / part).mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, height, width, channels in (
        ("large", 1100, 1000, 3),
        ("opaque/wide", 60, 320, 3),
        ("opaque/small", 30, 40, 3),
        ("some/small", 48, 64, 3),
        ("some/grey", 48, 64, 1),
        ("some/clear", 48, 64, 4),
    ):
        ramp = np.add.outer(np.arange(height), np.arange(width))[..., None] // 4 % 200
        pixels = (ramp + random.integers(0, 56, (height, width, channels))).astype(np.uint8)
        if channels == 4:
            pixels[:12, :, 3], pixels[24:, :, 3] = 0, 255
        Image.fromarray(pixels.squeeze()).save(folder / f"{name}.png")


def cluster_arrays() -> None:
    """What the estimator takes: integers and floating point, few and many channels, weights."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(3000, 6)) * 100
    weights = random.integers(1, 9, len(rows))
    for kind in (np.float64, np.float32, np.int32, np.uint8):
        for channels in (2, 3, 6):
            some = rows[:, :channels].astype(kind)
            for init in ("k-means++", "random"):
                KMeans(8, init=init, n_init=1, random_state=0).fit(some).predict(some)
            KMeans(8, n_init=1, random_state=0).fit(some, sample_weight=weights)
            chunked = da.from_array(some, chunks=(1000, channels))
            KMeans(8, n_init=1, random_state=0).fit(chunked).predict(chunked).compute()
    many = da.from_array(random.normal(size=(2**20, 6)), chunks=(2**18, 6))  # k-means||
    KMeans(8, n_init=1, max_iter=3, random_state=0).fit(many)


def scores() -> None:
    """Score images, both those of this process and read-only ones."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    ssimulacra2(pixels, pixels)
    pixels.flags.writeable = False
    ssimulacra2(pixels, pixels)


if __name__ == "__main__":
    main()
