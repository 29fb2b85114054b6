"""Pixels to entries: the nearest, opaque ones for opaque pixels, and 0 for what is clear."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.color.palette import Palette
from kmeans_dask.color.remap import Remapper
from kmeans_dask.kmeans.histogram import ColorCounter, ColorHistogram
from tests.kmeans.strategies import SEEDS
from tests.steps.strategies import ALPHAS, SPACES, palettes, plain_entries

WIDTH = 20
KINDS = (*ALPHAS, "clear")

Picture = tuple[NDArray[np.uint8], NDArray[np.uint8] | None]


def picture(seed: int, kind: str, rows: int = 12) -> Picture:
    """Pixels (n, 3) and alphas (n,) of one of `KINDS`; all but the opaque one have clear pixels."""
    rng = np.random.default_rng(seed)
    n = rows * WIDTH
    pixels = rng.integers(0, 256, (n, 3)).astype(np.uint8)
    pixels[n // 2 :] = pixels[rng.integers(0, n // 2, n - n // 2)]
    if kind == "opaque":
        return pixels, None
    values = {"translucent": [0, *range(1, 255)], "both": [0, 1, 90, 254, 255], "clear": [0, 255]}
    alphas = rng.choice(values[kind], n).astype(np.uint8)
    alphas[:3] = 0
    pixels[alphas == 0] = 0
    return pixels, alphas


def histogram_of(*pictures: Picture) -> ColorHistogram:
    counter = ColorCounter()
    for pixels, alphas in pictures:
        counter.add(pixels, alphas)
    return counter.histogram()


def in_full(alphas: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    return np.full(WIDTH * 12, 255, np.uint8) if alphas is None else alphas


def opaque_of(palette: Palette) -> NDArray[np.int64]:
    """Numbers of the opaque entries."""
    return np.flatnonzero(palette.entries[:, 3] == 255)


@given(SEEDS, st.sampled_from(KINDS), palettes(), st.sampled_from(SPACES))
@settings(deadline=None, max_examples=120)
def test_every_pixel_gets_the_plain_nearest_entry(
    seed: int, kind: str, palette: Palette, space: str
) -> None:
    pixels, alphas = picture(seed, kind)
    remapper = Remapper(histogram_of((pixels, alphas)), palette, space)
    found = remapper.map(pixels, alphas, WIDTH)
    assert found.dtype == np.uint8
    assert found.tolist() == plain_entries(pixels, in_full(alphas), palette, space).tolist()


@given(SEEDS, palettes(), st.sampled_from(SPACES))
@settings(deadline=None, max_examples=40)
def test_one_mapper_serves_images_of_every_kind(seed: int, palette: Palette, space: str) -> None:
    pictures = [picture(seed + i, kind) for i, kind in enumerate(KINDS)]
    remapper = Remapper(histogram_of(*pictures), palette, space)
    for pixels, alphas in pictures:
        found = remapper.map(pixels, alphas, WIDTH)
        assert found.tolist() == plain_entries(pixels, in_full(alphas), palette, space).tolist()


@pytest.mark.parametrize("transparent", [False, True])
def test_the_first_of_equal_entries_is_taken(transparent: bool) -> None:
    palette = Palette.of_colors(
        np.array([[9, 9, 9], [7, 7, 7], [9, 9, 9], [7, 7, 7]], np.uint8), transparent=transparent
    )
    pixels = np.array([[8, 8, 8], [7, 7, 7], [9, 9, 9]], np.uint8)
    for space in SPACES:
        found = Remapper(histogram_of((pixels, None)), palette, space).map(pixels, None, 3)
        assert found[1:].tolist() == [1 + transparent, transparent]
    assert (
        Remapper(histogram_of((pixels, None)), palette, "rgb").map(pixels, None, 3)[0]
        == transparent
    )


def test_palette_indices_beyond_256_entries_have_two_bytes() -> None:
    rng = np.random.default_rng(1)
    pixels, alphas = picture(2, "both")
    for n, dtype in ((255, np.uint8), (256, np.uint16), (400, np.uint16)):
        colors = rng.integers(0, 256, (n, 4)).astype(np.uint8)
        colors[:, 3] |= 1
        palette = Palette.of_colors(colors, transparent=True)
        found = Remapper(histogram_of((pixels, alphas)), palette, "rgb").map(pixels, alphas, WIDTH)
        assert found.dtype == dtype
        assert found.tolist() == plain_entries(pixels, in_full(alphas), palette, "rgb").tolist()


@given(
    SEEDS,
    st.sampled_from(KINDS),
    palettes(),
    st.sampled_from(SPACES),
    st.sampled_from([0.0, 0.3, 1.0]),
)
@settings(deadline=None, max_examples=150)
def test_opaque_pixels_get_opaque_entries_and_clear_ones_the_clear_one(
    seed: int, kind: str, palette: Palette, space: str, dither: float
) -> None:
    pixels, alphas = picture(seed, kind)
    found = Remapper(histogram_of((pixels, alphas)), palette, space, dither).map(
        pixels, alphas, WIDTH
    )
    over = in_full(alphas)
    assert (found[over == 0] == (palette.clear or 0)).all()
    assert np.isin(found[over > 0], palette.numbers).all()
    assert found.max() < len(palette)
    if len(opaque_of(palette)):
        assert np.isin(found[over == 255], opaque_of(palette)).all()


@given(SEEDS, palettes(), st.sampled_from(SPACES), st.sampled_from(KINDS))
@settings(deadline=None, max_examples=60)
def test_an_opaque_image_is_dithered_to_opaque_entries_whatever_is_beside_it(
    seed: int, palette: Palette, space: str, beside: str
) -> None:
    pixels, _ = picture(seed, "opaque")
    found = Remapper(
        histogram_of((pixels, None), picture(seed + 1, beside)), palette, space, 1.0
    ).map(pixels, None, WIDTH)
    opaque = opaque_of(palette)
    if len(opaque):
        assert np.isin(found, opaque).all()
        alone = Palette.of_colors(palette.entries[opaque, :3])  # the opaque entries alone
        by_itself = Remapper(histogram_of((pixels, None)), alone, space, 1.0).map(
            pixels, None, WIDTH
        )
        assert found.tolist() == opaque[by_itself].tolist()


@given(SEEDS, st.sampled_from(KINDS), palettes(), st.sampled_from(SPACES))
@settings(deadline=None, max_examples=80)
def test_dithering_of_negligible_strength_is_the_plain_rule(
    seed: int, kind: str, palette: Palette, space: str
) -> None:
    pixels, alphas = picture(seed, kind)
    histogram = histogram_of((pixels, alphas))
    found = Remapper(histogram, palette, space, dither=1e-9).map(pixels, alphas, WIDTH)
    assert found.tolist() == plain_entries(pixels, in_full(alphas), palette, space).tolist()


@pytest.mark.parametrize("space", SPACES)
def test_dithering_keeps_the_mean_where_the_nearest_entry_does_not(space: str) -> None:
    palette = Palette.of_colors(np.array([[0, 0, 0], [255, 255, 255]], np.uint8), transparent=True)
    pixels = np.full((40 * WIDTH, 3), 80, np.uint8)
    histogram = histogram_of((pixels, None))
    dithered = Remapper(histogram, palette, space, 1.0).map(pixels, None, WIDTH)
    plain = Remapper(histogram, palette, space).map(pixels, None, WIDTH)
    assert set(plain.tolist()) == {1}
    assert set(dithered.tolist()) == {1, 2}
    if space == "rgb":
        assert np.mean(dithered == 2) == pytest.approx(80 / 255, abs=0.01)


@pytest.mark.parametrize("space", SPACES)
def test_images_that_show_nothing_are_dithered_to_the_clear_entry(space: str) -> None:
    palette = Palette.of_entries(np.zeros((1, 4), np.uint8))
    pixels, alphas = np.zeros((3 * WIDTH, 3), np.uint8), np.zeros(3 * WIDTH, np.uint8)
    remapper = Remapper(histogram_of((pixels, alphas)), palette, space, 1.0)
    assert not remapper.map(pixels, alphas, WIDTH).any()


def test_entries_that_are_known_are_taken_as_they_are() -> None:
    pixels, alphas = picture(3, "both")
    histogram = histogram_of((pixels, alphas))
    palette = Palette.of_colors(np.array([[0, 0, 0], [255, 255, 255]], np.uint8), transparent=True)
    entries = (np.arange(len(histogram)) % 2 + 1).astype(np.uint8)
    remapper = Remapper(histogram, palette, "rgb", entries=entries)
    rows = np.column_stack([histogram.colors, histogram.alphas])
    known = {tuple(row): entry for row, entry in zip(rows.tolist(), entries.tolist(), strict=True)}
    wanted = np.column_stack([pixels, in_full(alphas)]).tolist()
    assert remapper.map(pixels, alphas, WIDTH).tolist() == [known.get(tuple(w), 0) for w in wanted]
