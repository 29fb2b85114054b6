"""Reader and writer of palette files, in the formats that drawing programs exchange.

A palette is its entries (k, 4) uint8, straight sRGB and alpha, in index order. Reading and writing
keep order and duplicates. What a format cannot hold is refused, never dropped. Names of colours and
colour profiles of PNG files are not read: the numbers are taken as sRGB.

The format of a file is recognised by its content where possible, else by its suffix. Files are read
as hostile: their size is limited, and whatever is wrong with one raises a UsageError of one line.
"""

from __future__ import annotations

import codecs
import io
import json
import re
import struct
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from kmeans_dask.errors import UsageError
from kmeans_dask.files import Location
from kmeans_dask.files.atomic_files import read_regular, write_file
from kmeans_dask.files.documents import DamagedError

FORMATS: Mapping[str, str] = MappingProxyType(
    {
        ".json": "kmeans-dask JSON",
        ".gpl": "GIMP palette",
        ".act": "Adobe Color Table",
        ".pal": "JASC-PAL",
        ".hex": "hexadecimal lines",
        ".png": "PNG swatch",
    }
)

MAX_ENTRIES = 1 << 16
MAX_BYTES = 1 << 20  # bytes of a file, read or written: what is written can be read back
MAX_PNG_PIXELS = 1 << 20  # pixels of a PNG
MAX_INDEXED = 256  # entries of an .act file or an indexed PNG
MAX_DISTINCT = 256  # colours of a PNG that is neither indexed nor a swatch
SIDE = PER_ROW = 16  # of a swatch: pixels along the side of a square, and squares in a row
MAX_SQUARES = MAX_PNG_PIXELS // SIDE**2

_COUNT = "kmeans-dask-colors"  # keyword of the text chunk with the number of colours of a swatch
_PNG, _GIMP, _JASC = b"\x89PNG\r\n\x1a\n", b"GIMP Palette", b"JASC-PAL"
_ACT_SIZES = (768, 772)
_NO_CLEAR_INDEX = 0xFFFF

_HEX = re.compile(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})")
_LINE_END = re.compile(r"\r\n|\r|\n")  # str.splitlines would also split at characters in names
_GIMP_COLOR = re.compile(r"([0-9]{1,3})\s+([0-9]{1,3})\s+([0-9]{1,3})(?:\s.*)?", re.DOTALL)
_JASC_COLOR = re.compile(r"([0-9]{1,3})\s+([0-9]{1,3})\s+([0-9]{1,3})(?:\s+([0-9]{1,3}))?")

Color = tuple[int, int, int, int]
Pixels = Sequence[int | None] | None


def read_entries(path: Location) -> NDArray[np.uint8]:
    """Return the entries (k, 4) of the palette file at `path`.

    Raises UsageError where the file cannot be read, or is no valid palette.
    """
    try:
        data = _content(path)
        entries = _READERS[_told(data, path.suffix.lower())](data)
        _check_count(len(entries))
    except UsageError as error:
        raise _about(path, error) from error
    return entries


def write_entries(
    path: Location, entries: NDArray[np.uint8], pixels: Pixels = None, name: str = "kmeans-dask"
) -> None:
    """Write `entries` (k, 4) to `path`, in the format of its suffix; readers see no partial file.

    pixels, name: as in `entries_as`

    Raises UsageError where they cannot be written; a file that was at `path` is then unchanged.
    """
    try:
        _write(path, entries_as(path.suffix, entries, pixels, name))
    except UsageError as error:
        raise _about(path, error) from error


