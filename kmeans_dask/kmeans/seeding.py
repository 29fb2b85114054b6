"""Seeding of k-means: k-means++, and random points.

The same seed and the same points, in the same order, give the same centroids on every machine.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit
from kmeans_dask.kmeans.points import Points
from kmeans_dask.kmeans.random_bits import Random

# `map`, or a function like it that uses threads
Run = Callable[[Callable[[slice], Any], Iterable[slice]], Iterable[Any]]


class Seeding(Protocol):
    """Function that draws the initial centroids of k-means from points."""

    def __call__(
        self,
        points: Points,
        k: int,
        seed: int,
        run: Run = map,
        given: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Return k of `points`, as (k, C) float64.

        run: maps a function over slices of the points, in order
        given: (m, C), centroids that are chosen already, and are not part of the result
        """
        ...


BLOCK = 32  # points in a block, which has a box
GROUP = 16  # blocks in a group, which has a box too
_FAR = 3 * 255 * 255 + 1  # squared distance that is larger than that of any two colours
_ROUNDED_UP = 1.0 + 2.0**-40
_SLICE = 1 << 18  # points that are looked at in one call
_FINE = 1 << 20  # steps from 0 to the largest floating-point weight, to which weights are rounded


def random_points(
    points: Points,
    k: int,
    seed: int,
    run: Run = map,
    given: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return k points, (k, C) float64, drawn by weight, each from those not drawn yet.

    At least k points must have weight. Equal points count as different ones, unless they come from
    a histogram, in which they are one.
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
        for first, n in taken:  # ascending: skip the places of points that were drawn before
            place += n if place >= first else 0
        chosen.append(int(np.searchsorted(up_to, place, side="right")))
        n = int(weights[chosen[-1]])
        insort(taken, (int(up_to[chosen[-1]]) - n, n))
    return points.values[chosen].astype(np.float64)


def kmeans_plus_plus(
    points: Points,
    k: int,
    seed: int,
    run: Run = map,
    given: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return k points, (k, C) float64, chosen from weighted points by greedy k-means++.

    Arthur & Vassilvitskii 2007, "k-means++: the advantages of careful seeding", section 2; of
    2 + log k candidates the one that lowers the potential most is chosen, as in scikit-learn. The
    points are distinct as long as there are distinct ones.
    """
    random = Random(seed)
    trials = 2 + int(math.log(k))
    if points.spatially_sorted and points.values.dtype == np.uint8 and points.values.shape[1] == 3:
        return _seed_colors(points, k, trials, random, given)
    places = np.zeros((0, points.values.shape[1])) if given is None else given
    if points.spatially_sorted and len(points) <= _SLICE:
        return _seed_sorted(points, k, trials, random, places)
    potential = _PointPotential(points, run)
    for place in places:
        potential.take(place)
    chosen: list[int] = []
    while len(chosen) < k:
        candidates = potential.draw(random, trials if len(chosen) + len(places) else 1)
        gains = potential.gains(candidates)
        chosen.append(candidates[gains.index(max(gains))])
        potential.take(points.values[chosen[-1]].astype(np.float64))
    return points.values[chosen].astype(np.float64)


def _seed_colors(
    points: Points, k: int, trials: int, random: Random, given: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return the result of `kmeans_plus_plus` for 8-bit colours, computed in integers.

    Only those blocks of colours are looked at in which a candidate could lower the potential.
    """
    colors = np.ascontiguousarray(points.values.T).astype(np.float32)
    weights = _light(points.weights)
    n = len(points)
    places = np.zeros((0, 3)) if given is None else given
    distances = np.full(n, _FAR, np.int32)  # squared, from each colour to the nearest chosen one
    potentials = np.add.reduceat(weights, np.arange(0, n, BLOCK)) * _FAR  # one for each block
    farthest = np.full(len(potentials), _FAR, np.int32)
    groups = _runs(colors, GROUP, BLOCK * GROUP)
    farthest_of_group = np.full(groups.low.shape[1], _FAR, np.int32)
    chosen: NDArray[np.int64] = _choose(
        colors,
        weights,
        groups,
        _runs(colors, BLOCK, BLOCK),
        _Potential(distances, potentials, farthest, farthest_of_group),
        places.astype(np.float32),
        random.raw(2 * k * trials),
        k,
        trials,
    )
    return points.values[chosen].astype(np.float64)


def _seed_sorted(
    points: Points, k: int, trials: int, random: Random, given: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the result of `kmeans_plus_plus` for few points of which consecutive ones are near.

    The points are one slice. The result is that of `_PointPotential` to the last bit, but only
    those blocks of points are looked at in which a candidate could lower the potential.
    """
    values = np.ascontiguousarray(points.values, dtype=np.float64)
    starts = np.arange(0, len(values), BLOCK)
    chosen: NDArray[np.int64] = _choose_points(
        values,
        points.weights.astype(np.float64),
        BLOCK,
        np.minimum.reduceat(values, starts),
        np.maximum.reduceat(values, starts),
        np.ascontiguousarray(given, dtype=np.float64),
        random.raw(2 * k * trials),
        k,
        trials,
    )
    return points.values[chosen].astype(np.float64)


def _light(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the weights, halved until sums of weight * distance fit 64 bits."""
    while int(weights.sum()) * _FAR >= 2**63:
        weights = np.maximum(weights >> 1, 1)
    return weights


class _Runs(NamedTuple):
    """Boxes around runs of consecutive colours.

    size: length of a run: colours in a block, or blocks in a group
    low, high: (3, runs) float32, the corners of the boxes
    """

    size: int
    low: NDArray[np.float32]
    high: NDArray[np.float32]


def _runs(colors: NDArray[np.float32], size: int, n_colors: int) -> _Runs:
    """Return the boxes around runs of `n_colors` of the colours (3, n)."""
    starts = np.arange(0, colors.shape[1], n_colors)
    low = np.minimum.reduceat(colors, starts, axis=1)
    return _Runs(size, low, np.maximum.reduceat(colors, starts, axis=1))


class _Potential(NamedTuple):
    """Potential of colours: the weighted sum of squared distances to the nearest chosen one.

    distances: (n,) int32, squared, from each colour to the nearest chosen one
    of_blocks: (blocks,) int64, the potential of each block
    farthest, farthest_of_group: (blocks,) and (groups,) int32, the largest distance in each
    """

    distances: NDArray[np.int32]
    of_blocks: NDArray[np.int64]
    farthest: NDArray[np.int32]
    farthest_of_group: NDArray[np.int32]


class _PointPotential:
    """Potential of any points: the weighted sum of squared distances to the nearest chosen point.

    It is computed in floating point. A point is skipped where a candidate is so far from the chosen
    point nearest to it that the candidate cannot be nearer (Raff 2021, "Exact acceleration of
    k-means++ and k-means||", IJCAI, section 3).
    """

    def __init__(self, points: Points, run: Run = map) -> None:
        self._run = run
        self._values = points.values
        self._weights = points.weights
        n = len(points)
        self._slices = [slice(i, i + _SLICE) for i in range(0, n, _SLICE)]
        self._distances = np.full(n, np.inf)
        self._nearest = np.zeros(n, np.int32)  # number of the nearest chosen point
        self._chosen = np.zeros((0, points.values.shape[1]))

    def draw(self, random: Random, n: int) -> list[int]:
        """Return the indices of `n` points, each drawn with a chance by its share of the potential.

        Before any point is chosen, the chance is by weight.
        """
        up_to = self._weights * (self._distances if len(self._chosen) else 1.0)
        np.cumsum(up_to, out=up_to)
        if not 0 < up_to[-1] < np.inf:  # every point equals a chosen one, or the sum overflows
            up_to = np.cumsum(self._weights, dtype=np.float64)
        targets = [random.fraction() * up_to[-1] for _ in range(n)]
        found = np.searchsorted(up_to, targets, side="right")
        last = int(np.searchsorted(up_to, up_to[-1]))  # the last point with a share
        return [min(int(place), last) for place in found]

    def gains(self, candidates: Sequence[int]) -> list[float]:
        """Return how much the potential would fall if each candidate were chosen."""
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

    def take(self, place: NDArray[np.float64]) -> None:
        """Choose a place (C,), and update the distances to the nearest chosen point."""
        apart = ((place - self._chosen) ** 2).sum(axis=1) if len(self._chosen) else np.zeros(1)
        number = len(self._chosen)

        def take(some: slice) -> None:
            _take(
                self._values[some], self._distances[some], self._nearest[some],
                place, apart, number,
            )  # fmt: skip

        list(self._run(take, self._slices))
        self._chosen = np.concatenate([self._chosen, place[None]])


# The names are those in `kmeans_dask.settings.INITS`.
SEEDINGS: dict[str, Seeding] = {"k-means++": kmeans_plus_plus, "random": random_points}


@jit
def _choose(points, weights, groups, blocks, potential, given, raw, k, trials):  # type: ignore[no-untyped-def]
    """Return the indices of k colours, chosen one after the other by greedy k-means++.

    groups, blocks: `_Runs`; sizes are in them, because a kernel cached on disk does not notice when
        a constant of another file changes
    potential: `_Potential`, which `_offer` updates
    given: (m, 3), colours that are chosen before
    raw: (2 k trials,) uint64, random bits, the most that can be needed
    """
    # No literals: `_offer` would be compiled for each of them.
    take, try_only = np.bool_(True), np.bool_(False)
    for place in range(given.shape[0]):
        x, y, z = given[place, 0], given[place, 1], given[place, 2]
        _offer(points, weights, groups, blocks, potential, x, y, z, take)
    chosen = np.empty(k, np.int64)
    used = 0
    for number in range(k):
        up_to = np.cumsum(potential.of_blocks)
        total = np.uint64(up_to[-1])
        best, most = -1, np.int64(-1)
        for _ in range(trials if number or given.shape[0] else 1):
            target = np.int64(_below(raw[used], raw[used + 1], total))
            used += 2
            candidate = _pick(target, up_to, blocks.size, potential.distances, weights)
            x, y, z = points[0, candidate], points[1, candidate], points[2, candidate]
            gain = _offer(points, weights, groups, blocks, potential, x, y, z, try_only)
            if gain > most:
                best, most = candidate, gain
        chosen[number] = best
        x, y, z = points[0, best], points[1, best], points[2, best]
        _offer(points, weights, groups, blocks, potential, x, y, z, take)
    return chosen


@jit
def _choose_points(values, weights, block_size, low, high, given, raw, k, trials):  # type: ignore[no-untyped-def]
    """Return the indices of k points, chosen one after the other by greedy k-means++.

    low, high: (blocks, C), the corners of the boxes around `block_size` consecutive values (n, C)
    given: (m, C), places that are chosen before
    raw: (2 k trials,) uint64, random bits, the most that can be needed
    """
    n, n_blocks = values.shape[0], low.shape[0]
    distances = np.full(n, np.inf)  # squared, from each point to the nearest chosen one
    farthest = np.full(n_blocks, np.inf)
    for number in range(given.shape[0]):
        _take_sorted(values, distances, farthest, block_size, low, high, given[number])
    up_to = np.empty(n)
    chosen = np.empty(k, np.int64)
    used = 0
    for number in range(k):
        is_first = number == 0 and given.shape[0] == 0
        total = 0.0
        for i in range(n):
            total += weights[i] * (1.0 if is_first else distances[i])
            up_to[i] = total
        if not 0.0 < total < np.inf:  # every point equals a chosen one, or the sum overflows
            total = 0.0
            for i in range(n):
                total += weights[i]
                up_to[i] = total
        last = np.searchsorted(up_to, total)  # the last point with a share
        best, most = -1, -1.0
        for _ in range(1 if is_first else trials):
            target = (raw[used] >> np.uint64(11)) * 2.0**-53 * total
            used += 2
            candidate = min(np.searchsorted(up_to, target, side="right"), last)
            gain = 0.0
            if not is_first:
                gain = _gain_sorted(
                    values, weights, distances, farthest, block_size, low, high, values[candidate]
                )
            if gain > most:
                best, most = candidate, gain
        chosen[number] = best
        _take_sorted(values, distances, farthest, block_size, low, high, values[best])
    return chosen


@jit
def _bound_apart(low, high, place):  # type: ignore[no-untyped-def]
    """Return a squared distance that no point in a box has less of to `place`, however rounded."""
    bound = 0.0
    for c in range(place.shape[0]):
        bound += max(low[c] - place[c], place[c] - high[c], 0.0) ** 2
    return bound


@jit
def _gain_sorted(values, weights, distances, farthest, block_size, low, high, place):  # type: ignore[no-untyped-def]
    """Return how much the potential falls with a point at `place` (C,)."""
    gain = 0.0
    for block in range(low.shape[0]):
        if _bound_apart(low[block], high[block], place) >= farthest[block]:
            continue
        first = block * block_size
        for i in range(first, min(first + block_size, values.shape[0])):
            distance = 0.0
            for c in range(values.shape[1]):
                distance += (values[i, c] - place[c]) ** 2
            gain += weights[i] * max(0.0, distances[i] - distance)
    return gain


@jit
def _take_sorted(values, distances, farthest, block_size, low, high, place):  # type: ignore[no-untyped-def]
    """Choose a point at `place` (C,): update distances, and the largest one in each block."""
    for block in range(low.shape[0]):
        if _bound_apart(low[block], high[block], place) >= farthest[block]:
            continue
        first = block * block_size
        most = 0.0
        for i in range(first, min(first + block_size, values.shape[0])):
            distance = 0.0
            for c in range(values.shape[1]):
                distance += (values[i, c] - place[c]) ** 2
            distances[i] = min(distances[i], distance)
            most = max(most, distances[i])
        farthest[block] = most


@jit
def _below(high, low, n):  # type: ignore[no-untyped-def]
    """Return bits * n / 2^128, a uniform integer in [0, n), as `Random.below` does.

    high, low: uint64, the upper and lower half of 128 random bits
    """
    carry = _high_product(low, n)
    product = high * n
    return _high_product(high, n) + np.uint64(product + carry < product)


@jit
def _high_product(a, b):  # type: ignore[no-untyped-def]
    """Return the upper 64 bits of the product of two 64-bit integers."""
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    a_high, a_low, b_high, b_low = a >> half, a & mask, b >> half, b & mask
    middle = a_high * b_low + ((a_low * b_low) >> half)
    other = a_low * b_high + (middle & mask)
    return a_high * b_high + (middle >> half) + (other >> half)


@jit
def _pick(target, up_to, block_size, distances, weights):  # type: ignore[no-untyped-def]
    """Return the index of the colour at place `target`, where each has weight * distance places.

    up_to: (blocks,), the places of each block of colours and all before it
    """
    block = min(np.searchsorted(up_to, target, side="right"), up_to.shape[0] - 1)
    if block > 0:
        target -= up_to[block - 1]
    last = min((block + 1) * block_size, distances.shape[0]) - 1
    color = block * block_size
    while color < last and target >= distances[color] * weights[color]:
        target -= distances[color] * weights[color]
        color += 1
    return color


@jit
def _offer(points, weights, groups, blocks, potential, x, y, z, take):  # type: ignore[no-untyped-def]
    """Return how much the potential falls if the colour x, y, z is chosen; with `take`, choose it.

    groups, blocks: `_Runs`; potential: `_Potential`, updated in place with `take`

    A group or block has nothing to gain, and is skipped, where its largest distance is not larger
    than the distance of its box to x, y, z. The others are listed first, so that no branch depends
    on a comparison: it would be mispredicted.
    """
    group_size, group_low, group_high = groups.size, groups.low, groups.high
    block_size, low, high = blocks.size, blocks.low, blocks.high
    distances, potentials = potential.distances, potential.of_blocks
    farthest, farthest_of_group = potential.farthest, potential.farthest_of_group
    n_points, n_blocks, n_groups = points.shape[1], low.shape[1], group_low.shape[1]
    apart = np.empty(n_groups, np.float32)
    for g in range(n_groups):
        dx = max(group_low[0, g] - x, x - group_high[0, g], np.float32(0.0))
        dy = max(group_low[1, g] - y, y - group_high[1, g], np.float32(0.0))
        dz = max(group_low[2, g] - z, z - group_high[2, g], np.float32(0.0))
        apart[g] = dx * dx + dy * dy + dz * dz
    some_groups = np.empty(n_groups, np.int64)
    n_some_groups = 0
    for g in range(n_groups):
        some_groups[n_some_groups] = g
        n_some_groups += apart[g] < farthest_of_group[g]

    some_blocks = np.empty(n_some_groups * group_size, np.int64)
    nearest = np.empty(group_size, np.float32)
    n_some_blocks = 0
    for i_group in range(n_some_groups):
        first = some_groups[i_group] * group_size
        size = min(group_size, n_blocks - first)
        for i in range(size):
            b = np.uint64(first + i)  # unsigned: no check for an index counted from the end
            dx = max(low[0, b] - x, x - high[0, b], np.float32(0.0))
            dy = max(low[1, b] - y, y - high[1, b], np.float32(0.0))
            dz = max(low[2, b] - z, z - high[2, b], np.float32(0.0))
            nearest[i] = dx * dx + dy * dy + dz * dz
        for i in range(size):
            b = np.uint64(first + i)
            some_blocks[n_some_blocks] = b
            n_some_blocks += nearest[i] < farthest[b]

    total = np.int64(0)
    for i_block in range(n_some_blocks):
        block = some_blocks[i_block]
        first = block * block_size
        size = min(block_size, n_points - first)
        if size == BLOCK and not take:  # the compiler knows the length of a whole block
            total += _whole_gain(points, weights, distances, first, x, y, z)
            continue
        gain, most = np.int64(0), np.int32(0)
        for i in range(size):
            p = np.uint64(first + i)
            px, py, pz = points[0, p] - x, points[1, p] - y, points[2, p] - z
            nearer = min(distances[p], np.int32(px * px + py * py + pz * pz))
            gain += weights[p] * np.int64(distances[p] - nearer)
            distances[p] = nearer if take else distances[p]
            most = max(most, nearer)
        total += gain
        if take:
            potentials[block] -= gain
            farthest[block] = most
    if take:
        for i_group in range(n_some_groups):
            first = some_groups[i_group] * group_size
            most = np.int32(0)
            for block in range(first, min(first + group_size, n_blocks)):
                most = max(most, farthest[block])
            farthest_of_group[some_groups[i_group]] = most
    return total


@jit
def _whole_gain(points, weights, distances, first, x, y, z):  # type: ignore[no-untyped-def]
    """Return how much the potential of a whole block falls if the colour x, y, z is chosen."""
    gain = np.int64(0)
    for i in range(BLOCK):
        p = np.uint64(first + i)
        px, py, pz = points[0, p] - x, points[1, p] - y, points[2, p] - z
        nearer = min(distances[p], np.int32(px * px + py * py + pz * pz))
        gain += weights[p] * np.int64(distances[p] - nearer)
    return gain


@jit
def _gains(values, weights, distances, nearest, places, apart, gains):  # type: ignore[no-untyped-def]
    """Add to `gains` how much the potential falls with a point at each of `places` (m, C).

    apart: (m, chosen), squared distances of the places to the chosen points
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
    """Choose a point at `place` (C,), as the chosen point of this `number`.

    distances, nearest: updated for each point that the place is nearer to
    apart: (chosen,), squared distances of the place to the points chosen before
    """
    for i in range(values.shape[0]):
        if number > 0 and apart[nearest[i]] >= 4.0 * distances[i] * _ROUNDED_UP:
            continue
        distance = 0.0
        for c in range(values.shape[1]):
            distance += (np.float64(values[i, c]) - place[c]) ** 2
        if distance < distances[i]:
            distances[i], nearest[i] = distance, number
