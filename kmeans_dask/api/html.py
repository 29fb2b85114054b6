"""HTML of results in a notebook: swatches of palettes, pictures and tables."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape

import numpy as np
from numpy.typing import NDArray

_SHOWN = 256  # entries of a palette, at most
_STYLE = "font-family:system-ui,sans-serif;font-size:13px"


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
