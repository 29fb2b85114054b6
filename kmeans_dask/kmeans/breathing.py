"""Breathing k-means: search for better centroids than those that Lloyd's algorithm ends at.

Fritzke 2020, "The breathing k-means algorithm", arXiv 2006.15666, section 3. Centroids are added
where the error is large ("breathing in") and as many of the least useful ones are removed
("breathing out"), with some of Lloyd's iterations after each. Here the search runs on few points,
such as `coarse_colors`, as one kernel; what it finds is a start for Lloyd's algorithm on all of
them.

Everything is computed in one order, without rounding that depends on the machine, so that the same
points and start give the same centroids everywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit
from kmeans_dask.kmeans.points import Points

BREADTH = 5  # centroids added and removed at first, as in the paper
TOL = 3e-3  # squared shift, as part of the variance, at which a run of Lloyd's algorithm ends
MAX_ITER = 10  # most iterations of such a run
LEAST_GAIN = 1e-3  # of the inertia, for which the number to add stays
_CHANNELS = 4
_TILE = 256  # points that are assigned together
_FAR = 3e38  # score of a centroid that is not there


class _Cells(NamedTuple):
    """Points to search among, padded with points without weight to whole tiles.

    values: (4, n) float32; a fourth channel that is not there is 0
    weights, sums: (n,) and (4, n) int64, weights and weighted values
    squares: sum of weighted squares over all points and channels
    """

    values: NDArray[np.float32]
    weights: NDArray[np.int64]
    sums: NDArray[np.int64]
    squares: float


class _Clusters(NamedTuple):
    """Clusters of the latest iteration, which the next one overwrites.

    labels: (n,) int32; nearest, second: (n,) float32, scores of the two nearest centroids, which
        are |c|^2 / 2 - x.c
    weights, sums: (k + breadth,) and (k + breadth, 4) int64
    """

    labels: NDArray[np.int32]
    nearest: NDArray[np.float32]
    second: NDArray[np.float32]
    weights: NDArray[np.int64]
    sums: NDArray[np.int64]


def breathe(
    points: Points, start: NDArray[np.float64], fixed: int = 0, breadth: int = BREADTH
) -> tuple[NDArray[np.float64], float]:
    """Return the best centroids (k, C) that are found from `start`, and their inertia.

    points: on an exact grid, of at most 4 channels, with at least one that has weight
    start: (k, C) float64, of which the first `fixed` never move and are never removed
    breadth: how many centroids are added and removed at first; with 0, Lloyd's iterations are all

    Lloyd's runs are short, so the result has not converged. Its inertia is that of the clusters of
    the last iteration about their means, and at most the one with `breadth` 0.
    """
    n, channels = points.values.shape
    k = len(start)
    breadth = min(breadth, k - fixed)
    padded = -(-n // _TILE) * _TILE
    values = np.zeros((_CHANNELS, padded), np.float32)
    weights, sums = np.zeros(padded, np.int64), np.zeros((_CHANNELS, padded), np.int64)
    values[:channels, :n], weights[:n] = points.values.T, points.weights
    sums[:channels, :n] = points.values.T.astype(np.int64) * points.weights
    squares = float(sum(points.square_sums))
    total, of_all = float(weights.sum()), sums.sum(axis=1).astype(np.float64)
    variance = max(0.0, squares - float((of_all * of_all).sum()) / total) / (total * channels)
    clusters = _Clusters(
        np.zeros(padded, np.int32),
        np.empty(padded, np.float32),
        np.empty(padded, np.float32),
        np.zeros(k + breadth, np.int64),
        np.zeros((k + breadth, _CHANNELS), np.int64),
    )
    centroids = np.zeros((k + breadth, _CHANNELS))
    centroids[:k, :channels] = start
    inertia: float = _breathe(
        _Cells(values, weights, sums, squares),
        clusters,
        centroids,
        k,
        fixed,
        TOL * variance,
        MAX_ITER,
        LEAST_GAIN,
    )
    return centroids[:k, :channels].copy(), inertia


@jit
def _breathe(cells, clusters, centroids, k, fixed, smallest, max_iter, least_gain):  # type: ignore[no-untyped-def]
    """Improve the first `k` of `centroids` (k + breadth, 4), and return their inertia.

    smallest, max_iter: squared shift, and iterations, after which a run of Lloyd's algorithm ends
    least_gain: part of the inertia that a breath must save for the next one to be as deep
    """
    depth = centroids.shape[0] - k
    lowest = _iterate(cells, clusters, centroids, k, fixed, smallest, max_iter)
    best = centroids[:k].copy()
    while depth > 0:
        more = _split(cells, clusters, centroids, k, fixed, depth)
        _iterate(cells, clusters, centroids, more, fixed, smallest, max_iter)
        _remove(cells, clusters, centroids, more, fixed, more - k)
        inertia = _iterate(cells, clusters, centroids, k, fixed, smallest, max_iter)
        if inertia < lowest * (1.0 - least_gain):
            lowest = inertia
            best[:] = centroids[:k]
        else:
            depth -= 1
            centroids[:k] = best
            if depth > 0:  # the clusters of these centroids, to split
                _iterate(cells, clusters, centroids, k, fixed, smallest, 1)
    centroids[:k] = best
    return lowest


@jit
def _iterate(cells, clusters, centroids, k, fixed, smallest, max_iter):  # type: ignore[no-untyped-def]
    """Move the first `k` of `centroids` by Lloyd's algorithm, and return the inertia of the means.

    The clusters are left as they were before the last move. A centroid without points stays.
    """
    labels, weights, sums = clusters.labels, clusters.weights, clusters.sums
    for _ in range(max_iter):
        _assign(cells.values, centroids, k, labels, clusters.nearest, clusters.second)
        weights[:], sums[:] = 0, 0
        for i in range(labels.shape[0]):
            label = np.uint64(labels[i])  # unsigned: no check of the sign
            weights[label] += cells.weights[i]
            for c in range(sums.shape[1]):
                sums[label, c] += cells.sums[c, i]
        shift, inertia = 0.0, cells.squares
        for j in range(k):
            if weights[j] == 0:
                continue
            weight = np.float64(weights[j])
            for c in range(sums.shape[1]):
                place, total = centroids[j, c], np.float64(sums[j, c])
                mean = place if j < fixed else total / weight
                shift += (mean - place) * (mean - place)
                inertia += mean * (weight * mean - 2.0 * total)
                centroids[j, c] = mean
        if shift <= smallest:
            break
    return max(0.0, inertia)  # rounding may take it below, where no error is left


@jit
def _assign(values, centroids, k, labels, nearest, second):  # type: ignore[no-untyped-def]
    """Fill `labels` with the nearest of the first `k` centroids, and `nearest` and `second`.

    Scores are compared in float32, two centroids at a time. Comparisons are written out because
    the compiler takes `min` and `max` for more than one instruction.
    """
    near = np.zeros((k + 1, centroids.shape[1]), np.float32)
    heights = np.full(k + 1, np.float32(_FAR))
    for j in range(k):
        height = 0.0
        for c in range(near.shape[1]):
            near[j, c] = np.float32(centroids[j, c])
            height += centroids[j, c] * centroids[j, c]
        heights[j] = np.float32(0.5 * height)
    for first in range(0, labels.shape[0], _TILE):
        last = first + _TILE
        # views of rows: in values[0, first + i] the index could be counted from the end
        ws, xs = values[0, first:last], values[1, first:last]
        ys, zs = values[2, first:last], values[3, first:last]
        bests, seconds, which = nearest[first:last], second[first:last], labels[first:last]
        bests[:], seconds[:] = np.float32(_FAR), np.float32(_FAR)
        for j in range(0, k, 2):
            h0, w0, x0, y0, z0 = heights[j], near[j, 0], near[j, 1], near[j, 2], near[j, 3]
            m = j + 1
            h1, w1, x1, y1, z1 = heights[m], near[m, 0], near[m, 1], near[m, 2], near[m, 3]
            id0, id1 = np.int32(j), np.int32(m)
            for i in range(_TILE):
                w, x, y, z = ws[i], xs[i], ys[i], zs[i]
                low, next_low, label = bests[i], seconds[i], which[i]
                score = h0 - w * w0 - x * x0 - y * y0 - z * z0
                higher = low if score < low else score
                next_low = higher if higher < next_low else next_low
                label, low = id0 if score < low else label, score if score < low else low
                score = h1 - w * w1 - x * x1 - y * y1 - z * z1
                higher = low if score < low else score
                next_low = higher if higher < next_low else next_low
                label, low = id1 if score < low else label, score if score < low else low
                bests[i], seconds[i], which[i] = low, next_low, label


@jit
def _split(cells, clusters, centroids, k, fixed, depth):  # type: ignore[no-untyped-def]
    """Add up to `depth` centroids to the first `k`, and return how many there are then.

    The clusters of largest error get a second centroid. Both are moved apart, by half the standard
    deviation, along the channel of largest variance, where the paper adds a small random vector:
    so Lloyd's algorithm takes fewer iterations. A fixed centroid does not move.
    """
    labels, weights = clusters.labels, clusters.weights
    channels = centroids.shape[1]
    errors = np.zeros((k, channels))
    for i in range(labels.shape[0]):
        j = labels[i]
        for c in range(channels):
            apart = np.float64(cells.values[c, i]) - centroids[j, c]
            errors[j, c] += np.float64(cells.weights[i]) * (apart * apart)
    added = 0
    total = np.zeros(k)
    for c in range(channels):
        total += errors[:, c]
    for _ in range(depth):
        j = np.argmax(total)
        if total[j] <= 0.0:
            break
        total[j] = 0.0
        widest = np.argmax(errors[j])
        step = 0.5 * np.sqrt(errors[j, widest] / np.float64(weights[j]))
        centroids[k + added] = centroids[j]
        centroids[k + added, widest] += step
        if j >= fixed:
            centroids[j, widest] -= step
        added += 1
    return k + added


@jit
def _remove(cells, clusters, centroids, k, fixed, surplus):  # type: ignore[no-untyped-def]
    """Remove the `surplus` least useful of the first `k` centroids; the others move up.

    The utility of a centroid is by how much the error would grow without it, each point going to
    its second nearest centroid. So that no hole is torn, the nearest neighbour of a centroid that
    is removed is frozen, as long as enough others are left. Fixed ones are not removed.
    """
    labels = clusters.labels
    utilities = np.zeros(k)
    for i in range(labels.shape[0]):
        apart = np.float64(clusters.second[i]) - np.float64(clusters.nearest[i])
        utilities[labels[i]] += np.float64(cells.weights[i]) * apart
    gone, frozen = np.zeros(k, np.bool_), np.zeros(k, np.bool_)
    left = k - fixed  # neither gone nor frozen
    while surplus > 0:
        least, j = np.inf, fixed
        for m in range(fixed, k):
            if not gone[m] and not frozen[m] and utilities[m] < least:
                least, j = utilities[m], m
        gone[j] = True
        surplus -= 1
        left -= 1
        shortest, neighbour = np.inf, j
        for m in range(k):
            distance = 0.0
            for c in range(centroids.shape[1]):
                distance += (centroids[m, c] - centroids[j, c]) ** 2
            if m != j and distance < shortest:
                shortest, neighbour = distance, m
        taken = neighbour < fixed or gone[neighbour] or frozen[neighbour]
        if not taken and left > surplus:
            frozen[neighbour] = True
            left -= 1
    place = 0
    for j in range(k):
        if not gone[j]:
            centroids[place] = centroids[j]
            place += 1
