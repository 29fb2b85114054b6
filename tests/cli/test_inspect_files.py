"""Files that `palette`, `report` and `plot` show or write, by the command line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import CANNOT, LONG, TO_FILES, Done, pairs, places_of, refuse
from tests.command import palette_file
from tests.command import run_here as run
from tests.command import summary_here as summary
from tests.conftest import pixels_of

# -- what cannot be done ----------------------------------------------------------------------


@pytest.mark.parametrize("command", TO_FILES)
@pytest.mark.parametrize("target", ["file/a", "/proc/a", "/sys/a", LONG], ids=lambda text: text[:9])
def test_a_file_that_cannot_be_written_is_refused(command: str, target: str, here: Path) -> None:
    refuse(here, [word.format(target) for word in TO_FILES[command]], CANNOT)


def test_a_report_to_a_file_named_dash_is_refused(here: Path) -> None:
    done = run("report", "s.zarr", "-", code=2)
    assert "FILE - is no name of a file" in done.stderr
    assert not (here / "-").exists()


# -- showing palettes -------------------------------------------------------------------------


def test_a_palette_is_shown_as_plain_text_when_piped_and_as_json(
    photos: Path, store: Path, scopes: dict[str, Done], tmp_path: Path
) -> None:
    told = summary("palette", store, "--palette-name", "k16")
    assert told["name"] == "k16"
    colors = palette_file(scopes["shared"].out)["colors"]
    assert told["colors"] == colors
    pixels = np.concatenate([pixels_of(path) for _, path in pairs(photos, scopes["shared"].out)])
    numbers = [int((pixels == place).all(axis=1).sum()) for place in places_of(colors)]
    assert told["pixels"] == numbers

    done = run("palette", store, "--palette-name", "k16")
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()[-16:]
    for index, (line, color, number) in enumerate(zip(lines, colors, numbers, strict=True)):
        share = f"{100 * number / len(pixels):.2f}"
        assert line.split() == [str(index), color, share, "%"]

    from_file = summary("palette", scopes["shared"].out / "palette.json", tmp_path / "x.gpl")
    assert from_file["colors"] == colors
    shown = run("palette", tmp_path / "x.gpl").stdout
    assert re.findall("#[0-9a-f]{6}", shown) == colors
