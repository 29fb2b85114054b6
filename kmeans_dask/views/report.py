"""What a job did, as one HTML page that needs nothing else.

File names, messages and images are other people's: names are escaped wherever they stand, images
are opened as hostile, and the page's policy runs no script but the ones written here.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kmeans_dask.imaging.decode import DecodedImage, decode
from kmeans_dask.pipeline.plan import RECORD_FILE, REPORT_FILE
from kmeans_dask.pipeline.write import write_file
from kmeans_dask.views.text import decibels, printable, size

_TEMPLATES = Path(__file__).parent / "templates"
_THUMBNAILS = 6  # pairs of the worst, and as many of the best
_SIDE = 420  # pixels, of a thumbnail
_SMALL = 210  # pixels: a smaller image is shown enlarged, its pixels as squares
_QUALITIES = (80, 50, 20)  # of WebP; the next one where a thumbnail, of noise, is too large
_LARGE = 90_000  # bytes: 24 of them stay below 3 MB in base64
_INPUTS = 5  # named in the page
_COLOR = re.compile(r"#[0-9a-f]{6}(?:[0-9a-f]{2})?")


def write_report(output: Path, record: Mapping[str, Any]) -> None:
    """Write `report.html` into `output`, and `report.json`, from which it can be made again."""
    write_file(output / RECORD_FILE, json.dumps(record, allow_nan=False).encode())
    write_file(output / REPORT_FILE, render_report(record, output).encode())


def render_report(data: Mapping[str, Any], output: Path) -> str:
    """The page; of the files that `data` names as outputs, only those below `output` are read."""
    shown = _clean(data)
    worst = _pairs(data["worst"], output)
    there = {row["output"] for row in data["worst"]}
    best = _pairs([row for row in data["best"] if row["output"] not in there], output)
    block = {
        "cloud": _cloud(shown["cloud"]),
        "history": shown["history"],
        "ratio": _histogram(shown["ratio_histogram"]),
        "psnr": _histogram(shown["psnr_histogram"]),
        "rows": [[row[key] for key in _ROW] for row in shown["rows"]],
        "failures": [[each["path"], each["reason"]] for each in shown["summary"]["failures"]],
    }
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": size, "decibels": decibels, "amount": _amount}
    plots = any(block[name] for name in ("cloud", "history", "ratio", "psnr"))
    scripts = [_plotly()] if plots else []
    scripts.append(_own("report.js"))
    return environment.get_template("report.html.j2").render(
        shown,
        block=block,
        data_block=_json(block),
        created_at=_date(shown["created"]),
        named_inputs=shown["inputs"][:_INPUTS],
        palette=_palette(shown["palette"]),
        groups=[("Worst images", "worst", worst), ("Best images", "best", best)],
        listings=_listings(shown),
        style=_own("report.css"),
        scripts=scripts,
        hashes=" ".join(_hash(script) for script in scripts),
    )


_ROW = ("name", "output", "status", "input_bytes", "output_bytes", "psnr")


def _clean(value: Any) -> Any:
    """`value` with what a page could not show, or would act on, escaped; no NaN, no infinity."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(key)): _clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
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


def _own(name: str) -> Markup:
    """A file of this package, as it is."""
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704 - ours


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


def _hash(script: str) -> str:
    """The source expression by which a policy allows `script`."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _cloud(cloud: Mapping[str, Sequence[str]] | None) -> dict[str, list[str]] | None:
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


def _histogram(histogram: Mapping[str, Sequence[float]] | None) -> dict[str, Any] | None:
    """None where nothing was counted."""
    return dict(histogram) if histogram and any(histogram["counts"]) else None


def _palette(palette: Mapping[str, Sequence[Any]] | None) -> list[dict[str, Any]]:
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


def _pairs(rows: Sequence[Mapping[str, Any]], output: Path) -> list[dict[str, Any]]:
    """Rows with thumbnails, of the images of which both files can be read."""
    pairs = []
    for row in rows[:_THUMBNAILS]:
        try:
            pair = _thumbnails(Path(row["path"]), _below(output, row["output"]))
        except Exception:  # noqa: S112 - whatever a hostile file raises costs its thumbnail only
            continue
        pairs.append(_clean({key: row[key] for key in _ROW}) | pair)
    return pairs


def _below(output: Path, name: str) -> Path:
    """The file `name` of `output`, links followed. Raises ValueError where it is not below."""
    path = (output / name).resolve()
    if not path.is_relative_to(output.resolve()):
        raise ValueError(f"{name!r} is outside of the output folder")
    return path


def _thumbnails(before: Path, after: Path) -> dict[str, Any]:
    """Both images, brought to one size, as URIs; and whether they are small."""
    original = _small(decode(before))  # of what can be large, one is held at a time
    return {
        "before": _uri(original),
        "after": _uri(_small(decode(after), original.size)),
        "small": max(original.size) < _SMALL,
    }


def _small(decoded: DecodedImage, to: tuple[int, int] | None = None) -> Any:
    """Its image (Pillow's), brought to the size of a thumbnail, or to the size `to`."""
    image = decoded.image
    scale = min(1, _SIDE / max(image.size))
    to = to or (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image if image.size == to else image.resize(to, reducing_gap=2.0)


def _uri(small: Any) -> str:
    for quality in _QUALITIES:
        file = io.BytesIO()
        small.save(file, "WEBP", quality=quality)
        if len(file.getvalue()) <= _LARGE:
            break
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _listings(shown: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Titles, each with names and values."""
    groups = {"job": {"output": shown["output"], "created": shown["created"]}}
    for name, value in shown["settings"].items():
        group = {name: value} if not isinstance(value, dict) else value
        groups.setdefault(name if group is value else "job", {}).update(group)
    groups["versions"] = {"kmeans-dask": shown["version"], **shown["versions"]}
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
