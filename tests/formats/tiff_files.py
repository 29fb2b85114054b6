"""TIFF files of all layouts, written by hand. TIFF, revision 6.0 (1992)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
NONE, LZW, JPEG, DEFLATE, PACKBITS, OLD_DEFLATE, LZMA, ZSTD, WEBP = (
    *(1, 5, 7, 8, 32773, 32946, 34925, 50000, 50001),
)
ENCODERS: dict[int, Callable[[bytes], Any]] = {
    NONE: bytes,
    LZW: imagecodecs.lzw_encode,
    DEFLATE: zlib.compress,
    OLD_DEFLATE: zlib.compress,
    PACKBITS: imagecodecs.packbits_encode,
    LZMA: imagecodecs.lzma_encode,
    ZSTD: imagecodecs.zstd_encode,
}
_TYPES = {1: "B", 3: "H", 4: "I", 7: "B", 16: "Q"}


@dataclass(frozen=True, kw_only=True)
class Tiff:
    """A TIFF page, which can be a file by itself.

    values: (h, w, samples) of `bits` each, extra samples last
    extra: the kind of each extra sample; None where the file does not say
    palette: (entries, 3), 16 bits each
    segments: compressed strips or tiles; empty where they are made from `values`
    tags: number, type and values of more tags, or of tags that replace those made from the rest
    """

    values: NDArray[Any]
    bits: int = 8
    photometric: int = BLACK_IS_ZERO
    extra: tuple[int, ...] | None = ()
    planar: bool = False
    compression: int = NONE
    predictor: bool = False
    order: str = "<"
    tile: int = 0
    rows: int = 7
    big: bool = False
    fill_order: int = 1
    sample_format: int = 1
    palette: NDArray[Any] | None = None
    segments: tuple[bytes, ...] = ()
    tags: tuple[tuple[int, int, tuple[int, ...]], ...] = ()

    def encode(self) -> bytes:
        return pages(self)

    def planes(self) -> list[NDArray[Any]]:
        n = self.values.shape[2]
        return [self.values[..., i : i + 1] for i in range(n)] if self.planar else [self.values]

    def all_segments(self) -> list[bytes]:
        if self.segments:
            return list(self.segments)
        found = []
        for plane in self.planes():
            height, width = plane.shape[:2]
            if self.tile:
                side = self.tile
                down, right = -height % side, -width % side
                plane = np.pad(plane, ((0, down), (0, right), (0, 0)), mode="edge")
                for top in range(0, height, side):
                    for left in range(0, width, side):
                        found.append(plane[top : top + side, left : left + side])
            else:
                found += [plane[top : top + self.rows] for top in range(0, height, self.rows)]
        return [self._compressed(part) for part in found]

    def _compressed(self, part: NDArray[Any]) -> bytes:
        wide = part.astype(np.int64)
        if self.predictor:
            wide[:, 1:] -= wide[:, :-1].copy()
            wide &= (1 << self.bits) - 1
        packed = pack(wide, self.bits, self.order)
        if self.compression == PACKBITS:  # a run must not pass the end of a row
            width = len(packed) // len(part)
            rows = [packed[at : at + width] for at in range(0, len(packed), width)]
            data = b"".join(imagecodecs.packbits_encode(row) for row in rows)
        else:
            data = bytes(ENCODERS[self.compression](packed))
        return mirrored(data) if self.fill_order == 2 else data

    def all_tags(self) -> dict[int, tuple[int, tuple[int, ...]]]:
        height, width, n = self.values.shape
        tags = {
            256: (4, (width,)),
            257: (4, (height,)),
            258: (3, (self.bits,) * n),
            259: (3, (self.compression,)),
            262: (3, (self.photometric,)),
            277: (3, (n,)),
            284: (3, (2 if self.planar else 1,)),
        }
        if self.tile:
            tags |= {322: (4, (self.tile,)), 323: (4, (self.tile,))}
        else:
            tags[278] = (4, (self.rows,))
        if self.extra:
            tags[338] = (3, self.extra)
        if self.fill_order != 1:
            tags[266] = (3, (self.fill_order,))
        if self.predictor:
            tags[317] = (3, (2,))
        if self.sample_format != 1:
            tags[339] = (3, (self.sample_format,) * n)
        if self.palette is not None:
            tags[320] = (3, tuple(self.palette.T.ravel().tolist()))
        return tags | {tag: (kind, values) for tag, kind, values in self.tags}


def pages(*all_pages: Tiff) -> bytes:
    """Return a file of these pages, with the byte order and the offset size of the first."""
    order, big = all_pages[0].order, all_pages[0].big
    word, inline = ("Q", 8) if big else ("I", 4)
    head = (b"II" if order == "<" else b"MM") + struct.pack(
        f"{order}HHH" if big else f"{order}H", *((43, 8, 0) if big else (42,))
    )
    body = bytearray(head + bytes(inline))
    link = len(head)
    for page in all_pages:
        places = []
        segments = page.all_segments()
        for segment in segments:
            places.append(len(body))
            body += segment + bytes(len(segment) % 2)
        tags = page.all_tags()
        at, count = (324, 325) if page.tile else (273, 279)
        tags |= {at: (16 if big else 4, tuple(places)), count: (4, tuple(map(len, segments)))}
        entries = b""
        for tag, (kind, values) in sorted(tags.items()):
            data = struct.pack(f"{order}{len(values)}{_TYPES[kind]}", *values)
            if len(data) > inline:
                body += bytes(len(body) % 2)
                data, start = struct.pack(order + word, len(body)), data
                body += start
            entries += struct.pack(f"{order}HH{word}", tag, kind, len(values))
            entries += data.ljust(inline, b"\0")
        body += bytes(len(body) % 2)
        body[link : link + inline] = struct.pack(order + word, len(body))
        body += struct.pack(order + ("Q" if big else "H"), len(tags)) + entries
        link = len(body)
        body += bytes(inline)
    return bytes(body)


def with_page(first: Tiff, subfile: int) -> bytes:
    """Return a file with page `first` twice, the second time as a subfile of that type."""
    return pages(first, replace(first, tags=(*first.tags, (254, 4, (subfile,)))))


def pack(values: NDArray[np.int64], bits: int, order: str) -> bytes:
    """Return rows of samples as bytes, where each row begins with a new byte."""
    if bits in (8, 16, 32, 64):
        return values.astype(f"{order}u{bits // 8}").tobytes()
    rows = values.reshape(len(values), -1, 1)
    singles = (rows >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(singles.astype(np.uint8).reshape(len(values), -1), axis=1).tobytes()


def mirrored(data: bytes) -> bytes:
    """Return `data` with the bits of each byte in reverse order."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8).reshape(-1, 1), axis=1)
    return np.packbits(bits[:, ::-1], axis=1).tobytes()
