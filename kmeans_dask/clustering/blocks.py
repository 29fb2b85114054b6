"""The exact Lloyd step, made fast: most centroids are ruled out for whole blocks of colours.

Colours in Morton order are cut into blocks of a few dozen, each with its tight box; blocks are
grouped once more. Going down, a centroid that some other one beats everywhere in the box is
dropped. Where one is left, the block is added whole; else its colours look at those left only.

The rule is the filter of Kanungo et al. 2002, "An efficient k-means clustering algorithm:
analysis and implementation", PAMI 24(7), section 2, on flat blocks instead of a kd-tree. A
centroid is dropped only where it loses by more than rounding could make up for, and distances
are then computed as in `plain`, so labels and sums are those of the plain loop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.clustering.counts import ColorCounts
from kmeans_dask.clustering.jit import jit
from kmeans_dask.clustering.partial import FarPoints, Partial

BLOCK = 32  # colours in a block: a few SIMD registers full
GROUP = 16  # blocks in a group

# A centroid is dropped when it is farther by more than this at every corner. Squared distances of
# 8-bit colours are below 2^18 and their rounding errors below 2^-33, far less.
_MARGIN = 2.0**-20


@dataclass(frozen=True)
class Level:
    """Boxes over consecutive runs of colours, and what they hold together.

    low, high: (b, 3) float64, the corners of the tight box of each run
    weights: (b,) int64
    sums: (b, 3) int64
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    weights: NDArray[np.int64]
    sums: NDArray[np.int64]


@dataclass(frozen=True)
class ColorBlocks:
    """A chunk of weighted colours, ready to be measured against any centroids.

    counts: the colours and weights
    points: (3, u) float32, the colours, channel by channel
    blocks, groups: runs of BLOCK colours, and of BLOCK * GROUP
    square_sums: per channel, over all colours
    """

    counts: ColorCounts
    points: NDArray[np.float32]
    blocks: Level
    groups: Level
    square_sums: tuple[int, ...]

    def partial(self, centroids: NDArray[np.float64], n_far: int = 0) -> Partial:
        """One Lloyd step's sums, given centroids (k, 3) float64.

        With `n_far`, also that many colours farthest from their centroid: a slower pass.
        """
        weights, sums, labels = self._step(centroids, labelled=n_far > 0)
        far = self._far(centroids, labels, n_far) if n_far else None
        return Partial(weights, sums, self.square_sums, far)

    def labels(self, centroids: NDArray[np.float64]) -> NDArray[np.uint32]:
        """Index of the nearest centroid of each colour, (u,); ties go to the lowest index."""
        return self._step(centroids, labelled=True)[2]

    def _step(
        self, centroids: NDArray[np.float64], *, labelled: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]:
        weights = np.zeros(len(centroids), np.int64)
        sums = np.zeros((len(centroids), 3), np.int64)
        labels = np.empty(len(self.counts) if labelled else 0, np.uint32)
        _step(
            self.points,
            self.counts.weights,
            (self.blocks.low, self.blocks.high, self.blocks.weights, self.blocks.sums),
            (self.groups.low, self.groups.high, self.groups.weights, self.groups.sums),
            np.ascontiguousarray(centroids.T, dtype=np.float64),
            weights,
            sums,
            labels,
        )
        return weights, sums, labels

    def _far(
        self, centroids: NDArray[np.float64], labels: NDArray[np.uint32], n_far: int
    ) -> FarPoints:
        distances = np.zeros(len(self.counts))
        for channel in range(3):
            difference = self.points[channel] - centroids[labels, channel]
            distances += difference * difference
        few = np.arange(len(distances))
        if n_far < len(distances):  # all that could be among them, ties included
            few = np.flatnonzero(distances >= np.partition(distances, -n_far)[-n_far])
        return FarPoints(
            self.points[:, few].T.astype(np.int64),
            self.counts.weights[few],
            labels[few].astype(np.int64),
            distances[few],
            n_far,
        ).ordered()


