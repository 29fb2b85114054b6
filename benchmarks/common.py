"""What the scripts share: images, starts, and running several sides in turn."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

SHARED = Path(__file__).parents[2] / "shared/data"  # optional
ELEPHANTS = SHARED / "large/mate__abstract__Elephants_5640x3172.jpg"
BASIL = SHARED / "article/saint-basils-cathedral.jpg"
_FALLBACK = Path(skimage.data.data_dir) / "astronaut.png"

Start = NDArray[np.float64]


def photographs(name: str = "kodak") -> list[Path]:
    """Images of the optional folder `name`, or some that scikit-image installs."""
    folder = SHARED / name
    if folder.is_dir():
        return sorted(folder.iterdir())
    return [_FALLBACK.with_name(f"{each}.png") for each in ("astronaut", "chelsea", "coffee")]


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """Pixels (n, 3) of the image at `path`, or of one that scikit-image installs."""
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(path if path.exists() else _FALLBACK) as image:
        return np.asarray(image.convert("RGB")).reshape(-1, 3)


def start_from(rows: NDArray[Any], k: int, *, off_grid: bool = False) -> Start:
    """K random rows to start from.

    off_grid: moved off the integers. From integers many pixels are exactly as far from two
    centroids, and there scikit-learn lets rounding decide, while we take the lower index.
    """
    random = np.random.default_rng(0)
    start = rows[random.choice(len(rows), k, replace=False)].astype(np.float64)
    return start + random.uniform(0.1, 0.4, start.shape) if off_grid else start


def in_turn(
    sides: Mapping[str, Callable[[], Any]], runs: int, warm: Mapping[str, Callable[[], Any]] = {}
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Run all sides one after the other, `runs` times: the seconds and last result of each.

    warm: to be called first, uncounted, for sides that compile or load something.
    """
    for first in warm.values():
        first()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    results: dict[str, Any] = {}
    for _ in range(runs):
        for name, side in sides.items():
            since = time.perf_counter()
            results[name] = side()
            seconds[name].append(time.perf_counter() - since)
    return seconds, results


def show(seconds: Mapping[str, list[float]], notes: Mapping[str, str]) -> None:
    """A line for each side: median, all runs, and how many times as long as the first side."""
    ours = median(next(iter(seconds.values())))
    for name, each in seconds.items():
        runs = ", ".join(f"{s:.3f}" for s in each)
        ratio = f"{median(each) / ours:6.1f} x"
        print(f"  {name:24} {median(each):8.3f} s {ratio} ({runs})  {notes.get(name, '')}")


def versions(*names: str) -> str:
    """Of Python and of packages."""
    found = [f"{name} {metadata.version(name)}" for name in ("kmeans-dask", *names)]
    return f"Python {platform.python_version()}, {', '.join(found)}"
