"""Results as HTML tables, which notebooks show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_ROWS = 20  # rows of a list, at most
_STYLE = "font-family:system-ui,sans-serif;font-size:13px;border-collapse:collapse"
_CELL = "text-align:left;padding:2px 1em 2px 0;vertical-align:top"


class ShownAsTable:
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
