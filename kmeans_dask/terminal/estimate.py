"""Prediction of a job in a few lines of text."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType

from kmeans_dask.steps.estimate import Estimate
from kmeans_dask.terminal.summary import name_failures, table
from kmeans_dask.text import size

_FAR_SMALLER = 0.75  # part of the bytes with a palette, from which on WebP is worth a line


def show_estimate(found: Estimate) -> RenderableType:
    """Return lines with the predicted result of a job, and the errors of the prediction."""
    share = 100 * found.output_bytes / max(1, found.input_bytes)
    psnr = "nothing lost" if found.psnr is None else f"{found.psnr:.2f} ± {found.psnr_off:.2f} dB"
    rows = [
        ("images", f"{found.images:,} of {found.pixels:,} pixels; {found.sampled:,} were tried"),
        (
            "size",
            f"{size(found.input_bytes)} → {size(found.output_bytes)} ± {size(found.bytes_off)} "
            f"({share:.1f} %)",
        ),
        ("PSNR", psnr),
        *_score(found),
        *_webp(found),
        ("seconds", f"about {found.seconds:.1f}, start-up left out"),
        ("memory", f"up to {math.ceil(found.worker_bytes / 1e6):,} MB a worker"),
    ]
    return Group(table(rows), *name_failures(found.failures))


def _score(found: Estimate) -> list[tuple[str, str]]:
    """Return a row about the mean score; no row where no image of the sample has one."""
    if found.ssimulacra2 is None:
        return []
    images = f"{found.scored:,} images" if found.scored != 1 else "1 image"
    about = f"{found.ssimulacra2:.1f} ± {found.ssimulacra2_off:.1f} on average, from {images}"
    return [("SSIMULACRA2", about)]


def _webp(found: Estimate) -> list[tuple[str, str]]:
    """Return a row about lossy WebP where it is far smaller, as it is for most photographs."""
    if found.webp_bytes is None or found.webp_bytes > _FAR_SMALLER * found.output_bytes:
        return []
    return [("as lossy WebP", f"about {size(found.webp_bytes)} at this PSNR, without a palette")]