def build_blocks(counts: ColorCounts) -> ColorBlocks:
    """Cut a table of colours, which is in Morton order already, into blocks and groups."""
    points = np.ascontiguousarray(counts.colors.T)
    n_blocks = -(-len(counts) // BLOCK)
    low, high = np.empty((n_blocks, 3), np.uint8), np.empty((n_blocks, 3), np.uint8)
    weights, sums = np.zeros(n_blocks, np.int64), np.zeros((n_blocks, 3), np.int64)
    histogram = np.zeros((3, 256), np.int64)
    _summarise(points, counts.weights, low, high, weights, sums, histogram)
    groups = np.arange(0, n_blocks, GROUP)
    return ColorBlocks(
        counts,
        points.astype(np.float32),
        Level(low.astype(np.float64), high.astype(np.float64), weights, sums),
        Level(
            np.minimum.reduceat(low, groups).astype(np.float64),
            np.maximum.reduceat(high, groups).astype(np.float64),
            np.add.reduceat(weights, groups),
            np.add.reduceat(sums, groups),
        ),
        # in Python integers: squares of 10^15 pixels pass 64 bits
        tuple(sum(v * v * n for v, n in enumerate(channel)) for channel in histogram.tolist()),
    )


@jit
def _summarise(points, point_weights, low, high, weights, sums, histogram):  # type: ignore[no-untyped-def]
    """Box, weight and sum of every block of points (3, u) uint8; weight per channel and value."""
    for block in range(low.shape[0]):
        first = block * BLOCK
        for c in range(3):
            smallest, largest, total = np.uint8(255), np.uint8(0), np.int64(0)
            for i in range(first, min(first + BLOCK, points.shape[1])):
                value, weight = points[c, i], point_weights[i]
                smallest, largest = min(smallest, value), max(largest, value)
                total += weight * np.int64(value)
                histogram[c, value] += weight
            low[block, c], high[block, c], sums[block, c] = smallest, largest, total
        for i in range(first, min(first + BLOCK, points.shape[1])):
            weights[block] += point_weights[i]


@jit
def _filter(low, high, candidates, n, centers, kept, kept_centers, work):  # type: ignore[no-untyped-def]
    """Of the first `n` candidates keep those that may be nearest to some point of the box.

    candidates, kept: (k,) centroid indices, ascending; centers, kept_centers: (3, k) float64,
    the centroids of these. Returns how many are kept.
    """
    lx, ly, lz = low[0], low[1], low[2]
    hx, hy, hz = high[0], high[1], high[2]
    mx, my, mz = (lx + hx) * 0.5, (ly + hy) * 0.5, (lz + hz) * 0.5
    for j in range(n):
        dx, dy, dz = centers[0, j] - mx, centers[1, j] - my, centers[2, j] - mz
        work[j] = dx * dx + dy * dy + dz * dz
    star = 0
    for j in range(1, n):
        if work[j] < work[star]:
            star = j
    sx, sy, sz = centers[0, star], centers[1, star], centers[2, star]
    # by how much j is farther than star, at the corner of the box where j does best
    for j in range(n):
        x, y, z = centers[0, j], centers[1, j], centers[2, j]
        vx = hx if x > sx else lx
        vy = hy if y > sy else ly
        vz = hz if z > sz else lz
        work[j] = (
            (x - sx) * (x + sx - 2.0 * vx)
            + (y - sy) * (y + sy - 2.0 * vy)
            + (z - sz) * (z + sz - 2.0 * vz)
        )
    m = 0
    for j in range(n):
        if work[j] <= _MARGIN:
            kept[m] = candidates[j]
            kept_centers[0, m] = centers[0, j]
            kept_centers[1, m] = centers[1, j]
            kept_centers[2, m] = centers[2, j]
            m += 1
    return m


@jit
def _step(points, point_weights, blocks, groups, centers, weights, sums, labels):  # type: ignore[no-untyped-def]
    """Add every colour to its nearest centroid's `weights` and `sums`; fill `labels` if not empty.

    points: (3, u) float32; centers: (3, k) float64; blocks, groups: the fields of a `Level`.
    """
    group_low, group_high, group_weights, group_sums = groups
    block_low, block_high, block_weights, block_sums = blocks
    n_points = points.shape[1]
    k = centers.shape[1]
    labelled = labels.size > 0
    everyone = np.arange(k)
    of_group, group_centers = np.empty(k, np.int64), np.empty((3, k))
    of_block, block_centers = np.empty(k, np.int64), np.empty((3, k))
    work = np.empty(k)
    nearest = np.empty(BLOCK)
    best = np.empty(BLOCK, np.int64)

    for group in range(group_low.shape[0]):
        start = group * BLOCK * GROUP
        stop = min(start + BLOCK * GROUP, n_points)
        n_group = _filter(
            group_low[group], group_high[group], everyone, k, centers, of_group, group_centers, work
        )
        if n_group == 1:
            j = of_group[0]
            weights[j] += group_weights[group]
            for c in range(3):
                sums[j, c] += group_sums[group, c]
            if labelled:
                labels[start:stop] = j
            continue
        for first in range(start, stop, BLOCK):
            block = first // BLOCK
            size = min(BLOCK, n_points - first)
            n_block = _filter(
                block_low[block],
                block_high[block],
                of_group,
                n_group,
                group_centers,
                of_block,
                block_centers,
                work,
            )
            if n_block == 1:
                j = of_block[0]
                weights[j] += block_weights[block]
                for c in range(3):
                    sums[j, c] += block_sums[block, c]
                if labelled:
                    labels[first : first + size] = j
                continue
            nearest[:] = np.inf
            for j in range(n_block):
                x, y, z = block_centers[0, j], block_centers[1, j], block_centers[2, j]
                for i in range(size):
                    dx = np.float64(points[0, first + i]) - x
                    dy = np.float64(points[1, first + i]) - y
                    dz = np.float64(points[2, first + i]) - z
                    distance = dx * dx + dy * dy + dz * dz
                    closer = distance < nearest[i]
                    nearest[i] = distance if closer else nearest[i]
                    best[i] = j if closer else best[i]
            for i in range(size):
                j = of_block[best[i]]
                weight = point_weights[first + i]
                weights[j] += weight
                for c in range(3):
                    sums[j, c] += weight * np.int64(points[c, first + i])
                if labelled:
                    labels[first + i] = j
