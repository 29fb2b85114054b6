"""Updates of cluster sums: points are added to their clusters, or subtracted from them.

Sums are integers (see `exact_sums`), so that a point which changes its cluster is subtracted from
one sum and added to another, and nothing is lost.
"""

from __future__ import annotations

import numpy as np

from kmeans_dask.kernels.jit import jit
from kmeans_dask.kmeans.exact_sums import LIMB
from kmeans_dask.kmeans.exact_sums import two_difference_kernel as two_difference
from kmeans_dask.kmeans.exact_sums import two_product_kernel as two_product


@jit
def add_points(values, point_weights, which, clusters, n, sign, grid, weights, sums):  # type: ignore[no-untyped-def]
    """Add the first `n` points of `which` to their `clusters`, or subtract them with `sign` -1.

    grid: `FixedPoint.scales`; the other arguments are those of `add_integers`
    """
    exact, origin, scale, weight_scale = grid
    if exact:
        add_integers(values, point_weights, which, clusters, n, sign, weights, sums)
        return
    for i in range(n):
        p, j = np.uint64(which[i]), np.uint64(clusters[i])
        weight = point_weights[p] * weight_scale
        scaled = weight * LIMB
        high = np.rint(scaled)
        weights[0, j] += sign * np.int64(high)
        weights[1, j] += sign * np.int64(np.rint((scaled - high) * LIMB))
        for c in range(values.shape[1]):
            point, rest = two_difference(np.float64(values[p, c]), origin[c])
            value, lost = two_product(weight, point * scale)
            scaled = value * LIMB
            high = np.rint(scaled)
            lost = lost + weight * (rest * scale)
            sums[0, j, c] += sign * np.int64(high)
            sums[1, j, c] += sign * np.int64(np.rint(((scaled - high) + lost * LIMB) * LIMB))


@jit
def add_integers(values, point_weights, which, clusters, n, sign, weights, sums):  # type: ignore[no-untyped-def]
    """Add points on an exact grid to their `clusters`, or subtract them with `sign` -1.

    values, point_weights: fields of `Points`
    which, clusters: (at least n,), indices of points, and the cluster of each
    weights, sums: (2, k) and (2, k, C) int64, in two limbs, updated in place
    """
    channels = values.shape[1]
    for i in range(n):
        p, j = np.uint64(which[i]), np.uint64(clusters[i])  # unsigned: no check of the sign
        weight = sign * np.int64(point_weights[p])
        weights[0, j] += weight
        if channels == 3:  # unrolled
            sums[0, j, 0] += weight * np.int64(values[p, 0])
            sums[0, j, 1] += weight * np.int64(values[p, 1])
            sums[0, j, 2] += weight * np.int64(values[p, 2])
            continue
        for c in range(channels):
            sums[0, j, c] += weight * np.int64(values[p, c])
