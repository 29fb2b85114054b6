"""Coarse colours stand for all colours: the same weight, less error than boxes of one size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.kmeans import coarse_colors as module
from kmeans_dask.kmeans.coarse_colors import coarse_colors
from kmeans_dask.kmeans.exact_sums import integer_grid
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.kmeans.morton_codes import encode_translucent, interleave_alphas
from kmeans_dask.kmeans.points import Points, color_points, make_points
from tests.kmeans.strategies import SEEDS, color_tables


def translucent_points(seed: int, n: int) -> tuple[Points, NDArray[np.uint32]]:
    """Colours with alpha as the space rgb has them, and their codes."""
    rng = np.random.default_rng(seed)
    codes = np.unique(
        encode_translucent(
            rng.integers(0, 256, (n, 3)).astype(np.uint8),
            rng.integers(1, 256, n).astype(np.uint8),
        )
    )
    histogram = ColorHistogram(codes, rng.integers(1, 1000, len(codes)))
    alphas = histogram.alphas.astype(np.float32)[:, None]
    values = np.column_stack([histogram.colors * alphas, 255 * alphas]).astype(np.float32)
    return make_points(values, histogram.weights, integer_grid(4), spatially_sorted=True), codes


def cut_plainly(points: Points, codes: NDArray[np.uint32], at_most: int) -> list[range]:
    """The boxes, halved where their error is too large, recursively."""
    values, weights = points.values.astype(np.float64), points.weights.astype(np.float64)

    def error(box: range) -> float:
        some = slice(box.start, box.stop)
        mean = np.average(values[some], axis=0, weights=weights[some])
        return float((weights[some, None] * (values[some] - mean) ** 2).sum())

    def halves(box: range, allowed: float) -> list[range]:
        if len(box) == 1 or error(box) <= allowed:
            return [box]
        first, last = int(codes[box.start]), int(codes[box.stop - 1])
        bit = (first ^ last).bit_length() - 1
        middle = next(i for i in box if int(codes[i]) >> bit == last >> bit)
        return [
            *halves(range(box.start, middle), allowed),
            *halves(range(middle, box.stop), allowed),
        ]

    boxes = [range(len(codes))]
    allowed = error(boxes[0])
    for _ in range(60):
        allowed *= 0.5
        finer = [half for box in boxes for half in halves(box, allowed)]
        if len(finer) > at_most:
            break
        boxes = finer
    return boxes


@given(color_tables(max_colors=300), st.integers(1, 80))
@settings(deadline=None, max_examples=60)
def test_boxes_are_those_of_plain_recursion(table: ColorHistogram, at_most: int) -> None:
    table = ColorHistogram(table.codes, np.minimum(table.weights, 1000))
    points = color_points(table)
    found = coarse_colors(points, table.codes, at_most)
    if len(table) <= at_most:
        assert found is points
        return
    boxes = cut_plainly(points, table.codes, at_most)
    assert found.weights.tolist() == [int(table.weights[list(box)].sum()) for box in boxes]
    means = [np.average(points.values[box], axis=0, weights=points.weights[box]) for box in boxes]
    assert np.abs(found.values - np.array(means)).max() <= 0.5 + 1e-9


@given(color_tables(), st.integers(1, 600), st.sampled_from([1 << 17, 700, 40]))
@settings(deadline=None, max_examples=60)
def test_all_weight_is_kept_in_at_most_so_many_colours(
    table: ColorHistogram, at_most: int, fine: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FINE", fine)
        found = coarse_colors(color_points(table), table.codes, at_most)
    assert 1 <= len(found) <= at_most
    assert found.weights.sum() == table.pixels
    assert found.weights.min() > 0
    assert found.values.dtype == np.uint8


@given(SEEDS, st.integers(1, 2000), st.integers(1, 300))
@settings(deadline=None, max_examples=30)
def test_translucent_colours_are_near_the_mean_of_their_box(
    seed: int, n: int, at_most: int
) -> None:
    points, codes = translucent_points(seed, n)
    found = coarse_colors(points, codes, at_most)
    assert len(found) <= max(at_most, 1)
    assert found.weights.sum() == points.weights.sum()
    assert (found.values >= 0).all()
    assert (found.values <= 255 * 255).all()


def test_frequent_colours_stay_apart() -> None:
    rng = np.random.default_rng(0)
    colors = np.concatenate([rng.integers(0, 256, (5000, 3)), [[8, 8, 8], [8, 8, 11]]])
    codes = np.unique(encode_translucent(colors.astype(np.uint8), np.full(5002, 255, np.uint8)))
    table = ColorHistogram(codes, np.ones(len(codes), np.int64))
    heavy = [(table.colors == color).all(axis=1).argmax() for color in ([8, 8, 8], [8, 8, 11])]
    table.weights[heavy] = 10**6
    found = coarse_colors(color_points(table), codes, 300)
    assert sorted(found.weights)[-2:] == [10**6, 10**6]


def test_codes_of_like_colours_and_alphas_are_close() -> None:
    colors = np.array([[9, 200, 30], [9, 200, 30], [200, 9, 30]], np.uint8)
    codes = interleave_alphas(encode_translucent(colors, np.array([254, 200, 254], np.uint8)))
    apart = np.abs(codes.astype(np.int64) - int(codes[0]))
    assert apart[1] < apart[2]
    opaque = np.unique(np.random.default_rng(1).integers(0, 1 << 24, 999).astype(np.uint32))
    assert (np.diff(interleave_alphas(opaque).astype(np.int64)) > 0).all()
