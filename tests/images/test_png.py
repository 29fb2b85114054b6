"""Indexed PNG files, read back by Pillow, by some lines of plain Python, and by pngcheck."""

from __future__ import annotations

import io
import itertools
import shutil
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from kmeans_dask.color.palette import Palette
from kmeans_dask.errors import UsageError
from kmeans_dask.images.metadata import Metadata, png_chunks, read_metadata
from kmeans_dask.images.png import check_effort, encode_png
from kmeans_dask.settings import MAX_EFFORT
from tests.images.conftest import needs_oxipng, some_palette

Indices = NDArray[np.uint8]

SIDES = st.integers(1, 40)
SEEDS = st.integers(0, 2**32 - 1)
EFFORTS = range(MAX_EFFORT + 1)
SHAPES = [(1, 1), (1, 2), (2, 1), (1, 33), (3, 5), (17, 1), (31, 45)]


def some_indices(rng: np.random.Generator, palette: Palette, shape: tuple[int, int]) -> Indices:
    """Into a part of the palette, often."""
    return rng.integers(0, rng.integers(1, len(palette) + 1), shape).astype(np.uint8)


def some_metadata() -> Metadata:
    """All there is, in Latin-1 and beyond."""
    tags = Image.Exif()
    tags[0x010F], tags[0x0112] = "Acme", 1
    exif = tags.tobytes().removeprefix(b"Exif\0\0")
    return Metadata(exif, (11811, 3937), (("Title", "Straße"), ("Author", "日本"), ("Title", "b")))


def kinds_of(png: bytes) -> list[bytes]:
    return [kind for kind, _ in chunks_of(png)]


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
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), palette.colors[indices])
    assert plainly_decoded(png) == indices.tolist()


