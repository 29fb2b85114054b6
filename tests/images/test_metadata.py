"""Metadata of files that Pillow wrote, through PNG chunks, read back by Pillow and plain Python."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from kmeans_dask.images.metadata import (
    MAX_EXIF,
    MAX_TEXT,
    MAX_TEXTS,
    Metadata,
    png_chunks,
    read_metadata,
)
from kmeans_dask.store.records import MetadataRecord

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SLONG, SRATIONAL = 1, 2, 3, 4, 5, 7, 9, 10
SIZES = {BYTE: 1, ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, UNDEFINED: 1, SLONG: 4, SRATIONAL: 8}
SIZES |= {6: 1, 8: 2, 11: 4, 12: 8}  # signed bytes and shorts, floats: damaged files may name them
CODES = {SHORT: "H", LONG: "L", RATIONAL: "L", SLONG: "l", SRATIONAL: "l"}
MAKE, ORIENTATION, CAMERA, GPS, INTEROP, MAKER_NOTE = 0x010F, 0x0112, 0x8769, 0x8825, 0xA005, 0x927C
MAX_DENSITY = 2**31 - 1
PREFIX = b"Exif\0\0"
THUMBNAIL = b"\xff\xd8 the image as it was \xff\xd9"

Tags = dict[int, tuple[int, Any]]  # type; bytes, or the numbers, of fractions both
DESCRIPTION: Tags = {
    0x010E: (ASCII, b"Stra\xdfe in M\xc3\xbcnchen\0"),  # neither is ASCII, only one is UTF-8
    MAKE: (ASCII, b"Acme\0"),
    0x0131: (ASCII, b"Firmware 1.2\0"),
    0x8298: (ASCII, b"A. Photographer\0\0"),
    0x9C9B: (BYTE, "Überschrift\0".encode("utf-16-le")),
}
RESOLUTION: Tags = {
    0x011A: (RATIONAL, (240, 1)),
    0x011B: (RATIONAL, (120, 1)),
    0x0128: (SHORT, (2,)),
}
CAMERA_TAGS: Tags = {
    0x829A: (RATIONAL, (1, 250)),
    0x8827: (SHORT, (6400,)),
    0x9000: (UNDEFINED, b"0232"),
    0x9003: (ASCII, b"2024:02:29 12:34:56\0"),
    0x9204: (SRATIONAL, (1, 3)),  # exposure bias: signed, though it is positive
    0x9286: (UNDEFINED, b"UNICODE\0" + "naïve 写真".encode("utf-16-le")),
    0xA002: (LONG, (70000,)),
    0xA432: (RATIONAL, (24, 1, 70, 1, 14, 5, 0, 0)),  # lens: an unknown number is 0/0
    0xA434: (ASCII, b"Objektiv f\xfcr alles\0"),
}
GPS_TAGS: Tags = {
    0: (BYTE, b"\2\3\0\0"),
    1: (ASCII, b"N\0"),
    2: (RATIONAL, (48, 1, 8, 1, 617, 50)),
    3: (ASCII, b"E\0"),
    4: (RATIONAL, (11, 1, 34, 1, 2839, 50)),
    5: (BYTE, b"\1"),
    6: (RATIONAL, (519, 1)),
    29: (ASCII, b"2024:02:29\0"),
}
INTEROP_TAGS: Tags = {1: (ASCII, b"R98\0"), 2: (UNDEFINED, b"0100")}


# -- helpers ----------------------------------------------------------------------------------


def directory(order: str, tags: Tags, offset: int, following: int = 0) -> bytes:
    """A TIFF directory that begins at `offset`."""
    entries, rest = b"", b""
    after = offset + 2 + 12 * len(tags) + 4
    for tag, (kind, value) in sorted(tags.items()):
        data = (
            value
            if isinstance(value, bytes)
            else struct.pack(f"{order}{len(value)}{CODES[kind]}", *value)
        )
        count = len(data) // SIZES[kind]
        if len(data) > 4:
            place = struct.pack(f"{order}L", after + len(rest))
            rest += data + bytes(len(data) % 2)
        else:
            place = data.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHL", tag, kind, count) + place
    head = struct.pack(f"{order}H", len(tags))
    return head + entries + struct.pack(f"{order}L", following) + rest


def exif_of(
    main: Tags,
    camera: Tags | None = None,
    gps: Tags | None = None,
    interop: Tags | None = None,
    *,
    order: str = "<",
    thumbnail: bool = False,
) -> bytes:
    """EXIF, without the prefix, of the directories given."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HL", 42, 8)
    main, camera = dict(main), dict(camera or {})
    links = [(camera, INTEROP, interop), (main, CAMERA, camera), (main, GPS, gps)]
    for source, tag, target in links:
        if target:
            source[tag] = (LONG, (0,))
    start = 8 + len(directory(order, main, 8))
    rest = b""
    for source, tag, target in links:
        if target:
            source[tag] = (LONG, (start + len(rest),))
            rest += directory(order, target, start + len(rest))
    following = start + len(rest)
    if thumbnail:
        tags: Tags = {
            0x0103: (SHORT, (6,)),
            0x0201: (LONG, (0,)),
            0x0202: (LONG, (len(THUMBNAIL),)),
        }
        tags[0x0201] = (LONG, (following + len(directory(order, tags, following)),))
        rest += directory(order, tags, following) + THUMBNAIL
    return head + directory(order, main, 8, following if thumbnail else 0) + rest


