from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.color.spaces import Space
from kmeans_dask.kmeans.exact_sums import integer_grid
from kmeans_dask.kmeans.histogram import ColorHistogram, count_colors, merge_histograms
from kmeans_dask.kmeans.morton_codes import encode_colors
from kmeans_dask.kmeans.points import color_points, make_points
from kmeans_dask.kmeans.random_bits import Random
from kmeans_dask.kmeans.seeding import (
    BLOCK,
    GROUP,
    SEEDINGS,
    Seeding,
    _below,
    _offer,
    _pick,
    _PointPotential,
    _Potential,
    _runs,
    kmeans_plus_plus,
    random_points,
)
from tests.kmeans.strategies import (
    SEEDS,
    any_points,
    color_tables,
    each_type,
    make_float_points,
    make_table,
    rows_of,
    seeding_points,
)

FAR = 3 * 255**2 + 1
Floats = NDArray[np.float64]
each_seeding = pytest.mark.parametrize("seeding", SEEDINGS.values(), ids=SEEDINGS.keys())


def plain_plus_plus_of_colors(
    colors: NDArray[np.uint8],
    weights: NDArray[np.int64],
    k: int,
    seed: int,
    chosen_already: NDArray[np.uint8] | None = None,
) -> NDArray[np.float64]:
    """Greedy k-means++ that compares every candidate with every colour."""
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


def plain_pixels(histogram: ColorHistogram, k: int, seed: int) -> NDArray[np.float64]:
    """Draw from the pixels written out one by one."""
    random = Random(seed)
    pixels = np.repeat(histogram.colors, histogram.weights, axis=0).tolist()
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
    expected = plain_plus_plus_of_colors(table.colors, table.weights, k, seed)
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
    expected = plain_plus_plus_of_colors(table.colors, table.weights, k, seed, places)
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
def test_the_same_seed_draws_the_same_colours_and_another_seed_others(seeding: Seeding) -> None:
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
    expected = plain_plus_plus_of_colors(table.colors, light, 30, 2)
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


def distances_to(values: Floats, place: Floats) -> Floats:
    """Squared, channel after channel, to one place or to one for each."""
    distances = np.zeros(len(values))
    for channel in range(values.shape[1]):
        distances += (values[:, channel] - place[..., channel]) ** 2
    return distances


def one_by_one(terms: Floats) -> float:
    """The sum of these, added from first to last."""
    return float(np.cumsum(terms)[-1])


def plain_plus_plus(values: NDArray[Any], weights: NDArray[Any], k: int, seed: int) -> Floats:
    """Greedy k-means++ that compares every candidate with every point."""
    random = Random(seed)
    places, heavy = values.astype(np.float64), weights.astype(np.float64)
    distances = np.full(len(values), np.inf)
    chosen: list[int] = []
    while len(chosen) < k:
        shares = heavy * distances if chosen else heavy
        if not shares.any():
            shares = heavy
        up_to = np.cumsum(shares)
        best, highest = -1, -1.0
        for _ in range(2 + int(math.log(k)) if chosen else 1):
            target = random.fraction() * up_to[-1]
            beyond = np.flatnonzero(up_to > target)
            candidate = int(beyond[0]) if len(beyond) else int(np.flatnonzero(shares)[-1])
            gain = 0.0
            if chosen:
                falls = distances - distances_to(places, places[candidate])
                gain = one_by_one(heavy * np.maximum(falls, 0.0))
            if gain > highest:
                best, highest = candidate, gain
        chosen.append(best)
        distances = np.minimum(distances, distances_to(places, places[best]))
    return places[chosen]


def plain_random(values: NDArray[Any], weights: list[int], k: int, seed: int) -> Floats:
    """Draw from places that are counted out from the first to the last that is not drawn."""
    random = Random(seed)
    left = dict(enumerate(weights))
    chosen: list[int] = []
    while len(chosen) < k:
        place = random.below(sum(left.values()))
        for i, weight in left.items():
            if place < weight:
                chosen.append(i)
                break
            place -= weight
        del left[chosen[-1]]
    return values[chosen].astype(np.float64)


