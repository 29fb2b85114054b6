"""Report of a job as one HTML page, which needs no other files.

File names, messages and images come from other people. Images are decoded by the inspector, a
separate process, so a hostile image cannot end the job.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from kmeans_dask.errors import ImageError, UnreachableError, UsageError
from kmeans_dask.files import Location, is_within
from kmeans_dask.files.atomic_files import write_file
from kmeans_dask.images.inspector import make_thumbnail
from kmeans_dask.job.previews import name_of_preview, read_preview
from kmeans_dask.plan.output_names import RECORD_FILE, REPORT_FILE
from kmeans_dask.report.html import clean, listings, palette_entries, render_page, visible_cloud

_THUMBNAILS = 6  # pairs of the worst, and as many of the best
_SMALL = 210  # pixels: a smaller image is shown enlarged, its pixels as squares


def write_report(output: Location, record: Mapping[str, Any]) -> None:
    """Write `report.html` and its record `report.json` to `output`."""
    page = render_report(record, output).encode()
    write_file(output / RECORD_FILE, json.dumps(record, allow_nan=False).encode())
    write_file(output / REPORT_FILE, page)


def remake_report(output: Location, record: Mapping[str, Any]) -> None:
    """Write the report again from a record that was read, and may come from anyone.

    Raises UsageError where the record is damaged.
    """
    try:
        write_report(output, record)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, TemplateError):
        raise UsageError(f"{output / RECORD_FILE} is damaged: run the job again") from None


def render_report(data: Mapping[str, Any], output: Location) -> str:
    """Return the page of a job as HTML, from its record.

    The record may name any files as outputs, but only files below `output` are read.
    """
    shown = clean(data)
    there = {row["output"] for row in data["worst"]}
    worst = _pairs(data["worst"], output)
    best = _pairs([row for row in data["best"] if row["output"] not in there], output)
    block = {
        "cloud": visible_cloud(shown["cloud"]),
        "history": shown["history"],
        "ratio": _histogram(shown["ratio_histogram"]),
        "psnr": _histogram(shown["psnr_histogram"]),
        "rows": [[row[key] for key in _ROW] for row in shown["rows"]],
        "failures": [[each["path"], each["reason"]] for each in shown["summary"]["failures"]],
    }
    palette = palette_entries(shown["palette"])
    sections = {
        "palette": palette,
        "space": block["cloud"],
        "charts": block["history"] or block["ratio"] or block["psnr"],
        "pictures": worst or best,
        "images": block["rows"],
        "failures": block["failures"],
        "settings": True,
    }
    values = {
        **shown,
        "palette": palette,
        "of_palette": None,
        "groups": [("Worst images", "worst", worst), ("Best images", "best", best)],
        "listings": listings(_settings(shown)),
    }
    return render_page("Compression report", "totals", sections, values, block)


_ROW = ("name", "output", "status", "input_bytes", "output_bytes", "psnr")


def _histogram(histogram: Mapping[str, Sequence[float]] | None) -> dict[str, Any] | None:
    """Return `histogram` as a dict, or None where nothing was counted."""
    return dict(histogram) if histogram and any(histogram["counts"]) else None


def _pairs(rows: Sequence[Mapping[str, Any]], output: Location) -> list[dict[str, Any]]:
    """Return the first rows with thumbnails, without rows of which a file cannot be read."""
    pairs = []
    for row in rows[:_THUMBNAILS]:
        try:
            shown: dict[str, Any] = clean({key: row[key] for key in _ROW})
            pairs.append(shown | _thumbnails(output, row["path"], _below(output, row["output"])))
        except (ImageError, UnreachableError, OSError, ValueError):
            continue  # a file that cannot be read costs its thumbnail only
    return pairs


def _below(output: Location, name: str) -> Location:
    """Return the path of the file `name` of `output`, with links followed.

    Raises ValueError where it is not below `output`.
    """
    path = (output / name).resolve()
    if not is_within(path, output.resolve()):
        raise ValueError(f"{name!r} is outside of the output folder")
    return path


def _thumbnails(output: Location, path: str, after: Location) -> dict[str, Any]:
    """Return thumbnails of the image at `path` and of its output `after`, as data URIs.

    They come with `small`, whether the thumbnails are small enough to be shown enlarged.
    """
    kept = read_preview(_below(output, name_of_preview(path))) or make_thumbnail(path)
    before, size = kept
    after_webp, _ = make_thumbnail(str(after), size)
    return {"before": _uri(before), "after": _uri(after_webp), "small": max(size) < _SMALL}


def _uri(webp: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(webp).decode()


def _settings(shown: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the settings of a job and the versions of packages, in groups."""
    groups = {"job": {"output": shown["output"], "created": shown["created"]}}
    for name, value in shown["settings"].items():
        group = {name: value} if not isinstance(value, dict) else value
        groups.setdefault(name if group is value else "job", {}).update(group)
    groups["versions"] = {"kmeans-dask": shown["version"], **shown["versions"]}
    return groups
