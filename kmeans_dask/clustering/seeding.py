"""Where k-means starts. Same seed and points, in the same order: same centroids, everywhere."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.clustering.jit import jit
from kmeans_dask.clustering.points import Points
from kmeans_dask.clustering.randomness import Random

Run = Callable[[Callable[[slice], Any], Iterable[slice]], Iterable[Any]]  # as `map`, or threads


class Seeding(Protocol):
    """How to start."""

    def __call__(self, points: Points, k: int, seed: int, run: Run = map) -> NDArray[np.float64]:
        """Draw k of `points`, as (k, C) float64; `run` maps over slices of them, in order."""
        ...


BLOCK = 32  # points with a box of their own
GROUP = 16  # blocks in a group, with a box again
_FAR = 3 * 255 * 255 + 1  # farther than any two colours are apart
_ROUNDED_UP = 1.0 + 2.0**-40
_SLICE = 1 << 18  # points that one call looks at
_FINE = 1 << 20  # steps in which a floating-point weight is taken


def random_points(points: Points, k: int, seed: int, run: Run = map) -> NDArray[np.float64]:
    """Draw k points by weight, each from those not drawn yet: (k, C) float64.

    Needs at least k points that have weight. Equal points count as different ones, unless they
    were counted and are one.
    """
    random = Random(seed)
    weights = points.weights
    if not points.grid.exact:
        fine = np.rint(weights * (_FINE / weights.max())).astype(np.int64)
        weights = np.maximum(fine, weights > 0)  # light ones can be drawn, too
    up_to = np.cumsum(weights)
    chosen: list[int] = []
    taken: list[tuple[int, int]] = []  # first place and number of places of each point chosen
    for _ in range(k):
        place = random.below(int(up_to[-1]) - sum(n for _, n in taken))
        for first, n in taken:  # ascending: step over what is no longer there
            place += n if place >= first else 0
        chosen.append(int(np.searchsorted(up_to, place, side="right")))
        n = int(weights[chosen[-1]])
        insort(taken, (int(up_to[chosen[-1]]) - n, n))
    return points.values[chosen].astype(np.float64)


def kmeans_plus_plus(points: Points, k: int, seed: int, run: Run = map) -> NDArray[np.float64]:
    """Greedy k-means++ on weighted points: (k, C) float64; distinct while there are distinct ones.

    Arthur & Vassilvitskii 2007, "k-means++: the advantages of careful seeding", section 2; of
    2 + log k candidates the one that lowers the potential most is taken, as scikit-learn does.
    """
    random = Random(seed)
    trials = 2 + int(math.log(k))
    colors = points.boxes is not None and points.values.dtype == np.uint8
    colors = colors and points.values.shape[1] == 3
    potential: _Potential = _ColorPotential(points) if colors else _PointPotential(points, run)
    chosen: list[int] = []
    while len(chosen) < k:
        candidates = potential.draw(random, trials if chosen else 1)
        gains = potential.gains(candidates)
        chosen.append(candidates[gains.index(max(gains))])
        potential.take(chosen[-1])
    return points.values[chosen].astype(np.float64)


class _Potential(Protocol):
    """The weighted sum of squared distances of all points to the nearest one chosen."""

    def draw(self, random: Random, n: int) -> list[int]:
        """Points, each with a chance that is its share of the potential."""
        ...

    def gains(self, candidates: Sequence[int]) -> list[float]:
        """How much the potential would fall with each."""
        ...

    def take(self, candidate: int) -> None:
        """Choose it."""
        ...


class _ColorPotential:
    """In integers. A candidate looks only at blocks of colours that it could be nearest to."""

    def __init__(self, points: Points) -> None:
        self._colors = np.ascontiguousarray(points.values.T).astype(np.float32)
        self._weights = _light(points.weights)
        self._blocks = (BLOCK, *_boxes(self._colors, BLOCK))
        self._groups = (GROUP, *_boxes(self._colors, BLOCK * GROUP))
        # per colour, squared, to the nearest one chosen
        self._distances = np.full(len(points), _FAR, np.int64)
        # per block, the sum of weight * distance, and the largest distance
        self._potentials = np.add.reduceat(self._weights, np.arange(0, len(points), BLOCK)) * _FAR
        self._farthest = np.full(len(self._potentials), _FAR, np.int64)
        self._farthest_of_group = np.full(len(self._groups[1]), _FAR, np.int64)

    def draw(self, random: Random, n: int) -> list[int]:
        up_to = np.cumsum(self._potentials)
        return [
            _pick(random.below(int(up_to[-1])), up_to, self._distances, self._weights)
            for _ in range(n)
        ]

    def gains(self, candidates: Sequence[int]) -> list[float]:
        return [self._offer(candidate, take=False) for candidate in candidates]

    def take(self, candidate: int) -> None:
        self._offer(candidate, take=True)

    def _offer(self, candidate: int, *, take: bool) -> int:
        state = self._distances, self._potentials, self._farthest, self._farthest_of_group
        return int(
            _offer(self._colors, self._weights, self._groups, self._blocks, candidate, take, *state)
        )


def _light(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same weights, halved until sums of weight * distance fit 64 bits."""
    while int(weights.sum()) * _FAR >= 2**63:
        weights = np.maximum(weights >> 1, 1)
    return weights


