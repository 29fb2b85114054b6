"""Files whose headers are made to take time or memory: repeated chunks, segments and boxes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image


def saved(kind: str, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (8, 8)).save(file, kind)
    return file.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(content)) + content


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def repeated(before: bytes, part: bytes, after: bytes, size: int) -> bytes:
    """Return `before`, `part` repeated up to about `size` bytes but at least once, and `after`."""
    return before + part * max(1, size // len(part)) + after


def files(size: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of hostile files, of about `size` bytes each."""
    jpeg, png, gif, webp = saved("JPEG"), saved("PNG"), saved("GIF", "P"), saved("WEBP")
    for name, part in JPEG_PARTS.items():
        yield f"{name}.jpg", repeated(jpeg[:2], part, jpeg[2:], size)
    for name, part in PNG_PARTS.items():
        yield f"{name}.png", repeated(png[:33], part, png[33:], size)
    palette = 13 + 3 * (2 << (gif[10] & 7)) if gif[10] & 0x80 else 13
    for name, part in GIF_PARTS.items():
        yield f"{name}.gif", repeated(gif[:palette], part, gif[palette:], size)
    yield (
        "one-comment.gif",
        gif[:palette]
        + b"\x21\xfe"
        + (b"\xff" + bytes(255)) * (size // 256)
        + b"\0"
        + gif[palette:],
    )
    extra = (b"abcd" + struct.pack("<I", 0)) * (size // 8)
    yield "chunks.webp", b"RIFF" + struct.pack("<I", len(webp) - 8 + len(extra)) + webp[8:] + extra
    for name, kind in (("boxes.jp2", "JPEG2000"), ("boxes.avif", "AVIF")):
        content = saved(kind)
        if name.endswith("jp2") and content[:4] == b"\xff\x4f\xff\x51":
            content = b"\0\0\0\x0cjP  \r\n\x87\n" + box(b"jp2c", content)
        first = int.from_bytes(content[:4], "big")
        yield name, repeated(content[:first], box(b"free"), content[first:], size)
    yield "directories.tif", directories(size // 30)
    yield "tag.tif", one_tag(size)
    yield "comments.ppm", b"P3\n" + b"#c\n" * (size // 3) + b"1 1 255 0 0 0"
    yield "digits.ppm", b"P3\n" + b"1" * size + b" 1 255 0 0 0"


JPEG_PARTS = {
    "exif": segment(0xE1, b"Exif\0\0abcd"),
    "profile": segment(0xE2, b"ICC_PROFILE\0\x01\x01"),
    "comment": segment(0xFE, b"c"),
    "photoshop": segment(0xED, b"Photoshop 3.0\0"),
    "mpo": segment(0xE2, b"MPF\0MM\0*\0\0\0\x08"),
    "fill": b"\xff",
    "tables": segment(0xDB, b"\0" + bytes(64)),
    "huffman": segment(0xC4, bytes(17)),
}
PNG_PARTS = {
    "text": chunk(b"tEXt", b"a\0b"),
    "zipped": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000))),
    "unknown": chunk(b"abCd"),
    "exif": chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0"),
    "gamma": chunk(b"gAMA", struct.pack(">I", 45455)),
    "profile": chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1000))),
}
GIF_PARTS = {
    "comments": b"\x21\xfe\xff" + bytes(255) + b"\0",
    "extensions": b"\x21\x01\x01x\0",
    "applications": b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0",
}


def directories(n: int) -> bytes:
    """Return a TIFF file of `n` pages, which say their size and nothing else."""
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, 8) for tag in (256, 257))
    size = 2 + len(entries) + 4
    pages = [
        struct.pack("<H", 2) + entries + struct.pack("<I", 8 + size * (i + 1) if i < n - 1 else 0)
        for i in range(n)
    ]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(pages)


def one_tag(size: int) -> bytes:
    """Return a TIFF file with a tag whose values take `size` bytes."""
    tags = ((256, 3, 1, 8), (257, 3, 1, 8), (273, 4, size // 4, 64))
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 3) + entries + bytes(4)
    return head + bytes(size)


def mutations(content: bytes, n: int, seed: int) -> Iterator[bytes]:
    """Yield `n` copies of `content` with bytes changed, removed or repeated."""
    random = np.random.default_rng(seed)
    changes: tuple[Callable[[bytearray, int], None], ...] = (
        lambda data, at: data.__setitem__(at, int(random.integers(256))),
        lambda data, at: data.__delitem__(slice(at, at + int(random.integers(1, 40)))),
        lambda data, at: data.__setitem__(
            slice(at, at), data[at : at + 40] * int(random.integers(1, 50))
        ),
        lambda data, at: data.__setitem__(slice(at, at + 4), random.bytes(4)),
    )
    for _ in range(n):
        data = bytearray(content)
        for _ in range(int(random.integers(1, 5))):
            if data:
                # mostly within the first 200 bytes, where the header is
                at = int(random.integers(min(len(data), 200 if random.random() < 0.7 else 1 << 20)))
                changes[int(random.integers(len(changes)))](data, at)
        yield bytes(data)
