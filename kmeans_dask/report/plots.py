"""Plots of an exhibit as PNG files: clouds of colours, and images beside each other.

Matplotlib is used without global state except its settings, which are its defaults during a plot:
no window is opened, and no TeX is run. Names come from other people, so none is read as a formula.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType

from kmeans_dask.errors import UsageError
from kmeans_dask.files import Location
from kmeans_dask.report.before_after import Exhibit, Picture
from kmeans_dask.terminal.summary import table
from kmeans_dask.text import decibels, printable, size

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_BYTES = 1_000_000
_DPI = 200  # lower where a file would be larger than `MAX_BYTES`
_INK, _DIM, _LINE, _STAGE = "#1f2328", "#5c6670", "#c3ccd0", "#f4f5f3"
_STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": _INK,
    "grid.color": "#dde1e0",
    "grid.linewidth": 0.6,
}
_NAME = 60  # characters of a name, at most
_LARGEST = 45.0  # diameter in points of a colour that all pixels have

# Sizes in inches.
_CLOUD, _MARGIN, _GAP, _LINE_HEIGHT = 4.8, 0.3, 0.25, 0.22
_BOX, _SMALL_BOX = (4.8, 5.2), (3.4, 2.4)  # room of an image: alone, or among others
_CAPTION = 3.4  # width of a caption
_THIN, _SQUARE = 0.05, 0.08


def check_matplotlib() -> None:
    """Import Matplotlib. Raises UsageError where it is not installed.

    When Matplotlib is imported, it reads settings from a `matplotlibrc` in the current folder. That
    folder may hold files from anywhere, so the current folder is the root during the import.
    """
    here = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))
    try:
        os.chdir(os.sep)
        import matplotlib  # noqa: F401
    except ImportError:
        raise UsageError("plot needs Matplotlib: pip install 'kmeans-dask[plot]'") from None
    finally:
        os.chdir(here)
        os.close(here)


def draw_colors(exhibit: Exhibit) -> bytes:
    """Return a PNG file of the colours in RGB space before and after, side by side."""
    with _style():
        height = _CLOUD + 2 * _LINE_HEIGHT + _MARGIN + 0.12
        figure = _figure(2 * _CLOUD + _GAP + 2 * _MARGIN, height)
        top = height - _MARGIN
        _text(figure, _MARGIN, top, _shown(exhibit.name), weight="bold", size=11)
        y, right = top - 1.4 * _LINE_HEIGHT, _MARGIN + _CLOUD + _GAP
        points, counts = np.unique(exhibit.points, axis=0, return_counts=True)
        _scatter(_space(figure, _MARGIN), points, counts, edge=0.1)
        _caption(figure, _MARGIN, y, "before", _colors(exhibit.distinct_colors))
        used = exhibit.weights > 0
        palette, weights = exhibit.palette.colors[used, :3], exhibit.weights[used]
        _scatter(_space(figure, right), palette, weights, edge=0.5)
        said = f"{_colors(len(exhibit.palette))}, {_quality(exhibit.psnr)}"
        _caption(figure, right, y, "after", said)
        return _png(figure)


def draw_pictures(exhibit: Exhibit) -> bytes:
    """Return a PNG file of the images before and after, side by side."""
    pictures = exhibit.pictures
    box = _BOX if len(pictures) == 1 else _SMALL_BOX
    sizes = [_fit(picture, box) for picture in pictures]
    cell = max(_CAPTION, *(width for width, _ in sizes))
    heads = 2.6 * _LINE_HEIGHT
    rows = [heads + height + _GAP for _, height in sizes]
    with _style():
        top = sum(rows) - _GAP + 2 * _MARGIN
        figure = _figure(2 * cell + _GAP + 2 * _MARGIN, top)
        top -= _MARGIN
        for picture, (width, height), row in zip(pictures, sizes, rows, strict=True):
            _text(figure, _MARGIN, top, _shown(picture.name), weight="bold", size=11)
            y = top - 1.3 * _LINE_HEIGHT
            before = f"{picture.width:,} x {picture.height:,}, {size(picture.input_bytes)}"
            after = ", ".join(
                (
                    _colors(len(exhibit.palette)),
                    _quality(picture.psnr),
                    size(picture.output_bytes),
                )
            )
            sides = (("original", before, picture.before), ("compressed", after, picture.after))
            for number, (title, said, pixels) in enumerate(sides):
                x = _MARGIN + number * (cell + _GAP)
                _caption(figure, x, y, title, said)
                _image(figure, (x, top - heads - height, width, height), pixels)
            top -= row
        return _png(figure)


def show_plots(exhibit: Exhibit, files: Sequence[Location]) -> RenderableType:
    """Return lines of text about the plots: their files, and the figures of the exhibit."""
    rows = [("written", printable(str(file))) for file in files]
    rows.append(
        ("palette", f"{len(exhibit.palette)} of {exhibit.distinct_colors:,} distinct colours")
    )
    rows.append(("PSNR", decibels(exhibit.psnr)))
    for picture in exhibit.pictures:
        change = f"{size(picture.input_bytes)} → {size(picture.output_bytes)}"
        rows.append(("size", f"{printable(picture.name)}: {change}"))
    return table(rows)


@contextmanager
def _style() -> Iterator[None]:
    """Set the style of the plots inside the block, whatever the settings of the user are."""
    from matplotlib import style

    with style.context(["default", _STYLE]), warnings.catch_warnings():
        # A character that the font lacks is drawn as a box, without a warning.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        yield


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    dpi = float(_DPI)
    while True:
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
        n_bytes = len(file.getvalue())
        if n_bytes <= MAX_BYTES:
            return file.getvalue()
        dpi *= 0.97 * math.sqrt(MAX_BYTES / n_bytes)


def _at(figure: Figure, x: float, y: float) -> tuple[float, float]:
    """Return a position, in inches from the lower left corner, as fractions of the figure."""
    width, height = figure.get_size_inches()
    return x / width, y / height


def _text(figure: Figure, x: float, y: float, text: str, **look: Any) -> None:
    figure.text(*_at(figure, x, y), text, va="top", parse_math=False, **look)


def _caption(figure: Figure, x: float, y: float, title: str, said: str) -> None:
    _text(figure, x, y, title)
    _text(figure, x + 0.11 * len(title) - 0.1, y, said, color=_DIM)


def _axes(figure: Figure, box: tuple[float, float, float, float], **kind: Any) -> Any:
    """Return new axes in a box given in inches: left, bottom, width, height."""
    left, bottom, width, height = box
    return figure.add_axes((*_at(figure, left, bottom), *_at(figure, width, height)), **kind)


def _space(figure: Figure, left: float) -> Any:
    """Return new axes red, green and blue, seen from the same side as in the report."""
    axes = _axes(figure, (left, 0.12, _CLOUD, _CLOUD), projection="3d", zorder=-1)
    axes.view_init(elev=24, azim=35)
    axes.set_box_aspect((1, 1, 1), zoom=0.96)
    for name, axis, look in zip(
        ("red", "green", "blue"),
        (axes.xaxis, axes.yaxis, axes.zaxis),
        ("#b3261e", "#1b7f3b", "#2456c5"),
        strict=True,
    ):
        axis.set_pane_color(_STAGE)
        axis.line.set_color(_LINE)
        axis.set_rotate_label(False)
        axis.set_label_text(name, color=look)
        axis.labelpad = 7
        axis.set_ticks((0, 128, 255))
        axis.set_tick_params(labelsize=7.5, labelcolor=_DIM, color=_LINE)
    axes.set(xlim=(-4, 259), ylim=(-4, 259), zlim=(-4, 259))
    return axes


def _scatter(axes: Any, colors: NDArray[np.uint8], pixels: NDArray[Any], *, edge: float) -> None:
    """Draw a point for each colour, in this colour, with a volume in proportion to its pixels.

    edge: width of the edge, in points
    """
    across = np.maximum(_LARGEST * np.cbrt(pixels / pixels.sum()), 2.5)
    axes.scatter(
        *colors.T,
        s=across**2,
        c=colors / 255,
        depthshade=False,
        edgecolors=(0, 0, 0, 0.3),
        linewidths=edge,
    )


def _image(
    figure: Figure, box: tuple[float, float, float, float], pixels: NDArray[np.uint8]
) -> None:
    """Draw an image over a chequerboard, which shows through where the image is transparent."""
    axes = _axes(figure, box)
    axes.set_axis_off()
    _, _, width, height = box
    if (pixels[..., 3] < 255).any():
        shape = max(1, round(height / _SQUARE)), max(1, round(width / _SQUARE))
        board = np.where(np.indices(shape).sum(axis=0) % 2, 0.93, 1.0)
        grey = board[..., None].repeat(3, axis=2)
        axes.imshow(grey, extent=(0, 1, 0, 1), interpolation="nearest")
    axes.imshow(pixels, extent=(0, 1, 0, 1), aspect="auto")


def _fit(picture: Picture, box: tuple[float, float]) -> tuple[float, float]:
    """Return width and height in inches at which an image is shown in `box`."""
    scale = min(box[0] / picture.width, box[1] / picture.height)
    return max(picture.width * scale, _THIN), max(picture.height * scale, _THIN)


def _colors(n: int) -> str:
    return f"{n:,} colour{'s' if n != 1 else ''}"


def _quality(psnr: float | None) -> str:
    return decibels(psnr) if psnr is None else f"PSNR {decibels(psnr)}"


def _shown(name: str) -> str:
    """Return `name` escaped, and shortened in the middle where it is long."""
    name = printable(name)
    half = _NAME // 2
    return name if len(name) <= _NAME else f"{name[:half]}…{name[-half + 1 :]}"
