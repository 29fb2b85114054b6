from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.color.spaces import Space
from kmeans_dask.kmeans.histogram import ColorHistogram, count_colors, merge_histograms
from kmeans_dask.kmeans.morton_codes import encode_colors
from kmeans_dask.kmeans.points import color_points
from kmeans_dask.kmeans.random_bits import Random
from kmeans_dask.kmeans.seeding import (
    BLOCK,
    GROUP,
    SEEDINGS,
    Seeding,
    _below,
    _offer,
    _pick,
    _Potential,
    _runs,
    kmeans_plus_plus,
    random_points,
)
from tests.kmeans.strategies import SEEDS, color_tables, make_table

FAR = 3 * 255**2 + 1
each_seeding = pytest.mark.parametrize("seeding", SEEDINGS.values(), ids=SEEDINGS.keys())


def plain_plus_plus(
    colors: NDArray[np.uint8],
    weights: NDArray[np.int64],
    k: int,
    seed: int,
    chosen_already: NDArray[np.uint8] | None = None,
) -> NDArray[np.float64]:
    """Greedy k-means++ that measures every candidate against every colour."""
    random = Random(seed)
    values = colors.astype(np.int64)
    distances = np.full(len(values), FAR)
    for place in [] if chosen_already is None else chosen_already.astype(np.int64):
        distances = np.minimum(distances, ((values - place) ** 2).sum(axis=1))
    chosen: list[int] = []
    while len(chosen) < k:
        places = np.cumsum(weights * distances)
        trials = 2 + int(math.log(k)) if chosen or chosen_already is not None else 1
        best, lowest = -1, None
        for _ in range(trials):
            candidate = int((places <= random.below(int(places[-1]))).sum())
            offered = np.minimum(distances, ((values - values[candidate]) ** 2).sum(axis=1))
            potential = int((weights * offered).sum())
            if lowest is None or potential < lowest:
                best, lowest = candidate, potential
        chosen.append(best)
        distances = np.minimum(distances, ((values - values[best]) ** 2).sum(axis=1))
    return values[chosen].astype(np.float64)


