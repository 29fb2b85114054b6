"""Coarse colours: fewer points that stand for the colours of a histogram, to search among them.

Colours whose Morton codes begin with the same bits fill a box of colour space. A coarse colour is
the mean of such a box, with the weight of all colours in it. A box is halved, bit by bit, until the
squared error of its colours about their mean is small, so that frequent colours stay apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit
from kmeans_dask.kmeans.morton_codes import CODE_BITS, interleave_alphas
from kmeans_dask.kmeans.points import Points, make_points

_FINE = 1 << 17  # finest boxes, at most, all of one size: with fewer colours, each colour is one
_LONGEST = 32  # bits of a code with alpha
_HALVINGS = 60  # of the error that a box may have, at most


def coarse_colors(points: Points, codes: NDArray[np.uint32], at_most: int) -> Points:
    """Return at most `at_most` points that stand for `points`, and these themselves if so few.

    points: colours on an exact grid, in any space, all with weight
    codes: (n,) uint32, ascending, the Morton code of each colour, see `morton_codes`
    at_most: 1 or more

    Means are rounded to the grid. They depend on all points together: those of chunks differ.
    """
    if len(points) <= at_most:
        return points
    values, weights = points.values, points.weights
    if codes[-1] >> np.uint32(CODE_BITS):
        codes = interleave_alphas(codes)
        order = np.argsort(codes, kind="stable")
        codes, values, weights = codes[order], values[order], weights[order]
    bits, n, channels = 0, len(codes), values.shape[1]
    if n > _FINE:
        shared = np.zeros(_LONGEST + 1, np.int64)
        _count_shared(codes, shared)
        boxes = n - np.cumsum(shared)  # how many there are with each number of bits left out
        bits = int(np.argmax(boxes <= _FINE))
        n = int(boxes[bits])
    firsts = np.empty(n, np.uint64)
    up_to_weights, up_to_sums = np.zeros(n + 1, np.int64), np.zeros((n + 1, channels), np.int64)
    up_to_squares = np.zeros(n + 1)
    _add_boxes(
        codes, values, weights, np.uint64(bits), firsts, up_to_weights, up_to_sums, up_to_squares
    )
    edges = _cut(firsts, up_to_weights, up_to_sums, up_to_squares, at_most, _HALVINGS)
    of_boxes = np.diff(up_to_weights[edges])
    means = np.rint(np.diff(up_to_sums[edges], axis=0) / of_boxes[:, None]).astype(values.dtype)
    return make_points(means, of_boxes, points.grid, spatially_sorted=points.spatially_sorted)


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
def _add_boxes(codes, values, weights, bits, firsts, up_to_weights, up_to_sums, up_to_squares):  # type: ignore[no-untyped-def]
    """Fill `firsts` (boxes,) with the code of each box, and the others with sums up to it.

    bits: how many last bits of a code do not tell boxes apart
    up_to_weights, up_to_sums, up_to_squares: (boxes + 1,), (boxes + 1, C) and (boxes + 1,), sums of
        weights, of weighted values and of weighted squares over a box and all before it
    """
    box, channels = -1, values.shape[1]
    for i in range(codes.shape[0]):
        code = np.uint64(codes[i]) >> bits
        if box < 0 or code != firsts[box]:
            box += 1
            firsts[box] = code
            up_to_weights[box + 1] = up_to_weights[box]
            up_to_squares[box + 1] = up_to_squares[box]
            for c in range(channels):
                up_to_sums[box + 1, c] = up_to_sums[box, c]
        up_to_weights[box + 1] += weights[i]
        for c in range(channels):
            value = np.int64(values[i, c])
            up_to_sums[box + 1, c] += weights[i] * value
            up_to_squares[box + 1] += np.float64(weights[i]) * np.float64(value * value)


@jit
def _cut(codes, up_to_weights, up_to_sums, up_to_squares, at_most, halvings):  # type: ignore[no-untyped-def]
    """Return the edges of at most `at_most` boxes, ascending, from 0 to the number of fine boxes.

    codes: (n,) uint64, of fine boxes; the other arrays are those that `_add_boxes` fills
    halvings: how often the error that a box may have is halved, at most
    """
    edges, stack = np.zeros(at_most + 1, np.int64), np.zeros(64, np.int64)
    finer = edges.copy()
    n, edges[1] = 1, codes.shape[0]
    allowed = _error(up_to_weights, up_to_sums, up_to_squares, 0, codes.shape[0])
    for _ in range(halvings):
        allowed *= 0.5
        n_finer = 0
        for box in range(n):
            start, n_stack = edges[box], 1
            stack[0] = edges[box + 1]
            while n_stack > 0:  # ends of boxes, each of which begins where the one above ends
                stop = stack[n_stack - 1]
                if (
                    stop - start > 1
                    and _error(up_to_weights, up_to_sums, up_to_squares, start, stop) > allowed
                ):
                    stack[n_stack] = _middle(codes, start, stop)
                    n_stack += 1
                    continue
                if n_finer == at_most:
                    return edges[: n + 1]
                n_finer += 1
                finer[n_finer] = stop
                start, n_stack = stop, n_stack - 1
        n = n_finer
        edges, finer = finer, edges
    return edges[: n + 1]


@jit
def _error(up_to_weights, up_to_sums, up_to_squares, start, stop):  # type: ignore[no-untyped-def]
    """Return the squared error of fine boxes `start` to `stop` about their common mean."""
    weight = np.float64(up_to_weights[stop] - up_to_weights[start])
    error = up_to_squares[stop] - up_to_squares[start]
    for c in range(up_to_sums.shape[1]):
        total = np.float64(up_to_sums[stop, c] - up_to_sums[start, c])
        error -= total * (total / weight)
    return error


@jit
def _middle(codes, start, stop):  # type: ignore[no-untyped-def]
    """Return where, between `start` and `stop`, the first bit that is not shared becomes 1."""
    bit, apart = np.uint64(0), codes[start] ^ codes[stop - 1]
    while apart > np.uint64(1):
        apart >>= np.uint64(1)
        bit += np.uint64(1)
    wanted = codes[stop - 1] >> bit
    low, high = start + 1, stop - 1
    while low < high:
        half = (low + high) // 2
        if (codes[half] >> bit) < wanted:
            low = half + 1
        else:
            high = half
    return low