def parsed(exif: bytes, offset: int | None = None) -> tuple[Tags, int]:
    """The directory at `offset`, by default the first, and the offset of the one after it."""
    order = {b"II": "<", b"MM": ">"}[exif[:2]]
    if offset is None:
        magic, offset = struct.unpack_from(f"{order}HL", exif, 2)
        assert magic == 42
    (n,) = struct.unpack_from(f"{order}H", exif, offset)
    tags: Tags = {}
    numbers = []
    for place in range(offset + 2, offset + 2 + 12 * n, 12):
        tag, kind, count = struct.unpack_from(f"{order}HHL", exif, place)
        size = count * SIZES[kind]
        start = place + 8 if size <= 4 else struct.unpack_from(f"{order}L", exif, place + 8)[0]
        data = exif[start : start + size]
        assert len(data) == size
        numbers.append(tag)
        if kind in CODES:
            code = CODES[kind]
            tags[tag] = (
                kind,
                struct.unpack(f"{order}{size // struct.calcsize('=' + code)}{code}", data),
            )
        else:
            tags[tag] = (kind, data)
    assert numbers == sorted(set(numbers)), "the tags are not in order"
    return tags, struct.unpack_from(f"{order}L", exif, offset + 2 + 12 * n)[0]


def linked(exif: bytes, source: Tags, tag: int) -> Tags:
    """The directory that `tag` of `source` leads to; the link is taken out."""
    kind, (offset,) = source.pop(tag)
    assert kind == LONG
    return parsed(exif, offset)[0]


def picture(mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (6, 4), 120 if mode == "L" else (120, 80, 40))


def written(path: Path, kind: str, exif: bytes = b"", **options: Any) -> Path:
    if exif:
        options["exif"] = PREFIX + exif if kind == "JPEG" else exif
    picture().save(path, kind, **options)
    return path


def metadata_of(path: Path, *, load: bool = False) -> Metadata:
    with Image.open(path) as image:
        if load:
            image.load()
        return read_metadata(image)


def png_with(*chunks: tuple[bytes, bytes], after: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """An indexed PNG of two pixels, one of them clear; `chunks` come before the pixels."""
    header = struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0)
    all_chunks = [
        (b"IHDR", header),
        (b"PLTE", bytes(6)),
        (b"tRNS", b"\0"),
        *chunks,
        (b"IDAT", zlib.compress(b"\0\0\1")),
        *after,
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in all_chunks
    )


def carried(metadata: Metadata) -> PngImageFile:
    """A loaded PNG that carries `metadata`."""
    image = Image.open(io.BytesIO(png_with(*png_chunks(metadata))), formats=["PNG"])
    assert isinstance(image, PngImageFile)
    image.load()
    assert image.size == (2, 1)
    assert image.convert("RGBA").getchannel("A").tobytes() == b"\x00\xff"
    return image


