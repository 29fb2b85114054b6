"""Palette files as programs write them, and as nobody should: read, or refused in one line."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kmeans_dask.errors import UsageError
from kmeans_dask.images.palette_files import (
    FORMATS,
    MAX_BYTES,
    MAX_ENTRIES,
    entries_as,
    read_entries,
)
from tests.images.conftest import FOUR, FOUR_CLEAR, of, opaque


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[str, bytes], str]:
    """The message about a file of this name and content, without the name."""

    def message(name: str, data: bytes) -> str:
        (tmp_path / name).write_bytes(data)
        return reason(tmp_path / name)

    return message


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str, bytes], list[str]]:
    """The entries of a file of this name and content, as rrggbbaa."""

    def hexes(name: str, data: bytes) -> list[str]:
        (tmp_path / name).write_bytes(data)
        return [bytes(entry).hex() for entry in read_entries(tmp_path / name)]

    return hexes


def reason(path: Path) -> str:
    with pytest.raises(UsageError) as raised:
        read_entries(path)
    message = str(raised.value)
    assert message.isprintable(), "more than one line"
    assert message.startswith(f"{path.name}: ")
    return message.removeprefix(f"{path.name}: ")


# --- as programs write them ---


def test_a_gimp_file_with_comments_names_and_a_byte_order_mark(
    read: Callable[[str, bytes], list[str]],
) -> None:
    text = (
        "\ufeffGIMP Palette\r\nName: Bears & Ümläuts\r\nColumns: 4\r\n#\r\n# by hand 1 2 3\r\n"
        "  8   8   8\tgrey3\r\n 68  44  44\tDark  brown 2\r\n\r\n255\t255 255   \r\n"
        "  8   8   8\tName: grey again\r\n"
    )
    expected = ["080808ff", "442c2cff", "ffffffff", "080808ff"]
    assert read("Bears.gpl", text.encode()) == expected
    assert read("told by content", text.encode()) == expected
    assert read("Bears.gpl", text.removeprefix("\ufeff").encode("latin-1")) == expected
    assert read("Bears.gpl", text.replace("\r\n", "\r").encode()) == expected


def test_a_gimp_name_may_have_what_only_unicode_calls_a_line_end(
    read: Callable[[str, bytes], list[str]],
) -> None:
    data = "GIMP Palette\n1 2 3 a\u2028b\x85c\x0cd\n4 5 6\n".encode()
    assert read("x.gpl", data) == ["010203ff", "040506ff"]


def test_a_jasc_file_of_three_and_of_four_columns(read: Callable[[str, bytes], list[str]]) -> None:
    assert read("x.pal", b"JASC-PAL\r\n0100\r\n2\r\n0 10 200\r\n255 0 0\r\n\r\n") == [
        "000ac8ff",
        "ff0000ff",
    ]
    assert read("x.pal", b"JASC-PAL\n0100\n2\n0 10 200 255\n255 0 0 0") == ["000ac8ff", "ff000000"]
    assert read("x.dat", b"\xef\xbb\xbfJASC-PAL\n0100\n1\n1\t2\t3\n") == ["010203ff"]


def test_hex_lines_of_lospec_and_by_hand(read: Callable[[str, bytes], list[str]]) -> None:
    assert read("x.hex", b"1a1c2c\r\n5d275d\r\nB13E53\r\n") == ["1a1c2cff", "5d275dff", "b13e53ff"]
    by_hand = b"\xef\xbb\xbf\n  #1A1C2C \n\n#5d275d80\nf0a"
    assert read("x.hex", by_hand) == ["1a1c2cff", "5d275d80", "ff00aaff"]
    assert read("x.txt", by_hand) == ["1a1c2cff", "5d275d80", "ff00aaff"]


@pytest.mark.parametrize("name", ["x.hex", "x.txt"])
def test_hex_lines_of_the_size_of_an_act_file_are_hex_lines(
    read: Callable[[str, bytes], list[str]], name: str
) -> None:
    data = b"#1a1c2c\n" * 96
    assert len(data) == 768
    assert read(name, data) == ["1a1c2cff"] * 96


def test_an_act_file_of_768_bytes_has_256_colors(read: Callable[[str, bytes], list[str]]) -> None:
    ramp = bytes(level for level in range(256) for _ in range(3))
    expected = [f"{level:02x}{level:02x}{level:02x}ff" for level in range(256)]
    assert read("grey.act", ramp) == expected
    assert read("told by size", ramp) == expected


def test_an_act_file_of_772_bytes_has_as_many_colors_as_it_says(
    read: Callable[[str, bytes], list[str]],
) -> None:
    colors = bytes([0, 0, 0, 255, 255, 255, 9, 8, 7]) + bytes(759)
    assert read("x.act", colors + b"\x00\x03\x00\x01") == ["000000ff", "ffffff00", "090807ff"]
    assert read("x.act", colors + b"\x00\x02\xff\xff") == ["000000ff", "ffffffff"]
    assert read("x.act", colors + b"\x00\x02\x00\x02") == ["000000ff", "ffffffff"]
    assert read("x.table", colors + b"\x00\x01\x00\x00") == ["00000000"]


def test_json_of_colors_alone_or_a_bare_list(read: Callable[[str, bytes], list[str]]) -> None:
    assert read("x.json", b'{"colors": ["#FF0000", "00ff0080"], "by": 1}') == [
        "ff0000ff",
        "00ff0080",
    ]
    assert read("x.json", b'\xef\xbb\xbf\r\n["#f00"]') == ["ff0000ff"]
    assert read("x.hex", b'["#f00"]') == ["ff0000ff"]


def test_transparent_is_the_entry_that_is_clear_without_saying_so_itself(
    read: Callable[[str, bytes], list[str]],
) -> None:
    text = """{
 "colors": [
  "#000000",
  "#010203"
 ],
 "transparent": 0,
 "pixels": [
  null,
  5
 ]
}
"""
    assert read("palette.json", text.encode()) == ["00000000", "010203ff"]


# --- PNG files that are no swatches of ours ---


def png_of(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def plain_png(width: int, height: int, depth: int, kind: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG of raw rows, each with its filter byte; `more` chunks come before them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + data + chunk(b"IEND", b"")


def swatch_text(count: bytes) -> bytes:
    return chunk(b"tEXt", b"kmeans-dask-colors\0" + count)


def test_an_indexed_png_gives_its_palette_used_or_not(
    read: Callable[[str, bytes], list[str]],
) -> None:
    plte = chunk(b"PLTE", bytes([9, 9, 9, 1, 2, 3, 9, 9, 9, 255, 0, 0]))
    trns = chunk(b"tRNS", bytes([255, 0, 128]))
    png = plain_png(3, 1, 2, 3, b"\x00\x10", plte, trns)
    expected = ["090909ff", "01020300", "09090980", "ff0000ff"]
    assert read("x.png", png) == expected
    assert read("told by content", png) == expected


def test_a_png_of_pixels_gives_its_colors_as_they_first_appear(
    read: Callable[[str, bytes], list[str]],
) -> None:
    rows = [["0000ffff", "ff000080", "0000ffff"], ["ff0000ff", "12345600", "65432100"]]
    pixels = np.stack([of(*row) for row in rows])
    expected = ["0000ffff", "ff000080", "ff0000ff", "00000000"]
    assert read("x.png", png_of(Image.fromarray(pixels))) == expected
    assert read("x.png", png_of(Image.fromarray(pixels[:1, :, :3]))) == ["0000ffff", "ff0000ff"]


def test_grey_pngs_of_few_bits_keep_their_transparent_level(
    read: Callable[[str, bytes], list[str]],
) -> None:
    key = chunk(b"tRNS", b"\x00\x01")
    assert read("x.png", plain_png(4, 1, 2, 0, b"\x00\xe4", key)) == [
        "ffffffff",
        "aaaaaaff",
        "00000000",
        "000000ff",
    ]
    assert read("x.png", plain_png(2, 1, 1, 0, b"\x00\x80", key)) == ["00000000", "000000ff"]


def test_of_a_transparent_color_only_the_bits_of_a_sample_count(
    read: Callable[[str, bytes], list[str]],
) -> None:
    key = chunk(b"tRNS", bytes([1, 7, 0, 8, 255, 9]))
    assert read("x.png", plain_png(2, 1, 8, 2, b"\0\7\x08\x09\7\x08\x0a", key)) == [
        "00000000",
        "07080aff",
    ]


def test_a_picture_of_256_colors_is_a_palette_and_of_257_is_not(
    read: Callable[[str, bytes], list[str]], refused: Callable[[str, bytes], str]
) -> None:
    pixels = opaque(257)[None, :, :3]
    assert len(read("x.png", png_of(Image.fromarray(pixels[:, :256])))) == 256
    assert refused("x.png", png_of(Image.fromarray(pixels))) == (
        "a picture of 257 colours, not a palette: one has 256 at most"
    )


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (b"0", "there is no colour"),
        (b"17", "a swatch of 17 colours is 256 x 32 pixels, not 256 x 16"),
        (b"65537", "65537 colours are more than the limit of 65536"),
        (b"-1", "kmeans-dask-colors is '-1', not a number of colours"),
        (b"\xb2", "kmeans-dask-colors is '²', not a number of colours"),
        (b"9" * 5000, f"kmeans-dask-colors is '{'9' * 20}', not a number of colours"),
    ],
)
def test_a_swatch_with_a_wrong_number_of_colors_is_refused(
    refused: Callable[[str, bytes], str], count: bytes, message: str
) -> None:
    png = plain_png(256, 16, 8, 2, bytes(16 * (1 + 3 * 256)), swatch_text(count))
    assert refused("x.png", png) == message


def test_a_swatch_with_a_square_of_two_colors_is_refused(
    read: Callable[[str, bytes], list[str]], refused: Callable[[str, bytes], str]
) -> None:
    rows = bytearray(16 * (1 + 256))
    rows[5 * 257 + 1 + 16 * 2 + 3] = 1  # in the third square
    assert refused("x.png", plain_png(256, 16, 8, 0, bytes(rows), swatch_text(b"3"))) == (
        "the square of index 2 is not of one colour"
    )
    beyond = plain_png(256, 16, 8, 0, bytes(rows), swatch_text(b"2"))
    assert read("x.png", beyond) == ["000000ff"] * 2


# --- what cannot be read ---


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.json", b"", "the file is empty"),
        ("x.json", b"nothing", "line 1: not JSON: Expecting value"),
        ("x.json", b'{\n "colors":\n}', "line 3: not JSON: Expecting value"),
        ("x.json", b'{"colours": []}', 'has no list "colors"'),
        ("x.json", b'{"colors": {"0": "#000000"}}', 'has no list "colors"'),
        ("x.json", b"[]", "there is no colour"),
        ("x.json", b"[" * 100_000, "not JSON of a palette: a number too long, or nested too deep"),
        (
            "x.json",
            b"[" + b"1" * 5000 + b"]",
            "not JSON of a palette: a number too long, or nested too deep",
        ),
        (
            "x.json",
            b'["#000000", 0]',
            '"colors", index 1: what is not text is no colour: write rrggbb, or rrggbbaa with '
            "alpha",
        ),
        (
            "x.json",
            b'["red\\n"]',
            "\"colors\", index 0: 'red\\n' is no colour: write rrggbb, or rrggbbaa with alpha",
        ),
        (
            "x.json",
            b'{"colors": ["#000"], "transparent": 1}',
            '"transparent" is neither null nor the index of a colour',
        ),
        (
            "x.json",
            b'{"colors": ["#000"], "transparent": false}',
            '"transparent" is neither null nor the index of a colour',
        ),
        ("x.gpl", b"1 2 3\n", "line 1 is not GIMP Palette"),
        ("x.gpl", b"GIMP Palette\nName: none\n#\n", "there is no colour"),
        (
            "x.gpl",
            b"GIMP Palette\n#\n1 2 256 x\n",
            "line 3: '1 2 256 x' is no colour: write numbers up to 255",
        ),
        (
            "x.gpl",
            b"GIMP Palette\nChannels: RGBA\n1 2 3 4\n",
            "line 2: 'Channels: RGBA' is no colour: write numbers up to 255",
        ),
        (
            "x.gpl",
            b"GIMP Palette\n1 2 3\nName: late\n",
            "line 3: 'Name: late' is no colour: write numbers up to 255",
        ),
        ("x.gpl", b"GIMP Palette\n1 2\n", "line 2: '1 2' is no colour: write numbers up to 255"),
        ("x.pal", b"RIFF\x10\0\0\0PAL data", "line 1 is not JASC-PAL"),
        ("x.pal", b"JASC-PAL", "line 2 is not 0100, the one version of JASC-PAL there is"),
        ("x.pal", b"JASC-PAL\n0200\n", "line 2 is not 0100, the one version of JASC-PAL there is"),
        ("x.pal", b"JASC-PAL\n0100\nmany\n", "line 3 is not the number of colours"),
        ("x.pal", b"JASC-PAL\n0100\n" + b"9" * 5000, "line 3 is not the number of colours"),
        ("x.pal", b"JASC-PAL\n0100", "line 3 is not the number of colours"),
        ("x.pal", b"JASC-PAL\n0100\n0\n", "there is no colour"),
        (
            "x.pal",
            b"JASC-PAL\n0100\n2\n1 2 3\n",
            "line 3 says 2 colours, but there are 1",
        ),
        (
            "x.pal",
            b"JASC-PAL\n0100\n1\n1 2 3\n4 5 6\n",
            "line 3 says 1 colours, but there are 2",
        ),
        (
            "x.pal",
            b"JASC-PAL\n0100\n1\n1 2 3 4 5\n",
            "line 4: '1 2 3 4 5' is no colour: write numbers up to 255",
        ),
        (
            "x.hex",
            b"ff0000\n\nff00\n",
            "line 3: 'ff00' is no colour: write rrggbb, or rrggbbaa with alpha",
        ),
        (
            "x.hex",
            b"; paint.net\nffff0000\n",
            "line 1: '; paint.net' is no colour: write rrggbb, or rrggbbaa with alpha",
        ),
        ("x.hex", b" \n\n", "there is no colour"),
        ("x.act", bytes(769), "has 769 bytes, where an .act file has 768 or 772"),
        ("x.act", bytes(772), "there is no colour"),
        (
            "x.act",
            bytes(768) + b"\x01\x01\xff\xff",
            "says it has 257 colours, where an .act file has 256",
        ),
        ("x.png", b"GIF89a", "not a PNG file"),
        ("x.png", b"\x89PNG\r\n\x1a\n", "a PNG file that cannot be decoded: it is damaged"),
        (
            "x.jpg",
            b"\xff\xd8\xff\xe0",
            "is not a palette: it is in none of .json, .gpl, .act, .pal, .hex or .png",
        ),
    ],
)
def test_a_malformed_file_is_refused_with_the_reason(
    refused: Callable[[str, bytes], str], name: str, data: bytes, message: str
) -> None:
    assert refused(name, data) == message


def test_a_png_cut_short_is_refused(refused: Callable[[str, bytes], str]) -> None:
    png = entries_as(".png", opaque(200))
    message = "a PNG file that cannot be decoded: it is damaged"
    assert refused("x.png", png[: len(png) // 2]) == message


def test_an_indexed_png_without_its_palette_is_refused(
    refused: Callable[[str, bytes], str],
) -> None:
    png = plain_png(1, 1, 8, 3, b"\0\0")
    assert refused("x.png", png) == "a PNG file that cannot be decoded: it is damaged"


def test_a_png_of_16_bits_is_refused(refused: Callable[[str, bytes], str]) -> None:
    png = plain_png(1, 1, 16, 0, b"\0\x12\x34")
    assert refused("x.png", png) == (
        "has 16 bits a sample, where a palette has 8: convert it first"
    )


def test_a_png_of_frames_is_refused(refused: Callable[[str, bytes], str]) -> None:
    frames = [Image.new("RGB", (2, 2), color) for color in ("red", "blue")]
    png = png_of(frames[0], save_all=True, append_images=frames[1:])
    assert refused("x.png", png) == "more than one frame: animations are not supported"


def test_a_png_of_too_many_pixels_is_refused_before_it_is_decoded(
    refused: Callable[[str, bytes], str],
) -> None:
    assert refused("x.png", plain_png(1025, 1024, 8, 0, b"")) == (
        "1025 x 1024 pixels are more than the limit of 1048576"
    )
    assert refused("x.png", plain_png(1 << 20, 1 << 20, 8, 0, b"")) == (
        "more pixels than the limit of 1048576"
    )


def test_a_png_of_as_many_pixels_as_allowed_is_read(
    read: Callable[[str, bytes], list[str]],
) -> None:
    assert read("x.png", png_of(Image.new("L", (1024, 1024), 7))) == ["070707ff"]


def test_one_color_too_many_is_refused(refused: Callable[[str, bytes], str]) -> None:
    message = "65537 colours are more than the limit of 65536"
    count = MAX_ENTRIES + 1
    assert refused("x.hex", b"00f\n" * count) == message
    assert refused("x.json", b'["00f"' + b',"00f"' * MAX_ENTRIES + b"]") == message
    assert refused("x.gpl", b"GIMP Palette\n" + b"1 2 3\n" * count) == message
    assert refused("x.pal", b"JASC-PAL\n0100\n65537\n" + b"1 2 3\n" * count) == message


def test_a_file_of_too_many_bytes_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.hex"
    path.write_bytes(b"010203\n".ljust(MAX_BYTES))
    assert len(read_entries(path)) == 1
    path.write_bytes(b"010203\n".ljust(MAX_BYTES + 1))
    monkeypatch.setattr(Path, "open", None)
    assert reason(path) == "has more than 1048576 bytes: it is hardly a palette"


def test_a_file_that_grows_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.hex").write_bytes(b"010203\n")
    before = (tmp_path / "x.hex").stat()
    (tmp_path / "x.hex").write_bytes(b"010203\n".ljust(MAX_BYTES + 1))
    monkeypatch.setattr(Path, "stat", lambda _: before)
    assert reason(tmp_path / "x.hex") == "has more than 1048576 bytes: it is hardly a palette"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert reason(tmp_path / "x.gpl") == "does not exist"
    assert reason(tmp_path) == "is a folder: name a palette file"
    os.mkfifo(tmp_path / "pipe.gpl")
    assert reason(tmp_path / "pipe.gpl") == "is not a regular file"
    (tmp_path / "x.hex").write_bytes(b"010203\n")
    assert reason(tmp_path / "x.hex" / "y.hex") == "cannot be read: Not a directory"


def test_any_name_makes_one_line(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines \udcff.hex"
    with pytest.raises(UsageError, match=r"^two\?lines \?\.hex: does not exist$"):
        read_entries(path)
    with pytest.raises(UsageError, match=r"^a\?b\.hex: cannot be read: .*null"):
        read_entries(tmp_path / "a\0b.hex")


# --- hostile files: nothing but UsageError ---


SAMPLES = {suffix: entries_as(suffix, FOUR, name="x") for suffix in FORMATS}
SAMPLES[".json"] = entries_as(".json", FOUR_CLEAR, [1, 2, 3, 4])


def read_or_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    entries, message = opaque(1), "none"
    try:
        entries = read_entries(path)
    except UsageError as error:
        message = str(error)
    assert message.isprintable(), "more than one line"
    assert entries.dtype == np.uint8
    assert entries.shape[1:] == (4,)
    assert 1 <= len(entries) <= MAX_ENTRIES


@pytest.mark.parametrize("suffix", [*FORMATS, ".unknown"])
@settings(deadline=None, max_examples=100)
@given(
    start=st.sampled_from(
        [b"", b"{", b"[", b"GIMP Palette\n", b"JASC-PAL\n0100\n", b"\x89PNG\r\n\x1a\n"]
    ),
    rest=st.one_of(st.binary(max_size=200), st.binary(min_size=768, max_size=772)),
)
def test_random_bytes_are_read_or_refused(
    folder: Path, suffix: str, start: bytes, rest: bytes
) -> None:
    read_or_refused(folder / f"random{suffix}", start + rest)


@pytest.mark.parametrize("suffix", list(FORMATS))
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_mutated_files_are_read_or_refused(folder: Path, suffix: str, data: st.DataObject) -> None:
    mutated = bytearray(SAMPLES[suffix])
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(mutated)))
        stop = start + data.draw(st.integers(0, 8))
        inserts = st.one_of(
            st.binary(max_size=8), st.sampled_from([b"9" * 5000, b"\n", b'"', b"[", b"{"])
        )
        mutated[start:stop] = data.draw(inserts)
    read_or_refused(folder / f"mutated{suffix}", bytes(mutated))


@settings(deadline=None, max_examples=300)
@given(
    size=st.sampled_from([(1, 1), (3, 2), (256, 16), (0, 1)]),
    depth=st.sampled_from([1, 2, 4, 8, 16, 3]),
    kind=st.sampled_from([0, 2, 3, 3, 3, 4, 6, 5]),
    plte=st.one_of(st.binary(max_size=24), st.just(bytes(771))),
    trns=st.binary(max_size=8),
    count=st.one_of(st.binary(max_size=6), st.integers(0, 300).map(lambda n: b"%d" % n)),
    fill=st.binary(min_size=1, max_size=4),
    chosen=st.sets(st.integers(0, 2)),
)
def test_pngs_of_sound_chunks_and_random_content_are_read_or_refused(
    folder: Path,
    size: tuple[int, int],
    depth: int,
    kind: int,
    plte: bytes,
    trns: bytes,
    count: bytes,
    fill: bytes,
    chosen: set[int],
) -> None:
    more = [chunk(b"PLTE", plte), chunk(b"tRNS", trns), swatch_text(count)]
    row = b"\0" + fill * (size[0] * 8)
    png = plain_png(*size, depth, kind, row * size[1], *(more[i] for i in sorted(chosen)))
    read_or_refused(folder / "chunks.png", png)
