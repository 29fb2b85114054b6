"""Table of a rate-distortion curve."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kmeans_dask.steps.sweep import Sweep
from kmeans_dask.terminal.summary import name_failures
from kmeans_dask.text import decibels, size

_WIDTH = 20  # characters of the longest bar
_FULL = 70.0  # dB, above any loss: half of the pixels off by 1 in one channel give 56 dB


def show_sweep(sweep: Sweep) -> RenderableType:
    """Return a table with a row for each point, and a bar for its quality.

    The suggested point is marked with an asterisk. The bar is that of the palette PSNR, or of the
    score where several weights were tried.
    """
    several = len(sweep.weights) > 1
    table = Table(box=None, pad_edge=False, header_style="bold")
    lossy = ["lossy"] if several else []
    for name in (
        *("colours", *lossy, "bytes", "of input", "kept", "SSIMULACRA2", "PSNR", "palette PSNR"),
        "Oklab",
    ):
        table.add_column(name, justify="right")
    table.add_column("")
    # The bar of a palette that loses nothing is longer than any other bar.
    psnrs = [point.palette_psnr for point in sweep.points]
    best = max(_FULL if psnr is None else psnr for psnr in psnrs)
    for point in sweep.points:
        value = point.ssimulacra2 if several else point.palette_psnr
        part = 1.0 if value is None else max(0.0, value) / (100.0 if several else best)
        is_best = (point.colors, point.lossy) == (sweep.suggested, sweep.suggested_lossy)
        table.add_row(
            f"{point.colors}" + ("*" if is_best else " "),
            *([f"{point.lossy:g}"] if several else []),
            size(point.n_bytes),
            f"{100 * point.n_bytes / max(1, sweep.input_bytes):.1f} %",
            f"{point.kept:,}",
            "-" if point.ssimulacra2 is None else f"{point.ssimulacra2:.1f}",
            "-" if point.kept == sweep.sampled else decibels(point.psnr),
            decibels(point.palette_psnr),
            f"{point.oklab:.4f}",
            Text("█" * round(_WIDTH * part), style="blue"),
        )
    about = (
        f"{sweep.images:,} images of {sweep.pixels:,} pixels, {size(sweep.input_bytes)}; bytes, "
        f"kept, SSIMULACRA2 and PSNR as of a job, from {sweep.sampled:,} of them; palette PSNR and "
        "Oklab of all"
    )
    weight = f" and --lossy {sweep.suggested_lossy:g}" if several and sweep.suggested else ""
    last = [Text(f"* suggested: from {sweep.suggested} colours{weight} on, bytes buy less quality")]
    return Group(
        Text(about), table, *(last if sweep.suggested else []), *name_failures(sweep.failures)
    )
