"""Seeding where no worker holds all points: k-means||, and random points.

Every random choice depends on a point's number in the whole data set, and every sum is exact, so
the same seed gives the same centroids for any chunking.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit
from kmeans_dask.kmeans import lloyd
from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.exact_sums import LIMB_BITS, FixedPoint, cut, float_grid
from kmeans_dask.kmeans.points import Points, make_points
from kmeans_dask.kmeans.seeding import kmeans_plus_plus

ROUNDS = 5  # more rounds gain nothing: Bahmani et al. 2012, section 5
OVERSAMPLING = 2  # points drawn in each round, as a multiple of k


@dataclass(frozen=True)
class DrawnPoints:
    """Points of a random sample, and the keys that tell in which order they were drawn.

    keys: (m,) float64: the lower a key, the earlier its point is drawn; values: (m, C) float64
    """

    keys: NDArray[np.float64]
    values: NDArray[np.float64]

    @staticmethod
    def first(parts: list[DrawnPoints], n: int) -> DrawnPoints:
        """Return the `n` points of all parts that are drawn first."""
        keys = np.concatenate([part.keys for part in parts])
        values = np.concatenate([part.values for part in parts])
        order = np.lexsort((*values.T[::-1], keys))[:n]
        return DrawnPoints(keys[order], values[order])


class Sampler:
    """Sampler of one chunk of points, which draws the initial centroids of k-means.

    first: number of the chunk's first point in the whole data set

    The result of a call depends on its arguments only; distances to the points chosen before are
    cached.
    """

    def __init__(self, points: Points, first: int) -> None:
        self._points = points
        self._first = first
        self._distances = np.full(len(points), np.inf)  # squared, to the nearest chosen point
        self._chosen = np.zeros((0, points.values.shape[1]))

    def __getstate__(self) -> tuple[Points, int]:
        return self._points, self._first

    def __setstate__(self, state: tuple[Points, int]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def draw_by_weight(self, n: int, seed: int) -> DrawnPoints:
        """Return `n` points drawn without replacement, each with a chance by its weight.

        Efraimidis & Spirakis 2006, "Weighted random sampling with a reservoir", section 2: the
        least of exponential variates, one for each point.
        """
        points = self._points
        some = np.flatnonzero(points.weights)
        keys = -np.log(self._fractions(seed)[some]) / points.weights[some]
        order = np.argsort(keys, kind="stable")[:n]
        return DrawnPoints(keys[order], points.values[some[order]].astype(np.float64))

    def potential(self, chosen: NDArray[np.float64]) -> int:
        """Return the weighted sum of squared distances to the nearest of `chosen` (m, C).

        The sum is an integer, in units of 2^-`potential_bits`.
        """
        self._approach(chosen)
        bits = potential_bits(self._points.grid)
        parts = self._points.weights * self._distances * math.ldexp(1.0, bits - 2 * LIMB_BITS)
        high, low = cut(parts, 0.0 * parts).sum(axis=1).tolist()
        return int((high << LIMB_BITS) + low)

    def draw_by_distance(
        self, chosen: NDArray[np.float64], potential: int, n: int, seed: int
    ) -> NDArray[np.float64]:
        """Return the points (m, C) of this chunk among about `n` drawn from the whole data set.

        Each is drawn with a chance by its share of `potential`, that of the whole data set.
        """
        self._approach(chosen)
        points = self._points
        whole = math.ldexp(float(potential), -potential_bits(points.grid))
        shares = points.weights * self._distances * (n / whole)
        drawn: NDArray[np.float64] = points.values[self._fractions(seed) < shares].astype(float)
        return drawn

    def _approach(self, chosen: NDArray[np.float64]) -> None:
        n = len(self._chosen)
        if not np.array_equal(chosen[:n], self._chosen):
            self._distances[:], n = np.inf, 0
        new = chosen[n:]
        if len(new):
            nearest = new[Assignment(self._points).labels(new)]
            distances = np.zeros(len(self._points))
            for channel in range(new.shape[1]):
                distances += (self._points.values[:, channel] - nearest[:, channel]) ** 2
            np.minimum(self._distances, distances, out=self._distances)
            self._chosen = chosen.copy()

    def _fractions(self, seed: int) -> NDArray[np.float64]:
        """Return a number in (0, 1) for each point, which depends on its number and `seed` only."""
        fractions = np.empty(len(self._points))
        _hash(np.uint64(seed), np.uint64(self._first), fractions)
        return fractions


def potential_bits(grid: FixedPoint) -> int:
    """Return the fractional bits of potentials: room is left for distances of any two points."""
    return 0 if grid.exact else grid.square_bits - 10


def choose_of(
    candidates: NDArray[np.float64], weights: NDArray[np.float64], k: int, seed: int
) -> NDArray[np.float64]:
    """Return k centroids (k, C) of the candidates (m, C), as the last step of k-means||.

    weights: (m,), the total weight of the points that each candidate stands for

    The candidates are clustered by greedy k-means++ and Lloyd's algorithm.
    """
    weights = weights / weights.max()
    grid = float_grid(candidates.min(axis=0), candidates.max(axis=0))
    points = make_points(candidates, weights, grid)
    start = kmeans_plus_plus(points, k, seed)
    return lloyd.fit(start, Assignment(points).partial, max_iter=30).centroids


@jit
def _hash(seed: Any, first: Any, fractions: Any) -> None:
    """Fill `fractions` with hashes of `first` and the following numbers, mixed with the seed.

    The hash is SplitMix64 (Steele, Lea & Flood 2014, section 5), scaled to (0, 1).
    """
    for i in range(fractions.size):
        z = seed * np.uint64(0xD1342543DE82EF95) + (first + np.uint64(i)) * np.uint64(
            0x9E3779B97F4A7C15
        )
        for _ in range(2):
            z += np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = z ^ (z >> np.uint64(31))
        fractions[i] = (np.float64(z >> np.uint64(11)) + 0.5) * 2.0**-53
