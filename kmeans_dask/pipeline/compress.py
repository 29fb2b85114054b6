"""All the steps, one after the other, and what came of them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kmeans_dask.cluster import Engine
from kmeans_dask.errors import UsageError
from kmeans_dask.imaging.quality import psnr
from kmeans_dask.pipeline.count import Tally, count
from kmeans_dask.pipeline.encode import encode
from kmeans_dask.pipeline.fit import FitResult, fit
from kmeans_dask.pipeline.ingest import ingest
from kmeans_dask.pipeline.plan import Failure, Plan
from kmeans_dask.pipeline.progress import Progress
from kmeans_dask.settings import MAX_PIXELS, FitSettings
from kmeans_dask.store import Store

_GIGABYTE = 10**9
_PASSING_STORE = ".kmeans-dask.zarr"  # in the output folder, which every worker sees


@dataclass(frozen=True)
class Summary:
    """What a job did. Sizes and quality are of the images in the output, as written.

    images: found in the input: compressed, kept as they were, or failed
    skipped: hidden files and links to folders, passed over
    pixels: of the images that could be read
    distinct_colors: of their opaque pixels
    colors: entries of the palette
    iterations, converged, inertia: of the fit; inertia in squared 8-bit values
    psnr: over the opaque pixels of the compressed images, in dB; None where nothing was lost
    composited: images with partly transparent pixels, which were laid over white
    input_bytes, output_bytes: of the compressed and kept images
    """

    images: int
    compressed: int
    kept: int
    failed: int
    skipped: int
    composited: int
    pixels: int
    distinct_colors: int
    colors: int
    iterations: int
    converged: bool
    inertia: float
    psnr: float | None
    input_bytes: int
    output_bytes: int
    seconds: Mapping[str, float]
    failures: tuple[Failure, ...]

    @property
    def images_per_gb(self) -> tuple[float, float] | None:
        """How many such images fit in 10^9 bytes, before and after; None without images."""
        n = self.compressed + self.kept
        return (_GIGABYTE * n / self.input_bytes, _GIGABYTE * n / self.output_bytes) if n else None

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        before, after = self.images_per_gb or (None, None)
        return asdict(self) | {"images_per_gb": {"before": before, "after": after}}


def check_output(inputs: Sequence[Path], output: Path, *, overwrite: bool) -> None:
    """Raise UsageError where writing to `output` could mix with or harm what is there."""
    _check_outside(inputs, output, "OUTPUT")
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file: name a folder to write to")
    if not overwrite and output.is_dir() and any(output.iterdir()):
        raise UsageError(
            f"{output} is not empty: name another folder, or add --overwrite to write into it"
        )


def check_new_store(inputs: Sequence[Path], path: Path) -> None:
    """Raise UsageError where no new store can be made at `path`."""
    _check_outside(inputs, path, "the store")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} exists already: choose another path, or remove it first")


def _check_outside(inputs: Sequence[Path], path: Path, what: str) -> None:
    """Raise UsageError where `path` is inside one of `inputs`, or one of them inside it."""
    resolved = path.resolve()
    for given in inputs:
        source = given.resolve()
        if resolved == source or source in resolved.parents or resolved in source.parents:
            raise UsageError(
                f"{what} {path} and the input {given} are one inside the other: choose a "
                "folder elsewhere"
            )


@dataclass(frozen=True)
class IngestSummary:
    """What `ingest_and_count` did; `distinct_colors` are those of opaque pixels."""

    store: Store
    tally: Tally
    distinct_colors: int
    failures: tuple[Failure, ...]
    seconds: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "images": self.tally.images,
            "failed": len(self.failures),
            "composited": self.tally.composited,
            "pixels": self.tally.pixels,
            "distinct_colors": self.distinct_colors,
            "input_bytes": self.tally.n_bytes,
            "seconds": self.seconds,
            "failures": [asdict(failure) for failure in self.failures],
        }


def ingest_and_count(
    plan: Plan,
    store_path: Path,
    engine: Engine,
    progress: Progress,
    *,
    max_pixels: int = MAX_PIXELS,
) -> IngestSummary:
    """A new store with the pixels and colours of the images of `plan`."""
    store = Store.create(
        store_path.absolute(),
        n_partitions=len(plan.partitions),
        attrs={
            "inputs": list(plan.inputs),
            "failures": [asdict(failure) for failure in plan.failures],
            "skipped": plan.n_skipped,
        },
    )
    failures = [*plan.failures, *ingest(plan, store, engine, progress, max_pixels=max_pixels)]
    tally = count(store, engine, progress)
    in_order = tuple(sorted(failures, key=lambda failure: failure.path))
    return IngestSummary(store, tally, store.n_colors, in_order, dict(progress.seconds))


def encode_and_summarize(
    store: Store,
    output: Path,
    fitted: FitResult,
    engine: Engine,
    progress: Progress,
    *,
    always: bool = False,
) -> Summary:
    """Encode, and put together what the steps reported."""
    encoded = encode(store, output, fitted, engine, progress, always=always)
    tally = Tally.read(store)
    return Summary(
        images=encoded.images + len(encoded.failures),
        compressed=encoded.compressed,
        kept=encoded.kept,
        failed=len(encoded.failures),
        skipped=store.attrs["skipped"],
        composited=tally.composited,
        pixels=tally.pixels,
        distinct_colors=fitted.distinct_colors,
        colors=len(fitted.palette),
        iterations=fitted.iterations,
        converged=fitted.converged,
        inertia=fitted.inertia,
        psnr=psnr(encoded.squared_error, encoded.pixels),
        input_bytes=encoded.input_bytes,
        output_bytes=encoded.output_bytes,
        seconds=dict(progress.seconds),
        failures=encoded.failures,
    )


def compress(
    plan: Plan,
    output: Path,
    engine: Engine,
    progress: Progress,
    *,
    fit_settings: FitSettings,
    store_path: Path | None = None,
    always: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Summary:
    """Ingest, count, fit and encode the images of `plan` into `output`.

    Without `store_path` the store is a passing one, in the output folder, and removed at the end.
    """
    passing = output / _PASSING_STORE
    shutil.rmtree(passing, ignore_errors=True)  # of a run that was killed
    try:
        store = ingest_and_count(
            plan, store_path or passing, engine, progress, max_pixels=max_pixels
        ).store
        fitted = fit(store, engine, progress, fit_settings)
        return encode_and_summarize(store, output, fitted, engine, progress, always=always)
    finally:
        shutil.rmtree(passing, ignore_errors=True)
