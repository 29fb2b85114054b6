from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.color.oklab import UNIT, to_oklab
from kmeans_dask.color.spaces import Space
from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.kmeans.morton_codes import encode_translucent
from kmeans_dask.kmeans.plain import plain_cluster_sums
from tests.kmeans.strategies import SEEDS, same_partial

RGB, RGBA = Space(), Space("rgb", alpha=True)
OKLAB, OKLABA = Space("oklab"), Space("oklab", alpha=True)
each_space = pytest.mark.parametrize("space", [RGB, RGBA, OKLAB, OKLABA], ids=str)
each_with_alpha = pytest.mark.parametrize("space", [RGBA, OKLABA], ids=str)

Colors = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def random_colors(n: int, seed: int, least_alpha: int = 1) -> Colors:
    rng = np.random.default_rng(seed)
    alphas = rng.choice([least_alpha, 254, 255, *range(least_alpha, 256)], n)
    return rng.integers(0, 256, (n, 3)).astype(np.uint8), alphas.astype(np.uint8)


def table_of(space: Space, n: int, seed: int, heaviest: int = 1000) -> ColorHistogram:
    """A table of about n colours, opaque ones only if the space has no alpha."""
    colors, alphas = random_colors(n, seed)
    if not space.alpha:
        alphas[:] = 255
    codes = np.unique(encode_translucent(colors, alphas))
    weights = np.random.default_rng(seed).integers(1, heaviest, len(codes), endpoint=True)
    return ColorHistogram(codes, weights)


@each_space
def test_coordinates_are_integers_in_the_bounds_of_the_space(space: Space) -> None:
    colors, alphas = random_colors(20_000, seed=1)
    colors[:2], alphas[:2] = [[0, 0, 0], [255, 255, 255]], 255
    values = space.coordinates(colors, alphas)
    assert values.dtype.kind in "iu"
    assert values.shape == (20_000, space.channels)
    assert np.abs(values.astype(np.int64)).max() == space.largest


def test_rgb_coordinates_are_the_colours() -> None:
    colors, _ = random_colors(100, seed=2)
    assert RGB.coordinates(colors).dtype == np.uint8
    assert np.array_equal(RGB.coordinates(colors), colors)


def test_oklab_coordinates_are_those_of_oklab() -> None:
    colors, _ = random_colors(100, seed=3)
    assert np.array_equal(OKLAB.coordinates(colors), to_oklab(colors))


@given(SEEDS)
@settings(deadline=None, max_examples=30)
def test_rgb_with_alpha_is_multiplied_exactly(seed: int) -> None:
    colors, alphas = random_colors(300, seed, least_alpha=0)
    expected = [
        [r * a, g * a, b * a, 255 * a]
        for (r, g, b), a in zip(colors.tolist(), alphas.tolist(), strict=True)
    ]
    assert RGBA.coordinates(colors, alphas).tolist() == expected


@given(SEEDS)
@settings(deadline=None, max_examples=30)
def test_oklab_with_alpha_is_multiplied_to_the_nearest_integer(seed: int) -> None:
    colors, alphas = random_colors(300, seed, least_alpha=0)
    found = OKLABA.coordinates(colors, alphas)
    straight = np.column_stack([to_oklab(colors), np.full(300, UNIT)])
    exact = straight * alphas[:, None].astype(np.int64)  # times 255
    assert (2 * np.abs(255 * found - exact) <= 255).all()
    assert np.array_equal(found[alphas == 255], straight[alphas == 255])


@each_with_alpha
def test_colours_without_alphas_are_opaque(space: Space) -> None:
    colors, _ = random_colors(100, seed=4)
    opaque = np.full(100, 255, np.uint8)
    assert np.array_equal(space.coordinates(colors), space.coordinates(colors, opaque))


@each_space
def test_points_are_the_coordinates_of_the_table_in_its_order(space: Space) -> None:
    histogram = table_of(space, 500, seed=5)
    points = space.points(histogram)
    expected = space.coordinates(histogram.colors, histogram.alphas)
    assert np.array_equal(points.values, expected)
    assert np.array_equal(points.weights, histogram.weights)
    other = np.arange(1, len(histogram) + 1)
    weighed = space.points(histogram, other)
    assert np.array_equal(weighed.values, expected)
    assert np.array_equal(weighed.weights, other)


