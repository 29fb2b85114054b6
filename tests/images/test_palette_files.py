"""Palette files that are written and read back, and colours listed on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kmeans_dask.errors import UsageError
from kmeans_dask.images.palette_files import (
    FORMATS,
    MAX_ENTRIES,
    MAX_SQUARES,
    parse_hexes,
    read_entries,
    write_entries,
)
from tests.images.conftest import FOUR_CLEAR, Entries, of, opaque

ANY_ALPHA = [".json", ".pal", ".hex", ".png"]
ALPHAS = st.sampled_from([0, 10, 128, 254, 255])


def some_entries(alphas: st.SearchStrategy[int], most: int = 300) -> st.SearchStrategy[Entries]:
    """Duplicates among them: the parts of a colour are drawn from few values half of the time."""
    parts = st.one_of(st.sampled_from([0, 91, 255]), st.integers(0, 255))
    shape = st.tuples(st.integers(1, most), st.just(4))

    @st.composite
    def build(draw: st.DrawFn) -> Entries:
        entries = draw(arrays(np.uint8, shape, elements=parts))
        entries[:, 3] = draw(arrays(np.uint8, len(entries), elements=alphas))
        return entries

    return build()


# --- written and read back ---


def come_back(path: Path, entries: Entries) -> None:
    write_entries(path, entries)
    found = read_entries(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, entries)


@pytest.mark.parametrize("suffix", ANY_ALPHA)
@settings(deadline=None, max_examples=60)
@given(entries=some_entries(ALPHAS))
def test_entries_with_alpha_come_back(folder: Path, suffix: str, entries: Entries) -> None:
    come_back(folder / f"palette{suffix}", entries)


@pytest.mark.parametrize("suffix", list(FORMATS))
@settings(deadline=None, max_examples=60)
@given(entries=some_entries(st.just(255), 256))
def test_opaque_entries_come_back_from_every_format(
    folder: Path, suffix: str, entries: Entries
) -> None:
    come_back(folder / f"palette{suffix}", entries)


@settings(deadline=None, max_examples=60)
@given(entries=some_entries(st.just(255), 256), data=st.data())
def test_one_clear_entry_comes_back_from_act(
    folder: Path, entries: Entries, data: st.DataObject
) -> None:
    entries[data.draw(st.integers(0, len(entries) - 1)), 3] = 0
    come_back(folder / "palette.act", entries)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 255, 256, 257, 272, MAX_SQUARES])
@pytest.mark.parametrize("last", ["00000000", "0000000a", "000000ff"])
def test_a_swatch_of_full_or_partial_rows_comes_back(tmp_path: Path, count: int, last: str) -> None:
    entries = opaque(count)
    entries[0, 3] = 0  # a tRNS chunk of 0 and a last 10 is the one that Pillow misreads
    entries[-1] = of(last)
    come_back(tmp_path / "swatch.png", entries)


def test_as_many_entries_as_there_may_be_come_back(tmp_path: Path) -> None:
    come_back(tmp_path / "many.json", opaque(MAX_ENTRIES))
    come_back(tmp_path / "many.hex", opaque(MAX_ENTRIES))
    come_back(tmp_path / "many.pal", opaque(MAX_ENTRIES))


@pytest.mark.parametrize("red", [0x5B, 0x7B, 0x20])
def test_an_act_file_that_starts_like_json_is_read_as_act(tmp_path: Path, red: int) -> None:
    entries = opaque(5)
    entries[:, 0] = red
    come_back(tmp_path / "palette.act", entries)


def test_the_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    come_back(tmp_path / "PALETTE.ACT", FOUR_CLEAR)


# --- lists on the command line ---


@given(entries=some_entries(ALPHAS, 20), capitals=st.booleans(), mark=st.sampled_from(["", "#"]))
def test_a_list_of_hexes_gives_its_colors(entries: Entries, capitals: bool, mark: str) -> None:
    text = " , ".join(mark + bytes(entry).hex() for entry in entries)
    np.testing.assert_array_equal(parse_hexes(text.upper() if capitals else text), entries)


def test_three_six_and_eight_digits_may_be_mixed() -> None:
    found = parse_hexes("\t#ff0000,#0F8 , 0000ff80\n")
    np.testing.assert_array_equal(found, of("ff0000ff", "00ff88ff", "0000ff80"))
    assert found.dtype == np.uint8


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ff0000,", "''"),
        (",", "''"),
        ("ff0000,,00ff00", "''"),
        ("red", "'red'"),
        ("#ff00", "'#ff00'"),
        ("##ff0000", "'##ff0000'"),
        ("ff 00 00", "'ff 00 00'"),
        ("\uff11\uff12\uff13", "'\uff11\uff12\uff13'"),
        ("ff0000\n00ff00", r"'ff0000\\n00ff00'"),
        ("x" * 1000, f"'{'x' * 20}'"),
    ],
)
def test_an_invalid_color_in_a_list_is_shown(text: str, shown: str) -> None:
    message = f"^{shown} is no colour: write rrggbb, or rrggbbaa with alpha$"
    with pytest.raises(UsageError, match=message):
        parse_hexes(text)


def test_a_list_of_nothing_or_too_much_is_refused() -> None:
    for text in ("", " \n"):
        with pytest.raises(
            UsageError, match=r"^no colour is given: write some like ff0000,00ff00$"
        ):
            parse_hexes(text)
    with pytest.raises(UsageError, match=r"^65537 colours are more than the limit of 65536$"):
        parse_hexes(",".join(["f00"] * (MAX_ENTRIES + 1)))


@settings(max_examples=300)
@given(text=st.one_of(st.text(max_size=30), st.text("#0fF, ", max_size=30)))
def test_any_text_is_a_list_or_refused(text: str) -> None:
    count, message = text.count(",") + 1, "none"
    try:
        count = len(parse_hexes(text))
    except UsageError as error:
        message = str(error)
    assert message.isprintable(), "more than one line"
    assert count == text.count(",") + 1
