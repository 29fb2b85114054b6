"""Fit of one palette to several images: files, Pillow images, arrays, stacks or a store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.api.images import Palette, count_colors_of, decode_image
from kmeans_dask.api.job_input import Input
from kmeans_dask.api.running import (
    ShowProgress,
    choose_engine,
    engine_for,
    is_small_job,
    progress_for,
)
from kmeans_dask.api.store import Store
from kmeans_dask.engine import local_threads
from kmeans_dask.errors import ImageError, UsageError
from kmeans_dask.files import ObjectPath
from kmeans_dask.kmeans.histogram import ColorCounter, ColorHistogram, merge_histograms
from kmeans_dask.plan.sample_files import images_of
from kmeans_dask.settings import (
    TOL,
    Color,
    DecodeSettings,
    FitSettings,
    White,
)
from kmeans_dask.steps.collection import ingest_and_count, open_or_create
from kmeans_dask.steps.compress import temporary_folder
from kmeans_dask.steps.fit import check_room
from kmeans_dask.steps.fit import fit as fit_colors
from kmeans_dask.steps.quantize import quantize_histogram
from kmeans_dask.store import Store as ZarrStore
from kmeans_dask.store.tally import Tally

if TYPE_CHECKING:
    from distributed import Client

    from kmeans_dask.engine.choice import EngineChoice

_TOGETHER = 8  # histograms that one task merges
_FIT = FitSettings()


def fit_palette(
    images: Any,
    colors: int = _FIT.colors,
    *,
    min_psnr: float | None = None,
    max_error: float | None = None,
    fixed_colors: Sequence[Color] = (),
    color_space: str = _FIT.space,
    n_init: int | None = None,
    seed: int = _FIT.seed,
    init: str = _FIT.init,
    max_iter: int | None = None,
    tol: float = TOL,
    white: White = None,
    client: Client | EngineChoice | None = None,
    workers: int | None = None,
    memory_limit: str | int | None = None,
    progress: ShowProgress = False,
) -> Palette:
    """Return the palette of at most `colors` colours that loses the least over several images.

    images: paths, URLs or folders; Pillow images or arrays, one or a list; a stack of images
        (N, H, W), (N, H, W, 3) or (N, H, W, 4) as a NumPy, Dask or Zarr array, of uint8; or a
        `Store`. An array of three axes is one image where its last axis has 3 or 4 values

    The other parameters are those of `quantize` and `compress`. A Dask array is never held whole.
    Raises UsageError, and ImageError or JobError where an image cannot be read.
    """
    settings = FitSettings(
        colors,
        seed=seed,
        init=init,
        max_iter=max_iter,
        tol=tol,
        n_init=n_init,
        space=color_space,
        fixed=fixed_colors,
        min_psnr=min_psnr,
        max_error=max_error,
    )
    decode = DecodeSettings(white=white)
    choice = choose_engine(client, workers, memory_limit)
    several = _several(images)
    if several and all(isinstance(each, str | os.PathLike | ObjectPath) for each in several):
        return _fit_files(several, settings, decode, choice, progress)
    histogram, transparent = _count_all(several, decode)
    check_room(settings, transparent=transparent)
    with progress_for(progress) as shown, local_threads() as threads:
        shown.start("fit", None, "iterations")
        found, _ = quantize_histogram(
            histogram, settings, threads, transparent=transparent, on_event=shown.iterate
        )
        shown.finish()
    return Palette(found.palette.entries)


def _several(images: Any) -> list[Any]:
    """Return images, one or several, as a list."""
    return list(images) if isinstance(images, list | tuple | Iterator) else [images]


def _fit_files(
    paths: list[Any],
    settings: FitSettings,
    decode: DecodeSettings,
    choice: EngineChoice,
    progress: ShowProgress,
) -> Palette:
    """Fit a palette to the images of files and folders, by way of a temporary store."""
    source = Input.of(paths, decode)
    with progress_for(progress) as shown, source.reading():
        plan = source.plan(shown)
        if plan.failures:
            first = plan.failures[0]
            raise ImageError(f"{first.path}: {first.reason}")
        with (
            temporary_folder() as folder,
            engine_for(choice, shown, is_small=is_small_job(plan, decode), assigns=True) as engine,
            engine.sharing([folder], images_of(plan)),
        ):
            held = open_or_create(folder / "fit.zarr", plan, decode)
            ingested = ingest_and_count(held, engine, shown)
            if ingested.failures:
                first = ingested.failures[0]
                raise ImageError(f"{first.path}: {first.reason}")
            return Palette(fit_colors(held.store, engine, shown, settings).palette.entries)


def _count_all(images: list[Any], settings: DecodeSettings) -> tuple[ColorHistogram, bool]:
    """Return the histogram of images, and whether some pixel of them is fully transparent."""
    found = []
    for image in images:
        if isinstance(image, Store):
            store = ZarrStore.open(image.path)
            store.require_whole()
            found.append((store.read_colors(), Tally.read(store).transparent > 0))
        elif _is_stack(image):
            found.append(_count_stack(image))
        else:
            decoded = decode_image(image, settings)
            found.append((count_colors_of(decoded), decoded.transparent))
    if not found:
        raise UsageError("no image is given: name some")
    return merge_histograms([histogram for histogram, _ in found]), any(clear for _, clear in found)


def _is_stack(image: Any) -> bool:
    """Return whether `image` is an array of several images."""
    shape: tuple[int, ...] = getattr(image, "shape", ())
    return len(shape) == 4 or (len(shape) == 3 and shape[2] not in (1, 3, 4))


def _count_stack(stack: Any) -> tuple[ColorHistogram, bool]:
    """Return the histogram of a stack of images, and whether some pixel is fully transparent.

    The blocks of a Dask or Zarr array are counted as tasks, where they are.
    """
    import dask.array as da
    from dask.delayed import delayed

    channels = stack.shape[3] if len(stack.shape) == 4 else 1
    if stack.dtype != np.uint8 or channels not in (1, 3, 4):
        raise UsageError(
            f"an array of {stack.dtype} {tuple(stack.shape)} is no stack of images: give uint8 "
            "(N, H, W), (N, H, W, 3) or (N, H, W, 4)"
        )
    lazy: Any = stack
    if not hasattr(stack, "dask"):
        chunks = "auto" if isinstance(stack, np.ndarray) else stack.chunks
        lazy = da.from_array(stack, chunks=chunks)
    if len(stack.shape) == 4:
        lazy = lazy.rechunk({3: -1})
    parts = [delayed(_count_block)(block) for block in lazy.to_delayed().ravel()]
    while len(parts) > 1:
        starts = range(0, len(parts), _TOGETHER)
        parts = [delayed(_merge)(parts[start : start + _TOGETHER]) for start in starts]
    counted: tuple[ColorHistogram, bool] = parts[0].compute()
    return counted


def _count_block(block: NDArray[np.uint8]) -> tuple[ColorHistogram, bool]:
    """Return the histogram of a block of images, and whether some pixel is fully transparent."""
    channels = block.shape[3] if block.ndim == 4 else 1
    samples = np.ascontiguousarray(block).reshape(-1, channels)
    counter = ColorCounter()
    if channels == 4:
        alphas = np.ascontiguousarray(samples[:, 3])
        counter.add(np.ascontiguousarray(samples[:, :3]), alphas)
        return counter.histogram(), bool((alphas == 0).any())
    counter.add(np.repeat(samples, 3, axis=1) if channels == 1 else samples)
    return counter.histogram(), False


def _merge(parts: Iterable[tuple[ColorHistogram, bool]]) -> tuple[ColorHistogram, bool]:
    parts = list(parts)
    return merge_histograms([histogram for histogram, _ in parts]), any(clear for _, clear in parts)
