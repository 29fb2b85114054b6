"""Where k-means starts. All arithmetic is on integers: same seed and counts, same centroids."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.clustering.blocks import BLOCK, GROUP, build_blocks
from kmeans_dask.clustering.counts import ColorCounts
from kmeans_dask.clustering.jit import jit
from kmeans_dask.clustering.randomness import Random

Seeding = Callable[[ColorCounts, int, int], NDArray[np.float64]]

_FAR = 3 * 255 * 255 + 1  # farther than any two colours are apart


def random_pixels(counts: ColorCounts, k: int, seed: int) -> NDArray[np.float64]:
    """Draw k pixels uniformly, each from those of colours not drawn yet: (k, 3) float64.

    Needs at least k colours.
    """
    random = Random(seed)
    up_to = np.cumsum(counts.weights)
    chosen: list[int] = []
    taken: list[tuple[int, int]] = []  # first pixel and number of pixels of each colour chosen
    for _ in range(k):
        pixel = random.below(int(up_to[-1]) - sum(n for _, n in taken))
        for first, n in taken:  # ascending: step over what is no longer there
            pixel += n if pixel >= first else 0
        chosen.append(int(np.searchsorted(up_to, pixel, side="right")))
        n = int(counts.weights[chosen[-1]])
        insort(taken, (int(up_to[chosen[-1]]) - n, n))
    return counts.colors[chosen].astype(np.float64)


def kmeans_plus_plus(counts: ColorCounts, k: int, seed: int) -> NDArray[np.float64]:
    """Greedy k-means++ on weighted colours: (k, 3) float64, distinct. Needs at least k colours.

    Arthur & Vassilvitskii 2007, "k-means++: the advantages of careful seeding", section 2; of
    2 + log k candidates the one that lowers the potential most is taken, as scikit-learn does.
    A candidate looks only at blocks of colours that it could be nearest to.
    """
    random = Random(seed)
    trials = 2 + int(math.log(k))
    blocks = build_blocks(_light(counts))
    weights = blocks.counts.weights
    distances = np.full(len(counts), _FAR, np.int64)  # squared, to the nearest colour chosen
    potentials = blocks.blocks.weights * _FAR  # per block, the sum of weight * distance
    farthest = np.full(len(potentials), _FAR, np.int64)  # per block, the largest distance
    farthest_of_group = np.full(len(blocks.groups.weights), _FAR, np.int64)

    def offer(candidate: int, *, take: bool) -> int:
        groups = GROUP, blocks.groups.low, blocks.groups.high
        of_blocks = BLOCK, blocks.blocks.low, blocks.blocks.high
        state = distances, potentials, farthest, farthest_of_group
        return int(_offer(blocks.points, weights, groups, of_blocks, candidate, take, *state))

    chosen: list[int] = []
    while len(chosen) < k:
        up_to = np.cumsum(potentials)
        candidates = [
            _pick(random.below(int(up_to[-1])), up_to, distances, weights)
            for _ in range(trials if chosen else 1)
        ]
        gains = [offer(candidate, take=False) for candidate in candidates]
        chosen.append(candidates[gains.index(max(gains))])
        offer(chosen[-1], take=True)
    return counts.colors[chosen].astype(np.float64)


def _light(counts: ColorCounts) -> ColorCounts:
    """The same colours with weights halved until sums of weight * distance fit 64 bits."""
    while counts.pixels * _FAR >= 2**63:
        counts = ColorCounts(counts.codes, np.maximum(counts.weights >> 1, 1))
    return counts


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


# by the names in `kmeans_dask.settings.INITS`
SEEDINGS: dict[str, Seeding] = {"k-means++": kmeans_plus_plus, "random": random_pixels}
