"""A page of HTML that needs nothing else, put together of sections.

File names, messages and colours are other people's: they are escaped wherever they stand, and the
page's policy runs no script but the ones written here.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.util
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kmeans_dask.terminal.text import decibels, printable, size

_TEMPLATES = Path(__file__).parent / "templates"
_INPUTS = 5  # named in the page
_COLOR = re.compile(r"#[0-9a-f]{6}(?:[0-9a-f]{2})?")
# what report.js looks for
_NO_DATA: dict[str, Any] = {
    "cloud": None,
    "history": [],
    "ratio": None,
    "psnr": None,
    "rows": [],
    "failures": [],
}
_TITLES = {
    "palette": "Palette",
    "palettes": "Palettes",
    "space": "Colour space",
    "charts": "Charts",
    "pictures": "Before and after",
    "images": "Images",
    "failures": "Failures",
    "settings": "Settings",
}


def render_page(
    title: str,
    totals: str,
    sections: Mapping[str, object],
    values: Mapping[str, Any],
    block: Mapping[str, Any],
) -> str:
    """The page.

    totals: the section that comes first; sections: the others, each with what it stands or falls
        by: without it, it is left out
    values: for the templates, clean; block: for the script, clean
    """
    block = {**_NO_DATA, **block}
    plots = any(block[name] for name in ("cloud", "history", "ratio", "psnr"))
    scripts = [_plotly()] if plots else []
    scripts.append(_own("report.js"))
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            values,
            title=title,
            totals=totals,
            sections={name: _TITLES[name] for name, content in sections.items() if content},
            block=block,
            data_block=_json(block),
            created_at=_date(values["created"]),
            named_inputs=values["inputs"][:_INPUTS],
            style=_own("report.css"),
            scripts=scripts,
            hashes=" ".join(_hash(script) for script in scripts),
        )
    )


@functools.cache  # it holds what it has compiled
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": size, "decibels": decibels, "amount": _amount}
    return environment


def clean(value: Any) -> Any:
    """`value` with what a page could not show, or would act on, escaped; no NaN, no infinity."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(key)): clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [clean(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json(value: Any) -> Markup:
    r"""JSON that ends no script element, nor a line; ASCII, so U+2028 is escaped already.

    >>> print(_json("</script>"))
    "\u003c/script\u003e"
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - escaped above


@functools.cache
def _own(name: str) -> Markup:
    """A file of this package, as it is."""
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704 - ours


@functools.cache
def _plotly() -> Markup:
    """plotly.js of the installed package, of which nothing is imported: that takes long."""
    spec = importlib.util.find_spec("plotly")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "package_data" / "plotly.min.js"
    text = path.read_text(encoding="utf-8")  # with \n at line ends, as HTML has them: hashed so
    assert "</script" not in text.lower()
    assert "<!--" not in text
    return Markup(text)  # noqa: S704 - checked above


@functools.cache
def _hash(script: str) -> str:
    """The source expression by which a policy allows `script`."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def visible_cloud(cloud: Mapping[str, Sequence[str]] | None) -> dict[str, list[str]] | None:
    """The colours that can be seen, without alpha; None where there are none."""
    if not cloud:
        return None
    seen = {
        name: [
            color[:7]
            for color in cloud[name]
            if _COLOR.fullmatch(color) and not (len(color) == 9 and color.endswith("00"))
        ]
        for name in ("before", "after")
    }
    return seen if all(seen.values()) else None


def palette_entries(palette: Mapping[str, Sequence[Any]] | None) -> list[dict[str, Any]]:
    """Colour, share of the pixels in percent (None where unknown), and whether it is clear."""
    if not palette:
        return []
    total = sum(count or 0 for count in palette["pixels"])
    return [
        {
            "color": color,
            "share": None if count is None or not total else 100 * count / total,
            "is_clear": len(color) == 9 and color.endswith("00"),
        }
        for color, count in zip(palette["colors"], palette["pixels"], strict=True)
        if _COLOR.fullmatch(color)  # it stands in a style, where quotes are no fence
    ]


def listings(groups: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Titles, each with names and values, in words."""
    return [
        (
            title.capitalize(),
            # a seed is for copying
            [
                (name.replace("_", " "), str(value) if name == "seed" else _words(value))
                for name, value in group.items()
            ],
        )
        for title, group in groups.items()
    ]


def _date(text: str) -> str:
    """A date in ISO form, in words.

    >>> _date("2026-11-24T13:00:00+00:00")
    '24 November 2026, 13:00 UTC'
    """
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{date.day} {date:%B %Y, %H:%M %Z}".strip()


def _amount(value: float, digits: int = 0) -> str:
    """A number with separators; a real minus sign.

    >>> _amount(-1234.56, 1)
    '−1,234.6'
    """
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _words(value: Any) -> str:
    """A setting.

    >>> _words(True), _words([[1, 2, 3], [4, 5, 6]]), _words(65536)
    ('yes', '1, 2, 3; 4, 5, 6', '65,536')
    """
    if value is None or value == []:
        return "\N{EN DASH}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return _amount(value)
    if isinstance(value, list):
        nested = any(isinstance(each, list) for each in value)
        return ("; " if nested else ", ").join(_words(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
