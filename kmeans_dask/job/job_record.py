"""Record of a job: a file beside its images, from which its report can be made again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, TypedDict

from kmeans_dask.errors import UsageError
from kmeans_dask.files import Location
from kmeans_dask.files.atomic_files import read_regular
from kmeans_dask.files.documents import Count, DamagedError, Form, Reason
from kmeans_dask.images.palette_files import hexes_of
from kmeans_dask.job.summary import Summary
from kmeans_dask.plan.output_names import RECORD_FILE
from kmeans_dask.settings import EncodeSettings, FitSettings

_MAX_FAILURES = 1000
_VERSIONS_OF = ("numpy", "numba", "dask", "distributed", "zarr", "pillow")


_Value = None | bool | int | float | str
_Setting = _Value | list[int | list[int]]


class _Failure(TypedDict):
    """Failure: the fields of `store.records.Failure`."""

    path: Reason
    reason: Reason


_Figure = _Value | dict[str, _Value] | list[_Failure]


class _Palette(TypedDict):
    colors: list[str]
    pixels: list[int | None]


class _Row(TypedDict):
    """Row of a report: the fields of `gallery.ImageRow`, except `pixels`."""

    name: str
    output: str
    path: str
    status: str
    input_bytes: Count
    output_bytes: Count
    psnr: float | None


class _Histogram(TypedDict):
    edges: list[float]
    counts: list[Count]


class _Cloud(TypedDict):
    before: list[str]
    after: list[str]


class Record(TypedDict):
    """Contents of the report of a job, as its record file holds them."""

    version: str
    versions: dict[str, str]
    created: str
    inputs: list[str]
    output: str
    settings: dict[str, _Value | dict[str, _Setting]]
    summary: dict[str, _Figure]
    history: list[float]
    palette: _Palette | None
    rows: list[_Row]
    rows_left_out: Count
    worst: list[_Row]
    best: list[_Row]
    ratio_histogram: _Histogram
    psnr_histogram: _Histogram
    cloud: _Cloud


_RECORD = Form(Record, 1 << 26)


def record_of_job(
    summary: Summary,
    inputs: Iterable[str],
    output: Location,
    *,
    scope: str,
    fit: FitSettings,
    encode: EncodeSettings,
) -> dict[str, Any]:
    """Return the record of a job: all that its report shows, ready for JSON."""
    figures, fitted = summary.as_dict(), summary.fitted
    palette = None
    if fitted:
        pixels = fitted.palette.pixels_of_entries(fitted.weights)
        palette = {"colors": hexes_of(fitted.palette.entries), "pixels": pixels}
    return {
        "version": metadata.version("kmeans-dask"),
        "versions": {name: metadata.version(name) for name in _VERSIONS_OF},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": list(inputs),
        "output": str(output),
        "settings": {"scope": scope, "fit": asdict(fit), "encode": asdict(encode)},
        "summary": figures | {"failures": figures["failures"][:_MAX_FAILURES]},
        "history": list(fitted.history) if fitted else [],
        "palette": palette,
        **summary.gallery.as_dict(),
    }


def read_summary(output: Location) -> Summary:
    """Return the summary of the finished job in `output`, without its gallery and its fit.

    Raises UsageError where there is none, or it cannot be read.
    """
    figures = read_record(output)["summary"]
    try:
        return Summary.of_figures(figures)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise UsageError(f"{output / RECORD_FILE} is damaged: run the job again") from None


def read_record(output: Location) -> dict[str, Any]:
    """Return the record of the job in `output`.

    Raises UsageError where there is none, or it cannot be read.
    """
    path = output / RECORD_FILE
    try:
        data = read_regular(path, _RECORD.at_most)
    except DamagedError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(
            f"{output} has no {RECORD_FILE}: name the output of a job, or a store"
        ) from error
    if data is None:
        raise UsageError(f"{path} is too large to be a job's record")
    try:
        record: Any = _RECORD.decode(data)
        if type(record["summary"].get("failed")) is not int:
            raise DamagedError("it does not say how many images failed")
    except DamagedError as error:
        raise UsageError(f"{path} is no record of a job: run the job again") from error
    return dict(record)