def by_pillow(image: Image.Image) -> dict[int, dict[int, Any]]:
    """Tags of each EXIF directory, without what may change."""
    exif = image.getexif()
    found = {0: dict(exif), CAMERA: dict(exif.get_ifd(CAMERA)), GPS: dict(exif.get_ifd(GPS))}
    for tag in (ORIENTATION, CAMERA, GPS):
        found[0].pop(tag, None)
    found[CAMERA].pop(INTEROP, None)
    return found


# -- EXIF -------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [False, True])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_of_every_format_is_read_back_upright(tmp_path: Path, kind: str, load: bool) -> None:
    source = exif_of({**DESCRIPTION, ORIENTATION: (SHORT, (6,))}, CAMERA_TAGS, GPS_TAGS)
    path = written(tmp_path / "image", kind, source)
    with Image.open(path) as image:
        expected = by_pillow(image)
    if kind == "TIFF":
        expected[0] = {tag: value for tag, value in expected[0].items() if tag in DESCRIPTION}
    assert [len(tags) for tags in expected.values()] == [5, 9, 8]
    image = carried(metadata_of(path, load=load))
    # 0/0 is equal to nothing, itself included
    assert repr(by_pillow(image)) == repr(expected)
    assert image.getexif()[ORIENTATION] == 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_keeps_every_byte_and_type(tmp_path: Path, kind: str, order: str) -> None:
    main = {**DESCRIPTION, **RESOLUTION, ORIENTATION: (SHORT, (6,))}
    source = exif_of(main, CAMERA_TAGS, GPS_TAGS, INTEROP_TAGS, order=order, thumbnail=True)
    assert parsed(source)[1], "the source has no thumbnail"
    exif = metadata_of(written(tmp_path / "image", kind, source)).exif
    found, following = parsed(exif)
    assert exif[:2] == source[:2]
    assert following == 0
    assert THUMBNAIL not in exif
    camera = linked(exif, found, CAMERA)
    assert linked(exif, found, GPS) == GPS_TAGS
    assert linked(exif, camera, INTEROP) == INTEROP_TAGS
    assert camera == CAMERA_TAGS
    assert found == {**main, ORIENTATION: (SHORT, (1,))}


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}])
@pytest.mark.parametrize("load", [False, True])
def test_of_a_tiff_only_descriptions_are_kept(
    tmp_path: Path, options: dict[str, Any], load: bool
) -> None:
    source = exif_of({MAKE: (ASCII, b"Acme\0"), ORIENTATION: (SHORT, (8,))})
    path = written(tmp_path / "image.tif", "TIFF", source, dpi=(300, 300), **options)
    found, _ = parsed(metadata_of(path, load=load).exif)
    assert found == {MAKE: (ASCII, b"Acme\0"), ORIENTATION: (SHORT, (1,))}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM"])
def test_an_image_without_metadata_has_none(tmp_path: Path, kind: str) -> None:
    metadata = metadata_of(written(tmp_path / "image", kind))
    assert metadata.exif == b""
    assert metadata.text == ()
    assert (b"eXIf" in dict(png_chunks(metadata))) is False


def test_tags_that_show_or_describe_the_old_pixels_are_left_out(tmp_path: Path) -> None:
    secret = b"the image as it was"
    main: Tags = {MAKE: (ASCII, b"Acme\0"), 0x0100: (SHORT, (6,)), 0x0111: (LONG, (8,))}
    main |= {0x02BC: (BYTE, secret), 0x8649: (BYTE, secret), 0x8773: (UNDEFINED, secret)}
    camera: Tags = {0x8827: (SHORT, (100,)), MAKER_NOTE: (UNDEFINED, secret)}
    exif = metadata_of(written(tmp_path / "image.jpg", "JPEG", exif_of(main, camera))).exif
    found, _ = parsed(exif)
    assert linked(exif, found, CAMERA) == {0x8827: (SHORT, (100,))}
    assert found == {MAKE: (ASCII, b"Acme\0"), ORIENTATION: (SHORT, (1,))}
    assert secret not in exif


