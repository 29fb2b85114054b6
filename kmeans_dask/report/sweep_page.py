"""Report of a sweep as one HTML page, which needs no other files, to choose a point by looking."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from kmeans_dask.errors import UsageError
from kmeans_dask.files import Location
from kmeans_dask.files.atomic_files import check_new_file, write_file
from kmeans_dask.files.targets import check_file
from kmeans_dask.report.html import clean, listings, render_page
from kmeans_dask.settings import DecodeSettings, EncodeSettings, FitSettings
from kmeans_dask.steps.crops import Crop
from kmeans_dask.steps.sweep import Point, Sweep
from kmeans_dask.text import shell_word

_CROPS = 4  # of a page with few points
_FILES = 240  # crops after a point on a page: about 8 MB, at 25 kB each as base64
_FAILURES = 1000  # failures that are listed, at most
_DECODE = DecodeSettings()


def check_report(file: Location, n_points: int, *, overwrite: bool) -> None:
    """Raise UsageError where the report of so many points cannot be written to `file`."""
    check_file(file, "--report")
    check_new_file(file, "name another file with --report", overwrite=overwrite)
    if not crops_for(n_points):
        raise UsageError(
            f"--report shows at most {_FILES} points, not {n_points}: try fewer --colors or --lossy"
        )


def crops_for(n_points: int) -> int:
    """Return the number of crops that a page of so many points shows of each."""
    return min(_CROPS, _FILES // n_points)


@dataclass(frozen=True)
class CompressCommand:
    """Command line that does with a collection what a sweep has tried.

    inputs: images and folders, as they were given
    fit, encode, decode: settings of the sweep; those that are not the defaults become options
    include, exclude: patterns of files in folders
    """

    inputs: Sequence[Location]
    fit: FitSettings
    encode: EncodeSettings
    decode: DecodeSettings
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def of(self, point: Point) -> str:
        """Return the command for a point, with the word OUTPUT for the folder to write to."""
        words = ["kmeans-dask", "compress", *map(_operand, self.inputs), "OUTPUT"]
        for option, value in self._options(point):
            # joined, as a value could begin with a hyphen
            words += [f"{option}={value}"] if value.startswith("-") else [option, value]
        words += ["--always"] if self.encode.always else []
        return " ".join(map(shell_word, words))

    def _options(self, point: Point) -> Iterator[tuple[str, str]]:
        fit, encode, plain = FitSettings(), EncodeSettings(), _DECODE
        yield "--colors", str(point.colors)
        for option, value, default in (
            ("--lossy", point.lossy, encode.lossy),
            ("--color-space", self.fit.space, fit.space),
            ("--weight", self.fit.weight, fit.weight),
            ("--seed", self.fit.seed, fit.seed),
            ("--format", self.encode.format, encode.format),
            ("--effort", self.encode.effort, encode.effort),
            ("--dither", self.encode.dither, encode.dither),
            ("--max-pixels", self.decode.max_pixels, plain.max_pixels),
            ("--white", self.decode.white, plain.white),
        ):
            if value != default:
                yield option, _number(value) if isinstance(value, float) else str(value)
        for option, patterns in (("--include", self.include), ("--exclude", self.exclude)):
            for pattern in patterns:
                yield option, pattern


def _operand(path: Location) -> str:
    """Return an input as a word that is not an option."""
    text = str(path)
    return f"./{text}" if text.startswith("-") else text


def _number(value: float) -> str:
    """Return a number in its shortest form that is read as the same number.

    >>> _number(2.0), _number(0.1)
    ('2', '0.1')
    """
    return str(int(value)) if value.is_integer() else repr(value)


def write_sweep_report(path: Location, sweep: Sweep, command: CompressCommand) -> None:
    """Write the report of a sweep to `path`, as an HTML page."""
    write_file(path, render_sweep_report(sweep, command).encode())


def render_sweep_report(sweep: Sweep, command: CompressCommand) -> str:
    """Return the report of a sweep as HTML."""
    points = [
        {
            "colors": point.colors,
            "lossy": _number(float(point.lossy)),
            "n_bytes": point.n_bytes,
            "part": point.n_bytes / max(1, sweep.input_bytes),
            "kept": point.kept,
            "psnr": point.psnr,
            "palette_psnr": point.palette_psnr,
            "ssimulacra2": point.ssimulacra2,
            "oklab": point.oklab,
            "command": command.of(point),
            "suggested": (point.colors, point.lossy) == (sweep.suggested, sweep.suggested_lossy),
        }
        for point in sweep.points
    ]
    block = clean(
        {
            "points": points,
            "crops": [_crop(crop) for crop in sweep.crops],
            "sampled": sweep.sampled,
            "failures": [[each.path, each.reason] for each in sweep.failures[:_FAILURES]],
        }
    )
    sections = {
        "crops": block["crops"],
        "points": True,
        "failures": block["failures"],
        "settings": True,
    }
    version = metadata.version("kmeans-dask")
    values = {
        "inputs": list(map(str, command.inputs)),
        "output": None,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": version,
        "sweep": {
            "images": sweep.images,
            "pixels": sweep.pixels,
            "input_bytes": sweep.input_bytes,
            "sampled": sweep.sampled,
            "scored": max((point.scored for point in sweep.points), default=0),
            "colors": sorted({point.colors for point in sweep.points}),
            "weights": [_number(float(weight)) for weight in sweep.weights],
            "several": len(sweep.weights) > 1,
        },
        "points": points,
        "crops": [crop.window.name for crop in sweep.crops],
        "listings": listings(clean(_settings(command, version))),
    }
    return render_page("Sweep report", "curve", sections, clean(values), block, "sweep")


def _crop(crop: Crop) -> dict[str, Any]:
    return {"before": _uri(crop.before), "after": [each and _uri(each) for each in crop.after]}


def _uri(webp: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(webp).decode()


def _settings(command: CompressCommand, version: str) -> dict[str, dict[str, Any]]:
    """Return the settings of a sweep that all points share, in groups."""
    fit, encode, decode = command.fit, command.encode, command.decode
    return {
        "palette": {"color space": fit.space, "weight": fit.weight, "seed": fit.seed},
        "output": {
            "format": encode.format,
            "effort": encode.effort,
            "dither": encode.dither,
            "always": encode.always,
        },
        "input": {
            "max pixels": decode.max_pixels,
            "white": decode.white,
            "include": list(command.include),
            "exclude": list(command.exclude),
        },
        "versions": {"kmeans-dask": version},
    }
