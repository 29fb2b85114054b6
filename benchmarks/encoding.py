"""Writing indexed pixels: against Pillow's PNG writer, every effort, and pngquant with oxipng.

    python -m benchmarks.encoding [PNG...] [--colors 16,256] [--runs 3]

The indices are those of `--palette image`. An "own" palette may be written in another order. Effort
9 and the last comparison need the extra `optimize`, and the latter Debian's pngquant.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common import in_turn, photographs, show
from kmeans_dask import quantize
from kmeans_dask.color.palette import Palette
from kmeans_dask.images.encode import encode_image
from kmeans_dask.settings import EncodeSettings

Indexed = tuple[NDArray[np.uint8], Palette]


def quantized(path: Path, k: int) -> Indexed:
    found = quantize(path, k)
    return found.indices.astype(np.uint8), found.palette


def by_pillow(indices: NDArray[np.uint8], palette: Palette) -> bytes:
    image = Image.fromarray(indices)
    image.putpalette(palette.entries[:, :3].tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=6, bits=palette.bit_depth)
    return file.getvalue()


def by_pngquant(path: Path, k: int) -> bytes:
    import oxipng

    words = ["pngquant", "--nofs", "--speed", "4", str(k), "-"]
    done = subprocess.run(words, input=path.read_bytes(), capture_output=True, check=True)
    optimized: bytes = oxipng.optimize_from_memory(done.stdout)
    return optimized


def both(paths: list[Path], k: int) -> int:
    return sum(len(by_pngquant(path, k)) for path in paths)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("images", nargs="*", type=Path, default=photographs())
    words.add_argument("--colors", default="16,256")
    words.add_argument("--runs", type=int, default=3)
    args = words.parse_args()
    paths = args.images
    for k in map(int, args.colors.split(",")):
        images = [quantized(path, k) for path in paths]

        def each(
            encode: Callable[[NDArray[np.uint8], Palette], bytes], images: list[Indexed] = images
        ) -> Callable[[], int]:
            return lambda: sum(len(encode(*image)) for image in images)

        def ours(settings: EncodeSettings, *, own: bool = False) -> Callable[[], int]:
            return each(
                lambda indices, palette: encode_image(indices, palette, settings, own_palette=own)
            )

        sides: dict[str, Callable[[], Any]] = {
            "png, default": ours(EncodeSettings()),
            "Pillow, level 6": each(by_pillow),
            **{f"png, effort {e}": ours(EncodeSettings(effort=e)) for e in range(9)},
            **{f"own, effort {e}": ours(EncodeSettings(effort=e), own=True) for e in range(9)},
            **{f"webp, effort {e}": ours(EncodeSettings("webp", effort=e)) for e in range(9)},
            "gif": ours(EncodeSettings("gif")),
        }
        seconds, sizes = in_turn(
            sides, args.runs, {"own": ours(EncodeSettings(effort=5), own=True)}
        )
        print(f"{len(images)} images, k = {k}")
        base = sizes["Pillow, level 6"]
        notes = {name: f"{size:,} bytes, {size / base:.3f}" for name, size in sizes.items()}
        show(seconds, notes)
        best: dict[str, Callable[[], Any]] = {
            "png, effort 9": ours(EncodeSettings(effort=9)),
            "own, effort 9": ours(EncodeSettings(effort=9), own=True),
        }
        if shutil.which("pngquant"):
            best["pngquant | oxipng"] = partial(both, paths, k)
        seconds, sizes = in_turn(best, 1)
        notes = {name: f"{size:,} bytes, {size / base:.3f}" for name, size in sizes.items()}
        show(seconds, notes)


if __name__ == "__main__":
    main()
