"""All the steps, one after the other, and what came of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    composited: of the compressed, those whose partly transparent pixels were laid over white
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
    there = output.iterdir() if output.is_dir() else ()
    if not overwrite and any(path.name != _PASSING_STORE for path in there):
        raise UsageError(
            f"{output} is not empty: name another folder, or add --overwrite to write into it"
        )


def check_new_store(inputs: Sequence[Path], path: Path) -> None:
    """Raise UsageError where no new store can be made at `path`."""
    _check_outside(inputs, path, "the store")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} exists already: choose another path, or remove it first")


def check_originals(plan: Plan, output: Path) -> None:
    """Raise UsageError where an image of `plan` is, by a link, a file below `output`."""
    resolved = output.resolve()
    for partition in plan.partitions:
        for source in partition:
            if resolved in Path(source.path).resolve().parents:
                raise UsageError(
                    f"{source.path} leads into OUTPUT {output}, where it could be overwritten: "
                    "choose another folder"
                )


def _check_outside(inputs: Sequence[Path], path: Path, what: str) -> None:
    """Raise UsageError where `path` and one of `inputs` are one inside the other."""
    resolved = path.resolve()
    for given in inputs:
        source = given.resolve()
        if resolved == source or source in resolved.parents or resolved in source.parents:
            raise UsageError(
                f"{what} {path} and {given} are one inside the other: choose a folder elsewhere"
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
            "images": self.tally.images + len(self.failures),
            "failed": len(self.failures),
            "skipped": self.store.attrs["skipped"],
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
        composited=encoded.composited,
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


@contextmanager
def passing_store(output: Path) -> Iterator[Path]:
    """The path of a store in `output` that is removed, when no task writes to it any more."""
    path, is_new = output / _PASSING_STORE, not output.exists()
    shutil.rmtree(path, ignore_errors=True)  # of a run that was killed
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if is_new and output.is_dir() and not any(output.iterdir()):
            output.rmdir()


def compress(
    plan: Plan,
    store_path: Path,
    output: Path,
    engine: Engine,
    progress: Progress,
    *,
    fit_settings: FitSettings,
    always: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Summary:
    """Ingest, count, fit and encode the images of `plan` into `output`."""
    store = ingest_and_count(plan, store_path, engine, progress, max_pixels=max_pixels).store
    fitted = fit(store, engine, progress, fit_settings)
    return encode_and_summarize(store, output, fitted, engine, progress, always=always)
