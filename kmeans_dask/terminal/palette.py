"""Palette in a terminal: squares of its colours, or only text where no colours are shown."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.style import Style
from rich.text import Text

from kmeans_dask.images.palette_files import hexes_of
from kmeans_dask.steps.palettes import NamedPalette
from kmeans_dask.text import printable


def show_palette(palette: NamedPalette) -> RenderableType:
    """Return a line for each entry of a palette: its index, colour, and share of the pixels."""
    lines = [Text(f"{printable(palette.name)}: {len(palette.entries):,} entries", style="bold")]
    total = 0 if palette.pixels is None else int(palette.pixels.sum())
    for index, (entry, digits) in enumerate(
        zip(palette.entries.tolist(), hexes_of(palette.entries), strict=True)
    ):
        red, green, blue, alpha = entry
        style = Style(bgcolor=f"rgb({red},{green},{blue})") if alpha else Style()
        line = Text.assemble(f"{index:5} ", ("    ", style), f" {digits:9}")
        if palette.pixels is not None and total:
            line.append(
                f" {100 * int(palette.pixels[index]) / total:6.2f} %" if alpha else " clear"
            )
        lines.append(line)
    return Group(*lines)
