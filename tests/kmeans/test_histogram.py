from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.kmeans import histogram as histogram_module
from kmeans_dask.kmeans.histogram import (
    DENSE_FROM,
    MAX_PIXELS,
    ColorCounter,
    ColorHistogram,
    count_colors,
    merge_histograms,
)
from kmeans_dask.kmeans.morton_codes import encode_colors, encode_translucent
from tests.kmeans.strategies import SEEDS


def random_pixels(n: int, seed: int, values: int = 256) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, values, (n, 3)).astype(np.uint8)


def pack(colors: NDArray[np.uint8]) -> NDArray[np.int64]:
    packed: NDArray[np.int64] = colors.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    return packed


def is_histogram_of(histogram: ColorHistogram, *pixels: NDArray[np.uint8]) -> bool:
    """Whether the histogram is what numpy counts, and in the order and types that it promises."""
    colors, weights = np.unique(pack(np.concatenate(pixels)), return_counts=True)
    order = np.argsort(pack(histogram.colors))
    return (
        histogram.codes.dtype == np.uint32
        and histogram.weights.dtype == np.int64
        and bool((np.diff(histogram.codes.astype(np.int64)) > 0).all())
        and np.array_equal(pack(histogram.colors)[order], colors)
        and np.array_equal(histogram.weights[order], weights)
    )


def same_histogram(a: ColorHistogram, b: ColorHistogram) -> bool:
    return np.array_equal(a.codes, b.codes) and np.array_equal(a.weights, b.weights)


@pytest.mark.parametrize("values", [1, 3, 20, 256])
@pytest.mark.parametrize("n", [1, 2, 1000, 50_000])
def test_few_pixels_are_counted_as_numpy_counts_them(n: int, values: int) -> None:
    pixels = random_pixels(n, seed=n + values, values=values)
    histogram = count_colors(pixels)
    assert is_histogram_of(histogram, pixels)
    assert histogram.pixels == n


@pytest.mark.parametrize("values", [2, 50, 256])
def test_many_pixels_are_counted_as_numpy_counts_them(values: int) -> None:
    pixels = random_pixels(DENSE_FROM + 12_345, seed=values, values=values)
    assert is_histogram_of(count_colors(pixels), pixels)


@pytest.mark.parametrize("n", [DENSE_FROM - 1, DENSE_FROM])
def test_both_sides_of_the_switch_count_alike(n: int) -> None:
    pixels = random_pixels(n, seed=3, values=30)
    assert is_histogram_of(count_colors(pixels), pixels)


def test_an_image_is_counted_whatever_its_shape_and_strides() -> None:
    image = random_pixels(60 * 80, seed=4, values=10).reshape(60, 80, 3)
    assert is_histogram_of(count_colors(image), image.reshape(-1, 3))
    every_other = image[::2, ::-1, ::-1]
    assert is_histogram_of(count_colors(every_other), every_other.reshape(-1, 3))


def test_the_switch_to_the_dense_table_loses_nothing_that_came_before_or_after() -> None:
    parts = [
        random_pixels(n, seed=n, values=40) for n in (1000, 7, DENSE_FROM + 1, 500, 0, DENSE_FROM)
    ]
    counter = ColorCounter()
    for part in parts:
        counter.add(part)
    assert is_histogram_of(counter.histogram(), *parts)


