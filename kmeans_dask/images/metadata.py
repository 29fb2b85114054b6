"""Metadata that an image carries beside its pixels: EXIF, pixel density and text.

PNG specification, third edition: 11.3.3 (tEXt, iTXt), 11.3.4.3 (pHYs), 11.3.4.5 (eXIf).

- EXIF says that the image is upright, as the decoder has made it. Whatever would show or describe
  the pixels of the old file is left out: the thumbnail, previews in maker notes and private blocks,
  tags of the layout, the ICC profile. The EXIF of a TIFF is the directory of the file itself, of
  which only descriptions are kept.
- XMP and other profiles do not count as text, even where PNG files store them as text.
- Metadata that does not parse, or is beyond the limits, is left out.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from PIL import Image, TiffTags
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

MAX_EXIF = 1 << 16  # bytes
MAX_TEXT = 1 << 16  # bytes of all keywords and texts, in UTF-8
MAX_TEXTS = 64

_MAX_DENSITY = (1 << 31) - 1  # the largest integer that PNG allows
_METRES_PER_INCH = 0.0254

_IMAGE_WIDTH, _ORIENTATION, _MAKER_NOTE = 0x0100, 0x0112, 0x927C
_EXIF, _GPS, _INTEROP = 0x8769, 0x8825, 0xA005  # tags of links to directories
_INTEROP_TAGS = frozenset({1, 2, 0x1000, 0x1001, 0x1002})
_TURNED = (5, 6, 7, 8)  # orientations that exchange width and height
_XP = frozenset(range(0x9C9B, 0x9CA0))  # title, comment, author, keywords and subject in Windows
_SIGNED = frozenset({0x9201, 0x9203, 0x9204})  # shutter speed, brightness, exposure bias

# Document name, description, make, model, software, date, artist, computer, rating, copyright.
_DESCRIPTIVE = _XP | {269, 270, 271, 272, 305, 306, 315, 316, 0x4746, 0x4749, 33432}
# Sizes and samples, strips, tiles, further directories, old-style JPEG streams; XMP, Photoshop's
# block (with a thumbnail), ICC profile; the maker note, which can hold a preview, and whose offsets
# break where it is moved.
_LEFT_OUT = frozenset(
    {*range(254, 260), 262, 266, 273, *range(277, 282), 284, 288, 289, 317, 320, *range(322, 326)}
    | {330, 338, 339, 347, *range(512, 522), 700, 34377, 34675, _MAKER_NOTE}
    | {_EXIF, _GPS, _INTEROP}  # offsets, which are set anew
)

# Pillow takes texts with these keywords for its own entries about the file, and fails on some.
_RESERVED = (
    *("aspect", "bbox", "blend", "chromaticity", "default_image", "disposal", "dpi", "duration"),
    *("exif", "gamma", "icc_profile", "interlace", "loop", "srgb", "transparency", "xmp"),
)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Metadata:
    """Metadata of an image that are kept beside its pixels.

    exif: EXIF in TIFF structure, without the prefix "Exif" and two zeros; b"" for none
    density: (x, y) pixels per metre of the upright image, or None
    text: pairs of keyword and text, in order
    """

    # Pillow's `save(..., exif=...)` takes these bytes as they are for PNG, WebP, TIFF and AVIF; for
    # JPEG, it needs the prefix before them.
    exif: bytes = b""
    density: tuple[int, int] | None = None
    text: tuple[tuple[str, str], ...] = ()


def read_metadata(image: Image.Image) -> Metadata:
    """Return the metadata of an opened image file; hostile metadata raises no exception.

    The image is not changed. A PNG is loaded, because its metadata may follow the pixels.
    """
    with warnings.catch_warnings():
        # Pillow warns of metadata that does not parse, which is left out.
        warnings.simplefilter("ignore")
        return Metadata(
            _attempt(b"", _exif, image),
            _attempt(None, _density, image),
            _attempt((), _texts, image),
        )


def png_chunks(metadata: Metadata) -> list[tuple[bytes, bytes]]:
    """Return type and data of the PNG chunks for `metadata`, to be placed before IDAT."""
    chunks = []
    if metadata.density is not None:
        chunks.append((b"pHYs", struct.pack(">IIB", *metadata.density, 1)))
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif))
    chunks += [_text_chunk(keyword, value) for keyword, value in metadata.text]
    return chunks


def _attempt(otherwise: T, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `read` returns, or `otherwise` where it raises an exception.

    Pillow's parsers raise nearly every kind of exception on hostile files, so all are caught.
    """
    try:
        return read(*args, **kwargs)
    except Exception:
        return otherwise


