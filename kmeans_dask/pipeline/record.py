"""What is kept of a job beside its images, so that its report can be made again."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from kmeans_dask.errors import UsageError
from kmeans_dask.imaging.palette_files import hexes_of
from kmeans_dask.pipeline.names import RECORD_FILE
from kmeans_dask.pipeline.summary import Summary
from kmeans_dask.settings import EncodeSettings, FitSettings
from kmeans_dask.storage import Place

_MAX_FAILURES = 1000
_MAX_BYTES = 1 << 26  # of a record that is read
_VERSIONS_OF = ("numpy", "numba", "dask", "distributed", "zarr", "pillow")


def record_of_job(
    summary: Summary,
    inputs: Iterable[str],
    output: Place,
    *,
    scope: str,
    fit: FitSettings,
    encode: EncodeSettings,
) -> dict[str, Any]:
    """All that a report shows, ready for JSON."""
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


def read_record(output: Place) -> dict[str, Any]:
    """What a report in `output` was made of. Raises UsageError where there is none."""
    path = output / RECORD_FILE
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # to open a pipe is to wait for its writer
            raise UsageError(f"{path} is not a regular file")
        if status.st_size > _MAX_BYTES:
            raise UsageError(f"{path} is too large to be a job's record")
        record: dict[str, Any] = json.loads(path.read_bytes(), parse_constant=_refuse)
    except OSError as error:
        raise UsageError(
            f"{output} has no {RECORD_FILE}: name the output of a job, or a store"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is damaged: run the job again") from error
    figures = record.get("summary") if isinstance(record, dict) else None
    if not isinstance(figures, dict) or type(figures.get("failed")) is not int:
        raise UsageError(f"{path} is no record of a job")
    return record


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
