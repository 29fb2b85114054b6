"""Table that compares implementations of k-means."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kmeans_dask.steps.compare import Comparison
from kmeans_dask.text import decibels, printable, size


def show_comparison(comparison: Comparison) -> RenderableType:
    """Return a table with a row for each implementation, and notes on their differences below."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for name in ("seconds", "times ours", "iterations", "inertia", "PSNR", "bytes", "centroids"):
        table.add_column(name, justify="right")
    notes = [side.note for side in comparison.sides if side.note]
    marks = {note: f" [{number + 1}]" for number, note in enumerate(dict.fromkeys(notes))}
    for side, ratio in zip(comparison.sides, comparison.ratios, strict=True):
        table.add_row(
            Text(side.name + marks.get(side.note, "")),
            f"{side.seconds:.3f}",
            f"{ratio:.1f}",
            "" if side.iterations is None else str(side.iterations),
            f"{side.inertia:.6g}",
            decibels(side.psnr),
            size(side.n_bytes),
            "" if side.difference is None else f"± {side.difference:.1e}",
        )
    about = (
        f"{printable(comparison.path)}: {comparison.width} x {comparison.height} pixels, "
        f"{size(comparison.input_bytes)}, {comparison.colors} colours"
    )
    return Group(
        Text(about), table, *(Text(f"{mark.strip()} {note}") for note, mark in marks.items())
    )