def entries_as(
    suffix: str, entries: NDArray[np.uint8], pixels: Pixels = None, name: str = "kmeans-dask"
) -> bytes:
    """Return the content of a palette file of `entries` (k, 4), in the format of `suffix`.

    pixels: number of pixels of each entry, (k,); only JSON stores them
    name: name of the palette; only the format of GIMP stores it

    Raises UsageError where the format is unknown, or cannot hold the entries.
    """
    if entries.ndim != 2 or entries.shape[1] != 4 or entries.dtype != np.uint8:
        raise ValueError(f"entries are {entries.dtype} {entries.shape}, not uint8 (k, 4)")
    if pixels is not None and len(pixels) != len(entries):
        raise ValueError(f"{len(pixels)} numbers of pixels for {len(entries)} entries")
    if suffix.lower() not in FORMATS:
        raise UsageError(f"{suffix!r} is no suffix of a palette: choose {_choice(FORMATS)}")
    _check_count(len(entries))
    data = _WRITERS[suffix.lower()](entries, pixels, name)
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{len(entries)} colours as {suffix} are more than the limit of {MAX_BYTES} bytes: "
            "choose .hex, or fewer colours"
        )
    return data


def parse_hexes(text: str) -> NDArray[np.uint8]:
    """Return the entries (k, 4) of a list of colours, separated by commas.

    Raises UsageError where the text is no such list.

    >>> parse_hexes("#ff0000, 0f0,0000FF80").tolist()
    [[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 128]]
    """
    if not text.strip():
        raise UsageError("no colour is given: write some like ff0000,00ff00")
    items = text.split(",")
    _check_count(len(items))
    return _entries([_parse_hex(item.strip()) for item in items])


def _content(path: Location) -> bytes:
    """Return the content of a file. Raises UsageError where it cannot be read, or is too large."""
    try:
        if path.is_dir():
            raise UsageError("is a folder: name a palette file")
        data = read_regular(path, MAX_BYTES)
    except DamagedError as error:
        raise UsageError("is not a regular file") from error
    except FileNotFoundError as error:
        raise UsageError("does not exist") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise UsageError(f"cannot be read: {_reason(error)}") from error
    if data is None:
        raise UsageError(f"has more than {MAX_BYTES} bytes: it is hardly a palette")
    if not data:
        raise UsageError("the file is empty")
    return data


def _write(path: Location, data: bytes) -> None:
    try:
        write_file(path, data)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot be written: {_reason(error)}") from error


def _told(data: bytes, suffix: str) -> str:
    """Return the suffix of the format of `data`, recognised by content, else by its `suffix`."""
    start = data.removeprefix(codecs.BOM_UTF8)
    for kind, signature in ((".png", _PNG), (".gpl", _GIMP), (".pal", _JASC)):
        if start.startswith(signature):
            return kind
    known, text = suffix in FORMATS, _is_text(data)
    # Checked before JSON, since a red of 91 is the bracket of JSON; and not for text without a
    # suffix, since 96 lines of #rrggbb have 768 bytes, too.
    if len(data) in _ACT_SIZES and (suffix == ".act" or not (known or text)):
        return ".act"
    if start.lstrip()[:1] in (b"{", b"["):
        return ".json"
    if not (known or text):
        raise UsageError(f"is not a palette: it is in none of {_choice(FORMATS)}")
    return suffix if known else ".hex"


def _is_text(data: bytes) -> bool:
    try:
        return not re.search(r"[\x00-\x08\x0e-\x1f\x7f]", data.decode())
    except UnicodeDecodeError:
        return False


