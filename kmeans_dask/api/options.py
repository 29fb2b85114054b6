"""Options of the functions in `store_jobs` that a `Store` passes on, for checks of types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from kmeans_dask.api.running import ShowProgress
from kmeans_dask.settings import Color, Lossy, White

if TYPE_CHECKING:
    from distributed import Client

    from kmeans_dask.engine.choice import EngineChoice


class RunOptions(TypedDict, total=False):
    """Options of any job: where it runs, and what is shown of it."""

    client: Client | EngineChoice | None
    workers: int | None
    memory_limit: str | int | None
    progress: ShowProgress


class IngestOptions(RunOptions, total=False):
    """Options of `store_jobs.ingest`."""

    keep_metadata: bool
    resume: bool
    partition_pixels: int
    max_pixels: int
    white: White
    include: Sequence[str]
    exclude: Sequence[str]
    image_timeout: float
    checksum: bool


class FitOptions(RunOptions, total=False):
    """Options of `store_jobs.fit`, without the number of colours."""

    min_psnr: float | None
    max_error: float | None
    fixed_colors: Sequence[Color]
    color_space: str
    weight: str
    n_init: int | None
    seed: int
    init: str
    max_iter: int | None
    tol: float | None
    resume: bool
    chunk_colors: int


class EncodeOptions(RunOptions, total=False):
    """Options of `store_jobs.encode`."""

    palette_name: str | None
    format: str
    effort: int
    dither: float
    lossy: Lossy
    keep_metadata: bool
    always: bool
    overwrite: bool
    resume: bool


class TokenizeOptions(RunOptions, total=False):
    """Options of `store_jobs.tokenize_fitted`."""

    palette_name: str | None


class VerifyOptions(RunOptions, total=False):
    """Options of `store_jobs.verify`."""

    repair: bool
