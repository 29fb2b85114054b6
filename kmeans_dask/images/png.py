"""Encoder of indexed PNG files, deflated by libdeflate, several times faster than Pillow.

PNG specification, third edition: section 11.2 (IHDR, PLTE, IDAT), 11.3.1.1 (tRNS), 7.2 (packing).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import deflate
import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.palette import Palette
from kmeans_dask.errors import UsageError
from kmeans_dask.images.metadata import Metadata, png_chunks
from kmeans_dask.images.palette_order import order_entries
from kmeans_dask.images.png_filters import filter_rows
from kmeans_dask.settings import MAX_EFFORT

# All of these were chosen by measured time and bytes (see benchmarks/README.md).
_LEVELS = (1, 2, 3, 5, 6, 7, 10, 11, 12, 12)  # libdeflate's level for each effort
_OXIPNG_LEVEL = 4  # higher levels gained nothing
# The least effort at which another order is tried for a palette that belongs to one image: where a
# pixel is a byte, and where several are packed into one.
_ORDERED_FROM, _ORDERED_FROM_PACKED = 5, 7
_UNPACKED_FROM = 8  # the same for pixels of half a byte that get a byte, in the order they have


@dataclass(frozen=True)
class _Layout:
    """Way to write an image.

    indices: (h, w) uint8, into `palette`
    depth: bits of an index, which may be more than the palette needs
    filtered: whether rows are filtered
    """

    indices: NDArray[np.uint8]
    palette: Palette
    depth: int
    filtered: bool = False


def encode_png(
    indices: NDArray[np.uint8],
    palette: Palette,
    effort: int = 3,
    metadata: Metadata | None = None,
    *,
    own_palette: bool = False,
) -> bytes:
    """Return an indexed PNG of `indices` (h, w) into `palette`.

    own_palette: whether the palette belongs to this image alone, so that its order is free, except
        that of fixed colours

    The entries keep their order, the palette's bit depth is used, and rows are not filtered,
    because filters predict values, and indices only name entries. With more effort, a palette that
    belongs to this image alone is also tried in an order by neighbours, in which filters help; the
    smaller file is returned, and of equal ones the plain one. The highest effort tries oxipng, too,
    which must be installed (see `check_effort`).
    """
    extra = png_chunks(metadata) if metadata else []
    layouts = _layouts(indices, palette, effort, own_palette=own_palette)
    files = [_write(layout, extra, _LEVELS[effort]) for layout in layouts]
    if effort == MAX_EFFORT:
        # oxipng would leave out fixed colours that are not used, and put the others anywhere
        files.append(_optimized(files[0], sorts=own_palette and not palette.fixed))
    return min(files, key=len)


def _layouts(
    indices: NDArray[np.uint8], palette: Palette, effort: int, *, own_palette: bool
) -> Iterator[_Layout]:
    """Yield the layouts to try, the plain one first."""
    depth = palette.bit_depth
    yield _Layout(indices, palette, depth)
    if not own_palette or effort < (_ORDERED_FROM if depth == 8 else _ORDERED_FROM_PACKED):
        return
    if depth == 4:
        # Where libdeflate finds the matches of least cost, a byte for each pixel is often better
        # than half of one, all the more with filters. Quarters and eighths are better packed.
        depth = 8
        if effort >= _UNPACKED_FROM:
            yield _Layout(indices, palette, depth)
    order = order_entries(indices, palette)
    places = np.empty(len(order), np.uint8)
    places[order] = np.arange(len(order))
    yield _Layout(places[indices], Palette(palette.entries[order]), depth, filtered=True)


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


def _optimized(png: bytes, *, sorts: bool) -> bytes:
    """Return `png` made smaller by oxipng, which may sort the palette where `sorts` is set."""
    import oxipng

    optimized: bytes = oxipng.optimize_from_memory(
        png,
        level=_OXIPNG_LEVEL,
        palette_reduction=sorts,
        color_type_reduction=False,
        bit_depth_reduction=False,
        grayscale_reduction=False,
    )
    return optimized


def _write(layout: _Layout, extra: list[tuple[bytes, bytes]], level: int) -> bytes:
    """Return the file of `layout`, deflated at `level`, with the chunks `extra`."""
    indices, palette = layout.indices, layout.palette
    height, width = indices.shape
    header = struct.pack(">IIBBBBB", width, height, layout.depth, 3, 0, 0, 0)
    rows = _rows(indices, layout.depth)
    if layout.filtered:
        rows = filter_rows(rows)
    alphas = _alphas(indices, palette)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", palette.entries[:, :3].tobytes()),
            _chunk(b"tRNS", alphas) if alphas else b"",
            *(_chunk(kind, data) for kind, data in extra),
            _chunk(b"IDAT", deflate.zlib_compress(rows, level)),
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