def test_reading_changes_neither_orientation_nor_tags_of_the_image(tmp_path: Path) -> None:
    source = exif_of({**DESCRIPTION, ORIENTATION: (SHORT, (6,))}, CAMERA_TAGS, GPS_TAGS)
    with Image.open(written(tmp_path / "image.jpg", "JPEG", source)) as image:
        first = read_metadata(image)
        assert image.getexif()[ORIENTATION] == 6
        assert read_metadata(image) == first


def test_one_tag_that_cannot_be_written_spoils_no_other(tmp_path: Path) -> None:
    # Pillow takes a resolution for a fraction, whatever the file says, and cannot write this one.
    main: Tags = {MAKE: (ASCII, b"Acme\0"), 0x011A: (SRATIONAL, (-5, 1))}
    path = written(tmp_path / "image.png", "PNG", exif_of(main, None, GPS_TAGS))
    exif = metadata_of(path).exif
    found, _ = parsed(exif)
    assert linked(exif, found, GPS) == GPS_TAGS
    assert found == {MAKE: (ASCII, b"Acme\0"), ORIENTATION: (SHORT, (1,))}


@pytest.mark.parametrize("orientation", [(SHORT, (6,)), (LONG, (6,)), (ASCII, b"right\0")])
def test_an_orientation_alone_is_exif(tmp_path: Path, orientation: tuple[int, Any]) -> None:
    source = exif_of({ORIENTATION: orientation})
    exif = metadata_of(written(tmp_path / "image.jpg", "JPEG", source)).exif
    assert parsed(exif)[0] == {ORIENTATION: (SHORT, (1,))}


def test_what_a_truncated_directory_still_says_is_kept() -> None:
    source = exif_of({MAKE: (ASCII, b"Abc\0"), 0x0131: (ASCII, b"Firmware 1.2\0")})
    exif = read_and_carried(png_with((b"eXIf", source[:-4]))).exif
    assert parsed(exif)[0] == {MAKE: (ASCII, b"Abc\0"), ORIENTATION: (SHORT, (1,))}


@pytest.mark.parametrize("link", [CAMERA, GPS])
def test_a_link_that_leads_nowhere_spoils_no_tag(link: int) -> None:
    main: Tags = {MAKE: (ASCII, b"Acme\0"), link: (SLONG, (-8,))}
    exif = read_and_carried(png_with((b"eXIf", exif_of(main)))).exif
    assert parsed(exif)[0] == {MAKE: (ASCII, b"Acme\0"), ORIENTATION: (SHORT, (1,))}


@pytest.mark.parametrize("offset", [-8, 8])
def test_a_stale_link_between_camera_and_interoperability_is_dropped(offset: int) -> None:
    camera: Tags = {0x8827: (SHORT, (100,)), INTEROP: (SLONG, (offset,))}
    source = exif_of({MAKE: (ASCII, b"Acme\0")}, camera)
    exif = read_and_carried(png_with((b"eXIf", source))).exif
    assert linked(exif, parsed(exif)[0], CAMERA) == {0x8827: (SHORT, (100,))}


