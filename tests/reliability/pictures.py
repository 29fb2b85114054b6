"""Images that nobody needs to have: generated, of all sizes and modes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

_MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "clear")
_FOLDERS = ("", "birds", "birds/small", "trees")


def picture(rng: np.random.Generator, mode: str, side: int) -> Image.Image:
    """Two gradients with noise, in a mode of Pillow's; `clear`: RGBA, opaque but for a corner."""
    height, width = (int(number) for number in rng.integers(1, side + 1, 2))
    base, slope = rng.integers(0, 200, 3), rng.integers(-60, 60, (2, 3))
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    colors = base + rows[..., None] * slope[0] + columns[..., None] * slope[1]
    colors = (colors + rng.normal(0, 4, colors.shape)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(colors)
    if mode in ("RGBA", "clear"):
        alphas = rng.choice([0, 90, 255], (height, width)) if mode == "RGBA" else 255
        alphas = np.broadcast_to(alphas, (height, width)).astype(np.uint8).copy()
        alphas[0, 0] = 0
        image.putalpha(Image.fromarray(alphas))
        return image
    return image.convert(mode)


def save_pictures(
    folder: Path, n: int, *, seed: int = 0, side: int = 40, modes: tuple[str, ...] = _MODES
) -> Path:
    """A folder of `n` images, some in folders inside, of all modes and three formats."""
    rng = np.random.default_rng(seed)
    for number in range(n):
        mode = modes[number % len(modes)]
        suffix = ".png" if mode in ("P", "1", "LA") else (".png", ".webp", ".tif")[number % 3]
        path = folder / _FOLDERS[number % len(_FOLDERS)] / f"{number:06d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = picture(rng, mode, side)
        image.save(path, lossless=True) if suffix == ".webp" else image.save(path)
    return folder