def plain_pixels(counts: ColorHistogram, k: int, seed: int) -> NDArray[np.float64]:
    """Draw from the pixels written out one by one."""
    random = Random(seed)
    pixels = np.repeat(counts.colors, counts.weights, axis=0).tolist()
    drawn: list[list[int]] = []
    while len(drawn) < k:
        left = [color for color in pixels if color not in drawn]
        drawn.append(left[random.below(len(left))])
    return np.array(drawn, np.float64)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_greedy_plus_plus_is_that_of_the_quadratic_loop(data: st.DataObject) -> None:
    table = data.draw(color_tables(max_colors=600))
    k, seed = data.draw(st.integers(1, min(40, len(table)))), data.draw(SEEDS)
    expected = plain_plus_plus(table.colors, table.weights, k, seed)
    assert np.array_equal(kmeans_plus_plus(color_points(table), k, seed), expected)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_plus_plus_beside_given_colours_is_that_of_the_quadratic_loop(
    data: st.DataObject,
) -> None:
    table = data.draw(color_tables(max_colors=600))
    rng = np.random.default_rng(data.draw(SEEDS))
    inside = rng.choice(table.colors, data.draw(st.integers(0, min(8, len(table) - 1))))
    anywhere = rng.integers(0, 256, (data.draw(st.integers(0, 4)), 3)).astype(np.uint8)
    places = rng.permutation(np.concatenate([inside, anywhere]))
    left = int((~np.isin(table.codes, encode_colors(places))).sum())
    assume(left > 0 and len(places) > 0)
    k, seed = data.draw(st.integers(1, min(30, left))), data.draw(SEEDS)
    found = kmeans_plus_plus(color_points(table), k, seed, given=places.astype(np.float64))
    expected = plain_plus_plus(table.colors, table.weights, k, seed, places)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("space", [Space("oklab"), Space("rgb", alpha=True)], ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_plus_plus_never_draws_a_given_place_while_there_are_others(
    space: Space, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    table = make_table(rng.integers(0, 256, (40, 3)), rng.integers(1, 1000, 40))
    points = space.points(table)
    which = rng.permutation(len(table))
    places = points.values[which[:30]].astype(np.float64)
    found = kmeans_plus_plus(points, len(table) - 30, seed, given=places)
    others = points.values[which[30:]].astype(np.float64)
    assert sorted(found.tolist()) == sorted(others.tolist())


@pytest.mark.parametrize("space", [Space(), Space("oklab"), Space("rgb", alpha=True)], ids=str)
def test_what_is_far_from_the_given_places_is_drawn_and_not_what_is_near(space: Space) -> None:
    rng = np.random.default_rng(1)
    dark, light = rng.integers(0, 4, (300, 3)), rng.integers(250, 256, (3, 3))
    table = make_table(np.concatenate([dark, light]))
    points = space.points(table)
    black = space.coordinates(np.zeros((1, 3), np.uint8)).astype(np.float64)
    for seed in range(20):
        found = kmeans_plus_plus(points, 1, seed, given=black)
        near = (points.values == found).all(axis=1)
        assert (table.colors[near] >= 250).all()
    firsts = [kmeans_plus_plus(points, 1, seed) for seed in range(20)]
    assert any((table.colors[(points.values == f).all(axis=1)] < 4).all() for f in firsts)


def test_random_points_do_not_ask_what_is_given() -> None:
    table = make_table(np.random.default_rng(2).integers(0, 256, (200, 3)))
    places = table.colors[:150].astype(np.float64)
    expected = random_points(color_points(table), 20, 3)
    assert np.array_equal(random_points(color_points(table), 20, 3, given=places), expected)


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_random_pixels_are_drawn_as_from_the_pixels_one_by_one(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    n = data.draw(st.integers(1, 100))
    table = make_table(rng.integers(0, 256, (n, 3)), rng.integers(1, 20, n))
    k, seed = data.draw(st.integers(1, len(table))), data.draw(SEEDS)
    assert np.array_equal(random_points(color_points(table), k, seed), plain_pixels(table, k, seed))


@each_seeding
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_seeds_are_distinct_colours_of_the_table(seeding: Seeding, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    n = data.draw(st.integers(1, 300))
    table = make_table(rng.integers(0, 256, (n, 3)), rng.integers(1, 10, n))
    k = data.draw(st.integers(1, min(50, len(table))))
    centroids = seeding(color_points(table), k, data.draw(SEEDS))
    assert centroids.shape == (k, 3)
    assert centroids.dtype == np.float64
    codes = encode_colors(centroids.astype(np.uint8))
    assert len(np.unique(codes)) == k
    assert np.isin(codes, table.codes).all()


@each_seeding
def test_the_same_seed_gives_the_same_and_another_seed_another(seeding: Seeding) -> None:
    rng = np.random.default_rng(1)
    table = make_table(rng.integers(0, 256, (1000, 3)), rng.integers(1, 50, 1000))
    first = seeding(color_points(table), 16, 7)
    assert np.array_equal(seeding(color_points(table), 16, 7), first)
    assert not np.array_equal(seeding(color_points(table), 16, 8), first)


@each_seeding
def test_it_does_not_matter_how_the_table_came_about(seeding: Seeding) -> None:
    pixels = np.random.default_rng(2).integers(0, 30, (20_000, 3)).astype(np.uint8)
    shuffled = np.random.default_rng(3).permutation(pixels)
    at_once = count_colors(pixels)
    in_parts = merge_histograms([count_colors(part) for part in np.array_split(shuffled, 13)])
    assert np.array_equal(
        seeding(color_points(in_parts), 20, 5), seeding(color_points(at_once), 20, 5)
    )


@each_seeding
@pytest.mark.parametrize("n", [1, 2, BLOCK, BLOCK + 1, 100])
def test_as_many_seeds_as_colours_are_all_the_colours(seeding: Seeding, n: int) -> None:
    rng = np.random.default_rng(n)
    table = make_table(rng.integers(0, 256, (n, 3)), rng.integers(1, 9, n))
    centroids = seeding(color_points(table), len(table), 4)
    assert sorted(centroids.tolist()) == sorted(table.colors.astype(float).tolist())


class Offers:
    """Colours of a table, their boxes, and the potential that `_offer` updates."""

    def __init__(self, table: ColorHistogram) -> None:
        self.colors = np.ascontiguousarray(table.colors.T).astype(np.float32)
        self.weights = table.weights
        self.starts = np.arange(0, len(table), BLOCK)
        self.group_starts = np.arange(0, len(table), BLOCK * GROUP)
        self.groups = _runs(self.colors, GROUP, BLOCK * GROUP)
        self.blocks = _runs(self.colors, BLOCK, BLOCK)
        self.potential = _Potential(
            np.full(len(table), FAR, np.int32),
            np.add.reduceat(table.weights, self.starts) * FAR,
            np.full(len(self.starts), FAR, np.int32),
            np.full(len(self.group_starts), FAR, np.int32),
        )

    def offer(self, place: NDArray[np.int64], *, take: bool) -> int:
        boxes = self.groups, self.blocks
        place = place.astype(np.float32)
        return int(_offer(self.colors, self.weights, *boxes, self.potential, *place, take))


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_an_offers_gain_is_what_brute_force_finds(data: st.DataObject) -> None:
    table = data.draw(color_tables(max_colors=1500))
    rng = np.random.default_rng(data.draw(SEEDS))
    offers = Offers(table)
    values, weights = table.colors.astype(np.int64), table.weights
    expected = np.full(len(table), FAR)
    places = np.concatenate([rng.choice(values, 6), rng.integers(0, 256, (4, 3))])
    for place in rng.permutation(places):
        offered = np.minimum(expected, ((values - place) ** 2).sum(axis=1))
        gain = int((weights * (expected - offered)).sum())
        assert offers.offer(place, take=False) == gain
        assert np.array_equal(offers.potential.distances, expected)
        assert offers.offer(place, take=True) == gain
        expected = offered
        assert np.array_equal(offers.potential.distances, expected)
        assert np.array_equal(
            offers.potential.of_blocks, np.add.reduceat(weights * expected, offers.starts)
        )
        assert np.array_equal(
            offers.potential.farthest, np.maximum.reduceat(expected, offers.starts)
        )
        assert np.array_equal(
            offers.potential.farthest_of_group, np.maximum.reduceat(expected, offers.group_starts)
        )


def test_every_place_is_held_by_the_colour_that_takes_it() -> None:
    rng = np.random.default_rng(8)
    n = 5 * BLOCK + 3
    distances, weights = rng.integers(0, 4, n), rng.integers(1, 4, n)
    distances[BLOCK : 2 * BLOCK] = 0  # a whole block of colours that were chosen
    up_to = np.cumsum(np.add.reduceat(distances * weights, np.arange(0, n, BLOCK)))
    total = int(up_to[-1])
    found = [_pick(target, up_to, BLOCK, distances, weights) for target in range(total)]
    assert found == np.repeat(np.arange(n), distances * weights).tolist()


BITS = st.integers(0, 2**64 - 1)


@given(BITS | st.just(2**64 - 1), BITS | st.just(2**64 - 1), st.integers(1, 2**63 - 1) | BITS)
def test_a_compiled_draw_is_the_product_of_python_integers(high: int, low: int, n: int) -> None:
    found = _below(np.uint64(high), np.uint64(low), np.uint64(n))
    assert int(found) == (((high << 64) | low) * n) >> 128


@pytest.mark.parametrize("space", [Space(), Space("oklab")], ids=str)
def test_where_all_colours_are_given_some_are_drawn_again(space: Space) -> None:
    table = make_table(np.array([[0, 0, 0], [9, 9, 9], [200, 3, 3]]))
    points = space.points(table)
    found = kmeans_plus_plus(points, 2, 0, given=points.values.astype(np.float64))
    assert all(place in points.values.tolist() for place in found.tolist())
    assert len(found) == 2


@each_seeding
def test_a_colour_that_outweighs_all_others_is_drawn_first(seeding: Seeding) -> None:
    table = make_table(np.random.default_rng(5).integers(0, 256, (200, 3)), np.ones(200, np.int64))
    table.weights[77] = 10**12
    for seed in range(50):
        assert np.array_equal(seeding(color_points(table), 1, seed)[0], table.colors[77])


@each_seeding
def test_light_colours_beside_a_heavy_one_are_drawn_in_few_draws(
    seeding: Seeding, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Budget(Random):
        left = 10_000

        def below(self, n: int) -> int:
            self.left -= 1
            assert self.left > 0, "still drawing the colour that was drawn before"
            return super().below(n)

    monkeypatch.setattr("kmeans_dask.kmeans.seeding.Random", Budget)
    # a white page of a million pixels with a few specks
    table = make_table(np.array([[255, 255, 255], [9, 9, 9], [99, 9, 9], [9, 9, 99]]))
    table.weights[-1] = 10**6
    assert len(np.unique(seeding(color_points(table), 4, 0), axis=0)) == 4


@each_seeding
def test_first_seeds_come_as_often_as_their_colour_weighs(seeding: Seeding) -> None:
    table = make_table(np.array([[0, 0, 0], [9, 9, 9], [200, 0, 0]]), np.array([1, 3, 6]))
    firsts = np.concatenate([seeding(color_points(table), 1, seed) for seed in range(1000)])
    shares = [(firsts == color).all(axis=1).mean() for color in table.colors]
    assert shares == pytest.approx([0.1, 0.3, 0.6], abs=0.06)


@each_seeding
def test_huge_weights_do_not_overflow(seeding: Seeding) -> None:
    rng = np.random.default_rng(6)
    table = make_table(rng.integers(0, 256, (300, 3)), rng.integers(1, 7 * 10**12, 300))
    assert table.pixels > 10**15
    centroids = seeding(color_points(table), 30, 1)
    codes = encode_colors(centroids.astype(np.uint8))
    assert len(np.unique(codes)) == 30
    assert np.isin(codes, table.codes).all()


def test_weights_too_large_for_64_bits_are_halved_and_nothing_else() -> None:
    rng = np.random.default_rng(7)
    table = make_table(rng.integers(0, 256, (300, 3)), rng.integers(1, 7 * 10**12, 300))
    halvings = 0
    while (table.pixels * FAR) >> halvings >= 2**63:
        halvings += 1
    assert halvings > 0
    light = table.weights >> halvings
    assert sum(light.tolist()) * FAR < 2**63
    expected = plain_plus_plus(table.colors, light, 30, 2)
    assert np.array_equal(kmeans_plus_plus(color_points(table), 30, 2), expected)


def test_many_light_colours_beside_a_heavy_one_do_not_overflow() -> None:
    # The most pixels that are halved once; the light colours cannot be halved and stay as they are.
    side = np.arange(16)
    colors = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(-1, 3)
    table = make_table(colors)
    table.weights[2000] = (2**64 - 1) // FAR - len(table)
    for seed in range(3):
        centroids = kmeans_plus_plus(color_points(table), 4, seed)
        assert np.array_equal(centroids[0], table.colors[2000])
        assert len(np.unique(centroids, axis=0)) == 4
