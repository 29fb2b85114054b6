"""What a store holds, as one HTML page that needs nothing else."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np

import kmeans_dask
from kmeans_dask.files import Location
from kmeans_dask.files.atomic_files import write_file
from kmeans_dask.images.palette_files import hexes_of
from kmeans_dask.job.fit_result import FitResult
from kmeans_dask.job.gallery import cloud_as_dict
from kmeans_dask.report.html import clean, listings, palette_entries, render_page, visible_cloud
from kmeans_dask.report.inventory import Inventory

_FAILURES = 1000  # listed
_ENTRIES = 1024  # of a palette that are shown


def write_store_report(path: Location, inventory: Inventory) -> None:
    """Write the page to `path`."""
    write_file(path, render_store_report(inventory).encode())


def render_store_report(inventory: Inventory) -> str:
    """The page."""
    info, fits = inventory.info, inventory.fits
    tally = info.tally
    assert tally  # of a whole store
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
        "version": kmeans_dask.__version__,
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
    """Its figures, and the entries of most pixels, in their order."""
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
    """Settings and versions, in groups."""
    info = inventory.info
    store = {
        "path": info.path,
        "format version": info.format_version,
        "keep metadata": inventory.keep_metadata,
    }
    fits = {f"fit of {fitted.name}": asdict(fitted.settings) for fitted in inventory.fits}
    return {"store": store, **fits, "made with": info.versions}