@each_space
@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_sums_of_points_are_exact_whatever_they_weigh(space: Space, data: st.DataObject) -> None:
    heaviest = data.draw(st.sampled_from([1, 1000, 2**62 // space.largest // 400]))
    histogram = table_of(space, 400, data.draw(SEEDS), heaviest)
    rng = np.random.default_rng(data.draw(SEEDS))
    k = data.draw(st.integers(1, 20))
    points = space.points(histogram)
    centroids = rng.choice(points.values, k).astype(np.float64)
    centroids += rng.choice([0.0, 0.5, 0.3]) * rng.integers(-1, 2, centroids.shape)
    values = space.coordinates(histogram.colors, histogram.alphas).astype(np.int64)
    found = Assignment(points).partial(centroids, n_far=2)
    assert same_partial(found, plain_cluster_sums(values, histogram.weights, centroids, n_far=2))
    rows = zip(values.tolist(), histogram.weights.tolist(), strict=True)
    sums = [[weight * value for value in row] for row, weight in rows]
    assert found.sums.sum(axis=0).tolist() == [sum(channel) for channel in zip(*sums, strict=True)]


@each_space
def test_as_many_pixels_as_can_be_summed_are_summed_and_more_are_refused(space: Space) -> None:
    white = np.full((1, 3), 255, np.uint8)
    codes = encode_translucent(white, np.full(1, 255, np.uint8))
    most = 2**63 // space.largest
    histogram = ColorHistogram(codes, np.array([most - 2**20]))
    centroids = np.zeros((1, space.channels))
    sums = Assignment(space.points(histogram)).partial(centroids).sums
    exact = space.coordinates(white).astype(np.int64)[0] * (most - 2**20)
    assert sums[0].tolist() == exact.tolist()
    assert sums[0].max() > 2**62
    too_many = np.array([most + 2**20])
    with pytest.raises(OverflowError, match="summed exactly"):
        space.points(ColorHistogram(codes, too_many))
    with pytest.raises(OverflowError, match="summed exactly"):
        space.points(histogram, too_many)


def test_weights_whose_own_sum_passes_64_bits_are_refused() -> None:
    colors = np.array([[0, 0, 0], [9, 9, 9], [99, 99, 99], [255, 255, 255]], np.uint8)
    codes = encode_translucent(colors, np.full(4, 255, np.uint8))
    with pytest.raises(OverflowError, match="summed exactly"):
        RGB.points(ColorHistogram(codes, np.full(4, 2**62)))  # 2^64: nothing, in 64 bits


def back(space: Space, colors: NDArray[np.uint8], alphas: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Colours to coordinates and back, rounded, (n, 3 or 4)."""
    places = space.coordinates(colors, alphas).astype(np.float64)
    return np.rint(space.colors(places, alphas == 255)).astype(np.int64)


@given(SEEDS)
@settings(deadline=None, max_examples=30)
def test_rgb_comes_back_exactly_with_alpha_and_without(seed: int) -> None:
    colors, alphas = random_colors(2000, seed)
    assert np.array_equal(back(RGB, colors, alphas), colors)
    assert np.array_equal(back(RGBA, colors, alphas), np.column_stack([colors, alphas]))


@given(SEEDS)
@settings(deadline=None, max_examples=30)
def test_oklab_comes_back_within_one_and_nearly_always_exactly(seed: int) -> None:
    colors, alphas = random_colors(2000, seed)
    opaque = np.full(2000, 255, np.uint8)
    for found in (back(OKLAB, colors, alphas), back(OKLABA, colors, opaque)[:, :3]):
        assert np.abs(found - colors).max() <= 1
        assert (found != colors).any(axis=1).mean() < 0.005


@given(SEEDS)
@settings(deadline=None, max_examples=30)
def test_oklab_with_alpha_keeps_alpha_exactly_and_what_shows_within_one(seed: int) -> None:
    colors, alphas = random_colors(2000, seed)
    found = back(OKLABA, colors, alphas)
    assert np.array_equal(found[:, 3], alphas)
    shown = (found[:, :3] - colors) * alphas[:, None].astype(np.int64)
    assert np.abs(shown).max() <= 255


@each_with_alpha
def test_colours_are_opaque_exactly_where_they_are_to_be(space: Space) -> None:
    colors, alphas = random_colors(2000, seed=6)
    places = space.coordinates(colors, alphas).astype(np.float64)
    opaque = np.random.default_rng(7).random(2000) < 0.5
    found = np.rint(space.colors(places, opaque))
    assert (found[opaque, 3] == 255).all()
    assert np.array_equal(found[~opaque, 3], np.minimum(alphas[~opaque], 254))


@each_with_alpha
def test_nearly_clear_colours_never_become_clear(space: Space) -> None:
    places = np.array([[0.0, 0, 0, 0], [1e-9, 0, 0, 1e-9]])
    found = space.colors(places, np.zeros(2, np.bool_))
    assert np.isfinite(found).all()
    assert np.rint(found[:, 3]).tolist() == [1, 1]


@pytest.mark.parametrize("name", ["rgb", "oklab"])
def test_coordinates_without_alpha_give_colours_without_alpha(name: str) -> None:
    places = Space(name).coordinates(np.array([[9, 99, 200]], np.uint8)).astype(np.float64)
    for opaque in (True, False):
        found = Space(name).colors(places, np.array([opaque]))
        assert np.rint(found).tolist() == [[9, 99, 200]]


def test_what_hardly_shows_hardly_counts() -> None:
    red_and_blue = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    places = RGBA.coordinates(red_and_blue, np.array([254, 2], np.uint8))
    middle = RGBA.colors(places.mean(axis=0, keepdims=True), np.array([False]))[0]
    exact = [Fraction(254 * 255, 256), 0, Fraction(2 * 255, 256), 128]
    assert middle.tolist() == pytest.approx([float(value) for value in exact], abs=1e-9)