@settings(deadline=None, max_examples=100)
@given(height=SIDES, width=SIDES, entries=st.integers(1, 256), seed=SEEDS)
def test_transparent_pixels_are_clear_and_all_others_opaque(
    height: int, width: int, entries: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    palette = some_palette(rng, entries, transparent=True)
    indices = rng.integers(0, entries, (height, width)).astype(np.uint8)
    png = encode_png(indices, palette)
    rgba = np.asarray(opened(png).convert("RGBA"))
    np.testing.assert_array_equal(rgba[..., 3], np.where(indices == 0, 0, 255))
    np.testing.assert_array_equal(rgba, palette.entries[indices])
    assert plainly_decoded(png) == indices.tolist()


@settings(deadline=None, max_examples=100)
@given(
    height=SIDES,
    width=SIDES,
    entries=st.integers(1, 256),
    seed=SEEDS,
    transparent=st.booleans(),
    effort=st.integers(0, MAX_EFFORT - 1),
)
def test_partly_transparent_pixels_come_back_with_colors_that_nobody_sees(
    height: int, width: int, entries: int, seed: int, transparent: bool, effort: int
) -> None:
    rng = np.random.default_rng(seed)
    palette = some_palette(rng, entries, transparent=transparent, partial=True)
    indices = some_indices(rng, palette, (height, width))
    png = encode_png(indices, palette, effort)
    rgba = np.asarray(opened(png).convert("RGBA"))
    np.testing.assert_array_equal(rgba, palette.entries[indices])
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


@pytest.mark.parametrize(
    ("used", "alphas"),
    [
        ([2, 4], None),
        ([0], [0]),
        ([1], [0, 9]),
        ([0, 1, 2], [0, 9]),
        ([3], [0, 9, 255, 200]),
        ([3, 0, 4], [0, 9, 255, 200]),
    ],
)
def test_alphas_are_written_up_to_the_last_entry_that_is_used_and_not_opaque(
    used: list[int], alphas: list[int] | None
) -> None:
    colors = [[1, 1, 1, 9], [2, 2, 2, 255], [3, 3, 3, 200], [4, 4, 4, 255], [5, 5, 5, 100]]
    palette = Palette.of_colors(np.array(colors, np.uint8), transparent=True)
    chunks = dict(chunks_of(encode_png(np.array([used], np.uint8), palette)))
    found = chunks.get(b"tRNS")
    assert (None if found is None else list(found)) == alphas


@settings(deadline=None)
@given(entries=st.integers(1, 256), seed=SEEDS, transparent=st.booleans(), partial=st.booleans())
def test_every_needed_alpha_is_written_and_no_other(
    entries: int, seed: int, transparent: bool, partial: bool
) -> None:
    rng = np.random.default_rng(seed)
    palette = some_palette(rng, entries, transparent=transparent, partial=partial)
    indices = some_indices(rng, palette, (3, 5))
    written = list(dict(chunks_of(encode_png(indices, palette))).get(b"tRNS", b""))
    alphas = palette.entries[:, 3].tolist()
    assert written == alphas[: len(written)]
    beyond = set(indices.ravel().tolist()) - set(range(len(written)))
    assert all(alphas[index] == 255 for index in beyond)
    assert not written or (written[-1] < 255 and len(written) - 1 in indices)


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
    palette = some_palette(rng, 40, transparent=True, partial=True)
    indices = rng.integers(0, 40, (50, 61)).astype(np.uint8)
    once = encode_png(indices, palette)
    assert encode_png(indices.copy(), Palette(palette.entries.copy())) == once


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
    palette = Palette.of_colors(np.stack([levels] * 3, axis=1))
    indices = (photograph[..., 1] // 16).astype(np.uint8)
    assert len(encode_png(indices, palette)) < indices.size // 2


# -- effort -----------------------------------------------------------------------------------


def ramps(height: int, width: int, entries: int) -> Indices:
    """Indices that filters predict well."""
    y, x = np.mgrid[0:height, 0:width]
    indices: Indices = ((7 * x + 3 * y) % entries).astype(np.uint8)
    return indices


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("entries", [1, 2, 3, 5, 16, 17, 256])
def test_indices_and_palette_are_the_same_at_every_effort(effort: int, entries: int) -> None:
    needs_oxipng(effort)
    rng = np.random.default_rng(entries)
    for shape, transparent in itertools.product(SHAPES, (False, True)):
        palette = some_palette(rng, entries, transparent=transparent, partial=True)
        indices = some_indices(rng, palette, shape)
        png, usual = encode_png(indices, palette, effort), encode_png(indices, palette)
        image = opened(png)
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), indices)
        np.testing.assert_array_equal(np.asarray(image.convert("RGBA")), palette.entries[indices])
        kinds = [b"IHDR", b"PLTE", b"tRNS"]
        assert [chunk for chunk in chunks_of(png) if chunk[0] in kinds] == [
            chunk for chunk in chunks_of(usual) if chunk[0] in kinds
        ]
        if effort < MAX_EFFORT:
            assert plainly_decoded(png) == indices.tolist()


