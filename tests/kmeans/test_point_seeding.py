from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.kmeans.exact_sums import float_grid, integer_grid
from kmeans_dask.kmeans.kmeans_parallel import DrawnPoints, Sampler, choose_of, potential_bits
from kmeans_dask.kmeans.plain import plain_distances
from kmeans_dask.kmeans.points import Points, make_points
from kmeans_dask.kmeans.random_bits import Random
from kmeans_dask.kmeans.seeding import (
    SEEDINGS,
    Seeding,
    _PointPotential,
    kmeans_plus_plus,
    random_points,
)
from tests.kmeans.strategies import SEEDS, cuts_of

Floats = NDArray[np.float64]
KINDS = ("blobs", "duplicates", "constant", "offset", "huge", "tiny", "outlier", "line", "ties")
each_seeding = pytest.mark.parametrize("seeding", SEEDINGS.values(), ids=SEEDINGS.keys())
each_type = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def float_points(values: NDArray[Any], weights: Floats | None = None) -> Points:
    low, high = (edge.astype(np.float64) for edge in (values.min(axis=0), values.max(axis=0)))
    max_weight = 1.0 if weights is None else float(weights.max())
    return make_points(values, weights, float_grid(low, high, max_weight))


def values_of(rng: np.random.Generator, kind: str, n: int, channels: int) -> Floats:
    middles = rng.normal(0, 5, (1 + n // 50, channels))
    values = np.asarray(rng.choice(middles, n) + rng.normal(size=(n, channels)))
    if kind == "duplicates":
        return np.asarray(rng.choice(values[: 1 + n // 20], n))
    if kind == "line":  # where midpoints are exactly as far from both ends
        return np.asarray(np.outer(np.arange(n), rng.normal(size=channels)))
    if kind == "ties":
        return rng.integers(0, 5, (n, channels)).astype(np.float64)
    if kind == "constant":
        values[:] = values[0]
    elif kind == "outlier":
        values[rng.integers(n)] += 1e6
    return values * {"huge": 1e15, "tiny": 1e-15}.get(kind, 1.0) + 1e6 * (kind == "offset")


@st.composite
def some_points(draw: st.DrawFn, kinds: Sequence[str] = KINDS) -> Points:
    rng = np.random.default_rng(draw(SEEDS))
    n, channels = draw(st.integers(1, 300)), draw(st.sampled_from([1, 2, 3, 5, 8]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    values = values_of(rng, draw(st.sampled_from(kinds)), n, channels).astype(dtype)
    weights = None
    if draw(st.booleans()):
        weights = rng.uniform(0.1, 3, n)
        if draw(st.booleans()):
            weights[rng.random(n) < draw(st.sampled_from([0.3, 0.8]))] = 0.0
            weights[[0, -1]] = draw(st.sampled_from([(0, 0), (1, 0), (0, 1), (1, 1)]))
            if not weights.any():
                weights[n // 2] = 1.0
    return float_points(values, weights)


@st.composite
def integer_points(draw: st.DrawFn, *, weightless: bool = False) -> Points:
    """With some weight, unless they may be `weightless`."""
    rng = np.random.default_rng(draw(SEEDS))
    n, channels = draw(st.integers(1, 300)), draw(st.sampled_from([1, 2, 3, 4]))
    values = rng.integers(0, draw(st.sampled_from([2, 6, 256])), (n, channels)).astype(np.uint8)
    weights = rng.integers(0, draw(st.sampled_from([1, 9, 10**6])), n, endpoint=True)
    if not weightless:
        weights[rng.integers(n)] = 1
    elif draw(st.integers(0, 9)) == 0:
        weights[:] = 0
    return make_points(values, weights, integer_grid(channels))


any_points = some_points() | integer_points()


def rows(values: NDArray[Any]) -> set[tuple[float, ...]]:
    return {tuple(row) for row in values.astype(np.float64).tolist()}


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
    """Greedy k-means++ that measures every candidate against every point."""
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
    assert rows(seeds) <= rows(heavy)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_plus_plus_seeds_are_distinct_while_there_are_distinct_points(data: st.DataObject) -> None:
    points = data.draw(some_points(kinds=("duplicates", "ties", "constant")))
    distinct = rows(points.values[points.weights > 0])
    k = data.draw(st.integers(1, 40))
    seeds = kmeans_plus_plus(points, k, data.draw(SEEDS))
    assert seeds.shape[0] == k
    assert rows(seeds) <= distinct
    assert len(rows(seeds)) == min(k, len(distinct))


@each_seeding
@each_type
def test_the_same_seed_gives_the_same_and_another_seed_another(
    seeding: Seeding, dtype: Any
) -> None:
    rng = np.random.default_rng(1)
    values, weights = rng.normal(size=(2000, 4)).astype(dtype), rng.uniform(0, 2, 2000)
    points = float_points(values, weights)
    first = seeding(points, 12, 7)
    copied, pickled = float_points(values.copy(), weights.copy()), pickle.dumps(points)
    for again in (points, copied, pickle.loads(pickled)):
        assert np.array_equal(seeding(again, 12, 7), first)
    assert not np.array_equal(seeding(points, 12, 8), first)


@each_seeding
def test_points_of_one_weight_are_drawn_as_if_they_had_none(seeding: Seeding) -> None:
    values = np.random.default_rng(2).normal(size=(500, 3))
    expected = seeding(float_points(values), 9, 3)
    assert np.array_equal(seeding(float_points(values, np.ones(500)), 9, 3), expected)
    assert np.array_equal(seeding(float_points(values, np.full(500, 4.0)), 9, 3), expected)


@each_seeding
@pytest.mark.parametrize("light", [1e-3, 1e-7, 1e-12])
def test_points_far_lighter_than_another_can_be_drawn_when_no_other_is_left(
    seeding: Seeding, light: float
) -> None:
    values = np.arange(5.0)[:, None]
    points = float_points(values, np.array([light, 1.0, light, 0.0, light]))
    for seed in range(5):
        assert rows(seeding(points, 4, seed)) == {(0.0,), (1.0,), (2.0,), (4.0,)}


@each_seeding
def test_first_seeds_come_as_often_as_their_point_weighs(seeding: Seeding) -> None:
    points = float_points(np.array([[0.0], [1.0], [2.0]]), np.array([0.1, 0.3, 0.6]))
    firsts = np.concatenate([seeding(points, 1, seed) for seed in range(1000)])
    shares = [(firsts == value).mean() for value in (0.0, 1.0, 2.0)]
    assert shares == pytest.approx([0.1, 0.3, 0.6], abs=0.06)


def test_second_seeds_come_as_often_as_they_are_far() -> None:
    potential = _PointPotential(float_points(np.array([[0.0], [1.0], [-2.0]])))
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
    points = float_points(rng.normal(size=(1000, 3)), rng.uniform(0, 2, 1000))
    monkeypatch.setattr("kmeans_dask.kmeans.seeding._SLICE", 130)
    in_order = kmeans_plus_plus(points, 15, 5)

    def backwards(work: Any, slices: Any) -> list[Any]:
        return [work(some) for some in reversed(list(slices))][::-1]

    assert np.array_equal(kmeans_plus_plus(points, 15, 5, run=backwards), in_order)


def samplers(points: Points, cuts: Sequence[slice], start: int = 0) -> list[Sampler]:
    weights = points.weights
    return [
        Sampler(make_points(points.values[cut], weights[cut], points.grid), start + cut.start)
        for cut in cuts
    ]


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_draws_are_the_same_for_any_chunks(data: st.DataObject) -> None:
    points, seed = data.draw(some_points() | integer_points(weightless=True)), data.draw(SEEDS)
    n = data.draw(st.integers(1, 20))
    whole = Sampler(points, 0)
    parts = samplers(points, data.draw(cuts_of(len(points))))

    first = DrawnPoints.first([whole.draw_by_weight(n, seed)], n)
    merged = DrawnPoints.first([part.draw_by_weight(n, seed) for part in parts], n)
    assert np.array_equal(merged.keys, first.keys)
    assert np.array_equal(merged.values, first.values)
    heavy = points.values[points.weights > 0]
    assert len(first.values) == min(n, len(heavy))
    assert rows(first.values) <= rows(heavy)

    chosen = first.values[:1]
    for step in range(3 if len(heavy) else 0):
        potential = whole.potential(chosen)
        assert sum(part.potential(chosen) for part in parts) == potential
        if not potential:
            break
        drawn = whole.draw_by_distance(chosen, potential, n, seed + step)
        together = [part.draw_by_distance(chosen, potential, n, seed + step) for part in parts]
        assert drawn.dtype == np.float64
        assert np.array_equal(np.concatenate(together), drawn)
        assert rows(drawn) <= rows(heavy)
        assert not rows(drawn) & rows(chosen)
        chosen = np.concatenate([chosen, drawn])


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_the_potential_of_integers_is_exact(data: st.DataObject) -> None:
    points = data.draw(integer_points())
    rng = np.random.default_rng(data.draw(SEEDS))
    chosen = rng.choice(points.values, data.draw(st.integers(1, 9))).astype(np.float64)
    apart = points.values[:, None].astype(int) - chosen[None].astype(int)
    expected = int((points.weights * (apart**2).sum(axis=2).min(axis=1)).sum())
    assert potential_bits(points.grid) == 0
    assert Sampler(points, 0).potential(chosen) == expected


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_the_potential_of_floats_is_as_fine_as_their_grid(data: st.DataObject) -> None:
    points = data.draw(some_points())
    rng = np.random.default_rng(data.draw(SEEDS))
    chosen = rng.choice(points.values, data.draw(st.integers(1, 9))).astype(np.float64)
    distances = plain_distances(points.values, chosen).min(axis=1)
    pairs = zip(points.weights.tolist(), distances.tolist(), strict=True)
    expected = sum((Fraction(weight * distance) for weight, distance in pairs), Fraction(0))
    unit = Fraction(2) ** -potential_bits(points.grid)
    found = Sampler(points, 0).potential(chosen) * unit
    assert abs(found - expected) <= len(points) * unit


@each_type
def test_a_pickled_sampler_draws_as_before(dtype: Any) -> None:
    rng = np.random.default_rng(6)
    points = float_points(rng.normal(size=(1000, 3)).astype(dtype), rng.uniform(0, 2, 1000))
    sampler = Sampler(points, 10**12)
    chosen = points.values[:5].astype(np.float64)
    potential = sampler.potential(chosen)
    copied = pickle.loads(pickle.dumps(sampler))
    more = points.values[:9].astype(np.float64)
    assert copied.potential(more) == sampler.potential(more)
    assert np.array_equal(
        copied.draw_by_distance(more, potential, 50, 7),
        sampler.draw_by_distance(more, potential, 50, 7),
    )
    assert np.array_equal(copied.draw_by_weight(9, 8).values, sampler.draw_by_weight(9, 8).values)


def test_what_a_sampler_was_asked_before_changes_nothing() -> None:
    rng = np.random.default_rng(7)
    points = float_points(rng.normal(size=(500, 3)))
    some, others = points.values[:5], points.values[5:12]
    for first, second in ((some, others), (others, some), (points.values[:9], some)):
        sampler = Sampler(points, 0)
        sampler.potential(first)
        assert sampler.potential(second) == Sampler(points, 0).potential(second)


def test_the_number_of_the_first_point_and_the_seed_make_the_draw() -> None:
    points = float_points(np.random.default_rng(8).normal(size=(1000, 2)))
    draws = [
        Sampler(points, first).draw_by_weight(20, seed).values.tolist()
        for first, seed in ((0, 0), (0, 1), (1000, 0), (10**15, 0))
    ]
    assert all(a != b for i, a in enumerate(draws) for b in draws[:i])


def test_points_are_drawn_first_as_often_as_they_weigh() -> None:
    points = float_points(np.array([[0.0], [1.0], [2.0]]), np.array([0.1, 0.3, 0.6]))
    sampler = Sampler(points, 0)
    firsts = np.concatenate([sampler.draw_by_weight(1, seed).values for seed in range(2000)])
    shares = [(firsts == value).mean() for value in (0.0, 1.0, 2.0)]
    assert shares == pytest.approx([0.1, 0.3, 0.6], abs=0.05)


def test_as_many_points_are_drawn_as_were_asked_for() -> None:
    points = float_points(np.random.default_rng(9).normal(size=(20_000, 3)))
    sampler = Sampler(points, 0)
    chosen = points.values[:1]
    potential = sampler.potential(chosen)
    counts = [len(sampler.draw_by_distance(chosen, potential, 100, seed)) for seed in range(50)]
    assert np.mean(counts) == pytest.approx(100, abs=5 * math.sqrt(100 / 50))


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_of_candidates_some_are_made_k_centroids(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    kind = data.draw(st.sampled_from(KINDS))
    candidates = values_of(rng, kind, data.draw(st.integers(1, 60)), data.draw(st.integers(1, 4)))
    weights = rng.integers(1, 1000, len(candidates)).astype(np.float64)
    k, seed = data.draw(st.integers(1, 10)), data.draw(SEEDS)
    centroids = choose_of(candidates, weights, k, seed)
    assert centroids.shape == (k, candidates.shape[1])
    assert np.isfinite(centroids).all()
    assert np.array_equal(choose_of(candidates, weights, k, seed), centroids)