def _read_json(data: bytes) -> NDArray[np.uint8]:
    """Return the entries (k, 4) of a JSON palette.

    The field "transparent" is the index of an entry that gets alpha 0, whatever its colour.
    """
    try:
        document = json.loads(_text(data))
    except json.JSONDecodeError as error:
        raise UsageError(f"line {error.lineno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError("not JSON of a palette: a number too long, or nested too deep") from error
    fields = document if isinstance(document, dict) else {"colors": document}
    hexes, clear = fields.get("colors"), fields.get("transparent")
    if not isinstance(hexes, list):
        raise UsageError('has no list "colors"')
    _check_count(len(hexes))
    colors = []
    for index, item in enumerate(hexes):
        try:
            colors.append(_parse_hex(item))
        except UsageError as error:
            raise UsageError(f'"colors", index {index}: {error}') from error
    entries = _entries(colors)
    if clear is not None:
        # A bool is an int to Python, but it is not an index.
        if type(clear) is not int or not 0 <= clear < len(entries):
            raise UsageError('"transparent" is neither null nor the index of a colour')
        entries[clear, 3] = 0
    return entries


def _write_json(entries: NDArray[np.uint8], pixels: Pixels, name: str) -> bytes:
    clear = np.flatnonzero(entries[:, 3] == 0)
    document: dict[str, Any] = {
        "colors": hexes_of(entries),
        "transparent": int(clear[0]) if clear.size else None,
    }
    if pixels is not None:
        document["pixels"] = [None if n is None else int(n) for n in pixels]
    return (json.dumps(document, indent=1) + "\n").encode()


def _read_gimp(data: bytes) -> NDArray[np.uint8]:
    lines = _lines(data)
    if not lines[0].startswith(_GIMP.decode()):
        raise UsageError("line 1 is not GIMP Palette")
    colors: list[Color] = []
    for number, line in enumerate(lines[1:], start=2):
        headed = not colors and line.startswith(("Name:", "Columns:"))
        if line and not headed and not line.startswith("#"):
            colors.append(_parse_numbers(line, number, _GIMP_COLOR))
    return _entries(colors)


def _write_gimp(entries: NDArray[np.uint8], pixels: Pixels, name: str) -> bytes:
    if (entries[:, 3] < 255).any():
        raise UsageError("a .gpl file holds no alpha: choose .json, .hex, .pal or .png")
    lines = [_GIMP.decode(), f"Name: {' '.join(name.split())}", "Columns: 16", "#"]
    for (r, g, b, _), digits in zip(entries.tolist(), _hexes(entries), strict=True):
        lines.append(f"{r:3} {g:3} {b:3}\t#{digits}")
    return ("\n".join(lines) + "\n").encode(errors="replace")


def _read_jasc(data: bytes) -> NDArray[np.uint8]:
    lines = _lines(data)
    if lines[0] != _JASC.decode():
        raise UsageError("line 1 is not JASC-PAL")
    if lines[1:2] != ["0100"]:
        raise UsageError("line 2 is not 0100, the one version of JASC-PAL there is")
    if len(lines) < 3 or not re.fullmatch("[0-9]{1,6}", lines[2]):
        raise UsageError("line 3 is not the number of colours")
    colors = [
        _parse_numbers(line, number, _JASC_COLOR)
        for number, line in enumerate(lines[3:], start=4)
        if line
    ]
    if len(colors) != int(lines[2]):
        raise UsageError(f"line 3 says {int(lines[2])} colours, but there are {len(colors)}")
    return _entries(colors)


def _write_jasc(entries: NDArray[np.uint8], pixels: Pixels, name: str) -> bytes:
    columns = 4 if (entries[:, 3] < 255).any() else 3
    colors = [" ".join(map(str, entry)) for entry in entries[:, :columns].tolist()]
    return "".join(f"{x}\r\n" for x in (_JASC.decode(), "0100", len(entries), *colors)).encode()


def _read_hex(data: bytes) -> NDArray[np.uint8]:
    colors = []
    for number, line in enumerate(_lines(data), start=1):
        if line:
            try:
                colors.append(_parse_hex(line))
            except UsageError as error:
                raise UsageError(f"line {number}: {error}") from error
    return _entries(colors)


def _write_hex(entries: NDArray[np.uint8], pixels: Pixels, name: str) -> bytes:
    return "".join(f"{digits}\n" for digits in _hexes(entries)).encode()


def _read_act(data: bytes) -> NDArray[np.uint8]:
    if len(data) not in _ACT_SIZES:
        raise UsageError(f"has {len(data)} bytes, where an .act file has 768 or 772")
    count, clear = MAX_INDEXED, _NO_CLEAR_INDEX
    if len(data) > _ACT_SIZES[0]:
        count, clear = struct.unpack(">HH", data[_ACT_SIZES[0] :])
    if count > MAX_INDEXED:
        raise UsageError(f"says it has {count} colours, where an .act file has {MAX_INDEXED}")
    entries = np.full((count, 4), 255, np.uint8)
    entries[:, :3] = np.frombuffer(data, np.uint8, 3 * count).reshape(-1, 3)
    if clear < count:  # else no entry is transparent, or only an unused one
        entries[clear, 3] = 0
    return entries


def _write_act(entries: NDArray[np.uint8], pixels: Pixels, name: str) -> bytes:
    if len(entries) > MAX_INDEXED:
        raise UsageError(
            f"an .act file holds {MAX_INDEXED} colours, not {len(entries)}: choose .json, .hex or "
            ".pal"
        )
    clear = np.flatnonzero(entries[:, 3] < 255)
    if clear.size > 1 or entries[clear, 3].any():
        raise UsageError(
            "an .act file holds no alpha but of one clear colour: choose .json, .hex, .pal or .png"
        )
    colors = entries[:, :3].tobytes().ljust(_ACT_SIZES[0], b"\0")
    index = int(clear[0]) if clear.size else _NO_CLEAR_INDEX
    return colors + struct.pack(">HH", len(entries), index)


def _read_png(data: bytes) -> NDArray[np.uint8]:
    """Return the entries (k, 4) of a PNG: its squares, its palette, or its distinct colours.

    A swatch that this package wrote has squares, an indexed PNG a palette. Pillow raises nearly
    every kind of exception on hostile files, so all are caught.
    """
    if not data.startswith(_PNG):
        raise UsageError("not a PNG file")
    try:
        with warnings.catch_warnings():
            # Pillow warns of faults that are harmless here, or checked in the next lines.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
                assert isinstance(image, PngImageFile)
                return _entries_of(image, _chunks(data))
    except UsageError:
        raise
    except Image.DecompressionBombError as error:  # raised before the size can be read
        raise UsageError(f"more pixels than the limit of {MAX_PNG_PIXELS}") from error
    except Exception as error:
        raise UsageError("a PNG file that cannot be decoded: it is damaged") from error


def _entries_of(image: PngImageFile, chunks: dict[bytes, bytes]) -> NDArray[np.uint8]:
    if image.width * image.height > MAX_PNG_PIXELS:
        raise UsageError(
            f"{image.width} x {image.height} pixels are more than the limit of {MAX_PNG_PIXELS}"
        )
    if image.is_animated:
        raise UsageError("more than one frame: animations are not supported")
    depth = chunks[b"IHDR"][8]
    if depth > 8:
        raise UsageError(f"has {depth} bits a sample, where a palette has 8: convert it first")
    image.load()
    count = image.text.get(_COUNT)
    if image.mode == "P":
        palette = _indexed(chunks[b"PLTE"], chunks.get(b"tRNS", b""))
        return palette if count is None else _squares(palette[np.asarray(image)], count)
    _mend_color_key(image, depth)
    pixels = np.asarray(image.convert("RGBA"))
    return _distinct(pixels) if count is None else _squares(pixels, count)


def _chunks(png: bytes) -> dict[bytes, bytes]:
    """Return the data of the first chunk of each type in a PNG, whose chunks Pillow has checked.

    Pillow's own `transparency` is not used: where a tRNS chunk ends in 10, a line feed, it can
    ignore that byte.
    """
    chunks: dict[bytes, bytes] = {}
    start = len(_PNG)
    while start + 8 <= len(png):
        (size,) = struct.unpack_from(">I", png, start)
        chunks.setdefault(png[start + 4 : start + 8], png[start + 8 : start + 8 + size])
        start += size + 12
    return chunks


def _indexed(plte: bytes, trns: bytes) -> NDArray[np.uint8]:
    """Return the palette entries (k, 4) of an indexed PNG, opaque where tRNS has no value."""
    colors = np.frombuffer(plte, np.uint8).reshape(-1, 3)
    alphas = np.frombuffer(trns, np.uint8)[: len(colors)]
    entries = np.full((len(colors), 4), 255, np.uint8)
    entries[:, :3] = colors
    entries[: len(alphas), 3] = alphas
    return entries


def _mend_color_key(image: Image.Image, depth: int) -> None:
    """Scale the transparent grey of a PNG to 8 bits, in place, as Pillow has scaled its samples."""
    key, white = image.info.get("transparency"), (1 << depth) - 1
    if image.mode == "L" and isinstance(key, int):
        image.info["transparency"] = (key & white) * (255 // white)


def _squares(pixels: NDArray[np.uint8], count: str) -> NDArray[np.uint8]:
    """Return the colours (count, 4) of the squares of a swatch, from its pixels (h, w, 4)."""
    if not re.fullmatch("[0-9]{1,5}", count):
        raise UsageError(f"{_COUNT} is {count[:20]!r}, not a number of colours")
    n_colors = int(count)
    _check_count(n_colors)
    n_rows = -(-n_colors // PER_ROW)
    height, width = n_rows * SIDE, PER_ROW * SIDE
    if pixels.shape[:2] != (height, width):
        raise UsageError(
            f"a swatch of {n_colors} colours is {width} x {height} pixels, not "
            f"{pixels.shape[1]} x {pixels.shape[0]}"
        )
    by_square = pixels.reshape(n_rows, SIDE, PER_ROW, SIDE, 4).swapaxes(1, 2)
    squares = by_square.reshape(-1, SIDE * SIDE, 4)[:n_colors]
    mixed = np.flatnonzero((squares != squares[:, :1]).any(axis=(1, 2)))
    if mixed.size:
        raise UsageError(f"the square of index {mixed[0]} is not of one colour")
    return squares[:, 0].copy()


def _distinct(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the distinct colours (k, 4) of `pixels` (h, w, 4), in the order of first appearance.

    All fully transparent pixels count as one colour, (0, 0, 0, 0).
    """
    flat = pixels.reshape(-1, 4).copy()
    flat[flat[:, 3] == 0] = 0
    _, first = np.unique(flat.view(np.uint32), return_index=True)
    if len(first) > MAX_DISTINCT:
        raise UsageError(
            f"a picture of {len(first)} colours, not a palette: one has {MAX_DISTINCT} at most"
        )
    return flat[np.sort(first)]


def _write_png(entries: NDArray[np.uint8], pixels: Pixels, name: str) -> bytes:
    """Return a PNG swatch of `entries` (k, 4), indexed where it has at most 256 colours.

    The unused squares of the last row are transparent.
    """
    if len(entries) > MAX_SQUARES:
        raise UsageError(
            f"a .png swatch holds {MAX_SQUARES} colours, not {len(entries)}: choose .json, .hex or "
            ".pal"
        )
    n_rows = -(-len(entries) // PER_ROW)
    places = np.arange(n_rows * PER_ROW)
    padded = np.zeros((len(places), 4), np.uint8)
    padded[: len(entries)] = entries
    places = places.reshape(n_rows, PER_ROW).repeat(SIDE, axis=0).repeat(SIDE, axis=1)
    text = PngInfo()
    text.add_text(_COUNT, str(len(entries)))
    file = io.BytesIO()
    if len(entries) > MAX_INDEXED:
        Image.fromarray(padded[places]).save(file, "PNG", pnginfo=text)
        return file.getvalue()
    # One transparent entry serves all unused squares, because programs show the whole palette.
    palette = padded[: len(entries) + 1]
    indices = np.minimum(places, len(entries)).astype(np.uint8)
    image = Image.frombytes("P", (indices.shape[1], indices.shape[0]), indices.tobytes())
    image.putpalette(palette[:, :3].tobytes())
    alphas = palette[:, 3].tobytes()
    clear = {} if set(alphas) == {255} else {"transparency": alphas}
    image.save(file, "PNG", pnginfo=text, **clear)
    return file.getvalue()


def _text(data: bytes) -> str:
    """Return `data` as text, with invalid UTF-8 replaced.

    Old files have names in any encoding; bytes that are not UTF-8 are never part of a colour.
    """
    return data.decode("utf-8-sig", errors="replace")


def _lines(data: bytes) -> list[str]:
    """Return the lines of `data` without the white space around them, line 1 at index 0."""
    return [line.strip() for line in _LINE_END.split(_text(data))]


def _parse_hex(text: object) -> Color:
    match = _HEX.fullmatch(text) if isinstance(text, str) else None
    if not match:
        shown = repr(text[:20]) if isinstance(text, str) else "what is not text"
        raise UsageError(f"{shown} is no colour: write rrggbb, or rrggbbaa with alpha")
    digits = match[1] if len(match[1]) > 3 else "".join(2 * digit for digit in match[1])
    r, g, b, a = bytes.fromhex(digits.ljust(8, "f"))
    return r, g, b, a


def _parse_numbers(line: str, number: int, pattern: re.Pattern[str]) -> Color:
    """Return the colour of a line of decimal numbers; alpha is 255 where the line has none.

    number: line number, for the message

    Raises UsageError where the line does not match `pattern`, or a number is above 255.
    """
    match = pattern.fullmatch(line)
    values = [int(group or 255) for group in match.groups()] if match else []
    if not values or max(values) > 255:
        raise UsageError(f"line {number}: {line[:20]!r} is no colour: write numbers up to 255")
    r, g, b, a = (*values, 255)[:4]
    return r, g, b, a


def hexes_of(entries: NDArray[np.uint8]) -> list[str]:
    """Return entries (k, 4) as `#rrggbb`, or `#rrggbbaa` where they are not opaque."""
    return [f"#{digits}" for digits in _hexes(entries)]


def _hexes(entries: NDArray[np.uint8]) -> list[str]:
    """Return entries (k, 4) as rrggbb, or rrggbbaa where they are not opaque."""
    return [bytes(entry).hex().removesuffix("ff" if entry[3] == 255 else "") for entry in entries]


def _entries(colors: list[Color]) -> NDArray[np.uint8]:
    return np.array(colors, np.uint8).reshape(-1, 4)


def _check_count(count: int) -> None:
    if count == 0:
        raise UsageError("there is no colour")
    if count > MAX_ENTRIES:
        raise UsageError(f"{count} colours are more than the limit of {MAX_ENTRIES}")


def _choice(names: Mapping[str, str]) -> str:
    *some, last = names
    return f"{', '.join(some)} or {last}"


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _about(path: Location, error: UsageError) -> UsageError:
    """Return `error` with the name of the file before it, and with no unprintable character.

    So it is one line, whatever the name and the content of the file are.
    """
    line = f"{path.name or path}: {error}"
    return UsageError("".join(char if char.isprintable() else "?" for char in line))


_READERS: Mapping[str, Callable[[bytes], NDArray[np.uint8]]] = {
    ".json": _read_json,
    ".gpl": _read_gimp,
    ".act": _read_act,
    ".pal": _read_jasc,
    ".hex": _read_hex,
    ".png": _read_png,
}
_WRITERS: Mapping[str, Callable[[NDArray[np.uint8], Pixels, str], bytes]] = {
    ".json": _write_json,
    ".gpl": _write_gimp,
    ".act": _write_act,
    ".pal": _write_jasc,
    ".hex": _write_hex,
    ".png": _write_png,
}