@pytest.mark.parametrize(("more", "kept"), [(0, True), (1, False)])
def test_exif_beyond_the_limit_is_left_out(tmp_path: Path, more: int, kept: bool) -> None:
    size = MAX_EXIF - (8 + 2 + 2 * 12 + 4) + 2 * more  # beside the head and two entries
    source = exif_of({MAKE: (ASCII, b"x" * (size - 1) + b"\0"), ORIENTATION: (SHORT, (1,))})
    exif = metadata_of(written(tmp_path / "image.png", "PNG", source)).exif
    assert len(exif) == (MAX_EXIF if kept else 0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_pillow_writes_the_exif_into_other_formats(tmp_path: Path, kind: str) -> None:
    source = exif_of({MAKE: (ASCII, b"Acme\0")}, None, GPS_TAGS)
    exif = metadata_of(written(tmp_path / "source.png", "PNG", source)).exif
    with Image.open(written(tmp_path / "image", kind, exif)) as image:
        assert image.getexif()[MAKE] == "Acme"
        assert image.getexif().get_ifd(GPS)[2] == (48, 8, 12.34)


# -- density ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
def test_density_is_kept_within_rounding(tmp_path: Path, kind: str) -> None:
    metadata = metadata_of(written(tmp_path / "image", kind, dpi=(300, 72)))
    assert metadata.density == (11811, 2835)
    assert carried(metadata).info["dpi"] == pytest.approx((300, 72), abs=0.0254 / 2)


@pytest.mark.parametrize("load", [False, True])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_density_is_that_of_the_upright_image(
    tmp_path: Path, kind: str, orientation: int, load: bool
) -> None:
    source = exif_of({ORIENTATION: (SHORT, (orientation,))})
    path = written(tmp_path / "image", kind, source, dpi=(300, 72))
    expected = (11811, 2835) if orientation < 5 else (2835, 11811)
    assert metadata_of(path, load=load).density == expected


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "PPM"])
def test_an_unknown_density_is_not_written(tmp_path: Path, kind: str) -> None:
    metadata = metadata_of(written(tmp_path / "image", kind))
    assert metadata.density is None
    assert png_chunks(metadata) == []


@pytest.mark.parametrize(
    "dpi",
    [
        (0, 0),
        (0, 300),
        (-300, 300),
        (float("nan"), 300),
        (300, float("inf")),
        (1e-9, 300),
        (300, (MAX_DENSITY + 1) * 0.0254),
        (300,),
        (300, 300, 300),
        ("many", "more"),
        "fine",
        300,
        None,
    ],
)
def test_a_density_that_png_cannot_say_is_left_out(dpi: object) -> None:
    image = picture()
    image.info["dpi"] = dpi
    assert read_metadata(image) == Metadata()


def test_the_largest_density_of_png_is_kept() -> None:
    image = picture()
    image.info["dpi"] = (MAX_DENSITY * 0.0254, 0.0254)
    assert read_metadata(image).density == (MAX_DENSITY, 1)


# -- text -------------------------------------------------------------------------------------


def test_texts_of_a_png_are_kept_in_order(tmp_path: Path) -> None:
    texts = {
        "Title": "plain",
        "Author": "Größe, naïve",
        "Beschreibung für": "写真 \N{CAMERA}\nsecond line",
        "Disclaimer": "compressed " * 50,
        "Warning": "Ωμέγα " * 50,
        "Empty": "",
    }
    info = PngInfo()
    info.add_text("Title", texts["Title"])
    info.add_text("Author", texts["Author"])
    info.add_itxt("Beschreibung für", texts["Beschreibung für"], "ja", "説明")
    info.add_text("Disclaimer", texts["Disclaimer"], zip=True)
    info.add_itxt("Warning", texts["Warning"], zip=True)
    info.add_text("Empty", texts["Empty"])
    metadata = metadata_of(written(tmp_path / "image.png", "PNG", pnginfo=info))
    assert metadata.text == tuple(texts.items())
    assert {type(value) for _, value in metadata.text} == {str}
    kinds = [kind for kind, _ in png_chunks(metadata)]
    assert kinds == [b"tEXt", b"tEXt", b"iTXt", b"tEXt", b"iTXt", b"tEXt"]
    assert list(carried(metadata).text.items()) == list(texts.items())


def test_what_comes_after_the_pixels_is_kept() -> None:
    late = [(b"tEXt", b"Title\0late"), (b"eXIf", exif_of({MAKE: (ASCII, b"Acme\0")}))]
    with Image.open(io.BytesIO(png_with(after=late))) as image:
        metadata = read_metadata(image)
    assert metadata.text == (("Title", "late"),)
    assert parsed(metadata.exif)[0][MAKE] == (ASCII, b"Acme\0")