def _boxes(
    colors: NDArray[np.float32], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    starts = np.arange(0, colors.shape[1], size)
    low = np.minimum.reduceat(colors, starts, axis=1)
    high = np.maximum.reduceat(colors, starts, axis=1)
    return (
        np.ascontiguousarray(low.T, dtype=np.float64),
        np.ascontiguousarray(high.T, dtype=np.float64),
    )


def _pick(
    target: int,
    up_to: NDArray[np.int64],
    distances: NDArray[np.int64],
    weights: NDArray[np.int64],
) -> int:
    """The colour that holds place `target` where each takes weight * distance places."""
    block = int(np.searchsorted(up_to, target, side="right"))
    inside = slice(block * BLOCK, (block + 1) * BLOCK)
    places = np.cumsum(distances[inside] * weights[inside])
    before = int(up_to[block - 1]) if block else 0
    return block * BLOCK + int(np.searchsorted(places, target - before, side="right"))


class _PointPotential:
    """In floating point, for any points.

    A point is not looked at where the candidate is so far from the one chosen that is nearest to
    it that it cannot be nearer (Raff 2021, "Exact acceleration of k-means++ and k-means||",
    IJCAI, section 3).
    """

    def __init__(self, points: Points, run: Run = map) -> None:
        self._run = run
        self._values = points.values
        self._weights = points.weights
        n = len(points)
        self._slices = [slice(i, i + _SLICE) for i in range(0, n, _SLICE)]
        self._distances = np.full(n, np.inf)
        self._nearest = np.zeros(n, np.int32)  # which of the chosen
        self._chosen = np.zeros((0, points.values.shape[1]))

    def draw(self, random: Random, n: int) -> list[int]:
        up_to = self._weights * (self._distances if len(self._chosen) else 1.0)
        np.cumsum(up_to, out=up_to)
        if not 0 < up_to[-1] < np.inf:  # no point is anywhere else
            up_to = np.cumsum(self._weights, dtype=np.float64)
        targets = [random.fraction() * up_to[-1] for _ in range(n)]
        found = np.searchsorted(up_to, targets, side="right")
        last = int(np.searchsorted(up_to, up_to[-1]))  # the last one that has any weight
        return [min(int(place), last) for place in found]

    def gains(self, candidates: Sequence[int]) -> list[float]:
        if not len(self._chosen):
            return [0.0] * len(candidates)
        places = self._values[list(candidates)].astype(np.float64)
        apart = ((places[:, None] - self._chosen[None]) ** 2).sum(axis=2)

        def gains(some: slice) -> NDArray[np.float64]:
            found = np.zeros(len(candidates))
            _gains(
                self._values[some], self._weights[some], self._distances[some],
                self._nearest[some], places, apart, found,
            )  # fmt: skip
            return found

        total: list[float] = sum(self._run(gains, self._slices), np.zeros(len(candidates))).tolist()
        return total

    def take(self, candidate: int) -> None:
        place = self._values[candidate].astype(np.float64)
        apart = ((place - self._chosen) ** 2).sum(axis=1) if len(self._chosen) else np.zeros(1)
        number = len(self._chosen)

        def take(some: slice) -> None:
            _take(
                self._values[some], self._distances[some], self._nearest[some],
                place, apart, number,
            )  # fmt: skip

        list(self._run(take, self._slices))
        self._chosen = np.concatenate([self._chosen, place[None]])


# by the names in `kmeans_dask.settings.INITS`
SEEDINGS: dict[str, Seeding] = {"k-means++": kmeans_plus_plus, "random": random_points}


@jit
def _beyond(low, high, x, y, z, distance):  # type: ignore[no-untyped-def]
    """Whether the box is at least `distance`, squared, from the colour x, y, z."""
    dx = max(low[0] - x, x - high[0], 0.0)
    dy = max(low[1] - y, y - high[1], 0.0)
    dz = max(low[2] - z, z - high[2], 0.0)
    return dx * dx + dy * dy + dz * dz >= distance


@jit
def _offer(  # type: ignore[no-untyped-def]
    points,
    weights,
    groups,
    blocks,
    candidate,
    take,
    distances,
    potentials,
    farthest,
    farthest_of_group,
):
    """How much the potential falls if colour `candidate` is chosen; with `take`, choose it.

    A group or block whose farthest colour is nearer to one already chosen than its box is to
    the candidate has nothing to gain.
    """
    # Sizes are arguments: a compiled kernel on disk does not see another file's constant change.
    group_size, group_low, group_high = groups
    block_size, low, high = blocks
    x, y, z = points[0, candidate], points[1, candidate], points[2, candidate]
    n_points = points.shape[1]
    total = np.int64(0)
    for group in range(group_low.shape[0]):
        if _beyond(group_low[group], group_high[group], x, y, z, farthest_of_group[group]):
            continue
        first_block, most_of_group = group * group_size, np.int64(0)
        for block in range(first_block, min(first_block + group_size, low.shape[0])):
            if _beyond(low[block], high[block], x, y, z, farthest[block]):
                most_of_group = max(most_of_group, farthest[block])
                continue
            first = block * block_size
            gain, most = np.int64(0), np.int64(0)
            for i in range(first, min(first + block_size, n_points)):
                px, py, pz = points[0, i] - x, points[1, i] - y, points[2, i] - z
                fall = distances[i] - np.int64(px * px + py * py + pz * pz)
                if fall > 0:
                    gain += weights[i] * fall
                    if take:
                        distances[i] -= fall
                most = max(most, distances[i])
            total += gain
            most_of_group = max(most_of_group, most)
            if take:
                potentials[block] -= gain
                farthest[block] = most
        if take:
            farthest_of_group[group] = most_of_group
    return total


@jit
def _gains(values, weights, distances, nearest, places, apart, gains):  # type: ignore[no-untyped-def]
    """How much the potential falls with a point at each of `places` (m, C).

    apart: (m, chosen) squared distances of these to the ones chosen
    """
    for i in range(values.shape[0]):
        reach = 4.0 * distances[i] * _ROUNDED_UP
        for m in range(places.shape[0]):
            if apart[m, nearest[i]] >= reach:
                continue
            distance = 0.0
            for c in range(values.shape[1]):
                distance += (np.float64(values[i, c]) - places[m, c]) ** 2
            gains[m] += weights[i] * max(0.0, distances[i] - distance)


@jit
def _take(values, distances, nearest, place, apart, number):  # type: ignore[no-untyped-def]
    """Choose a point at `place` (C,), the one of that `number`; `apart` as above."""
    for i in range(values.shape[0]):
        if number > 0 and apart[nearest[i]] >= 4.0 * distances[i] * _ROUNDED_UP:
            continue
        distance = 0.0
        for c in range(values.shape[1]):
            distance += (np.float64(values[i, c]) - place[c]) ** 2
        if distance < distances[i]:
            distances[i], nearest[i] = distance, number