# -- EXIF -------------------------------------------------------------------------------------


def _exif(image: Image.Image) -> bytes:
    """Return EXIF that is written anew from the tags that are kept.

    Return b"" where there are none, or where they take more than `MAX_EXIF` bytes. Pillow's
    `Exif.tobytes` is not used: it replaces letters beyond ASCII by question marks, exchanges types,
    and gives up everything where it fails on one tag.
    """
    exif = image.getexif()
    # The byte order is kept, since some values, such as Unicode comments, depend on it silently.
    head = b"MM\0\x2a\0\0\0\x08" if exif.endian == ">" else b"II\x2a\0\x08\0\0\0"
    tags = dict(exif)
    if hasattr(image, "tag_v2"):
        tags = {tag: value for tag, value in tags.items() if tag in _DESCRIPTIVE}
    elif _ORIENTATION in tags:
        tags[_ORIENTATION] = 1
    main = _directory(head, None, tags)
    camera = _directory(head, _EXIF, _attempt({}, exif.get_ifd, _EXIF))
    gps = _directory(head, _GPS, _attempt({}, exif.get_ifd, _GPS))
    links = _attempt({}, exif.get_ifd, _INTEROP)
    # In files that Pillow wrote, the offset of this directory is stale, and leads anywhere.
    links = {tag: value for tag, value in links.items() if tag in _INTEROP_TAGS}
    interop = _directory(head, _INTEROP, links)
    if not any(map(len, (main, camera, gps, interop))):
        return b""
    main[_ORIENTATION] = 1
    content = _laid_out(
        head, main, [(camera, _INTEROP, interop), (main, _EXIF, camera), (main, _GPS, gps)]
    )
    return content if len(content) <= MAX_EXIF else b""


def _directory(head: bytes, group: int | None, tags: Mapping[int, Any]) -> ImageFileDirectory_v2:
    """Return a directory of those `tags` that are kept and can be written.

    head: TIFF header, with the byte order
    group: tag of the link to the directory; None for the main directory
    """
    directory = ImageFileDirectory_v2(head, group=group)
    for tag, value in sorted(tags.items()):
        if tag not in _LEFT_OUT and _attempt(False, _is_writable, head, group, tag, value):
            _put(directory, tag, value)
    return directory


def _is_writable(head: bytes, group: int | None, tag: int, value: Any) -> bool:
    """Return whether a tag can be written; raises any exception where it cannot."""
    alone = ImageFileDirectory_v2(head, group=group)
    _put(alone, tag, value)
    return len(alone.tobytes()) > 0


def _put(directory: ImageFileDirectory_v2, tag: int, value: Any) -> None:
    """Set a tag in `directory`, with its type in EXIF.

    Pillow forgets the types of tags it reads, and guesses some wrongly.
    """
    if isinstance(value, str):
        directory.tagtype[tag] = TiffTags.ASCII
        value = value.encode("latin-1", "replace")  # Pillow decodes any text as Latin-1
    elif isinstance(value, bytes):
        known = TiffTags.lookup(tag, directory.group).type == TiffTags.BYTE
        directory.tagtype[tag] = TiffTags.BYTE if known or tag in _XP else TiffTags.UNDEFINED
    elif isinstance(value, IFDRational) and tag in _SIGNED:
        directory.tagtype[tag] = TiffTags.SIGNED_RATIONAL
    directory[tag] = value