@each_seeding
@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_seeds_are_points_that_have_weight(seeding: Seeding, data: st.DataObject) -> None:
    points = data.draw(any_points)
    heavy = points.values[points.weights > 0]
    most = min(30, len(heavy))
    k = data.draw(st.just(most) | st.integers(1, most))
    seeds = seeding(points, k, data.draw(SEEDS))
    assert seeds.shape == (k, points.values.shape[1])
    assert seeds.dtype == np.float64
    assert rows_of(seeds) <= rows_of(heavy)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_plus_plus_seeds_are_distinct_while_there_are_distinct_points(data: st.DataObject) -> None:
    points = data.draw(seeding_points(kinds=("duplicates", "ties", "constant")))
    distinct = rows_of(points.values[points.weights > 0])
    k = data.draw(st.integers(1, 40))
    seeds = kmeans_plus_plus(points, k, data.draw(SEEDS))
    assert seeds.shape[0] == k
    assert rows_of(seeds) <= distinct
    assert len(rows_of(seeds)) == min(k, len(distinct))


@each_seeding
@each_type
def test_the_same_seed_draws_the_same_points_and_another_seed_others(
    seeding: Seeding, dtype: Any
) -> None:
    rng = np.random.default_rng(1)
    values, weights = rng.normal(size=(2000, 4)).astype(dtype), rng.uniform(0, 2, 2000)
    points = make_float_points(values, weights)
    first = seeding(points, 12, 7)
    copied, pickled = make_float_points(values.copy(), weights.copy()), pickle.dumps(points)
    for again in (points, copied, pickle.loads(pickled)):
        assert np.array_equal(seeding(again, 12, 7), first)
    assert not np.array_equal(seeding(points, 12, 8), first)


@each_seeding
def test_points_of_one_weight_are_drawn_as_if_they_had_none(seeding: Seeding) -> None:
    values = np.random.default_rng(2).normal(size=(500, 3))
    expected = seeding(make_float_points(values), 9, 3)
    assert np.array_equal(seeding(make_float_points(values, np.ones(500)), 9, 3), expected)
    assert np.array_equal(seeding(make_float_points(values, np.full(500, 4.0)), 9, 3), expected)


@each_seeding
@pytest.mark.parametrize("light", [1e-3, 1e-7, 1e-12])
def test_points_far_lighter_than_another_can_be_drawn_when_no_other_is_left(
    seeding: Seeding, light: float
) -> None:
    values = np.arange(5.0)[:, None]
    points = make_float_points(values, np.array([light, 1.0, light, 0.0, light]))
    for seed in range(5):
        assert rows_of(seeding(points, 4, seed)) == {(0.0,), (1.0,), (2.0,), (4.0,)}


@each_seeding
def test_first_seeds_come_as_often_as_their_point_weighs(seeding: Seeding) -> None:
    points = make_float_points(np.array([[0.0], [1.0], [2.0]]), np.array([0.1, 0.3, 0.6]))
    firsts = np.concatenate([seeding(points, 1, seed) for seed in range(1000)])
    shares = [(firsts == value).mean() for value in (0.0, 1.0, 2.0)]
    assert shares == pytest.approx([0.1, 0.3, 0.6], abs=0.06)


def test_second_seeds_come_as_often_as_they_are_far() -> None:
    potential = _PointPotential(make_float_points(np.array([[0.0], [1.0], [-2.0]])))
    potential.take(np.zeros(1))

    class Steps:
        """Fractions 0, 0.001 and so on."""

        step = -1

        def fraction(self) -> float:
            self.step += 1
            return self.step / 1000

    drawn = potential.draw(Steps(), 1000)  # type: ignore[arg-type]
    assert [drawn.count(i) for i in range(3)] == [0, 200, 800]


