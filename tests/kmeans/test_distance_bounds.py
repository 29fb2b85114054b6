from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.kmeans.distance_bounds import (
    AT_ONCE,
    FAR,
    PAD,
    PADDING,
    TILE,
    bound_gaps,
    filter_box,
    is_settled,
    list_candidates,
    list_unsettled,
    lower_heights,
    search_plainly,
    search_tile,
)
from kmeans_dask.kmeans.plain import plain_distances, plain_labels
from tests.kmeans.strategies import SEEDS, Rng, float_values

Floats = NDArray[np.float64]
PLACES = ("floats", "eighths", "duplicates", "ulps", "far", "beyond", "tiny")
START = 48  # column of the first point of a tile


def frame_places(rng: Rng, kind: str, n: int, channels: int) -> Floats:
    """Centroids in a frame, (n, C)."""
    places = rng.uniform(-1, 1, (n, channels))
    if kind == "eighths":  # where many are as far from a point as others
        return rng.integers(-8, 9, (n, channels)) / 8
    if kind == "duplicates":
        return np.asarray(rng.choice(places[: 1 + n // 3], n))
    if kind == "ulps":
        some = rng.choice(places[: 1 + n // 4], n)
        return np.asarray(np.nextafter(some, rng.choice([-np.inf, np.inf], some.shape)))
    if kind in ("far", "beyond"):  # some of them
        far = 10.0 ** rng.integers(1, 12 if kind == "far" else 25, (n, 1))
        return np.asarray(np.where(rng.random((n, 1)) < 0.5, places * far, places))
    return places * (10.0 ** rng.integers(-24, -3) if kind == "tiny" else 1.0)


def filtered(
    low: Floats, high: Floats, ids: NDArray[np.int32], n: int, centers: Floats
) -> tuple[NDArray[np.int32], int, Floats]:
    """The ids that `filter_box` keeps, how many these are, and their centroids."""
    kept, kept_centers, work = np.empty_like(ids), np.empty_like(centers), np.empty(len(ids))
    n_kept = filter_box(low, high, ids, n, centers, kept, kept_centers, work)
    return kept, n_kept, kept_centers


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_no_centroid_is_dropped_that_is_nearest_to_some_point_of_a_box(
    channels: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    k = data.draw(st.integers(1, 40))
    places = frame_places(rng, data.draw(st.sampled_from(PLACES)), k, channels)
    centers = np.full((channels, k + PADDING), FAR)
    centers[:, :k] = places.T
    ids = np.arange(k + PADDING).astype(np.int32)
    middle = np.rint(rng.uniform(-8, 8, channels)) / 8
    half = rng.random(channels) * data.draw(st.sampled_from([0.0, 2.0**-50, 2.0**-8, 0.125, 1.0]))
    low, high = middle - half, middle + half
    n = k
    for _ in range(2):  # an outer box, and one inside it, for those that are left
        kept, n_kept, kept_centers = filtered(low, high, ids, n, centers)
        corners = np.array(list(itertools.product(*zip(low, high, strict=True))))
        inside = rng.uniform(low, high, (50, channels))
        labels = plain_labels(np.concatenate([corners, inside, [middle]]), places)
        assert set(labels.tolist()) <= set(kept[:n_kept].tolist())
        assert (np.diff(kept[:n_kept]) > 0).all()
        assert np.array_equal(kept_centers[:, :n_kept].T, places[kept[:n_kept]])
        assert (kept_centers[:, n_kept : n_kept + PADDING] == FAR).all()
        ids, n, centers = kept, n_kept, kept_centers
        low, middle, high = np.sort(rng.uniform(low, high, (3, channels)), axis=0)


def test_a_box_beside_one_centroid_of_many_keeps_only_that_one() -> None:
    grid = np.array(list(itertools.product(range(16, 256, 32), repeat=3)), np.float64) / 128 - 1
    k = len(grid)
    centers = np.full((3, k + PADDING), FAR)
    centers[:, :k] = grid.T
    ids = np.arange(k + PADDING).astype(np.int32)
    kept, kept_centers, work = ids.copy(), centers.copy(), np.empty(k + PADDING)
    for j in (0, 77, k - 1):
        box = grid[j] - 3 / 128, grid[j] + 4 / 128
        n = filter_box(*box, ids, k, centers, kept, kept_centers, work)
        assert kept[:n].tolist() == [j]
        assert kept_centers[:, 0].tolist() == grid[j].tolist()


class Search:
    """What `search_tile` finds for points (n, C) and centroids (k, C) of a frame.

    ids: of the centroids; error, errors: how much scores may be too low, at most and each
    best, second, which: of the points
    """

    def __init__(self, points: Floats, places: Floats) -> None:
        (n, channels), k = points.shape, len(places)
        depth = channels if channels == 3 else -(-channels // 4) * 4
        x = np.zeros((depth, START + TILE), np.float32)
        x[:channels, START : START + n] = points.T
        near = np.zeros((k + AT_ONCE, depth), np.float32)
        norms, heights = np.empty(k), np.empty(k)
        lowered, self.errors = np.empty((2, k + AT_ONCE), np.float32)
        list_candidates(k, np.ascontiguousarray(places.T), near, norms, heights)
        reach = float(np.sqrt((points**2).sum(axis=1).max())) * (1 + 2.0**-40)
        self.error = lower_heights(k, channels, reach, norms, heights, lowered, self.errors)
        self.ids = (7 + 3 * np.arange(k + AT_ONCE)).astype(np.int32)
        self.best, self.second = np.empty((2, TILE), np.float32)
        self.which = np.empty(TILE, np.int32)
        search_tile(
            x, START, -(-n // 16) * 16, near, lowered, self.ids, -(-k // AT_ONCE) * AT_ONCE,
            None if channels == 3 else np.empty((AT_ONCE, TILE), np.float32),
            self.best, self.second, self.which,
        )  # fmt: skip


def exact_scores(points: Floats, places: Floats) -> list[list[Fraction]]:
    """|c|^2 / 2 - x.c of each point and each centroid."""
    rows = [[Fraction(c) for c in place] for place in places.tolist()]
    heights = [sum((c * c for c in row), Fraction(0)) / 2 for row in rows]
    return [
        [
            height - sum((x * c for x, c in zip(point, row, strict=True)), Fraction(0))
            for row, height in zip(rows, heights, strict=True)
        ]
        for point in ([Fraction(x) for x in point] for point in points.tolist())
    ]


@st.composite
def tiles(draw: st.DrawFn, channels: int, least: int = 1) -> tuple[Floats, Floats]:
    """A few points and centroids, `least` or more, in a frame; points may be centroids."""
    rng = np.random.default_rng(draw(SEEDS))
    k, kind = draw(st.integers(least, 11)), draw(st.sampled_from(PLACES))
    places = frame_places(rng, kind, k, channels)
    points = frame_places(rng, draw(st.sampled_from(["floats", "eighths", "tiny"])), 17, channels)
    if draw(st.booleans()):
        points[: min(k, 17)] = places[:17].clip(-1, 1)
    return points[: draw(st.integers(1, 17))], places


def at_most(error: np.float32) -> Fraction | float:
    """How much a score may be too low; of a centroid whose coordinates were clipped, anything."""
    return math.inf if error == PAD else Fraction(float(error))


def others(scores: list[Any], nearest: int) -> list[Any]:
    return scores[:nearest] + scores[nearest + 1 :]


@pytest.mark.parametrize("channels", [1, 3, 4, 5, 8])
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_scores_of_a_tile_are_lower_bounds_that_are_off_by_at_most_their_errors(
    channels: int, data: st.DataObject
) -> None:
    points, places = data.draw(tiles(channels))
    found = Search(points, places)
    errors = [at_most(error) for error in found.errors[: len(places)]]
    assert at_most(found.error) == max(errors)
    for i, scores in enumerate(exact_scores(points, places)):
        j = found.ids.tolist().index(found.which[i])
        best, second = Fraction(float(found.best[i])), Fraction(float(found.second[i]))
        assert best <= min(scores)
        assert scores[j] <= best + errors[j]
        if len(places) == 1:
            assert second == Fraction(float(PAD))
            continue
        assert second <= min(others(scores, j))
        lowest = [score - error for score, error in zip(scores, errors, strict=True)]
        assert min(others(lowest, j)) <= second


@pytest.mark.parametrize("channels", [3, 5])
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_points_are_unsettled_unless_their_label_is_certainly_nearest(
    channels: int, data: st.DataObject
) -> None:
    points, places = data.draw(tiles(channels))
    n = len(points)
    found = Search(points, places)
    rng = np.random.default_rng(data.draw(SEEDS))
    labels = np.full(START + TILE, -1, np.int32)
    labels[START : START + n] = found.which[:n]
    if data.draw(st.booleans()):
        labels[START : START + n] = rng.choice(found.ids[: len(places)], n)
    common = START, n, found.best, found.second, found.which, np.float32(found.error), labels
    unsettled = np.empty(TILE, np.int64)
    n_unsettled = list_unsettled(*common, unsettled)
    assert is_settled(*common) == (n_unsettled == 0)
    listed = unsettled[:n_unsettled].tolist()
    for i, scores in enumerate(exact_scores(points, places)):
        j = found.ids.tolist().index(labels[START + i])
        lead = min(others(scores, j), default=math.inf) - scores[j]
        if i not in listed:
            assert lead > 0
        if lead > 3 * at_most(found.error):
            assert i not in listed


@pytest.mark.parametrize("channels", [3, 5])
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_gaps_are_lower_bounds_and_known_where_the_nearest_is_clear(
    channels: int, data: st.DataObject
) -> None:
    points, places = data.draw(tiles(channels, least=2))
    n = len(points)
    found = Search(points, places)
    squares, gaps = np.zeros(TILE, np.float32), np.empty(TILE, np.float32)
    squares[:n] = (points**2).sum(axis=1) * (1 + 2.0**-23)
    # which are found by id
    errors = np.zeros(int(found.ids[-1]) + 1, np.float32)
    errors[found.ids] = found.errors
    bound_gaps(n, squares, found.best, found.second, found.which, errors, gaps)
    distances = np.sqrt(plain_distances(points, places))
    for i, scores in enumerate(exact_scores(points, places)):
        j = found.ids.tolist().index(found.which[i])
        lead = min(others(scores, j)) - scores[j]
        if lead > 3 * at_most(found.error):
            assert gaps[i] >= 0
        if gaps[i] >= 0:
            assert lead > 0
            second = np.delete(distances[i], j).min()
            assert gaps[i] <= (second - distances[i, j]) + 2.0**-45 * second


def test_the_gap_behind_a_single_centroid_is_large_and_finite() -> None:
    """Check the case that a list has no second centroid but padding."""
    which, errors = np.zeros(TILE, np.int32), np.zeros(1, np.float32)
    zeros, gaps = np.zeros(TILE, np.float32), np.empty(TILE, np.float32)
    bound_gaps(TILE, zeros, zeros, np.full(TILE, PAD), which, errors, gaps)
    assert np.isfinite(gaps).all()
    assert (gaps > 1e18).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_plain_search_is_the_plain_loop_and_ties_go_to_the_lowest(
    dtype: Any, data: st.DataObject
) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    k, channels = data.draw(st.integers(1, 20)), data.draw(st.sampled_from([1, 2, 3, 5]))
    kind = data.draw(st.sampled_from(["ties", "blobs", "duplicates"]))
    values = np.abs(float_values(rng, kind, 30, channels, np.float64)).astype(dtype)
    centroids = float_values(rng, kind, k, channels, np.float64)
    n = data.draw(st.integers(1, k))
    candidates = np.zeros(k + PADDING, np.int32)
    candidates[:n] = np.sort(rng.choice(k, n, replace=False))
    distances = plain_distances(values, centroids[candidates[:n]])
    for p, row in enumerate(distances):
        label, nearest, next_nearest = search_plainly(values, p, centroids, candidates, n)
        assert label == candidates[row.argmin()]
        assert [nearest, next_nearest] == [*sorted(row), np.inf][:2]
