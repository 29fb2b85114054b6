"""Image files of each format: Pillow reads back WebP and GIF; PNG is left to its own encoder."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from kmeans_dask.color.palette import Palette
from kmeans_dask.errors import UsageError
from kmeans_dask.images.encode import check_effort, encode_image
from kmeans_dask.images.gif import encode_gif
from kmeans_dask.images.metadata import Metadata
from kmeans_dask.images.png import encode_png
from kmeans_dask.settings import MAX_EFFORT, EncodeSettings
from tests.images.conftest import needs_oxipng, some_palette

Bytes = NDArray[np.uint8]

SIDES = st.integers(1, 40)
SEEDS = st.integers(0, 2**32 - 1)
EFFORTS = range(MAX_EFFORT + 1)
KINDS = {"webp": "WEBP", "gif": "GIF"}  # as Pillow calls them; test_png.py tests PNG
SHAPES = [(1, 1), (1, 2), (2, 1), (1, 33), (3, 5), (17, 1), (31, 45)]


def opened(file: bytes, kind: str) -> Image.Image:
    image = Image.open(io.BytesIO(file), formats=[KINDS[kind]])
    image.load()
    assert getattr(image, "n_frames", 1) == 1
    return image


def rgba_of(file: bytes, kind: str) -> Bytes:
    """(h, w, 4)."""
    return np.asarray(opened(file, kind).convert("RGBA"))


def assert_shows(file: bytes, kind: str, expected: Bytes) -> None:
    """Pixels (h, w, 4), exactly; but a GIF keeps no colour under what is clear."""
    found = rgba_of(file, kind)
    np.testing.assert_array_equal(found[..., 3], expected[..., 3])
    seen = found[..., 3] > 0 if kind == "gif" else np.ones(found.shape[:2], np.bool_)
    np.testing.assert_array_equal(found[seen], expected[seen])


def encoded(indices: Bytes, palette: Palette, kind: str, effort: int = 3) -> bytes:
    return encode_image(indices, palette, EncodeSettings(format=kind, effort=effort))


# -- pixels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_any_pixels_come_back(kind: str) -> None:
    @settings(deadline=None, max_examples=80)
    @given(
        height=SIDES,
        width=SIDES,
        entries=st.integers(1, 256),
        seed=SEEDS,
        transparent=st.booleans(),
        effort=st.integers(0, MAX_EFFORT - 1),
    )
    def come_back(
        height: int, width: int, entries: int, seed: int, transparent: bool, effort: int
    ) -> None:
        rng = np.random.default_rng(seed)
        palette = some_palette(rng, entries, transparent=transparent)
        used = rng.integers(1, entries + 1)
        indices = rng.integers(0, used, (height, width)).astype(np.uint8)
        file = encoded(indices, palette, kind, effort)
        assert_shows(file, kind, palette.entries[indices])

    come_back()


@settings(deadline=None, max_examples=80)
@given(
    height=SIDES,
    width=SIDES,
    entries=st.integers(1, 256),
    seed=SEEDS,
    transparent=st.booleans(),
    effort=st.integers(0, MAX_EFFORT - 1),
)
def test_any_partly_transparent_pixels_come_back_from_webp_with_colors_that_nobody_sees(
    height: int, width: int, entries: int, seed: int, transparent: bool, effort: int
) -> None:
    rng = np.random.default_rng(seed)
    palette = some_palette(rng, entries, transparent=transparent, partial=True)
    indices = rng.integers(0, entries, (height, width)).astype(np.uint8)
    file = encoded(indices, palette, "webp", effort)
    np.testing.assert_array_equal(rgba_of(file, "webp"), palette.entries[indices])


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_of_every_shape_come_back_at_every_effort(kind: str, effort: int) -> None:
    rng = np.random.default_rng(effort)
    for entries in (1, 2, 3, 16, 17, 256):
        for transparent in (False, True):
            palette = some_palette(
                rng, entries, transparent=transparent, partial=kind != "gif" and entries > 2
            )
            for shape in SHAPES:
                indices = rng.integers(0, entries, shape).astype(np.uint8)
                file = encoded(indices, palette, kind, effort)
                assert_shows(file, kind, palette.entries[indices])


@pytest.mark.parametrize("kind", KINDS)
def test_indices_that_are_a_view_are_encoded_as_seen(kind: str) -> None:
    rng = np.random.default_rng(4)
    palette = some_palette(rng, 16)
    view = rng.integers(0, 16, (30, 41)).astype(np.uint8)[::-2, 1::3].T
    assert not view.flags.c_contiguous
    assert_shows(encoded(view, palette, kind), kind, palette.entries[view])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_indices_give_the_same_bytes(kind: str) -> None:
    rng = np.random.default_rng(3)
    palette = some_palette(rng, 40, transparent=True)
    indices = rng.integers(0, 40, (50, 61)).astype(np.uint8)
    again = encoded(indices.copy(), Palette(palette.entries.copy()), kind)
    assert again == encoded(indices, palette, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_photograph_of_few_colors_is_smaller_than_its_indices(
    photograph: NDArray[np.uint8], kind: str
) -> None:
    levels = np.arange(16, dtype=np.uint8) * 17
    palette = Palette.of_colors(np.stack([levels] * 3, axis=1))
    indices = (photograph[..., 1] // 16).astype(np.uint8)
    file = encoded(indices, palette, kind)
    assert len(file) < indices.size // 2
    assert_shows(file, kind, palette.entries[indices])


# -- transparency -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_has_no_alpha_where_no_clear_pixel_is_used(kind: str) -> None:
    palette = some_palette(np.random.default_rng(0), 5, transparent=True)
    for indices, has_alpha in (([[1, 2, 3]], False), ([[1, 0, 3]], True)):
        image = opened(encoded(np.array(indices, np.uint8), palette, kind), kind)
        assert image.has_transparency_data is has_alpha


@pytest.mark.parametrize("kind", KINDS)
def test_index_zero_of_a_palette_without_a_clear_entry_is_opaque(kind: str) -> None:
    palette = Palette.of_colors(np.array([[0, 0, 0], [9, 9, 9]], np.uint8))
    image = opened(encoded(np.array([[0, 1]], np.uint8), palette, kind), kind)
    assert not image.has_transparency_data
    assert np.asarray(image.convert("RGB")).tolist() == [[[0, 0, 0], [9, 9, 9]]]


@pytest.mark.parametrize("kind", KINDS)
def test_clear_pixels_are_told_from_black_ones(kind: str) -> None:
    palette = Palette.of_colors(np.array([[0, 0, 0], [9, 9, 9]], np.uint8), transparent=True)
    found = rgba_of(encoded(np.array([[0, 1, 2]], np.uint8), palette, kind), kind)
    assert found[0, :, 3].tolist() == [0, 255, 255]
    assert found[0, 1:, :3].tolist() == [[0, 0, 0], [9, 9, 9]]


# -- formats ----------------------------------------------------------------------------------


def some_metadata() -> Metadata:
    tags = Image.Exif()
    tags[0x010F], tags[0x0112] = "Acme", 1
    return Metadata(tags.tobytes().removeprefix(b"Exif\0\0"), (11811, 3937), (("Title", "日本"),))


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("metadata", [None, some_metadata()], ids=["without", "with metadata"])
def test_png_files_are_those_of_the_png_encoder(metadata: Metadata | None, effort: int) -> None:
    needs_oxipng(effort)
    rng = np.random.default_rng(5)
    palette = some_palette(rng, 20, transparent=True, partial=True)
    indices = rng.integers(0, 20, (20, 30)).astype(np.uint8)
    found = encode_image(indices, palette, EncodeSettings(effort=effort), metadata)
    assert found == encode_png(indices, palette, effort, metadata)


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("partial", [False, True])
def test_webp_files_are_lossless_and_keep_exif(partial: bool, effort: int) -> None:
    rng = np.random.default_rng(6)
    palette = some_palette(rng, 30, partial=partial)
    indices = rng.integers(0, 30, (21, 30)).astype(np.uint8)
    settings_ = EncodeSettings(format="webp", effort=effort)
    file = encode_image(indices, palette, settings_, some_metadata())
    assert b"VP8L" in file
    assert b"VP8 " not in file
    image = opened(file, "webp")
    assert image.info["exif"] == some_metadata().exif
    assert dict(image.getexif()) == {0x010F: "Acme", 0x0112: 1}
    assert_shows(file, "webp", palette.entries[indices])


@pytest.mark.parametrize("metadata", [None, Metadata(), Metadata(density=(9, 9))])
def test_webp_files_have_no_exif_where_there_is_none(metadata: Metadata | None) -> None:
    palette = some_palette(np.random.default_rng(7), 3)
    indices = np.array([[0, 1, 2]], np.uint8)
    file = encode_image(indices, palette, EncodeSettings(format="webp"), metadata)
    assert b"EXIF" not in file
    assert file == encoded(indices, palette, "webp")


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("entries", [2, 5, 32, 256])
def test_gif_files_have_the_indices_and_the_palette_in_its_order(
    entries: int, transparent: bool
) -> None:
    rng = np.random.default_rng(entries)
    palette = some_palette(rng, entries, transparent=transparent)
    indices = rng.integers(0, entries, (17, 23)).astype(np.uint8)
    image = opened(encoded(indices, palette, "gif"), "gif")
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image), indices)
    found = image.getpalette()
    assert found is not None
    assert found[: 3 * entries] == palette.entries[:, :3].ravel().tolist()


@pytest.mark.parametrize("effort", EFFORTS)
def test_gif_files_are_those_of_the_gif_encoder(effort: int) -> None:
    rng = np.random.default_rng(8)
    palette = some_palette(rng, 30, transparent=True)
    indices = rng.integers(0, 30, (210, 300)).astype(np.uint8)
    assert encoded(indices, palette, "gif", effort) == encode_gif(indices, palette, effort)


# -- effort -----------------------------------------------------------------------------------


def test_more_effort_of_webp_takes_fewer_bytes(photograph: NDArray[np.uint8]) -> None:
    levels = np.arange(64, dtype=np.uint8) * 4
    palette = Palette.of_colors(np.stack([levels] * 3, axis=1))
    indices = (photograph[..., 1] // 4).astype(np.uint8)
    sizes = [len(encoded(indices, palette, "webp", effort)) for effort in (0, 3, 8)]
    assert sizes[0] > sizes[1] > sizes[2]


def test_only_png_files_of_the_highest_effort_need_oxipng(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "oxipng", None)
    for kind in ("png", *KINDS):
        for effort in EFFORTS[:-1]:
            check_effort(EncodeSettings(format=kind, effort=effort))
    for kind in KINDS:
        check_effort(EncodeSettings(format=kind, effort=MAX_EFFORT))
    with pytest.raises(UsageError, match="needs oxipng"):
        check_effort(EncodeSettings(format="png", effort=MAX_EFFORT))