@given(st.data())
@settings(deadline=None, max_examples=120)
def test_gains_and_distances_are_to_the_last_bit_those_of_skipping_nothing(
    data: st.DataObject,
) -> None:
    points = data.draw(any_points)
    rng = np.random.default_rng(data.draw(SEEDS))
    potential = _PointPotential(points)
    places, distances = points.values.astype(np.float64), np.full(len(points), np.inf)
    assert potential.gains([0, 0]) == [0.0, 0.0]
    chosen: list[int] = []
    for candidate in rng.integers(0, len(points), 10).tolist():
        apart = distances_to(places, places[candidate])
        if chosen:
            offers = [candidate, *rng.integers(0, len(points), 3).tolist()]
            falls = [distances - distances_to(places, places[offer]) for offer in offers]
            gains = [one_by_one(points.weights * np.maximum(fall, 0.0)) for fall in falls]
            assert potential.gains(offers) == gains
        potential.take(places[candidate])
        chosen.append(candidate)
        distances = np.minimum(distances, apart)
        assert np.array_equal(potential._distances, distances)
        assert np.array_equal(potential._chosen, places[chosen])
        nearest = potential._chosen[potential._nearest]
        assert np.array_equal(distances_to(places, nearest), distances)


@given(st.data())
@settings(deadline=None, max_examples=120)
def test_greedy_plus_plus_on_points_is_that_of_the_quadratic_loop(data: st.DataObject) -> None:
    points = data.draw(any_points)
    k, seed = data.draw(st.integers(1, 30)), data.draw(SEEDS)
    expected = plain_plus_plus(points.values, points.weights, k, seed)
    assert np.array_equal(kmeans_plus_plus(points, k, seed), expected)


@pytest.mark.parametrize("space", [Space("oklab"), Space("rgb", alpha=True)], ids=str)
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_greedy_plus_plus_on_sorted_points_is_that_of_their_potential(
    space: Space, data: st.DataObject
) -> None:
    points = space.points(data.draw(color_tables(max_colors=600)))
    assert points.spatially_sorted
    k, seed = data.draw(st.integers(1, min(40, len(points)))), data.draw(SEEDS)
    n_given = data.draw(st.integers(0, 3))
    rng = np.random.default_rng(seed)
    places = rng.choice(points.values, n_given).astype(np.float64) + rng.integers(0, 2)
    random, potential = Random(seed), _PointPotential(points)
    for place in places:
        potential.take(place)
    chosen: list[int] = []
    for _ in range(k):
        trials = 2 + int(math.log(k)) if chosen or n_given else 1
        candidates = potential.draw(random, trials)
        gains = potential.gains(candidates)
        chosen.append(candidates[gains.index(max(gains))])
        potential.take(points.values[chosen[-1]].astype(np.float64))
    found = kmeans_plus_plus(points, k, seed, given=places if n_given else None)
    assert np.array_equal(found, points.values[chosen].astype(np.float64))


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_random_points_are_drawn_as_from_places_counted_out(data: st.DataObject) -> None:
    points = data.draw(any_points)
    weights = points.weights
    k = data.draw(st.integers(1, min(30, int((weights > 0).sum()))))
    if not points.grid.exact:  # in 2^20 steps of the heaviest
        weights = np.array([max(round(w / weights.max() * 2**20), w > 0) for w in weights.tolist()])
    seed = data.draw(SEEDS)
    expected = plain_random(points.values, weights.tolist(), k, seed)
    assert np.array_equal(random_points(points, k, seed), expected)


@pytest.mark.parametrize("n", [1, 2, 60])
def test_as_many_random_points_as_there_are_with_weight_are_all_of_them(n: int) -> None:
    values = np.arange(2 * n, dtype=np.uint8)[:, None]
    points = make_points(values, np.arange(2 * n) % 2, integer_grid(1))
    for seed in range(20):
        assert sorted(random_points(points, n, seed)[:, 0]) == list(range(1, 2 * n, 2))


def test_slices_run_in_any_way_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    points = make_float_points(rng.normal(size=(1000, 3)), rng.uniform(0, 2, 1000))
    monkeypatch.setattr("kmeans_dask.kmeans.seeding._SLICE", 130)
    in_order = kmeans_plus_plus(points, 15, 5)

    def backwards(work: Any, slices: Any) -> list[Any]:
        return [work(some) for some in reversed(list(slices))][::-1]

    assert np.array_equal(kmeans_plus_plus(points, 15, 5, run=backwards), in_order)
