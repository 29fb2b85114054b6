"""Encoder of indexed pixels to GIF files (GIF89a specification, CompuServe 1990)."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.lzw import Grid, clear_places, code_bits_of, lzw_codes
from kmeans_dask.color.palette import Palette

_BLOCK = 255  # bytes of a block of data, at most
# Grids of the places for clear codes, for each effort, chosen by measured time and bytes (see
# benchmarks/README.md).
_GRIDS = (
    *(Grid(4096, 16, 1),) * 4,
    *(Grid(2048, 32, 2),) * 3,
    *(Grid(1024, 32, 3),) * 3,
)


def encode_gif(indices: NDArray[np.uint8], palette: Palette, effort: int = 3) -> bytes:
    """Return a GIF file of `indices` (h, w) into `palette`, which has at most 256 entries.

    Each side has at most 65,535 pixels. Entries that are not opaque lose their alpha; the clear
    entry is transparent where some pixel has it.

    effort: 0 to 9; more takes more time, for fewer bytes
    """
    height, width = indices.shape
    flat = np.ascontiguousarray(indices).ravel()
    clears = clear_places(flat, len(palette), _GRIDS[effort])
    return b"".join(
        (
            b"GIF89a",
            _screen(width, height, palette),
            _transparency(palette, flat),
            struct.pack("<cHHHHB", b",", 0, 0, width, height, 0),
            bytes([code_bits_of(len(palette))]),
            _in_blocks(lzw_codes(flat, len(palette), clears)),
            b";",
        )
    )


def _screen(width: int, height: int, palette: Palette) -> bytes:
    """Return the size of the picture, and its table of 2, 4, ... or 256 colours."""
    bits = max(1, (len(palette) - 1).bit_length())
    colors = np.zeros((1 << bits, 3), np.uint8)
    colors[: len(palette)] = palette.entries[:, :3]
    flags = 0x80 | 7 << 4 | (bits - 1)  # there is a table, of colours of 8 bits, so many
    return struct.pack("<HHBBB", width, height, flags, 0, 0) + colors.tobytes()


def _transparency(palette: Palette, indices: NDArray[np.uint8]) -> bytes:
    """Return the extension that names the clear entry, or nothing where no pixel has it."""
    clear = palette.clear
    if clear is None or not (indices == clear).any():
        return b""
    return struct.pack("<BBBBHBB", 0x21, 0xF9, 4, 1, 0, clear, 0)


def _in_blocks(data: bytes) -> bytes:
    """Return data in blocks, each with its length before it, and an empty one at the end."""
    whole = len(data) // _BLOCK
    blocks = np.empty((whole, 1 + _BLOCK), np.uint8)
    blocks[:, 0] = _BLOCK
    blocks[:, 1:] = np.frombuffer(data, np.uint8, whole * _BLOCK).reshape(whole, _BLOCK)
    rest = data[whole * _BLOCK :]
    last = bytes([len(rest)]) + rest if rest else b""
    return blocks.tobytes() + last + b"\0"