@pytest.mark.parametrize("kind", ["JPEG", "GIF"])
@pytest.mark.parametrize(
    ("comment", "text"),
    [
        (b"plain", "plain"),
        ("写真".encode(), "写真"),
        (b"M\xfcnchen", "München"),
        (b"C string\0\0", "C string"),
    ],
)
def test_a_comment_is_kept(tmp_path: Path, kind: str, comment: bytes, text: str) -> None:
    metadata = metadata_of(written(tmp_path / "image", kind, comment=comment))
    assert metadata.text == (("Comment", text),)
    assert carried(metadata).text == {"Comment": text}


def test_profiles_are_no_text(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>")
    info.add_text("Raw profile type iptc", "\niptc\n       2\n0000\n", zip=True)
    info.add_text("Title", "kept")
    path = written(tmp_path / "image.png", "PNG", pnginfo=info, icc_profile=b"not text")
    assert metadata_of(path).text == (("Title", "kept"),)


def test_more_texts_than_the_limit_are_left_out(tmp_path: Path) -> None:
    info = PngInfo()
    for number in range(MAX_TEXTS + 5):
        info.add_text(f"Key {number}", "text")
    text = metadata_of(written(tmp_path / "image.png", "PNG", pnginfo=info)).text
    assert [keyword for keyword, _ in text] == [f"Key {number}" for number in range(MAX_TEXTS)]


@pytest.mark.parametrize(("letter", "size"), [("x", 1), ("ü", 2), ("写", 3)])
def test_texts_for_which_there_is_no_room_are_left_out(
    tmp_path: Path, letter: str, size: int
) -> None:
    fits = (MAX_TEXT - len("AZ") - 1) // size
    info = PngInfo()
    info.add_text("A", letter * fits)
    info.add_text("B", letter * 10)
    info.add_text("Z", "")
    metadata = metadata_of(written(tmp_path / "image.png", "PNG", pnginfo=info))
    assert metadata.text == (("A", letter * fits), ("Z", ""))


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [
        ("Title", "Title"),
        ("  two   spaces ", "two spaces"),
        ("tab\tand\nline\x00and\xa0space", "tab and line and space"),
        ("größe", "größe"),
        ("写真 of a cat", "of a cat"),
        ("写真", "Comment"),
        ("", "Comment"),
        ("x" * 100, "x" * 79),
        ("x" * 78 + " yz", "x" * 78),
        ("transparency", "Transparency"),
        ("exif", "Exif"),
    ],
)
@pytest.mark.parametrize("value", ["text", "写真"])
def test_keywords_become_those_of_png(keyword: str, expected: str, value: str) -> None:
    ((_, data),) = png_chunks(Metadata(text=((keyword, value),)))
    assert data.split(b"\0")[0] == expected.encode("latin-1")
    assert carried(Metadata(text=((keyword, value),))).text == {expected: value}


# -- storing ----------------------------------------------------------------------------------


@given(
    st.builds(
        Metadata,
        st.binary(max_size=50),
        st.none() | st.tuples(st.integers(1, MAX_DENSITY), st.integers(1, MAX_DENSITY)),
        st.lists(st.tuples(st.text(), st.text())).map(tuple),
    )
)
def test_metadata_come_back_from_json(metadata: Metadata) -> None:
    record = MetadataRecord(**vars(metadata))
    data = json.dumps(record, default=msgspec.to_builtins)
    found = msgspec.json.decode(data, type=MetadataRecord)
    assert found == record
    assert Metadata(found.exif, found.density, found.text) == metadata


# -- hostile files ----------------------------------------------------------------------------

WHOLE = exif_of(
    {**DESCRIPTION, **RESOLUTION, ORIENTATION: (SHORT, (6,))},
    CAMERA_TAGS,
    GPS_TAGS,
    INTEROP_TAGS,
    thumbnail=True,
)


def read_and_carried(content: bytes) -> Metadata:
    """What is read of a file; it must be fit to be carried."""
    with Image.open(io.BytesIO(content)) as image:
        metadata = read_metadata(image)
    assert carried(metadata).info.get("exif", b"") == (
        PREFIX + metadata.exif if metadata.exif else b""
    )
    if metadata.exif:
        found, following = parsed(metadata.exif)
        assert found[ORIENTATION] == (SHORT, (1,))
        assert following == 0
    return metadata


