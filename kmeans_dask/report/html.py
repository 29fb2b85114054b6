"""HTML pages of reports, which need no other files, rendered from sections.

File names, messages and colours come from other people: they are escaped everywhere, and the
security policy of a page allows only the scripts that this module puts into it.
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

from kmeans_dask.text import decibels, printable, size

_TEMPLATES = Path(__file__).parent / "templates"
_INPUTS = 5  # inputs that the page names, at most
_COLOR = re.compile(r"#[0-9a-f]{6}(?:[0-9a-f]{2})?")
# Fields that report.js reads, without data.
_NO_DATA: dict[str, Any] = {
    "cloud": None,
    "history": [],
    "ratio": None,
    "psnr": None,
    "rows": [],
    "failures": [],
}
_TITLES = {
    "curve": "Bytes and quality",
    "crops": "Before and after",
    "points": "All points",
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
    own: str | None = None,
) -> str:
    """Return a page as HTML.

    totals: name of the section that comes first
    sections: names of the other sections, each with its content; a section without content is left
        out
    values: values for the templates, which `clean` has escaped
    block: data for the script, which `clean` has escaped
    own: name of a style sheet and a script that this page has beside those of all pages
    """
    block = {**_NO_DATA, **block}
    plots = any(block[name] for name in ("cloud", "history", "ratio", "psnr"))
    scripts = [_plotly()] if plots else []
    scripts.append(_own("report.js"))
    styles = [_own("report.css")]
    if own:
        scripts.append(_own(f"{own}.js"))
        styles.append(_own(f"{own}.css"))
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
            style=Markup("\n").join(styles),
            scripts=scripts,
            hashes=" ".join(_hash(script) for script in scripts),
        )
    )


@functools.cache  # it keeps the templates that it has compiled
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
    """Return `value` with unprintable characters escaped, and None for NaN and infinity.

    Mappings and lists are cleaned inside, too.
    """
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(key)): clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [clean(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json(value: Any) -> Markup:
    r"""Return `value` as JSON that ends neither a script element nor a line.

    The JSON is ASCII, so U+2028, which ends a line, is escaped, too.

    >>> print(_json("</script>"))
    "\u003c/script\u003e"
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - escaped above


@functools.cache
def _own(name: str) -> Markup:
    """Return the file `name` of this package, as it is."""
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704 - ours


@functools.cache
def _plotly() -> Markup:
    """Return plotly.js of the installed package plotly, which is not imported: that takes long."""
    spec = importlib.util.find_spec("plotly")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "package_data" / "plotly.min.js"
    text = path.read_text(encoding="utf-8")  # lines end with \n, as in HTML: the hash needs that
    assert "</script" not in text.lower()
    assert "<!--" not in text
    return Markup(text)  # noqa: S704 - checked above


@functools.cache
def _hash(script: str) -> str:
    """Return the source expression by which a content security policy allows `script`."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def visible_cloud(cloud: Mapping[str, Sequence[str]] | None) -> dict[str, list[str]] | None:
    """Return the colours of `cloud` that are not fully transparent, as `#rrggbb`.

    Return None where there are none before, or none after.
    """
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
    """Return the entries of a palette for a page, each as a dict.

    color: `#rrggbb` or `#rrggbbaa`
    share: share of the pixels in percent; None where it is not known
    is_clear: whether the entry is fully transparent
    """
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
        if _COLOR.fullmatch(color)  # checked, since escaping does not protect a style
    ]


def listings(groups: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return groups of settings in words: titles, each with its names and values."""
    return [
        (
            title.capitalize(),
            # A seed has no separators, since it is for copying.
            [
                (name.replace("_", " "), str(value) if name == "seed" else _words(value))
                for name, value in group.items()
            ],
        )
        for title, group in groups.items()
    ]


def _date(text: str) -> str:
    """Return a date in ISO form in words, and any other text as it is.

    >>> _date("2026-11-24T13:00:00+00:00")
    '24 November 2026, 13:00 UTC'
    """
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{date.day} {date:%B %Y, %H:%M %Z}".strip()


def _amount(value: float, digits: int = 0) -> str:
    """Return a number with separators of thousands, and with a real minus sign.

    >>> _amount(-1234.56, 1)
    '−1,234.6'
    """
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _words(value: Any) -> str:
    """Return the value of a setting in words.

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
