"""All the steps, one after the other, and what came of them."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kmeans_dask.cluster import Engine
from kmeans_dask.errors import UsageError
from kmeans_dask.imaging.palette import Palette
from kmeans_dask.imaging.quality import psnr
from kmeans_dask.pipeline.count import Tally, count
from kmeans_dask.pipeline.encode import check_palette, encode, write_tokens
from kmeans_dask.pipeline.fit import FitResult, fit
from kmeans_dask.pipeline.gallery import CLOUD, Gallery
from kmeans_dask.pipeline.ingest import ingest
from kmeans_dask.pipeline.plan import Failure, Plan, cut
from kmeans_dask.pipeline.private import (
    Group,
    Job,
    compress_groups,
    groups_by_folder,
    groups_of_one,
)
from kmeans_dask.pipeline.progress import Progress
from kmeans_dask.pipeline.write import Encoded, write_failures, write_palette
from kmeans_dask.settings import (
    PARTITION_PIXELS,
    SCOPES,
    DecodeSettings,
    EncodeSettings,
    FitSettings,
    check_choice,
    check_together,
)
from kmeans_dask.store import Store

_GIGABYTE = 10**9
_LOOKED_AT = ("gallery", "fitted")  # what a report shows, and the figures do not
_PASSING_STORE = ".kmeans-dask.zarr"  # in the output folder, which every worker sees


@dataclass(frozen=True)
class Summary:
    """What a job did. Sizes and quality are of the images in the output, as written.

    images: found in the input: compressed, kept as they were, or failed
    below_target: of the kept, those that no palette tried brings to the quality asked for
    private: of the compressed, those with a palette of their own
    skipped: hidden files and links to folders, passed over
    composited: of the compressed, those whose partly transparent pixels were laid over white
    pixels: of the images that could be read
    distinct_colors, colors, iterations, converged, inertia: of the shared palette and its fit;
        None where there is none
    psnr: over the compressed images, without fully transparent pixels, in dB; None where nothing
        was lost
    input_bytes, output_bytes: of the compressed and kept images
    gallery: images to look at
    fitted: the shared palette and its fit, where there is one
    """

    images: int
    compressed: int
    kept: int
    below_target: int
    private: int
    failed: int
    skipped: int
    composited: int
    pixels: int
    distinct_colors: int | None
    colors: int | None
    iterations: int | None
    converged: bool | None
    inertia: float | None
    psnr: float | None
    input_bytes: int
    output_bytes: int
    seconds: Mapping[str, float]
    failures: tuple[Failure, ...]
    gallery: Gallery
    fitted: FitResult | None

    @property
    def images_per_gb(self) -> tuple[float, float] | None:
        """How many such images fit in 10^9 bytes, before and after; None without images."""
        n = self.compressed + self.kept
        return (_GIGABYTE * n / self.input_bytes, _GIGABYTE * n / self.output_bytes) if n else None

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        before, after = self.images_per_gb or (None, None)
        figures = {name: vars(self)[name] for name in vars(self) if name not in _LOOKED_AT}
        return figures | {
            "failures": [asdict(failure) for failure in self.failures],
            "images_per_gb": {"before": before, "after": after},
        }


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


def check_encoding(store: Store, fitted: FitResult, settings: EncodeSettings) -> None:
    """Raise UsageError where the images of `store` cannot be written so."""
    check_together(fitted.settings, settings)
    check_palette(fitted.palette, settings)
    if settings.keep_metadata and not store.attrs["keep_metadata"]:
        raise UsageError(f"{store.path} was ingested without --keep-metadata: ingest it again")


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
            "translucent": self.tally.translucent,
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
    settings: DecodeSettings,
) -> IngestSummary:
    """A new store with the pixels and colours of the images of `plan`."""
    store = Store.create(
        store_path.absolute(),
        n_partitions=len(plan.partitions),
        attrs={
            "inputs": list(plan.inputs),
            "failures": [asdict(failure) for failure in plan.failures],
            "skipped": plan.n_skipped,
            "keep_metadata": settings.keep_metadata,
        },
    )
    failures = [*plan.failures, *ingest(plan, store, engine, progress, settings)]
    tally = count(store, engine, progress)
    in_order = tuple(sorted(failures, key=lambda failure: failure.path))
    return IngestSummary(store, tally, store.n_colors, in_order, dict(progress.seconds))


def encode_and_summarize(
    store: Store,
    output: Path,
    fitted: FitResult,
    engine: Engine,
    progress: Progress,
    settings: EncodeSettings,
    private: FitSettings | None = None,
) -> Summary:
    """Encode, and put together what the steps reported. With `private` as `encode` has it."""
    encoded = encode(store, output, fitted, engine, progress, settings, private)
    if encoded.images:
        write_palette(output, fitted.palette, fitted.weights)
    write_failures(output, encoded.failures)
    return _summary(encoded, progress, store.attrs["skipped"], fitted)


def _summary(
    encoded: Encoded, progress: Progress, skipped: int, fitted: FitResult | None = None
) -> Summary:
    return Summary(
        images=encoded.images + len(encoded.failures),
        compressed=encoded.compressed,
        kept=encoded.kept,
        below_target=encoded.below_target,
        private=encoded.private,
        failed=len(encoded.failures),
        skipped=skipped,
        composited=encoded.composited,
        pixels=encoded.all_pixels,
        distinct_colors=fitted.distinct_colors if fitted else None,
        colors=len(fitted.palette) if fitted else None,
        iterations=fitted.iterations if fitted else None,
        converged=fitted.converged if fitted else None,
        inertia=fitted.inertia if fitted else None,
        psnr=psnr(encoded.squared_error, encoded.pixels),
        input_bytes=encoded.input_bytes,
        output_bytes=encoded.output_bytes,
        seconds=dict(progress.seconds),
        failures=encoded.failures,
        gallery=encoded.gallery,
        fitted=fitted,
    )


@contextmanager
def passing_folder() -> Iterator[Path]:
    """A folder that is removed, in the current one, which workers are likeliest to see as well."""
    folder = Path.cwd() / f".kmeans-dask-{secrets.token_hex(4)}"
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


@dataclass(frozen=True)
class JobSettings:
    """What to make of a collection. Raises UsageError where one choice excludes another.

    scope: which images share a palette, one of `settings.SCOPES`
    palette: given, so that none is fitted
    """

    fit: FitSettings
    encode: EncodeSettings
    decode: DecodeSettings
    scope: str = SCOPES[0]
    palette: Palette | None = None

    def __post_init__(self) -> None:
        check_together(self.fit, self.encode)
        check_choice("--palette", self.scope, SCOPES)
        if self.scope == "auto" and self.fit.min_psnr is None:
            raise UsageError("--palette auto needs a target: add --min-psnr")
        if self.encode.format == "tokens" and self.palette:
            raise UsageError("--format tokens and --palette-file exclude each other")
        if self.encode.format == "tokens" and self.scope != "shared":
            raise UsageError("--format tokens needs one palette: leave --palette at shared")
        if self.palette:
            check_palette(self.palette, self.encode)

    @property
    def is_shared(self) -> bool:
        """Whether one palette is fitted to the whole collection."""
        return self.scope in ("shared", "auto") and self.palette is None


def compress(
    plan: Plan,
    store_path: Path,
    output: Path,
    engine: Engine,
    progress: Progress,
    settings: JobSettings,
) -> Summary:
    """Compress the images of `plan` into `output`; a store, where one is used, at `store_path`."""
    if settings.is_shared:
        ingested = ingest_and_count(plan, store_path, engine, progress, settings.decode)
        fitted = _fit_new(ingested.store, engine, progress, settings.fit)
        private = settings.fit if settings.scope == "auto" else None
        return encode_and_summarize(
            ingested.store, output, fitted, engine, progress, settings.encode, private
        )
    by_folder = settings.scope == "folder" and settings.palette is None
    groups = groups_by_folder(plan) if by_folder else groups_of_one(plan)
    output.mkdir(parents=True, exist_ok=True)
    small = [group for group in groups if not by_folder or group.n_pixels <= PARTITION_PIXELS]
    job = Job(
        output.absolute(),
        settings.fit,
        settings.encode,
        settings.decode,
        settings.palette,
        max(4, CLOUD // plan.n_images),
    )
    encoded = compress_groups(small, job, engine, progress) if small else Encoded()
    for group in groups:
        if by_folder and group.n_pixels > PARTITION_PIXELS:
            encoded += _compress_folder(group, store_path, engine, progress, job)
    if settings.palette and encoded.images:
        write_palette(output, settings.palette)
    failures = sorted([*plan.failures, *encoded.failures], key=lambda failure: failure.path)
    write_failures(output, failures)
    return _summary(replace(encoded, failures=tuple(failures)), progress, plan.n_skipped)


def _fit_new(store: Store, engine: Engine, progress: Progress, settings: FitSettings) -> FitResult:
    """Fit a store that was made for this; it goes where that is impossible."""
    try:
        return fit(store, engine, progress, settings)
    except UsageError:  # whoever reads that expects that nothing was written
        shutil.rmtree(store.path, ignore_errors=True)
        raise


def _compress_folder(
    group: Group, store_path: Path, engine: Engine, progress: Progress, job: Job
) -> Encoded:
    """The images of a folder that are too many for one task: by way of a store of their own."""
    assert group.folder is not None
    plan = Plan((), tuple(cut(group.sources, PARTITION_PIXELS)), (), 0)
    try:
        store = ingest_and_count(plan, store_path, engine, progress, job.decode).store
        fitted = fit(store, engine, progress, job.fit)
        encoded = encode(store, job.output, fitted, engine, progress, job.encode)
    except UsageError as error:  # no room for transparency: other folders may have some
        failures = tuple(Failure(source.path, str(error)) for source in group.sources)
        return Encoded(failures=failures)
    finally:
        shutil.rmtree(store_path, ignore_errors=True)
    if encoded.images:
        write_palette(job.output / group.folder, fitted.palette, fitted.weights)
    return encoded


@dataclass(frozen=True)
class TokensSummary:
    """What a job did that wrote every pixel as the index of a palette's colour.

    images: that could be read; pixels: of these; dtype: of an index
    """

    images: int
    failed: int
    skipped: int
    pixels: int
    dtype: str
    fitted: FitResult
    seconds: Mapping[str, float]
    failures: tuple[Failure, ...]

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        fields = {name: value for name, value in vars(self).items() if name != "fitted"}
        failures = [asdict(failure) for failure in self.failures]
        return {**fields, **self.fitted.as_dict(), "failures": failures}


def compress_to_tokens(
    plan: Plan, store_path: Path, engine: Engine, progress: Progress, settings: JobSettings
) -> TokensSummary:
    """A new store of the images of `plan`, with a palette and every pixel as an index into it."""
    store = ingest_and_count(plan, store_path, engine, progress, settings.decode).store
    fitted = _fit_new(store, engine, progress, settings.fit)
    return tokenize(store, fitted, engine, progress)


def tokenize(store: Store, fitted: FitResult, engine: Engine, progress: Progress) -> TokensSummary:
    """Write every pixel of `store` as an index into a palette that was fitted."""
    dtype, failures = write_tokens(store, fitted, engine, progress)
    tally = Tally.read(store)
    return TokensSummary(
        images=tally.images,
        failed=len(failures),
        skipped=store.attrs["skipped"],
        pixels=tally.pixels,
        dtype=dtype.name,
        fitted=fitted,
        seconds=dict(progress.seconds),
        failures=failures,
    )
