"""Table of a rate-distortion curve."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kmeans_dask.steps.sweep import Sweep
from kmeans_dask.terminal.summary import name_failures
from kmeans_dask.text import decibels, size

_WIDTH = 24  # characters of the longest bar
_FULL = 70.0  # dB, above any loss: half of the pixels off by 1 in one channel give 56 dB


def show_sweep(sweep: Sweep) -> RenderableType:
    """Return a table with a row for each number of colours, and a bar for its PSNR.

    The suggested number is marked with an asterisk.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("colours", "bytes", "of input", "kept", "PSNR", "palette PSNR", "Oklab"):
        table.add_column(name, justify="right")
    table.add_column("")
    # The bar of a palette that loses nothing is longer than any other bar.
    psnrs = [point.palette_psnr for point in sweep.points]
    best = max(_FULL if psnr is None else psnr for psnr in psnrs)
    for point in sweep.points:
        psnr = point.palette_psnr
        length = _WIDTH if psnr is None else round(_WIDTH * psnr / best)
        table.add_row(
            f"{point.colors}" + ("*" if point.colors == sweep.suggested else " "),
            size(point.n_bytes),
            f"{100 * point.n_bytes / max(1, sweep.input_bytes):.1f} %",
            f"{point.kept:,}",
            "-" if point.kept == sweep.sampled else decibels(point.psnr),
            decibels(point.palette_psnr),
            f"{point.oklab:.4f}",
            Text("█" * length, style="blue"),
        )
    about = (
        f"{sweep.images:,} images of {sweep.pixels:,} pixels, {size(sweep.input_bytes)}; bytes, "
        f"kept and PSNR as of a job, from {sweep.sampled:,} of them; palette PSNR and Oklab of all"
    )
    last = [Text(f"* suggested: from {sweep.suggested} colours on, bytes buy less quality")]
    return Group(
        Text(about), table, *(last if sweep.suggested else []), *name_failures(sweep.failures)
    )
