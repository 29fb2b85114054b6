"""JPEG 2000 files: codestreams by OpenJPEG, in boxes written by hand. ITU-T T.800, annex I."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

SRGB, GREY, SYCC, CMYK = 16, 17, 18, 12  # enumerated colour spaces
COLOR, ALPHA, PREMULTIPLIED, UNSAID = 0, 1, 2, 65535  # channel types


def codestream(values: NDArray[Any], bits: int, *, reversible: bool = True) -> bytes:
    """Return values, (h, w, channels) or (h, w), as a codestream without boxes."""
    level = {"reversible": True} if reversible else {"level": 60, "reversible": False}
    kind = np.uint8 if bits <= 8 else np.uint16
    whole = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
    return bytes(
        imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(whole.astype(kind)),
            codecformat="j2k",
            bitspersample=bits,
            mct=False,
            **level,
        )
    )


def boxed(
    content: bytes,
    color_space: int = SRGB,
    *,
    profile: bytes = b"",
    channels: Sequence[tuple[int, int, int]] = (),
    palette: NDArray[Any] | None = None,
) -> bytes:
    """Return a JP2 file of a codestream.

    channels: number and type of each channel, and its colour, counted from 1; empty for no `cdef`
    palette: (entries, 3 or 4), for a codestream of one component, which holds indices
    """
    height, width, n, bits = _size_of(content)
    header = _box(b"ihdr", struct.pack(">IIHBBBB", height, width, n, bits, 7, 0, 0))
    said = b"\2\0\0" + profile if profile else b"\1\0\0" + struct.pack(">I", color_space)
    header += _box(b"colr", said)
    if palette is not None:
        entries = palette.astype(np.uint8)
        header += _box(
            b"pclr",
            struct.pack(">HB", *entries.shape) + b"\7" * entries.shape[1] + entries.tobytes(),
        )
        maps = b"".join(struct.pack(">HBB", 0, 1, i) for i in range(entries.shape[1]))
        header += _box(b"cmap", maps)
    if channels:
        each = b"".join(struct.pack(">HHH", *channel) for channel in channels)
        header += _box(b"cdef", struct.pack(">H", len(channels)) + each)
    return b"".join(
        [
            _box(b"jP  ", b"\r\n\x87\n"),
            _box(b"ftyp", b"jp2 \0\0\0\0jp2 "),
            _box(b"jp2h", header),
            _box(b"jp2c", content),
        ]
    )


def with_alpha(n: int, kind: int = ALPHA) -> list[tuple[int, int, int]]:
    """Return `n` channel definitions for `boxed`: colours, and last an alpha of type `kind`."""
    return [*((i, COLOR, i + 1) for i in range(n - 1)), (n - 1, kind, 0)]


def _size_of(content: bytes) -> tuple[int, int, int, int]:
    right, bottom = struct.unpack_from(">II", content, 8)
    (n,) = struct.unpack_from(">H", content, 40)
    return bottom, right, n, content[42]


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content
