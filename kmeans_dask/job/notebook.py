"""Results as HTML, which notebooks show: tables, swatches of palettes, and pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROWS = 20  # rows of a list, at most
_SHOWN = 256  # entries of a palette, at most
_STYLE = "font-family:system-ui,sans-serif;font-size:13px;border-collapse:collapse"
_CELL = "text-align:left;padding:2px 1em 2px 0;vertical-align:top"


class NotebookTable:
    """Result that a notebook shows as a table of its figures, from `as_dict`."""

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by their names, ready for JSON."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return table(self.as_dict())


def table(figures: Mapping[str, Any]) -> str:
    """Return an HTML table of two columns: the names of figures, and their values."""
    rows = "".join(
        f'<tr><th style="{_CELL}">{escape(_words(name))}</th>'
        f'<td style="{_CELL}">{_cell(name, value)}</td></tr>'
        for name, value in figures.items()
        if value not in (None, (), [], {})
    )
    return f'<table style="{_STYLE}">{rows}</table>'


def _cell(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return escape(", ".join(f"{_words(key)} {_text(key, each)}" for key, each in value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _list(value)
    return escape(_text(name, value))


def _list(values: Sequence[Any]) -> str:
    """Return the first values of a list; mappings as rows of a table."""
    if not all(isinstance(each, Mapping) for each in values):
        more = ", ..." if len(values) > _ROWS else ""
        return escape(", ".join(_text("", each) for each in values[:_ROWS]) + more)
    head = "".join(f'<th style="{_CELL}">{escape(_words(name))}</th>' for name in values[0])
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td style="{_CELL}">{escape(_text(name, cell))}</td>' for name, cell in each.items()
        )
        + "</tr>"
        for each in values[:_ROWS]
    )
    left = len(values) - _ROWS
    more = f"<tr><td>and {left:,} more</td></tr>" if left > 0 else ""
    return f'<table style="{_STYLE}"><tr>{head}</tr>{rows}{more}</table>'


def _text(name: str, value: Any) -> str:
    if value is None:
        return "nothing lost" if "psnr" in name else "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f} dB" if "psnr" in name else f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _words(name: str) -> str:
    return str(name).replace("_", " ").replace("psnr", "PSNR")


def swatches(entries: NDArray[np.uint8]) -> str:
    """Return a palette, (k, 4) uint8 with straight alpha, as a row of coloured squares."""
    squares = "".join(
        f'<span title="#{r:02x}{g:02x}{b:02x}{"" if a == 255 else f"{a:02x}"}" style="display:'
        "inline-block;width:1.2em;height:1.2em;margin:1px;border:1px solid #8884;"
        f'background:rgba({r},{g},{b},{a / 255:.3f})"></span>'
        for r, g, b, a in entries[:_SHOWN].tolist()
    )
    more = len(entries) - _SHOWN
    rest = f"<div>and {more:,} more</div>" if more > 0 else ""
    return (
        f'<div style="{_STYLE}"><div>{len(entries):,} colours</div>'
        f'<div style="line-height:0;max-width:42em">{squares}</div>{rest}</div>'
    )


def pictures(named: Iterable[tuple[str, bytes]]) -> str:
    """Return PNG images beside each other, each with its caption."""
    figures = "".join(
        '<figure style="display:inline-block;margin:0 1em 0 0">'
        f'<img style="max-width:20em;image-rendering:auto" alt="{escape(caption)}" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, png in named
    )
    return f'<div style="{_STYLE}">{figures}</div>'
