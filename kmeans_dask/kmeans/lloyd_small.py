"""Lloyd's algorithm on few points, as one kernel, because calls cost more than what they do there.

Its results equal those of `lloyd.fit` over the plain step, to the last bit. It is worth a kernel of
its own because small images are many.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit
from kmeans_dask.kmeans.cluster_sums import ClusterSums
from kmeans_dask.kmeans.lloyd import Fit
from kmeans_dask.kmeans.points import Points

FEW = 1 << 12
_HISTORY = 1 << 14  # most iterations that are recorded: a fit of few points ends long before


class SmallLloyd:
    """Lloyd's algorithm on at most `FEW` points, which can be fitted from one start after another.

    It is made by `of`, which checks that the points are suited.
    """

    def __init__(self, points: Points) -> None:
        values, weights = points.values.astype(np.int64), points.weights
        sums = (values * weights[:, None]).sum(axis=0)[None]
        whole = ClusterSums(weights.sum()[None], sums, points.square_sums, points.grid)
        self._variance = whole.variance
        self._squares = sum(points.square_sums)
        self._values, self._weights = np.ascontiguousarray(values.T), weights
        self._floats = self._values.astype(np.float64)

    @classmethod
    def of(cls, points: Points) -> SmallLloyd | None:
        """Return a `SmallLloyd` of `points`, or None where these are unsuited.

        Unsuited are points that are not on an exact grid, none or more than `FEW`, or too heavy
        for sums of 62 bits.
        """
        if not points.grid.exact or not 0 < len(points) <= FEW:
            return None
        largest = max(1.0, float(np.abs(points.values).max()))
        weight = float(points.weights.sum())
        return cls(points) if 4 * 4 * weight * largest * largest < 2.0**62 else None

    def fit(
        self, start: NDArray[np.float64], *, max_iter: int, tol: float, fixed: int = 0
    ) -> Fit | None:
        """Return the fit that `lloyd.fit` returns, or None where that has to be called instead.

        It has to be where a cluster becomes empty, and where the fit needs more than 16,384
        iterations.
        """
        history = np.empty(min(max_iter, _HISTORY) + 1)
        centroids, counts = start.copy(), np.zeros(len(start), np.int64)
        n, converged = _fit(
            self._values, self._floats, self._weights, self._squares, tol * self._variance, fixed,
            centroids, counts, history,
        )  # fmt: skip
        if n < 0 or (n < max_iter and not converged):
            return None
        past = tuple(history[: n + 1].tolist())
        return Fit(centroids, counts, past[-1], past, n, converged)


@jit
def _fit(whole, values, weights, squares, smallest, fixed, centroids, counts, history):  # type: ignore[no-untyped-def]
    """Move `centroids` until they converge, and fill `counts` and `history`.

    whole, values: (C, n) int64 and float64, the points; squares: sum of their weighted squares
    smallest: squared shift at which they have converged

    Return the number of iterations, or -1 where a cluster became empty, and whether they converged.
    """
    channels, n = values.shape
    k = centroids.shape[0]
    sums = np.zeros((k, channels), np.int64)
    best, labels = np.empty(n), np.empty(n, np.int64)
    done, converged, shift = 0, False, 1.0
    mark = centroids.copy()
    while True:
        if shift > 0.0:  # else the last measurement holds for these centroids too
            _assign(values, centroids, best, labels)
            counts[:] = 0
            sums[:] = 0
            for i in range(n):
                j = labels[i]
                counts[j] += weights[i]
                for c in range(channels):
                    sums[j, c] += weights[i] * whole[c, i]
        history[done] = _inertia(counts, sums, squares, centroids)
        if converged or done == history.shape[0] - 1:
            return done, converged
        shift = 0.0
        for j in range(k):
            if j >= fixed and counts[j] == 0:
                return -1, False
            for c in range(channels):
                if j >= fixed:
                    mean = np.float64(sums[j, c]) / np.float64(counts[j])
                    difference = mean - centroids[j, c]
                    centroids[j, c] = mean
                    shift += difference * difference
        converged = shift <= smallest or np.array_equal(centroids, mark)
        done += 1
        if done & (done - 1) == 0:  # the same test as lloyd.is_mark
            mark[:] = centroids


@jit
def _assign(values, centroids, best, labels):  # type: ignore[no-untyped-def]
    """Fill `labels` with each point's nearest centroid, as the plain loop does, ties to the lowest.

    best: filled with the squared distances
    """
    channels, n = values.shape
    best[:] = np.inf
    for j in range(centroids.shape[0]):
        if channels == 3:  # unrolled
            x, y, z = centroids[j, 0], centroids[j, 1], centroids[j, 2]
            for i in range(n):
                dx, dy, dz = values[0, i] - x, values[1, i] - y, values[2, i] - z
                distance = dx * dx + dy * dy + dz * dz
                nearer = distance < best[i]
                labels[i] = j if nearer else labels[i]
                best[i] = distance if nearer else best[i]
            continue
        for i in range(n):
            distance = 0.0
            for c in range(channels):
                difference = values[c, i] - centroids[j, c]
                distance += difference * difference
            if distance < best[i]:
                best[i], labels[i] = distance, j


@jit
def _inertia(counts, sums, squares, centroids):  # type: ignore[no-untyped-def]
    """Return the inertia as `ClusterSums.inertia` does: an exact part plus a small rest."""
    exact, rest = np.int64(squares), 0.0
    for j in range(centroids.shape[0]):
        for c in range(centroids.shape[1]):
            near = np.rint(centroids[j, c])
            apart = centroids[j, c] - near
            moved = sums[j, c] - counts[j] * np.int64(near)
            exact -= np.int64(near) * (sums[j, c] + moved)
            rest += counts[j] * apart * apart - 2.0 * apart * moved
    return max(0.0, np.float64(exact) + rest)
