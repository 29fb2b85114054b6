"""Palette files as their formats ask for; what a format cannot hold; no file is half written."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.errors import UsageError
from kmeans_dask.images import palette_files
from kmeans_dask.images.palette_files import (
    FORMATS,
    MAX_ENTRIES,
    MAX_SQUARES,
    entries_as,
    read_entries,
    write_entries,
)
from tests.images.conftest import FOUR, FOUR_CLEAR, FOUR_PARTIAL, Entries, of, opaque

# --- as the formats say ---


def test_json_has_the_documented_fields() -> None:
    text = entries_as(".json", FOUR_PARTIAL, [7, None, 0, 3]).decode()
    document = {
        "colors": ["#ff800080", "#00000000", "#010203", "#ff800080"],
        "transparent": 1,
        "pixels": [7, None, 0, 3],
    }
    assert text == json.dumps(document, indent=1) + "\n"


def test_json_without_pixels_or_clear_entries_says_so() -> None:
    document = json.loads(entries_as(".json", FOUR))
    assert document == {
        "colors": ["#000000", "#ff8000", "#010203", "#ff8000"],
        "transparent": None,
    }


def test_json_accepts_pixel_numbers_of_numpy() -> None:
    pixels = list(np.array([2**40, 1, 2, 3]))
    assert json.loads(entries_as(".json", FOUR, pixels))["pixels"] == [2**40, 1, 2, 3]


def test_gimp_files_have_a_name_columns_and_one_line_per_entry() -> None:
    text = entries_as(".gpl", FOUR[:2], name=" two\r\nlines ").decode()
    assert text == (
        "GIMP Palette\nName: two lines\nColumns: 16\n#\n"
        "  0   0   0\t#000000\n255 128   0\t#ff8000\n"
    )


def test_a_gimp_name_of_any_text_is_written(tmp_path: Path) -> None:
    write_entries(tmp_path / "x.gpl", FOUR, name="\udcff\u2028 \x00 ü")
    np.testing.assert_array_equal(read_entries(tmp_path / "x.gpl"), FOUR)


def test_jasc_lines_have_alpha_where_some_entry_has() -> None:
    opaque_lines = "JASC-PAL\r\n0100\r\n2\r\n0 0 0\r\n255 128 0\r\n"
    assert entries_as(".pal", FOUR[:2]).decode() == opaque_lines
    with_alpha = "JASC-PAL\r\n0100\r\n3\r\n255 128 0 128\r\n0 0 0 0\r\n1 2 3 255\r\n"
    assert entries_as(".pal", FOUR_PARTIAL[:3]).decode() == with_alpha


def test_hex_files_have_one_line_per_entry() -> None:
    assert entries_as(".hex", FOUR_PARTIAL[:3]) == b"ff800080\n00000000\n010203\n"


def test_act_has_colors_count_and_clear_index() -> None:
    colors = bytes([255, 128, 0, 0, 0, 0, 1, 2, 3, 255, 128, 0])
    data = entries_as(".act", FOUR_CLEAR)
    assert data == colors + bytes(768 - len(colors)) + b"\x00\x04\x00\x01"
    assert entries_as(".act", FOUR)[768:] == b"\x00\x04\xff\xff"
    assert entries_as(".act", opaque(256))[768:] == b"\x01\x00\xff\xff"


@pytest.mark.parametrize(("count", "mode"), [(20, "P"), (256, "P"), (300, "RGBA")])
def test_a_swatch_has_squares_in_rows_and_nothing_after_them(count: int, mode: str) -> None:
    entries = opaque(count)
    entries[3, 3] = 77
    image = Image.open(io.BytesIO(entries_as(".png", entries)))
    assert image.mode == mode
    rows = -(-count // 16)
    assert image.size == (256, 16 * rows)
    assert image.info["kmeans-dask-colors"] == str(count)
    rgba = np.asarray(image.convert("RGBA"))
    for place in range(16 * rows):
        top, left = place // 16 * 16, place % 16 * 16
        expected = entries[place] if place < count else np.zeros(4)
        assert (rgba[top : top + 16, left : left + 16] == expected).all(), place


def test_an_indexed_swatch_has_the_entries_for_a_palette_in_other_programs() -> None:
    image = Image.open(io.BytesIO(entries_as(".png", opaque(32))))
    palette = image.getpalette()
    assert palette == opaque(32)[:, :3].ravel().tolist()
    assert "transparency" not in image.info


def test_the_places_left_over_in_an_indexed_swatch_share_one_clear_entry() -> None:
    image = Image.open(io.BytesIO(entries_as(".png", opaque(20))))
    assert image.getpalette() == [*opaque(20)[:, :3].ravel().tolist(), 0, 0, 0]
    assert image.info["transparency"] == 20


# --- what cannot be written ---


@pytest.mark.parametrize("entries", [FOUR_CLEAR, FOUR_PARTIAL])
def test_gimp_files_hold_no_alpha(tmp_path: Path, entries: Entries) -> None:
    message = r"^x\.gpl: a \.gpl file holds no alpha: choose \.json, \.hex, \.pal or \.png$"
    with pytest.raises(UsageError, match=message):
        write_entries(tmp_path / "x.gpl", entries)


@pytest.mark.parametrize(
    "entries", [of("00000000", "01020300"), of("000000ff", "0102037f"), FOUR_PARTIAL]
)
def test_act_files_hold_one_clear_entry(tmp_path: Path, entries: Entries) -> None:
    message = r"^x\.act: .* one clear colour: choose \.json, \.hex, \.pal or \.png$"
    with pytest.raises(UsageError, match=message):
        write_entries(tmp_path / "x.act", entries)


@pytest.mark.parametrize(("suffix", "most"), [(".act", 256), (".png", MAX_SQUARES)])
def test_what_holds_fewer_colors_says_how_many(suffix: str, most: int) -> None:
    message = rf"holds {most} colours, not {most + 1}: choose \.json, \.hex or \.pal$"
    with pytest.raises(UsageError, match=message):
        entries_as(suffix, opaque(most + 1))


@pytest.mark.parametrize("suffix", list(FORMATS))
def test_no_colors_and_too_many_are_refused(suffix: str) -> None:
    with pytest.raises(UsageError, match=r"^there is no colour$"):
        entries_as(suffix, opaque(0))
    with pytest.raises(UsageError, match=r"^65537 colours are more than the limit of 65536$"):
        entries_as(suffix, opaque(MAX_ENTRIES + 1))


def test_a_palette_too_large_to_read_back_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(palette_files, "MAX_BYTES", 28)
    assert len(entries_as(".hex", FOUR)) == 28
    with pytest.raises(UsageError, match=r"^5 colours as \.hex are more than the limit of 28 byte"):
        entries_as(".hex", opaque(5))


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    message = r"^x\.aco: '\.aco' is no suffix of a palette: choose \.json, .* or \.png$"
    with pytest.raises(UsageError, match=message):
        write_entries(tmp_path / "x.aco", FOUR)


def test_mistakes_of_the_caller_are_no_usage_errors() -> None:
    with pytest.raises(ValueError, match=r"not uint8 \(k, 4\)"):
        entries_as(".hex", FOUR[:, :3])
    with pytest.raises(ValueError, match=r"not uint8 \(k, 4\)"):
        entries_as(".hex", FOUR.astype(np.float64))
    with pytest.raises(ValueError, match="3 numbers of pixels for 4 entries"):
        entries_as(".hex", FOUR, [1, 2, 3])


# --- atomic ---


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    write_entries(tmp_path / "x.hex", FOUR)
    write_entries(tmp_path / "x.hex", FOUR_PARTIAL)
    np.testing.assert_array_equal(read_entries(tmp_path / "x.hex"), FOUR_PARTIAL)
    assert [path.name for path in tmp_path.iterdir()] == ["x.hex"]


def test_until_the_new_file_is_whole_the_old_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.hex"
    write_entries(path, FOUR)
    before = path.read_bytes()
    replace = Path.replace
    seen = []

    def look(aside: Path, target: Path) -> Path:
        seen.append((aside.parent, aside.name[0], aside.read_bytes(), path.read_bytes()))
        return replace(aside, target)

    monkeypatch.setattr(Path, "replace", look)
    write_entries(path, FOUR_CLEAR)
    assert seen == [(tmp_path, ".", entries_as(".hex", FOUR_CLEAR), before)]


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.hex"
    write_entries(path, FOUR)
    write_bytes = Path.write_bytes

    def half(aside: Path, data: bytes) -> int:
        write_bytes(aside, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(UsageError, match=r"^x\.hex: cannot be written: No space left on device$"):
        write_entries(path, FOUR_CLEAR)
    np.testing.assert_array_equal(read_entries(path), FOUR)
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_that_cannot_be_written_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "folder.hex").mkdir()
    with pytest.raises(UsageError, match=r"^folder\.hex: cannot be written: Is a directory$"):
        write_entries(tmp_path / "folder.hex", FOUR)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"^x\.hex: cannot be written: Not a directory$"):
        write_entries(tmp_path / "file" / "x.hex", FOUR)
    with pytest.raises(UsageError, match=r"^a\?b\.hex: cannot be written: .*null"):
        write_entries(tmp_path / "a\0b.hex", FOUR)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.hex"]
