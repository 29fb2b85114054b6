"""Report of a store as one HTML page, which needs no other files."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy as np

from kmeans_dask.files import Location
from kmeans_dask.files.atomic_files import write_file
from kmeans_dask.images.palette_files import hexes_of
from kmeans_dask.job.fit_result import FitResult
from kmeans_dask.job.gallery import cloud_as_dict
from kmeans_dask.report.html import clean, listings, palette_entries, render_page, visible_cloud
from kmeans_dask.report.inventory import Inventory

_FAILURES = 1000  # failures that are listed, at most
_ENTRIES = 1024  # entries of a palette that are shown, at most


def write_store_report(path: Location, inventory: Inventory) -> None:
    """Write the report of a store to `path`, as an HTML page."""
    write_file(path, render_store_report(inventory).encode())


def render_store_report(inventory: Inventory) -> str:
    """Return the report of a store as HTML."""
    info, fits = inventory.info, inventory.fits
    tally = info.tally
    assert tally  # a complete store has one
    shown = fits[0] if fits else None
    cloud = cloud_as_dict(inventory.cloud)
    block = clean(
        {
            "cloud": visible_cloud(cloud),
            "history": shown.history if shown else [],
            "failures": [[each.path, each.reason] for each in inventory.failures[:_FAILURES]],
        }
    )
    sections = {
        "palettes": fits,
        "space": block["cloud"],
        "charts": block["history"],
        "failures": block["failures"],
        "settings": True,
    }
    values = {
        "inputs": inventory.inputs,
        "output": info.path,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": metadata.version("kmeans-dask"),
        "store": {
            "images": tally.images,
            "failed": tally.failed,
            "skipped": inventory.skipped,
            "transparent": tally.transparent,
            "translucent": tally.translucent,
            "pixels": tally.pixels,
            "distinct_colors": info.distinct_colors,
            "input_bytes": tally.n_bytes,
            "n_bytes": info.n_bytes,
            "partitions": info.partitions,
        },
        "palettes": list(map(_palette, fits)),
        "of_palette": shown.name if shown else None,
        "listings": listings(clean(_settings(inventory))),
    }
    return render_page("Store report", "store", sections, clean(values), block)


def _palette(fitted: FitResult) -> dict[str, Any]:
    """Return the figures of a palette, and its entries of most pixels, in palette order."""
    pixels = fitted.palette.spread(fitted.weights)
    most = np.sort(np.argsort(-pixels, kind="stable")[:_ENTRIES])
    shares = {
        "colors": hexes_of(fitted.palette.entries[most]),
        "pixels": pixels[most].tolist(),
    }
    return {
        **fitted.as_dict(),
        "name": fitted.name,
        "entries": palette_entries(shares),
        "left_out": len(pixels) - len(most),
    }


def _settings(inventory: Inventory) -> dict[str, dict[str, Any]]:
    """Return the settings of a store and the versions of packages, in groups."""
    info = inventory.info
    store = {
        "path": info.path,
        "format version": info.format_version,
        "keep metadata": inventory.keep_metadata,
    }
    fits = {f"fit of {fitted.name}": asdict(fitted.settings) for fitted in inventory.fits}
    return {"store": store, **fits, "made with": info.versions}
