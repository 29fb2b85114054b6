"""Small tables of colours and palettes, what a palette makes of them by plain NumPy, and jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from kmeans_dask.color.palette import Palette
from kmeans_dask.color.spaces import Space
from kmeans_dask.engine import connect, local_threads
from kmeans_dask.job.checkpoint import Checkpoint
from kmeans_dask.job.job_settings import JobSettings
from kmeans_dask.job.progress import Progress
from kmeans_dask.job.summary import Summary
from kmeans_dask.job.work_folder import open_work_folder
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.kmeans.morton_codes import encode_translucent
from kmeans_dask.plan.output_names import WORK_FOLDER
from kmeans_dask.plan.plan import make_plan
from kmeans_dask.settings import PARTITION_PIXELS, DecodeSettings, EncodeSettings, FitSettings
from kmeans_dask.steps.collection import ingest_and_count, open_or_create
from kmeans_dask.steps.compress import compress
from kmeans_dask.steps.quantize import LocalColors, OnIteration, PaletteFit, quantize
from kmeans_dask.store import Store
from tests.kmeans.strategies import SEEDS

SPACES = ("rgb", "oklab")
ALPHAS = ("opaque", "translucent", "both")
_FAR = np.int64(1) << 62


def table_of(
    colors: NDArray[Any], alphas: NDArray[Any] | None = None, weights: NDArray[Any] | None = None
) -> ColorHistogram:
    """A table of distinct colours (n, 3) with alphas (n,) or 255, and weights (n,) or 1."""
    over = np.full(len(colors), 255) if alphas is None else alphas
    codes = encode_translucent(np.asarray(colors).astype(np.uint8), over.astype(np.uint8))
    distinct, first = np.unique(codes, return_index=True)
    some = np.ones(len(codes), np.int64) if weights is None else weights.astype(np.int64)
    return ColorHistogram(distinct, some[first])


def random_table(
    n: int, seed: int, kind: str = "uniform", alphas: str = "opaque", heaviest: int = 1000
) -> ColorHistogram:
    """About n colours."""
    rng = np.random.default_rng(seed)
    colors: NDArray[Any] = rng.integers(0, 256, (n, 3))
    if kind == "tight":
        colors = rng.integers(0, 256, 3) + rng.normal(0, 4, (n, 3))
    elif kind == "greys":
        colors = np.repeat(rng.integers(0, 256, n), 3).reshape(-1, 3)
    over = np.full(n, 255)
    if alphas != "opaque":
        over = rng.choice([1, 2, 128, 253, 254, *rng.integers(1, 255, 5)], n)
    if alphas == "both":
        over[rng.random(n) < rng.choice([0.1, 0.5, 0.9])] = 255
    return table_of(colors.clip(0, 255), over, rng.integers(1, heaviest, n, endpoint=True))


@st.composite
def tables(
    draw: st.DrawFn, max_colors: int = 120, alphas: str | None = None, min_colors: int = 1
) -> ColorHistogram:
    return random_table(
        draw(st.integers(min_colors, max_colors)),
        draw(SEEDS),
        draw(st.sampled_from(["uniform", "tight", "greys"])),
        alphas or draw(st.sampled_from(ALPHAS)),
        draw(st.sampled_from([1, 1000, 10**9])),
    )


@st.composite
def palettes(draw: st.DrawFn, max_colors: int = 20) -> Palette:
    """Draw any palette that a file may hold: of opaque entries, of translucent ones, or of both.

    Entries are in no order and may repeat, and up to two transparent ones are anywhere.
    """
    rng = np.random.default_rng(draw(SEEDS))
    colors = rng.integers(0, 256, (draw(st.integers(1, max_colors)), 3))
    kind = draw(st.sampled_from(ALPHAS))
    if kind != "opaque":
        alphas = rng.integers(1, 255, len(colors))
        if kind == "both":
            alphas[rng.random(len(colors)) < 0.5] = 255
        colors = np.column_stack([colors, alphas])
    entries = Palette.of_colors(colors.astype(np.uint8)).entries
    places = rng.integers(0, len(entries) + 1, draw(st.integers(0, 2)))
    return Palette.of_entries(np.insert(entries, places, 0, axis=0))


def quantized(
    histogram: ColorHistogram,
    settings: FitSettings,
    *,
    transparent: bool = False,
    weights: NDArray[np.int64] | None = None,
    threads: int = 1,
    on_iteration: OnIteration | None = None,
    checkpoint: Checkpoint | None = None,
) -> PaletteFit:
    with local_threads(threads) as engine:
        return quantize(
            LocalColors(histogram, settings, engine, weights),
            settings,
            transparent=transparent,
            on_iteration=on_iteration,
            checkpoint=checkpoint,
        )


def same_palette(a: Palette, b: Palette) -> bool:
    return np.array_equal(a.entries, b.entries)


def same_result(a: PaletteFit, b: PaletteFit) -> bool:
    return (
        same_palette(a.palette, b.palette)
        and np.array_equal(a.evaluation.weights, b.evaluation.weights)
        and a.evaluation.squared_error == b.evaluation.squared_error
    )


def premultiplied(colors: NDArray[Any], alphas: NDArray[Any]) -> NDArray[np.int64]:
    """(n, 4), in parts of 1 / 255 of 8-bit values."""
    straight = np.column_stack([colors, np.full(len(colors), 255)]).astype(np.int64)
    return straight * alphas[:, None].astype(np.int64)


def plain_entries(
    colors: NDArray[np.uint8], alphas: NDArray[np.uint8], palette: Palette, space: str
) -> NDArray[np.int64]:
    """Return the index of the nearest entry for each colour (n, 3) with its alpha (n,), (n,) int64.

    Of several nearest entries the first is taken. An opaque colour gets an opaque entry where there
    is one; a transparent one gets the transparent entry, or 0 where there is none.
    """
    entries = palette.entries[palette.numbers]
    if space == "rgb":
        points = premultiplied(colors, alphas)
        places = premultiplied(entries[:, :3], entries[:, 3])
    else:
        of_all = Space(space, alpha=True)
        points = of_all.coordinates(colors, alphas)
        places = of_all.coordinates(entries[:, :3], entries[:, 3])
    distances = ((points[:, None] - places[None]) ** 2).sum(axis=2)
    opaque = entries[:, 3] == 255
    if opaque.any():
        distances[np.ix_(alphas == 255, ~opaque)] = _FAR
    found = palette.numbers[distances.argmin(axis=1)]
    return np.where(alphas == 0, palette.clear or 0, found).astype(np.int64)


def plain_error(histogram: ColorHistogram, entries: NDArray[Any], palette: Palette) -> int:
    """Of all pixels, in Python's integers."""
    found = palette.entries[entries]
    apart = premultiplied(histogram.colors, histogram.alphas) - premultiplied(
        found[:, :3], found[:, 3]
    )
    squares = (apart**2).sum(axis=1).tolist()
    return sum(n * square for n, square in zip(histogram.weights.tolist(), squares, strict=True))