def test_many_small_additions_cross_the_switch_together() -> None:
    parts = [random_pixels(DENSE_FROM // 3, seed=seed, values=25) for seed in range(5)]
    counter = ColorCounter()
    for part in parts:
        counter.add(part)
    assert is_histogram_of(counter.histogram(), *parts)


def test_a_counter_starts_anew_after_its_histogram() -> None:
    counter = ColorCounter()
    sizes = (100, DENSE_FROM + 5, 0, 200, DENSE_FROM)
    for seed, size in enumerate(sizes):
        pixels = random_pixels(size, seed=seed, values=60)
        counter.add(pixels)
        assert is_histogram_of(counter.histogram(), pixels)
        assert len(counter.histogram()) == 0


def random_alphas(n: int, seed: int, kinds: list[int]) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).choice(kinds, n).astype(np.uint8)


def is_histogram_with_alphas(
    histogram: ColorHistogram, pixels: NDArray[np.uint8], alphas: NDArray[np.uint8]
) -> bool:
    """Whether the histogram is what numpy counts of the pixels that are not clear."""
    rgba = np.column_stack([pixels, alphas])[alphas > 0]
    expected, weights = np.unique(rgba, axis=0, return_counts=True)
    found = np.column_stack([histogram.colors, histogram.alphas])
    order = np.lexsort(found.T[::-1])
    return (
        bool((np.diff(histogram.codes.astype(np.int64)) > 0).all())
        and np.array_equal(found[order], expected)
        and np.array_equal(histogram.weights[order], weights)
        and histogram.n_opaque == int((expected[:, 3] == 255).sum())
        and bool((histogram.alphas[: histogram.n_opaque] == 255).all())
        and histogram.is_opaque == bool((expected[:, 3] == 255).all())
    )


@pytest.mark.parametrize("n", [3000, DENSE_FROM + 4000])
@pytest.mark.parametrize(
    "kinds", [[0, 255], [0, 1, 128, 254, 255], [1, 254], [255], list(range(256))]
)
def test_pixels_are_counted_with_their_alphas_but_not_the_clear_ones(
    n: int, kinds: list[int]
) -> None:
    pixels, alphas = random_pixels(n, seed=5, values=7), random_alphas(n, 6, kinds)
    counter = ColorCounter()
    counter.add(pixels, alphas)
    histogram = counter.histogram()
    assert is_histogram_with_alphas(histogram, pixels, alphas)
    assert histogram.pixels == (alphas > 0).sum()
    counter.add(pixels, np.zeros(n, np.uint8))
    assert len(counter.histogram()) == 0


def test_opaque_and_translucent_pixels_of_many_images_are_counted_together() -> None:
    sizes = (1000, 0, DENSE_FROM // 2, DENSE_FROM, 17)
    images = [random_pixels(n, seed=n, values=6) for n in sizes]
    alphas = [random_alphas(n, n + 1, [0, 3, 200, 255, 255]) for n in sizes]
    alphas[3][:] = 255  # and given without any
    counter = ColorCounter()
    for image, over in zip(images, alphas, strict=True):
        counter.add(image, None if (over == 255).all() else over)
    histogram = counter.histogram()
    assert is_histogram_with_alphas(histogram, np.concatenate(images), np.concatenate(alphas))
    assert len(counter.histogram()) == 0


def test_a_fully_opaque_image_counts_as_one_without_alpha() -> None:
    pixels = random_pixels(4000, seed=11)
    counter = ColorCounter()
    counter.add(pixels, np.full(4000, 255, np.uint8))
    histogram = counter.histogram()
    assert same_histogram(histogram, count_colors(pixels))
    assert histogram.is_opaque
    assert histogram.n_opaque == len(histogram)


@given(st.lists(st.tuples(st.integers(0, 200), SEEDS), min_size=1, max_size=6))
@settings(deadline=None, max_examples=60)
def test_tables_with_alphas_merge_to_the_table_of_all_pixels(
    parts: list[tuple[int, int]],
) -> None:
    images = [random_pixels(n, seed, values=3) for n, seed in parts]
    alphas = [random_alphas(n, seed, [0, 90, 255]) for n, seed in parts]
    tables = []
    for image, over in zip(images, alphas, strict=True):
        counter = ColorCounter()
        counter.add(image, over)
        tables.append(counter.histogram())
    merged = merge_histograms(tables)
    assert is_histogram_with_alphas(merged, np.concatenate(images), np.concatenate(alphas))


def test_a_table_about_to_overflow_is_emptied_first(monkeypatch: pytest.MonkeyPatch) -> None:
    color = np.array([[1, 0, 1]], np.uint8)
    pixels = random_pixels(DENSE_FROM, seed=7, values=2)
    pixels[1000:] = color
    counter = ColorCounter()
    counter.add(pixels)
    # As if that colour had come so often before that one more batch would wrap it around.
    assert counter._table is not None
    unseen = 2**32 - 1 - DENSE_FROM
    counter._table[encode_colors(color)] += np.uint32(unseen)
    monkeypatch.setattr(counter, "_n_table", 2**32 - 1)
    counter.add(pixels)
    counter.add(pixels)

    expected = count_colors(np.concatenate([pixels] * 3))
    weights = expected.weights + np.where(expected.codes == encode_colors(color), unseen, 0)
    assert weights.max() > 2**32
    assert same_histogram(counter.histogram(), ColorHistogram(expected.codes, weights))


@given(
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from([2, 6, 256]), SEEDS), max_size=9),
    st.data(),
)
@settings(deadline=None, max_examples=80)
def test_merging_in_any_order_and_grouping_counts_everything_once(
    parts: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    pixels = [random_pixels(n, seed, values) for n, values, seed in parts]
    tables = [count_colors(part) for part in data.draw(st.permutations(pixels))]
    while len(tables) > 1 and data.draw(st.booleans()):
        start = data.draw(st.integers(0, len(tables) - 1))
        stop = data.draw(st.integers(start + 1, len(tables)))
        tables[start:stop] = [merge_histograms(tables[start:stop])]
    merged = merge_histograms(tables)
    assert is_histogram_of(merged, np.empty((0, 3), np.uint8), *pixels)


def test_slices_put_together_again_are_the_table() -> None:
    histogram = count_colors(random_pixels(5000, seed=8, values=20))
    parts = [histogram.slice(0, 1), histogram.slice(1, 900), histogram.slice(900, len(histogram))]
    assert [len(part) for part in parts] == [1, 899, len(histogram) - 900]
    assert same_histogram(merge_histograms(parts), histogram)


def test_nothing_counts_to_an_empty_table() -> None:
    nothing = np.empty((0, 3), np.uint8)
    counter = ColorCounter()
    empties: list[Any] = [count_colors(nothing), merge_histograms([]), counter.histogram()]
    counter.add(nothing)
    empties.append(counter.histogram())
    for histogram in empties:
        assert len(histogram) == 0
        assert histogram.pixels == 0
        assert histogram.colors.shape == (0, 3)
        assert histogram.alphas.shape == (0,)
        assert histogram.is_opaque
        assert (histogram.codes.dtype, histogram.weights.dtype) == (np.uint32, np.int64)
    something = count_colors(random_pixels(50, seed=9))
    assert same_histogram(merge_histograms([*empties, something, *empties]), something)


def weighing(code: int, weight: int) -> ColorHistogram:
    return ColorHistogram(np.array([code], np.uint32), np.array([weight], np.int64))


def test_as_many_pixels_as_can_be_summed_are_merged_exactly() -> None:
    merged = merge_histograms([weighing(5, MAX_PIXELS - 3), weighing(9, 1), weighing(5, 2)])
    assert merged.codes.tolist() == [5, 9]
    assert merged.weights.tolist() == [MAX_PIXELS - 1, 1]
    assert 255 * merged.pixels < 2**63


@pytest.mark.parametrize(
    "weights", [[MAX_PIXELS + 1], [MAX_PIXELS, 1], [2**62, 2**62], [2**63 - 1, 2**63 - 1]]
)
def test_more_pixels_than_can_be_summed_are_refused(weights: list[int]) -> None:
    with pytest.raises(OverflowError, match="summed exactly"):
        merge_histograms([weighing(7, weight) for weight in weights])


@given(seed=SEEDS, kind=st.sampled_from(["opaque", "translucent", "both"]), n=st.integers(0, 12))
@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_distinct_colours_are_known_before_the_table_is_put_together(
    seed: int, kind: str, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histogram_module, "_SORTED_FROM", 50)
    monkeypatch.setattr(histogram_module, "DENSE_FROM", 150)
    rng = np.random.default_rng(seed)
    counter = ColorCounter()
    for _ in range(2):  # the counter can be used again
        parts = []
        for _ in range(n):
            pixels = rng.integers(0, 4, (60, 3)).astype(np.uint8)
            share = rng.choice([0.1, 0.9])  # of opaque pixels: either kind may be sorted first
            alphas = rng.choice([0, 9, 255], 60, p=[0.05, 0.95 - share, share]).astype(np.uint8)
            if kind == "translucent":
                alphas[alphas == 255] = 8
            over = None if kind == "opaque" else alphas
            counter.add(pixels, over)
            seen = alphas > 0 if over is not None else np.ones(60, np.bool_)
            some = np.full(60, 255, np.uint8) if over is None else over
            parts.append(encode_translucent(pixels[seen], some[seen]))
        codes, weights = np.unique(np.concatenate([[], *parts]), return_counts=True)
        assert counter.count_distinct() == len(codes)
        assert counter.count_distinct() == len(codes)  # asking changes nothing
        found = counter.histogram()
        assert found.codes.tolist() == codes.tolist()
        assert found.weights.tolist() == weights.tolist()
