"""Coarse colours: fewer points that stand for the colours of a histogram, to search among them.

Colours whose Morton codes begin with the same bits fill a box of colour space. A coarse colour is
the mean of such a box, with the weight of all colours in it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit
from kmeans_dask.kmeans.morton_codes import CODE_BITS, interleave_alphas
from kmeans_dask.kmeans.points import Points, make_points

_CODE_BITS = 32  # of a code with alpha


def coarse_colors(points: Points, codes: NDArray[np.uint32], at_most: int) -> Points:
    """Return the means of the smallest boxes of which at most `at_most` hold colours.

    points: colours on an exact grid, in any space
    codes: (n,) uint32, ascending, the Morton code of each, see `morton_codes`
    at_most: 1 or more

    Return `points` where they are no more than that. Means are rounded to the grid, and are those
    of all `points` together, so they must not be made of chunks.
    """
    if len(points) <= at_most:
        return points
    values, weights = points.values, points.weights
    if codes[-1] >> np.uint32(CODE_BITS):
        codes = interleave_alphas(codes)
        order = np.argsort(codes, kind="stable")
        codes, values, weights = codes[order], values[order], weights[order]
    shared = np.zeros(_CODE_BITS + 1, np.int64)
    _count_shared(codes, shared)
    boxes = len(codes) - np.cumsum(shared)  # with each number of bits left out
    bits = int(np.argmax(boxes <= at_most))
    box_weights = np.zeros(boxes[bits], np.int64)
    sums = np.zeros((boxes[bits], values.shape[1]), np.int64)
    _add_boxes(codes, values, weights, np.uint32(bits), box_weights, sums)
    means = np.rint(sums / np.maximum(box_weights, 1)[:, None]).astype(values.dtype)
    return make_points(means, box_weights, points.grid, spatially_sorted=points.spatially_sorted)


@jit
def _count_shared(codes, shared):  # type: ignore[no-untyped-def]
    """Count, in `shared` (33,), how many last bits must be left out until neighbours are equal."""
    for i in range(1, codes.shape[0]):
        apart, bits = np.uint64(codes[i] ^ codes[i - 1]), 0
        while apart > 0:
            apart >>= np.uint64(1)
            bits += 1
        shared[bits] += 1


@jit
def _add_boxes(codes, values, weights, bits, box_weights, sums):  # type: ignore[no-untyped-def]
    """Add the colours of each box to `box_weights` (boxes,) and `sums` (boxes, C), int64.

    bits: how many last bits of a code do not tell boxes apart
    """
    box = 0
    for i in range(codes.shape[0]):
        # a shift by 32 bits, which leaves one box, needs 64
        if i and (np.uint64(codes[i]) >> bits) != (np.uint64(codes[i - 1]) >> bits):
            box += 1
        box_weights[box] += weights[i]
        for c in range(values.shape[1]):
            sums[box, c] += weights[i] * np.int64(values[i, c])