def save(path: Path, pixels: NDArray[Any]) -> Path:
    """An image of pixels (h, w, 3) or, with alpha, (h, w, 4)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def noise(seed: int, size: tuple[int, int] = (20, 24), alphas: str = "opaque") -> NDArray[np.uint8]:
    """An image of many colours; (h, w, 4) where not opaque, and then with a clear corner."""
    rng = np.random.default_rng(seed)
    colors = rng.normal(rng.integers(60, 190, 3), 35, (*size, 3)).clip(0, 255)
    if alphas == "opaque":
        return colors.astype(np.uint8)
    over = rng.choice([60, 255], size) if alphas == "both" else np.full(size, 255)
    over[:3, :3] = 0
    return np.dstack([colors, over]).astype(np.uint8)


def job(
    inputs: list[Path],
    output: Path,
    fit: FitSettings,
    encode: EncodeSettings | None = None,
    scope: str = "shared",
    palette: Palette | None = None,
    partition_pixels: int = PARTITION_PIXELS,
) -> Summary:
    """Compress in this process, to the end."""
    settings = JobSettings(fit, encode or EncodeSettings(), DecodeSettings(), scope, palette)
    with (
        open_work_folder(output, {}, resume=False, overwrite=False) as work,
        connect(workers=0) as engine,
    ):
        work.begin()
        summary = compress(
            make_plan(inputs, partition_pixels=partition_pixels), work, engine, Progress(), settings
        )
        work.finish()
        return summary


class StoppedError(Exception):
    """What ends a job in a test."""


class Stopping(Progress):
    """Ends a job after so many steps forward."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    def advance(self, n: int, failed: int = 0) -> None:
        super().advance(n, failed)
        self.left -= 1
        if self.left == 0:
            raise StoppedError


def ingested(inputs: list[Path], path: Path, partition_pixels: int = PARTITION_PIXELS) -> Store:
    """A store of images, made in this process; what it has already, stays."""
    plan = make_plan(inputs, partition_pixels=partition_pixels)
    with connect(workers=0) as engine:
        held = open_or_create(path, plan, DecodeSettings())
        return ingest_and_count(held, engine, Progress()).store


def files_in(folder: Path) -> dict[str, bytes]:
    """Names below a folder, and contents; but for what a job keeps of itself, hidden there."""
    names = {path: path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name.as_posix(): path.read_bytes()
        for path, name in names.items()
        if name.parts[0] != WORK_FOLDER
    }
