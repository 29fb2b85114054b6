"""Image files that tests write: by Pillow, or by hand, byte by byte."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def written(folder: Path, content: bytes, name: str = "image") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def handmade_png(
    size: tuple[int, int],
    bits: int,
    color_type: int,
    rows: Sequence[bytes],
    *chunks: tuple[bytes, bytes],
) -> bytes:
    """A PNG of `rows` of packed samples; `chunks` come before the pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = struct.pack(">IIBBBBB", *size, bits, color_type, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *(chunk(kind, data) for kind, data in chunks),
            chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))),
            chunk(b"IEND", b""),
        ]
    )


def handmade_tiff(
    size: tuple[int, int], bits: Sequence[int], photometric: int, data: bytes, *, order: str = "<"
) -> bytes:
    """An uncompressed TIFF of one strip; `bits` of each sample of a pixel."""
    width, height = size
    n_tags = 9
    strip = 8 + 2 + 12 * n_tags + 4
    depths = struct.pack(f"{order}{len(bits)}H", *bits)
    after = strip + len(data) + len(data) % 2
    entries = [(256, width), (257, height), (258, bits[0]), (259, 1), (262, photometric)]
    entries += [(273, strip), (277, len(bits)), (278, height), (279, len(data))]
    directory = b""
    for tag, value in entries:
        if tag == 258 and len(bits) > 2:
            directory += struct.pack(f"{order}HHII", tag, 3, len(bits), after)
        else:
            directory += struct.pack(f"{order}HHII", tag, 4, 1, value)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, n_tags)
    return head + directory + bytes(4) + data + bytes(len(data) % 2) + depths
