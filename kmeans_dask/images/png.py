"""Encoder of indexed PNG files, deflated by libdeflate, several times faster than Pillow.

PNG specification, third edition: section 11.2 (IHDR, PLTE, IDAT), 11.3.1.1 (tRNS), 7.2 (packing).
"""

from __future__ import annotations

import struct

import deflate
import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.palette import Palette
from kmeans_dask.errors import UsageError
from kmeans_dask.images.metadata import Metadata, png_chunks
from kmeans_dask.settings import MAX_EFFORT

# libdeflate's level for each effort, chosen by measured time and bytes (see benchmarks/README.md).
_LEVELS = (1, 2, 3, 4, 6, 7, 10, 11, 12, 12)
_OXIPNG_LEVEL = 4  # higher levels gained nothing


def encode_png(
    indices: NDArray[np.uint8],
    palette: Palette,
    effort: int = 3,
    metadata: Metadata | None = None,
) -> bytes:
    """Return an indexed PNG of `indices` (h, w) into `palette`, at the palette's bit depth.

    Rows are not filtered, because filters predict values, and indices only name entries. The
    highest effort tries filters, too, with oxipng, which must be installed (see `check_effort`).
    """
    depth = palette.bit_depth
    rows = _rows(indices, depth)
    extra = png_chunks(metadata) if metadata else []
    png = _assemble(indices, palette, extra, deflate.zlib_compress(rows, _LEVELS[effort]))
    if effort < MAX_EFFORT:
        return png
    return min(_optimized(png), png, key=len)


def check_effort(effort: int) -> None:
    """Raise UsageError where the effort is the highest and oxipng is not installed."""
    if effort == MAX_EFFORT:
        try:
            import oxipng  # noqa: F401
        except ImportError:
            raise UsageError(
                f"--effort {MAX_EFFORT} needs oxipng: pip install 'kmeans-dask[optimize]', or "
                f"choose --effort {MAX_EFFORT - 1}"
            ) from None


def _optimized(png: bytes) -> bytes:
    import oxipng

    # The palette keeps its order, which is the same for all images of a collection.
    optimized: bytes = oxipng.optimize_from_memory(
        png,
        level=_OXIPNG_LEVEL,
        palette_reduction=False,
        color_type_reduction=False,
        bit_depth_reduction=False,
        grayscale_reduction=False,
    )
    return optimized


def _assemble(
    indices: NDArray[np.uint8],
    palette: Palette,
    extra: list[tuple[bytes, bytes]],
    idat: bytes | bytearray,
) -> bytes:
    height, width = indices.shape
    header = struct.pack(">IIBBBBB", width, height, palette.bit_depth, 3, 0, 0, 0)
    entries = palette.entries
    alphas = _alphas(indices, palette)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", entries[:, :3].tobytes()),
            _chunk(b"tRNS", alphas) if alphas else b"",
            *(_chunk(kind, data) for kind, data in extra),
            _chunk(b"IDAT", idat),
            _chunk(b"IEND", b""),
        ]
    )


def _alphas(indices: NDArray[np.uint8], palette: Palette) -> bytes:
    """Return the alphas up to the last used entry that is not opaque; b"" without such an entry."""
    entries, translucent_indices = palette.entries, palette.translucent_indices
    if not translucent_indices.size:
        return b""
    used = np.bincount(indices.ravel(), minlength=len(entries))[translucent_indices] > 0
    return entries[: translucent_indices[used][-1] + 1, 3].tobytes() if used.any() else b""


def _rows(indices: NDArray[np.uint8], depth: int) -> NDArray[np.uint8]:
    """Return packed rows (h, 1 + n) uint8: a filter byte 0, then n bytes of indices.

    The leftmost pixel of a byte is in the high bits.
    """
    height, width = indices.shape
    per_byte = 8 // depth
    n_bytes = -(-width // per_byte)
    if per_byte == 1:
        rows = np.empty((height, 1 + width), np.uint8)
        rows[:, 0] = 0
        rows[:, 1:] = indices
        return rows
    rows = np.zeros((height, 1 + n_bytes), np.uint8)
    for place in range(per_byte):
        some = indices[:, place::per_byte]
        rows[:, 1 : 1 + some.shape[1]] |= some << np.uint8(8 - depth * (place + 1))
    return rows


def _chunk(kind: bytes, data: bytes | bytearray) -> bytes:
    crc = deflate.crc32(data, deflate.crc32(kind))
    return b"".join([struct.pack(">I", len(data)), kind, data, struct.pack(">I", crc)])