@settings(deadline=None, max_examples=150)
@given(st.binary(min_size=1, max_size=300))
@example(b"II*\0\x08\0\0\0" + b"\xff" * 100)
@example(b"MM\0*\xff\xff\xff\xff")
def test_any_bytes_in_place_of_exif_are_harmless(exif: bytes) -> None:
    read_and_carried(png_with((b"eXIf", exif)))


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=12),
    st.integers(8, len(WHOLE)),
)
def test_damaged_exif_is_harmless(damage: list[tuple[int, int]], size: int) -> None:
    exif = bytearray(WHOLE)
    for place, value in damage:
        exif[place] = value
    read_and_carried(png_with((b"eXIf", bytes(exif[:size]))))


def test_the_exif_of_the_damage_test_is_read_whole() -> None:
    exif = read_and_carried(png_with((b"eXIf", WHOLE))).exif
    found, _ = parsed(exif)
    assert linked(exif, found, GPS) == GPS_TAGS


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.text(max_size=100), st.text(max_size=20)), max_size=5))
@example([(keyword, "1") for keyword in ("bbox", "transparency", "dpi", "gamma", "exif", "srgb")])
@example([("icc_profile", "x"), ("interlace", "x"), ("default_image", "x"), ("loop", "x")])
@example([("lone \ud800", "\udfff surrogates")])
def test_any_texts_make_a_png_that_opens(texts: list[tuple[str, str]]) -> None:
    metadata = Metadata(density=(2835, 2835), text=tuple(texts))
    for _, data in png_chunks(metadata)[1:]:
        keyword = data.split(b"\0")[0]
        assert 1 <= len(keyword) <= 79
        assert all(32 <= byte <= 126 or byte >= 161 for byte in keyword)
        assert keyword == b" ".join(keyword.split(b" ")).strip(b" ")
        assert b"  " not in keyword
    image = carried(metadata)
    assert len(image.text) <= len(texts)
    assert image.info["dpi"] == pytest.approx((72, 72), abs=0.02)
    assert "exif" not in image.info


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"pHYs", b"eXIf"]),
            st.sampled_from(
                [b"", b"dpi\0", b"exif\0", b"Title\0", b"Title\0\0", b"Title\0\0\0\0\0"]
            ),
            st.binary(max_size=40),
        ),
        max_size=6,
    )
)
def test_any_bytes_in_the_chunks_are_harmless(parts: list[tuple[bytes, bytes, bytes]]) -> None:
    content = png_with(*((kind, start + rest) for kind, start, rest in parts))
    try:
        Image.open(io.BytesIO(content)).load()
    except Exception:
        return  # Pillow does not open it: there is nothing to read metadata of
    read_and_carried(content)


@pytest.mark.parametrize(("more", "kept"), [(0, True), (1, False)])
def test_keywords_take_room(tmp_path: Path, more: int, kept: bool) -> None:
    info = PngInfo()
    info.add_text("Title", "x" * (MAX_TEXT - len("Title") + more))
    metadata = metadata_of(written(tmp_path / "image.png", "PNG", pnginfo=info))
    assert len(metadata.text) == kept


@pytest.mark.parametrize("value", ["a\0b", "写\0真"])
def test_texts_are_written_without_zeros(value: str) -> None:
    metadata = Metadata(text=(("Title", value),))
    assert carried(metadata).text == {"Title": value.replace("\0", "")}


def test_a_text_bomb_is_left_out(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("Title", "x" * 500_000, zip=True)
    info.add_text("Author", "someone")
    path = written(tmp_path / "image.png", "PNG", pnginfo=info)
    assert path.stat().st_size < 2000
    assert metadata_of(path).text == (("Author", "someone"),)


def test_of_a_png_with_broken_pixels_the_header_is_read() -> None:
    content = png_with((b"pHYs", struct.pack(">IIB", 2835, 2835, 1)), (b"tEXt", b"Title\0text"))
    content = content[: content.index(b"IDAT") + 6]
    with Image.open(io.BytesIO(content)) as image:
        assert read_metadata(image) == Metadata(density=(2835, 2835))
