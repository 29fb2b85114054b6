"""Lloyd's algorithm, written once for any `measure`: a plain loop, a cluster or a fake."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kmeans.cluster_sums import ClusterSums
from kmeans_dask.kmeans.exact_sums import ordered_sum


class Measure(Protocol):
    """Function that returns the merged `ClusterSums` of all points, given centroids (k, C)."""

    def __call__(self, centroids: NDArray[np.float64], n_far: int = 0) -> ClusterSums:
        """Return the sums for `centroids`, float64, and the `n_far` farthest points if not 0."""
        ...


@dataclass(frozen=True, eq=False)
class Iteration:
    """One iteration of Lloyd's algorithm: the inertia before it, and how far the centroids moved.

    number: 1 for the first iteration
    inertia: sum of squared distances to the centroids before the move
    shift: sum over centroids of the squared distance moved
    seconds: how long the iteration took
    centroids: (k, C) float64, after the move
    converged: whether the algorithm converged in this iteration, which is then the last one
    """

    number: int
    inertia: float
    shift: float
    seconds: float
    centroids: NDArray[np.float64]
    converged: bool


@dataclass(frozen=True)
class Fit:
    """Result of a fit: centroids, cluster weights, inertia, and how the fit went.

    centroids: (k, C) float64
    weights: (k,) integers on the grid of the points: the total weight of each cluster
    inertia: sum of squared distances to `centroids`
    history: inertia at the start of each iteration, and at the end
    n_iter: number of iterations
    converged: whether the fit ended by `tol` and not by `max_iter`
    """

    centroids: NDArray[np.float64]
    weights: NDArray[np.int64]
    inertia: float
    history: tuple[float, ...]
    n_iter: int
    converged: bool


def fit(
    centroids: NDArray[np.float64],
    measure: Measure,
    *,
    max_iter: int = 300,
    tol: float = 1e-4,
    fixed: int = 0,
    on_iteration: Callable[[Iteration], None] | None = None,
    history: Sequence[float] = (),
) -> Fit:
    """Return the fit that Lloyd's algorithm reaches from `centroids`, (k, C) float64.

    Lloyd 1982, "Least squares quantization in PCM", IEEE Trans. IT 28(2).

    The algorithm converges when the squared shift of all centroids together is at most `tol` times
    the mean variance of the points' channels, as in scikit-learn; with `tol=0`, at the fixed point.
    Sums are exact, but distances are rounded, so centroids could return to earlier ones: such a
    cycle counts as converged too. The first `fixed` centroids never move.

    history: the inertias of earlier iterations, of which `centroids` are the result

    >>> from kmeans_dask.kmeans.plain import plain_cluster_sums
    >>> points, weights = np.array([[0, 0, 0], [2, 0, 0], [9, 9, 9]]), np.array([3, 1, 1])
    >>> start = np.array([[0.0, 0, 0], [9, 9, 9]])
    >>> result = fit(start, lambda c, n_far=0: plain_cluster_sums(points, weights, c, n_far), tol=0)
    >>> result.centroids.tolist(), result.inertia, result.n_iter
    ([[0.5, 0.0, 0.0], [9.0, 9.0, 9.0]], 3.0, 2)
    """
    history = list(history)
    partial = measure(centroids)
    smallest = tol * partial.variance
    converged = False
    mark = centroids  # cycles are found by the method of Brent 1980, "An improved Monte Carlo
    # factorization algorithm", BIT 20, section 2
    since = time.perf_counter()
    while len(history) < max_iter and not converged:
        history.append(partial.inertia(centroids))
        moved = _new_centroids(partial, centroids, measure, fixed)
        shift = ordered_sum(((moved - centroids) ** 2).ravel())
        converged = shift <= smallest or bool(np.array_equal(moved, mark))
        centroids = moved
        if is_mark(len(history)):
            mark = centroids
        if shift > 0:  # else the last measurement holds for these centroids too
            partial = measure(centroids)
        now = time.perf_counter()
        if on_iteration:
            on_iteration(
                Iteration(len(history), history[-1], shift, now - since, centroids, converged)
            )
        since = now
    n_iter = len(history)
    history.append(partial.inertia(centroids))
    return Fit(centroids, partial.weights, history[-1], tuple(history), n_iter, converged)


def is_mark(number: int) -> bool:
    """Return whether `number` is a power of two: later iterations are compared with that one."""
    return number & (number - 1) == 0


def _new_centroids(
    partial: ClusterSums, centroids: NDArray[np.float64], measure: Measure, fixed: int
) -> NDArray[np.float64]:
    """Return the mean of each cluster; an empty one gets a far point, never black and never NaN."""
    if (partial.weights[fixed:] == 0).any():
        partial = measure(centroids, len(centroids)).fill_empty(fixed)
    means = partial.means
    # where there are fewer distinct points than clusters, centroids of empty ones do not move
    moved = np.where(np.isnan(means), centroids, means)
    moved[:fixed] = centroids[:fixed]
    return moved