def test_more_effort_takes_fewer_bytes(photograph: NDArray[np.uint8]) -> None:
    levels = np.arange(64, dtype=np.uint8) * 4
    palette = Palette.of_colors(np.stack([levels] * 3, axis=1))
    indices = (photograph[..., 1] // 4).astype(np.uint8)
    sizes = [len(encode_png(indices, palette, effort)) for effort in (0, 3, 8)]
    assert sizes[0] > sizes[1] > sizes[2]


@settings(deadline=None, max_examples=40)
@given(
    height=SIDES,
    width=SIDES,
    entries=st.integers(1, 256),
    seed=SEEDS,
    transparent=st.booleans(),
    ramp=st.booleans(),
)
def test_the_highest_effort_keeps_every_index_and_entry_and_is_never_larger(
    height: int, width: int, entries: int, seed: int, transparent: bool, ramp: bool
) -> None:
    needs_oxipng(MAX_EFFORT)
    rng = np.random.default_rng(seed)
    palette = some_palette(rng, entries, transparent=transparent, partial=True)
    shape = (height, width)
    indices = ramps(*shape, entries) if ramp else some_indices(rng, palette, shape)
    most, less = (encode_png(indices, palette, effort) for effort in (9, 8))
    assert len(most) <= len(less)
    np.testing.assert_array_equal(np.asarray(opened(most)), indices)
    assert kinds_of(most) == kinds_of(less)
    assert [chunk for chunk in chunks_of(most) if chunk[0] != b"IDAT"] == [
        chunk for chunk in chunks_of(less) if chunk[0] != b"IDAT"
    ]


def test_the_highest_effort_finds_the_filters_that_make_ramps_small() -> None:
    needs_oxipng(MAX_EFFORT)
    palette = some_palette(np.random.default_rng(1), 256)
    indices = ramps(100, 100, 256)
    most, less = (encode_png(indices, palette, effort) for effort in (9, 8))
    assert len(most) < len(less)
    np.testing.assert_array_equal(np.asarray(opened(most)), indices)


def test_only_the_highest_effort_needs_oxipng(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "oxipng", None)
    palette = some_palette(np.random.default_rng(1), 3)
    for effort in EFFORTS[:-1]:
        check_effort(effort)
        assert plainly_decoded(encode_png(np.zeros((1, 1), np.uint8), palette, effort)) == [[0]]
    with pytest.raises(UsageError, match=r"--effort 9 needs oxipng: pip install .*--effort 8$"):
        check_effort(MAX_EFFORT)


def test_every_effort_is_there_where_oxipng_is() -> None:
    needs_oxipng(MAX_EFFORT)
    for effort in EFFORTS:
        check_effort(effort)


# -- a palette of its own ---------------------------------------------------------------------


def smooth(photograph: NDArray[np.uint8], entries: int) -> tuple[Indices, Palette]:
    """A photograph in greys that are in no order."""
    shuffled = np.random.default_rng(entries).permutation(entries)
    indices = shuffled[photograph[..., 1].astype(int) * entries // 256].astype(np.uint8)
    greys = np.empty((entries, 3), np.uint8)
    greys[shuffled] = (np.arange(entries) * 255 // (entries - 1))[:, None]
    return indices, Palette.of_colors(greys)


def assert_shows(png: bytes, indices: Indices, palette: Palette) -> None:
    image = opened(png)
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image.convert("RGBA")), palette.entries[indices])


def assert_pixels_come_back(
    effort: int, shape: tuple[int, int], entries: int, seed: int, transparent: bool, ramp: bool
) -> None:
    """From a file that is no larger than without leave to choose the order."""
    rng = np.random.default_rng(seed)
    palette = some_palette(rng, entries, transparent=transparent, partial=bool(rng.integers(2)))
    palette = replace(palette, fixed=int(rng.integers(3)) % (entries - transparent + 1))
    indices = ramps(*shape, entries) if ramp else some_indices(rng, palette, shape)
    png = encode_png(indices, palette, effort, own_palette=True)
    assert_shows(png, indices, palette)
    assert len(png) <= len(encode_png(indices, palette, min(effort, 8)))
    assert png == encode_png(indices, palette, effort, own_palette=True)


@settings(deadline=None, max_examples=200)
@given(
    height=SIDES,
    width=SIDES,
    entries=st.integers(1, 256),
    seed=SEEDS,
    transparent=st.booleans(),
    ramp=st.booleans(),
    effort=st.integers(0, MAX_EFFORT - 1),
)
def test_pixels_with_a_palette_of_their_own_come_back_from_no_larger_a_file(
    height: int, width: int, entries: int, seed: int, transparent: bool, ramp: bool, effort: int
) -> None:
    assert_pixels_come_back(effort, (height, width), entries, seed, transparent, ramp)


@settings(deadline=None, max_examples=30)
@given(
    height=SIDES,
    width=SIDES,
    entries=st.integers(1, 256),
    seed=SEEDS,
    transparent=st.booleans(),
    ramp=st.booleans(),
)
def test_pixels_with_a_palette_of_their_own_come_back_from_the_highest_effort(
    height: int, width: int, entries: int, seed: int, transparent: bool, ramp: bool
) -> None:
    needs_oxipng(MAX_EFFORT)
    assert_pixels_come_back(MAX_EFFORT, (height, width), entries, seed, transparent, ramp)


@pytest.mark.parametrize("entries", [16, 64, 256])
def test_a_palette_of_its_own_makes_a_photograph_smaller(
    entries: int, photograph: NDArray[np.uint8]
) -> None:
    indices, palette = smooth(photograph, entries)
    plain, own = (encode_png(indices, palette, 8, own_palette=own) for own in (False, True))
    assert len(own) < 0.99 * len(plain)
    assert_shows(own, indices, palette)
    chunks = dict(chunks_of(own))
    assert sorted(chunks[b"PLTE"]) == sorted(dict(chunks_of(plain))[b"PLTE"])
    assert chunks[b"PLTE"] != dict(chunks_of(plain))[b"PLTE"]
    assert chunks[b"IHDR"][8] == 8  # a byte for each pixel, also for 16 entries
    assert any(zlib.decompress(chunks[b"IDAT"])[:: 1 + indices.shape[1]]), "no row is filtered"


@pytest.mark.parametrize(("entries", "effort"), [(17, 4), (256, 4), (16, 6), (4, 6), (2, 6)])
def test_with_less_effort_a_palette_of_its_own_changes_no_byte(
    entries: int, effort: int, photograph: NDArray[np.uint8]
) -> None:
    indices, palette = smooth(photograph, entries)
    own = encode_png(indices, palette, effort, own_palette=True)
    assert own == encode_png(indices, palette, effort)


@pytest.mark.parametrize("effort", [5, 8, MAX_EFFORT])
def test_fixed_colors_keep_their_places_in_a_palette_of_its_own(
    effort: int, photograph: NDArray[np.uint8]
) -> None:
    needs_oxipng(effort)
    indices, palette = smooth(photograph, 200)
    indices[indices == 2] = 3  # an entry that is not used
    palette = replace(palette, fixed=4)
    png = encode_png(indices, palette, effort, own_palette=True)
    assert len(png) < len(encode_png(indices, palette, min(effort, 8)))
    assert_shows(png, indices, palette)
    written = dict(chunks_of(png))[b"PLTE"]
    assert written[:12] == palette.entries[:4, :3].tobytes()
    assert len(written) == 600
    assert written != palette.entries[:, :3].tobytes()


def test_alphas_of_a_palette_of_its_own_are_few(photograph: NDArray[np.uint8]) -> None:
    indices, palette = smooth(photograph, 100)
    entries = palette.entries.copy()
    entries[:20, 3], entries[20] = np.arange(100, 120), 0
    for n_first in (0, 21):  # with a clear entry that is not first, and with none
        some = np.where(indices < n_first, n_first, indices).astype(np.uint8)
        palette = Palette(entries)
        png = encode_png(some, palette, 8, own_palette=True)
        assert_shows(png, some, palette)
        assert len(dict(chunks_of(png)).get(b"tRNS", b"")) == (0 if n_first else 21)


def test_a_clear_entry_stays_first_in_a_palette_of_its_own(photograph: NDArray[np.uint8]) -> None:
    indices, palette = smooth(photograph, 100)
    palette = Palette.of_colors(palette.colors, transparent=True)
    indices += 1
    indices[:10, :10] = 0
    png = encode_png(indices, palette, 8, own_palette=True)
    assert_shows(png, indices, palette)
    chunks = dict(chunks_of(png))
    assert chunks[b"tRNS"] == b"\0"
    assert chunks[b"PLTE"] != palette.entries[:, :3].tobytes()


# -- metadata ---------------------------------------------------------------------------------


@pytest.mark.parametrize("effort", [0, 3, MAX_EFFORT])
def test_metadata_comes_back_and_stands_before_the_pixels(effort: int) -> None:
    needs_oxipng(effort)
    palette = some_palette(np.random.default_rng(0), 5, transparent=True)
    indices = np.array([[1, 2, 0], [4, 4, 4]], np.uint8)
    metadata = some_metadata()
    png = encode_png(indices, palette, effort, metadata)
    added = png_chunks(metadata)
    assert len(added) == 5
    assert chunks_of(png)[3:-2] == added
    kinds = [b"IHDR", b"PLTE", b"tRNS", *(kind for kind, _ in added), b"IDAT", b"IEND"]
    assert kinds_of(png) == kinds
    image = opened(png)
    np.testing.assert_array_equal(np.asarray(image.convert("RGBA")), palette.entries[indices])
    found = read_metadata(image)
    assert found.density == metadata.density
    assert found.exif == metadata.exif
    assert dict(found.text) == {"Author": "日本", "Title": "b"}  # Pillow keeps the last of a name


@pytest.mark.parametrize("effort", [3, MAX_EFFORT])
def test_metadata_changes_no_other_chunk(effort: int) -> None:
    needs_oxipng(effort)
    rng = np.random.default_rng(2)
    palette = some_palette(rng, 40, partial=True)
    indices = some_indices(rng, palette, (20, 21))
    plain = encode_png(indices, palette, effort)
    added = png_chunks(some_metadata())
    png = encode_png(indices, palette, effort, some_metadata())
    assert [chunk for chunk in chunks_of(png) if chunk not in added] == chunks_of(plain)
    assert encode_png(indices, palette, effort, Metadata()) == plain


# -- pngcheck ---------------------------------------------------------------------------------


def complaint(folder: Path, png: bytes) -> str:
    """What Debian's pngcheck says of a file: nothing of a sound one."""
    command = shutil.which("pngcheck")
    if command is None:
        pytest.skip("needs the command pngcheck")
    path = folder / "checked.png"
    path.write_bytes(png)
    found = subprocess.run([command, "-q", str(path)], capture_output=True, text=True, check=False)
    said = found.stdout + found.stderr
    assert (found.returncode != 0) == bool(said.strip())
    return said


@pytest.mark.parametrize("effort", [0, 3, 8, MAX_EFFORT])
@pytest.mark.parametrize("with_metadata", [False, True])
@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("transparent", [False, True])
def test_pngcheck_finds_nothing_wrong(
    tmp_path: Path, transparent: bool, partial: bool, with_metadata: bool, effort: int
) -> None:
    needs_oxipng(effort)
    metadata = some_metadata() if with_metadata else None
    for entries in (2, 3, 16, 200, 256):
        rng = np.random.default_rng(entries)
        palette = some_palette(rng, entries, transparent=transparent, partial=partial)
        for shape in ((1, 1), (3, 7), (33, 20)):
            indices = rng.integers(0, entries, shape).astype(np.uint8)
            for own in (False, True):
                png = encode_png(indices, palette, effort, metadata, own_palette=own)
                assert complaint(tmp_path, png) == ""


def test_pngcheck_finds_a_wrong_bit_and_a_palette_that_comes_late(tmp_path: Path) -> None:
    palette = some_palette(np.random.default_rng(0), 3)
    png = encode_png(np.array([[0, 1, 2]], np.uint8), palette)
    assert complaint(tmp_path, png) == ""
    assert complaint(tmp_path, png[:-20] + bytes([png[-20] ^ 1]) + png[-19:])
    start, end = png.index(b"PLTE") - 4, png.index(b"IDAT") - 4
    last = png.index(b"IEND") - 4
    assert complaint(tmp_path, png[:start] + png[end:last] + png[start:end] + png[last:])
