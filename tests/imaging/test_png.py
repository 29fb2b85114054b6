"""Indexed PNG files, read back by Pillow and by a decoder of some lines in plain Python."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from kmeans_dask.imaging.palette import Palette
from kmeans_dask.imaging.png import encode_png

SIDES = st.integers(1, 40)
SEEDS = st.integers(0, 2**32 - 1)


def some_palette(rng: np.random.Generator, entries: int, *, transparent: bool = False) -> Palette:
    codes = rng.choice(1 << 24, entries - transparent, replace=False)
    colors = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    return Palette(colors.astype(np.uint8), transparent)


def chunks_of(png: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and data of each chunk; their checksums are checked on the way."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks = []
    rest = png[8:]
    while rest:
        (size,) = struct.unpack(">I", rest[:4])
        kind, data, crc = rest[4:8], rest[8 : 8 + size], rest[8 + size : 12 + size]
        assert struct.unpack(">I", crc) == (zlib.crc32(kind + data),)
        chunks.append((kind, data))
        rest = rest[12 + size :]
    return chunks


def plainly_decoded(png: bytes) -> list[list[int]]:
    """Rows of indices."""
    chunks = dict(chunks_of(png))
    width, height, depth = struct.unpack(">IIB", chunks[b"IHDR"][:9])
    packed = zlib.decompress(chunks[b"IDAT"])
    stride = 1 + (width * depth + 7) // 8
    assert len(packed) == height * stride
    rows = []
    for top in range(0, len(packed), stride):
        assert packed[top] == 0, "a row is filtered"
        bits = "".join(f"{byte:08b}" for byte in packed[top + 1 : top + stride])
        rows.append([int(bits[x * depth : (x + 1) * depth], 2) for x in range(width)])
        assert set(bits[width * depth :]) <= {"0"}, "padding is not zero"
    return rows


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png), formats=["PNG"])
    image.load()
    return image


@settings(deadline=None, max_examples=150)
@given(height=SIDES, width=SIDES, entries=st.integers(1, 256), seed=SEEDS)
def test_any_indices_come_back_from_pillow_and_from_a_plain_decoder(
    height: int, width: int, entries: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    palette = some_palette(rng, entries)
    indices = rng.integers(0, entries, (height, width)).astype(np.uint8)
    png = encode_png(indices, palette)
    image = opened(png)
    assert image.mode == "P"
    assert image.size == (width, height)
    np.testing.assert_array_equal(np.asarray(image), indices)
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), palette.entries[indices])
    assert plainly_decoded(png) == indices.tolist()


@settings(deadline=None, max_examples=100)
@given(height=SIDES, width=SIDES, entries=st.integers(2, 256), seed=SEEDS)
def test_transparent_pixels_are_clear_and_all_others_opaque(
    height: int, width: int, entries: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    palette = some_palette(rng, entries, transparent=True)
    indices = rng.integers(0, entries, (height, width)).astype(np.uint8)
    png = encode_png(indices, palette)
    rgba = np.asarray(opened(png).convert("RGBA"))
    np.testing.assert_array_equal(rgba[..., 3], np.where(indices == 0, 0, 255))
    np.testing.assert_array_equal(rgba[..., :3], palette.entries[indices])
    assert plainly_decoded(png) == indices.tolist()


@pytest.mark.parametrize(
    ("entries", "depth"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (16, 4), (17, 8), (256, 8)]
)
def test_the_header_has_the_bit_depth_of_the_palette(entries: int, depth: int) -> None:
    palette = some_palette(np.random.default_rng(entries), entries)
    png = encode_png(np.full((3, 5), entries - 1, np.uint8), palette)
    kind, header = chunks_of(png)[0]
    assert kind == b"IHDR"
    assert struct.unpack(">IIBBBBB", header) == (5, 3, depth, 3, 0, 0, 0)


@pytest.mark.parametrize("entries", [1, 3, 16, 200, 256])
def test_the_palette_chunk_has_all_entries_in_order_and_no_more(entries: int) -> None:
    palette = some_palette(np.random.default_rng(entries), entries)
    chunks = chunks_of(encode_png(np.zeros((2, 2), np.uint8), palette))
    assert [kind for kind, _ in chunks] == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    assert dict(chunks)[b"PLTE"] == palette.colors.tobytes()


def test_transparency_is_written_where_a_transparent_pixel_is_used() -> None:
    palette = some_palette(np.random.default_rng(0), 5, transparent=True)
    indices = np.array([[1, 2, 0]], np.uint8)
    chunks = chunks_of(encode_png(indices, palette))
    assert [kind for kind, _ in chunks] == [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"]
    assert dict(chunks)[b"tRNS"] == b"\x00"


def test_transparency_is_not_written_where_no_transparent_pixel_is_used() -> None:
    palette = some_palette(np.random.default_rng(0), 5, transparent=True)
    chunks = chunks_of(encode_png(np.array([[1, 2, 3]], np.uint8), palette))
    assert b"tRNS" not in dict(chunks)


def test_index_zero_of_a_palette_without_transparency_is_opaque() -> None:
    palette = some_palette(np.random.default_rng(0), 5)
    chunks = chunks_of(encode_png(np.zeros((1, 3), np.uint8), palette))
    assert b"tRNS" not in dict(chunks)


def test_the_same_indices_give_the_same_bytes() -> None:
    rng = np.random.default_rng(3)
    palette = some_palette(rng, 40)
    indices = rng.integers(0, 40, (50, 61)).astype(np.uint8)
    once = encode_png(indices, palette)
    assert encode_png(indices.copy(), Palette(palette.colors.copy())) == once


def test_indices_that_are_a_view_are_encoded_as_seen() -> None:
    rng = np.random.default_rng(4)
    palette = some_palette(rng, 16)
    view = rng.integers(0, 16, (30, 41)).astype(np.uint8)[::-2, 1::3].T
    assert not view.flags.c_contiguous
    assert plainly_decoded(encode_png(view, palette)) == view.tolist()


def test_a_photograph_of_few_colors_is_smaller_than_its_indices(
    photograph: NDArray[np.uint8],
) -> None:
    levels = np.arange(16, dtype=np.uint8) * 17
    palette = Palette(np.stack([levels] * 3, axis=1))
    indices = (photograph[..., 1] // 16).astype(np.uint8)
    assert len(encode_png(indices, palette)) < indices.size // 2