def _laid_out(
    head: bytes,
    main: ImageFileDirectory_v2,
    links: Iterable[tuple[ImageFileDirectory_v2, int, ImageFileDirectory_v2]],
) -> bytes:
    """Return EXIF of the directory `main`, followed by the directories that links lead to.

    links: source, tag and target of each link, in the order in which targets are written; a target
        comes after those that it links to itself
    """
    used = []
    for source, tag, target in links:
        if len(target):
            source[tag] = 0  # reserves the room for the offset
            used.append((source, tag, target))
    place = len(head)
    rest = b""
    start = place + len(main.tobytes(place))
    for source, tag, target in used:
        source[tag] = start + len(rest)
        rest += target.tobytes(start + len(rest))
    return head + main.tobytes(place) + rest


# -- density ----------------------------------------------------------------------------------


def _density(image: Image.Image) -> tuple[int, int] | None:
    """Return (x, y) pixels per metre of the upright image, or None where they are out of range.

    Raises any exception where the file names no finite density.
    """
    x, y = (float(dots) / _METRES_PER_INCH for dots in image.info["dpi"])
    density = (round(x), round(y))  # raises where they are not finite
    if _attempt(False, _is_turned, image):
        density = density[::-1]
    return density if all(0 < some <= _MAX_DENSITY for some in density) else None


def _is_turned(image: Image.Image) -> bool:
    """Return whether rows and columns of the file are exchanged in the upright image."""
    tags = getattr(image, "tag_v2", None)
    if tags is not None:  # Pillow turns TIFFs itself, and forgets their orientation on loading
        return bool(tags[_IMAGE_WIDTH] != image.width)
    return image.getexif().get(_ORIENTATION) in _TURNED


# -- text -------------------------------------------------------------------------------------


def _texts(image: Image.Image) -> tuple[tuple[str, str], ...]:
    return tuple(_within_limits(_all_texts(image)))


def _all_texts(image: Image.Image) -> Iterator[tuple[str, str]]:
    """Yield keywords and texts of a PNG, or the comment of any other file."""
    if isinstance(image, PngImageFile):
        for keyword, value in image.text.items():
            # ImageMagick stores profiles of all kinds as texts of hexadecimal digits.
            if keyword != "XML:com.adobe.xmp" and not keyword.startswith("Raw profile type "):
                yield keyword, str(value)
    elif comment := image.info.get("comment"):
        yield "Comment", comment if isinstance(comment, str) else _decoded(comment)


def _decoded(comment: bytes) -> str:
    """Return a comment as text, from UTF-8, or from Latin-1 where it is not valid UTF-8.

    Zeros at the end, which some writers add, are removed.
    """
    comment = comment.rstrip(b"\0")
    return _attempt(comment.decode("latin-1"), comment.decode, "utf-8")


def _within_limits(texts: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield those texts that fit into the limits `MAX_TEXT` and `MAX_TEXTS`."""
    room, places = MAX_TEXT, MAX_TEXTS
    for keyword, value in texts:
        size = len((keyword + value).encode("utf-8", "replace"))
        if places and size <= room:
            places, room = places - 1, room - size
            yield keyword, value


def _text_chunk(keyword: str, value: str) -> tuple[bytes, bytes]:
    """Return type and data of a tEXt chunk for Latin-1 text, else of an uncompressed iTXt chunk."""
    name = _png_keyword(keyword).encode("latin-1")
    value = value.replace("\0", "")  # it would end the text
    try:
        return b"tEXt", name + b"\0" + value.encode("latin-1")
    except UnicodeEncodeError:
        return b"iTXt", name + b"\0\0\0\0\0" + value.encode("utf-8", "replace")


def _png_keyword(keyword: str) -> str:
    """Return `keyword` as PNG allows it: 1 to 79 printable Latin-1 characters, single spaces.

    A keyword that Pillow reserves gets a capital letter.
    """
    printable = "".join(
        letter if " " <= letter <= "~" or "\xa1" <= letter <= "\xff" else " " for letter in keyword
    )
    name = " ".join(printable.split())[:79].rstrip() or "Comment"
    return name.capitalize() if name in _RESERVED else name
