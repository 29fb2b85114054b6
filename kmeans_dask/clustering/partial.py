"""What one Lloyd step measures, in a form that adds up: per-cluster weights and sums, integers.

A `Partial` is measured per chunk of points, merged over chunks, and finished into new centroids.
Everything that is added is an integer, so no order, grouping or number of workers can change it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FarPoints:
    """The distinct points farthest from their centroid, farthest first.

    points: (m, C) int64
    weights: (m,) int64
    labels: (m,) int64, the cluster each is in
    distances: (m,) float64, squared, to the centroid of that cluster
    wanted: how many were asked for: m is less only where there are no more
    """

    points: NDArray[np.int64]
    weights: NDArray[np.int64]
    labels: NDArray[np.int64]
    distances: NDArray[np.float64]
    wanted: int

    def ordered(self) -> FarPoints:
        """The first `wanted`, farthest first; equal distances by the points' own values."""
        order = np.lexsort((*self.points.T[::-1], -self.distances))[: self.wanted]
        return FarPoints(
            self.points[order],
            self.weights[order],
            self.labels[order],
            self.distances[order],
            self.wanted,
        )


@dataclass(frozen=True)
class Partial:
    """Sums over points, given centroids: all that an iteration needs to know of them.

    weights: (k,) int64, W: the weight of each cluster
    sums: (k, C) int64, S: the weighted sum of its points
    square_sums: C integers, Q: weighted sum of squares per channel over all points. It does not
        depend on the centroids; with W and S it gives the inertia and the variance exactly.
    far: the farthest points, where they were asked for
    """

    weights: NDArray[np.int64]
    sums: NDArray[np.int64]
    square_sums: tuple[int, ...]
    far: FarPoints | None = None

    @property
    def variance(self) -> float:
        """Mean over channels of the variance of all points: the scale of `tol`."""
        weight = int(self.weights.sum())
        sums = [int(s) for s in self.sums.sum(axis=0)]
        per_channel = [
            (q * weight - s * s) / (weight * weight)
            for q, s in zip(self.square_sums, sums, strict=True)
        ]
        return math.fsum(per_channel) / len(per_channel)

    def inertia(self, centroids: NDArray[np.float64]) -> float:
        """Sum of squared distances to `centroids` (k, C), the ones this was measured with.

        Q - 2 c.S + W c.c, moved to the integers next to the centroids first: that part is exact,
        and what is left to floating point is small, so nothing cancels.
        """
        near = np.rint(centroids).astype(np.int64)
        rest = centroids - near
        moved = self.sums - self.weights[:, None] * near  # S about `near`
        wide = near.astype(object)  # Python integers: the products may pass 64 bits
        exact = sum(self.square_sums) - int((wide * self.sums + wide * moved).sum())
        small = self.weights[:, None] * rest * rest - 2 * rest * moved
        return max(0.0, exact + math.fsum(small.ravel().tolist()))

    def fill_empty(self) -> Partial:
        """Give each empty cluster, in order, the farthest point that is not its cluster's last.

        The point takes its whole weight along, as if it had been nearest to the empty centroid.
        """
        assert self.far is not None
        weights, sums = self.weights.copy(), self.sums.copy()
        empty = list(np.flatnonzero(weights == 0))
        for point, weight, label in zip(
            self.far.points, self.far.weights, self.far.labels, strict=True
        ):
            if not empty:
                break
            if weights[label] == weight:
                continue
            weights[label] -= weight
            sums[label] -= weight * point
            weights[empty[0]] = weight
            sums[empty.pop(0)] = weight * point
        return Partial(weights, sums, self.square_sums)


def merge_partials(parts: Sequence[Partial]) -> Partial:
    """Add up what several chunks measured with the same centroids."""
    return Partial(
        weights=np.sum([part.weights for part in parts], axis=0),
        sums=np.sum([part.sums for part in parts], axis=0),
        square_sums=tuple(map(sum, zip(*(part.square_sums for part in parts), strict=True))),
        far=_merge_far([part.far for part in parts if part.far is not None]),
    )


def _merge_far(parts: Sequence[FarPoints]) -> FarPoints | None:
    """The farthest of all; a point found in several chunks is one, with its weights added.

    Each part holds the n farthest of its chunk, so a point that is among the n farthest of all
    is in the part of every chunk it occurs in, and its weight is whole.
    """
    if not parts:
        return None
    points, first, which = np.unique(
        np.concatenate([part.points for part in parts]),
        axis=0,
        return_index=True,
        return_inverse=True,
    )
    weights = np.zeros(len(points), np.int64)
    np.add.at(weights, which.ravel(), np.concatenate([part.weights for part in parts]))
    merged = FarPoints(
        points,
        weights,
        np.concatenate([part.labels for part in parts])[first],
        np.concatenate([part.distances for part in parts])[first],
        parts[0].wanted,
    )
    return merged.ordered()
