"""Cluster sums, the result of a Lloyd step: integer weights and sums of the points of each cluster.

A `ClusterSums` is measured per chunk of points, merged over chunks, and turned into new centroids.
Everything that is added is an integer (see `exact_sums`), so no order, grouping or number of
workers can change the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kmeans.exact_sums import FixedPoint, Integers, ordered_sum

_EXACT_FLOAT = 2**53  # all integers up to here are exact in float64


@dataclass(frozen=True, eq=False)
class FarPoints:
    """Distinct points that are farthest from their centroids, the farthest first.

    points: (m, C), in the dtype of the data
    weights: (m,) integers, the weight of each point
    sums: (m, C) integers, what each point adds to the sums of its cluster
    labels: (m,) int64, the cluster of each point
    distances: (m,) float64, squared, to the centroid of that cluster
    wanted: how many points were asked for; m is less only where there are no more
    """

    points: NDArray[Any]
    weights: Integers
    sums: Integers
    labels: NDArray[np.int64]
    distances: NDArray[np.float64]
    wanted: int

    def merged(self) -> FarPoints:
        """Return the `wanted` farthest points, with equal points merged: weights and sums added.

        The farthest comes first; equal distances are ordered by the points' own values.
        """
        _, first, which = np.unique(self.points, axis=0, return_index=True, return_inverse=True)
        weights, sums = np.zeros_like(self.weights[first]), np.zeros_like(self.sums[first])
        np.add.at(weights, which.ravel(), self.weights)
        np.add.at(sums, which.ravel(), self.sums)
        points, distances = self.points[first], self.distances[first]
        order = np.lexsort((*points.T[::-1], -distances))[: self.wanted]
        return FarPoints(
            points[order],
            weights[order],
            sums[order],
            self.labels[first[order]],
            distances[order],
            self.wanted,
        )


@dataclass(frozen=True, eq=False)
class ClusterSums:
    """Sums over points, given centroids: all that a Lloyd iteration needs to know of the points.

    weights: (k,) integers, W: the weight of each cluster
    sums: (k, C) integers, S: the weighted sum of its points
    square_sums: C integers, Q: weighted sum of squares per channel over all points. It does not
        depend on the centroids; with W and S it gives the inertia and the variance exactly.
    grid: fixed-point format of these integers
    far: the farthest points, or None where they were not asked for
    """

    weights: Integers
    sums: Integers
    square_sums: tuple[int, ...]
    grid: FixedPoint
    far: FarPoints | None = None

    @property
    def means(self) -> NDArray[np.float64]:
        """Return the mean of each cluster, (k, C); NaN where it is empty."""
        grid = self.grid
        filled = self.weights != 0
        means = np.full(self.sums.shape, np.nan)
        largest = np.abs(self.sums).max(initial=0)
        if self.sums.dtype == object or largest >= _EXACT_FLOAT:  # Python rounds only the quotient
            means[filled] = self.sums[filled].astype(object) / self.weights[filled, None]
        else:
            np.divide(self.sums, self.weights[:, None], out=means, where=filled[:, None])
        if grid.exact:
            return means
        moved: NDArray[np.float64] = np.ldexp(means, grid.weight_bits - grid.bits) + grid.origin
        return moved

    @property
    def variance(self) -> float:
        """Return the mean over channels of the variance of all points: the scale of `tol`."""
        grid = self.grid
        weight = sum(self.weights.tolist())
        total = 0  # sum of W Q - S S over the channels
        bits = max(grid.square_bits + grid.weight_bits, 2 * grid.bits)
        for squares, sums in zip(self.square_sums, self.sums.T.tolist(), strict=True):
            total += (weight * squares) << (bits - grid.square_bits - grid.weight_bits)
            total -= sum(sums) ** 2 << (bits - 2 * grid.bits)
        mean = max(0, total) / (weight * weight * len(self.square_sums))
        return math.ldexp(mean, 2 * grid.weight_bits - bits)

    def inertia(self, centroids: NDArray[np.float64]) -> float:
        """Return the sum of squared distances to `centroids`, (k, C), that these sums belong to.

        It is Q - 2 c.S + W c.c, moved to the integers next to the centroids first: that part is
        exact, and what is left to floating point is small, so nothing cancels.
        """
        grid = self.grid
        if not grid.exact:
            return self._inertia_on_grid(centroids)
        near = np.rint(centroids)
        rest = centroids - near
        weights: Integers = self.weights[:, None]
        bound = float(np.abs(near).max(initial=1.0))
        heaviest = max(bound * float(self.weights.sum()), float(np.abs(self.sums).sum()))
        if 4 * bound * heaviest < 2.0**62:
            whole = near.astype(np.int64)
            moved = self.sums - weights * whole  # S about `near`
        else:  # Python integers: products may pass 64 bits
            whole = np.array([int(x) for x in near.flat], object).reshape(near.shape)
            moved = self.sums - weights.astype(object) * whole
        exact = sum(self.square_sums) - int((whole * (self.sums + moved)).sum())
        left = weights * rest * rest - 2 * rest * moved
        return max(0.0, float(exact + ordered_sum(left.ravel().astype(np.float64))))

    def _inertia_on_grid(self, centroids: NDArray[np.float64]) -> float:
        """Return the inertia of sums in fixed point, with centroids cut to the grid of points."""
        grid = self.grid
        scaled = np.ldexp(centroids - grid.origin, grid.point_bits)
        near = np.array([int(x) for x in scaled.ravel()], object).reshape(scaled.shape)
        terms = [  # each an integer, and how many of its bits are fractional
            (sum(self.square_sums), grid.square_bits),
            (-int((self.sums * near).sum()), grid.bits + grid.point_bits - 1),
            (
                int((self.weights[:, None] * near * near).sum()),
                grid.weight_bits + 2 * grid.point_bits,
            ),
        ]
        finest = max(bits for _, bits in terms)
        return _ldexp(max(0, sum(term << (finest - bits) for term, bits in terms)), -finest)

    def fill_empty(self, fixed: int = 0) -> ClusterSums:
        """Return the sums after each empty cluster is given the farthest point that can be spared.

        fixed: the first clusters, as many as this, may be empty

        The last point of a cluster that may not be empty cannot be spared. Clusters are filled in
        order. A point takes its whole weight along, as if it had been nearest to the empty
        centroid.
        """
        far = self.far
        assert far is not None
        weights, sums = self.weights.copy(), self.sums.copy()
        empty = [int(place) for place in np.flatnonzero(weights == 0) if place >= fixed]
        for weight, added, label in zip(far.weights, far.sums, far.labels, strict=True):
            if not empty:
                break
            if label >= fixed and weights[label] == weight:
                continue
            weights[label] -= weight
            sums[label] -= added
            weights[empty[0]] = weight
            sums[empty.pop(0)] = added
        return ClusterSums(weights, sums, self.square_sums, self.grid)


def merge_partials(parts: Sequence[ClusterSums]) -> ClusterSums:
    """Merge the sums of several chunks, measured with the same centroids."""
    far = [part.far for part in parts if part.far is not None]
    return ClusterSums(
        weights=np.sum([part.weights for part in parts], axis=0),
        sums=np.sum([part.sums for part in parts], axis=0),
        square_sums=tuple(map(sum, zip(*(part.square_sums for part in parts), strict=True))),
        grid=parts[0].grid,
        far=_merge_far(far) if far else None,
    )


def _merge_far(parts: Sequence[FarPoints]) -> FarPoints:
    """Merge the farthest points of several chunks; a point of several chunks is one, weights added.

    Each part holds the n farthest points of its chunk, so a point that is among the n farthest of
    all is in the part of every chunk that it occurs in, and its weight is complete.
    """
    return FarPoints(
        np.concatenate([part.points for part in parts]),
        np.concatenate([part.weights for part in parts]),
        np.concatenate([part.sums for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.distances for part in parts]),
        parts[0].wanted,
    ).merged()


def _ldexp(integer: int, exponent: int) -> float:
    """Return `integer` times 2^`exponent`, where the integer may be too large for a float."""
    surplus = max(0, integer.bit_length() - 64)
    try:
        return math.ldexp(float(integer >> surplus), exponent + surplus)
    except OverflowError:
        return math.inf
