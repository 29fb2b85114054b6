"""Bounds that tell which centroids can be nearest to a box of points, or to each point of a tile.

Wherever the bounds do not decide, `search_plainly` compares distances as the plain loop does.

Coordinates are those of a frame (see `points.Points`): moved and scaled so that they are about 1 at
most, and exact enough in float32. There |x - c|^2 is |x|^2 + 2 (|c|^2 / 2 - x.c), and the part in
brackets, here called the score of c, decides which centroid is nearest.
"""

from __future__ import annotations

import numpy as np

from kmeans_dask.kernels.jit import jit, rough_jit

TILE = 128  # points processed together: they fill a few SIMD registers
AT_ONCE = 4  # centroids processed together; lists of centroids are padded to a multiple of this
PAD = np.float32(3e38)  # score of a padding centroid
PADDING = 8  # padding centroids that follow a list for `filter_box`
FAR = 1e100  # coordinate of these padding centroids

_FARTHEST = 1e15  # largest coordinate, for float32 to hold sums of squares of coordinates
_TINY = 1e-30  # upper bound of what float32 loses where it runs out of exponents

# How much a candidate must lose by at every corner of a box, relative to squares of coordinates.
_MARGIN = 2.0**-34


@rough_jit
def search_tile(x, start, width, centers, heights, ids, n, scores, best, second, which):  # type: ignore[no-untyped-def]
    """Find the lowest and second lowest score of each point of a tile, and the lowest one's id.

    x: (C, any) float32, of which `width` columns from `start` on are the tile
    centers: (at least n, C) float32, C being 3 or a multiple of 4; heights: (at least n,) float32,
    |c|^2 / 2; ids: (at least n,) int32; n: a multiple of AT_ONCE
    scores: (AT_ONCE, TILE) float32, a buffer; None where C is 3: the type alone tells numba, which
    then does not compile the code for other C
    best, second: (TILE,) float32, filled with the scores; which: (TILE,) int32, filled from `ids`
    """
    for i in range(width):
        best[i], second[i], which[i] = PAD, PAD, np.int32(0)
    # Rows are one-dimensional views of the tile. In x[c, start + i], numba does not know that the
    # index is not negative, and loads values lane by lane; so it does in views of more dimensions.
    stop = start + width
    if scores is None:
        xs, ys, zs = x[0, start:stop], x[1, start:stop], x[2, start:stop]
        for j in range(0, n, AT_ONCE):
            id0, id1, id2, id3 = ids[j], ids[j + 1], ids[j + 2], ids[j + 3]
            h0, x0, y0, z0 = heights[j], centers[j, 0], centers[j, 1], centers[j, 2]
            h1, x1, y1, z1 = heights[j + 1], centers[j + 1, 0], centers[j + 1, 1], centers[j + 1, 2]
            h2, x2, y2, z2 = heights[j + 2], centers[j + 2, 0], centers[j + 2, 1], centers[j + 2, 2]
            h3, x3, y3, z3 = heights[j + 3], centers[j + 3, 0], centers[j + 3, 1], centers[j + 3, 2]
            for i in range(width):
                px, py, pz = xs[i], ys[i], zs[i]
                low, next_low, index = best[i], second[i], which[i]
                score = h0 - px * x0 - py * y0 - pz * z0
                next_low = min(next_low, max(score, low))
                index, low = id0 if score < low else index, min(score, low)
                score = h1 - px * x1 - py * y1 - pz * z1
                next_low = min(next_low, max(score, low))
                index, low = id1 if score < low else index, min(score, low)
                score = h2 - px * x2 - py * y2 - pz * z2
                next_low = min(next_low, max(score, low))
                index, low = id2 if score < low else index, min(score, low)
                score = h3 - px * x3 - py * y3 - pz * z3
                next_low = min(next_low, max(score, low))
                index, low = id3 if score < low else index, min(score, low)
                best[i], second[i], which[i] = low, next_low, index
        return
    # Four channels at a time; the last four together with the comparison of the complete scores.
    last = centers.shape[1] - 4
    for j in range(0, n, AT_ONCE):
        id0, id1, id2, id3 = ids[j], ids[j + 1], ids[j + 2], ids[j + 3]
        h0, h1, h2, h3 = heights[j], heights[j + 1], heights[j + 2], heights[j + 3]
        for c in range(0, last, 4):
            w0, x0 = centers[j, c], centers[j, c + 1]
            y0, z0 = centers[j, c + 2], centers[j, c + 3]
            w1, x1 = centers[j + 1, c], centers[j + 1, c + 1]
            y1, z1 = centers[j + 1, c + 2], centers[j + 1, c + 3]
            w2, x2 = centers[j + 2, c], centers[j + 2, c + 1]
            y2, z2 = centers[j + 2, c + 2], centers[j + 2, c + 3]
            w3, x3 = centers[j + 3, c], centers[j + 3, c + 1]
            y3, z3 = centers[j + 3, c + 2], centers[j + 3, c + 3]
            if c == 0:
                for i in range(width):
                    scores[0, i], scores[1, i] = h0, h1
                    scores[2, i], scores[3, i] = h2, h3
            ws, xs = x[c, start:stop], x[c + 1, start:stop]
            ys, zs = x[c + 2, start:stop], x[c + 3, start:stop]
            for i in range(width):
                pw, px, py, pz = ws[i], xs[i], ys[i], zs[i]
                scores[0, i] -= pw * w0 + px * x0 + py * y0 + pz * z0
                scores[1, i] -= pw * w1 + px * x1 + py * y1 + pz * z1
                scores[2, i] -= pw * w2 + px * x2 + py * y2 + pz * z2
                scores[3, i] -= pw * w3 + px * x3 + py * y3 + pz * z3
        w0, x0 = centers[j, last], centers[j, last + 1]
        y0, z0 = centers[j, last + 2], centers[j, last + 3]
        w1, x1 = centers[j + 1, last], centers[j + 1, last + 1]
        y1, z1 = centers[j + 1, last + 2], centers[j + 1, last + 3]
        w2, x2 = centers[j + 2, last], centers[j + 2, last + 1]
        y2, z2 = centers[j + 2, last + 2], centers[j + 2, last + 3]
        w3, x3 = centers[j + 3, last], centers[j + 3, last + 1]
        y3, z3 = centers[j + 3, last + 2], centers[j + 3, last + 3]
        ws, xs = x[last, start:stop], x[last + 1, start:stop]
        ys, zs = x[last + 2, start:stop], x[last + 3, start:stop]
        for i in range(width):
            pw, px, py, pz = ws[i], xs[i], ys[i], zs[i]
            low, next_low, index = best[i], second[i], which[i]
            score = (scores[0, i] if last else h0) - (pw * w0 + px * x0 + py * y0 + pz * z0)
            next_low = min(next_low, max(score, low))
            index, low = id0 if score < low else index, min(score, low)
            score = (scores[1, i] if last else h1) - (pw * w1 + px * x1 + py * y1 + pz * z1)
            next_low = min(next_low, max(score, low))
            index, low = id1 if score < low else index, min(score, low)
            score = (scores[2, i] if last else h2) - (pw * w2 + px * x2 + py * y2 + pz * z2)
            next_low = min(next_low, max(score, low))
            index, low = id2 if score < low else index, min(score, low)
            score = (scores[3, i] if last else h3) - (pw * w3 + px * x3 + py * y3 + pz * z3)
            next_low = min(next_low, max(score, low))
            index, low = id3 if score < low else index, min(score, low)
            best[i], second[i], which[i] = low, next_low, index


@rough_jit
def is_settled(start, width, best, second, which, error, labels):  # type: ignore[no-untyped-def]
    """Return whether each point of a tile is certainly nearest to the centroid of its label.

    best, second, which: as `search_tile` found them, with scores that are too low by at most
    `error`, float32
    """
    differs = np.int32(0)
    of_tile = labels[start : start + width]
    for i in range(width):
        other = which[i] ^ of_tile[i]
        differs |= other if second[i] - best[i] - error > np.float32(0.0) else np.int32(1)
    return differs == 0


@rough_jit
def list_unsettled(start, width, best, second, which, error, labels, unsettled):  # type: ignore[no-untyped-def]
    """List the points of a tile that are not certainly nearest to their label's centroid.

    unsettled: filled with the places of these points in the tile; the others are as in `is_settled`

    Return how many these are.
    """
    of_tile = labels[start : start + width]
    n = 0
    for i in range(width):
        unsettled[n] = i
        certain = second[i] - best[i] - error > np.float32(0.0)
        n += not (certain and which[i] == of_tile[i])
    return n


@rough_jit
def bound_gaps(width, squares, best, second, which, errors, gaps):  # type: ignore[no-untyped-def]
    """Bound from below how much farther the second nearest centroid is than the nearest.

    squares: (TILE,) float32, |x|^2 and its rounding; best, second, which: as `search_tile` found
    them, with scores that are too low by at most `errors` (k,) float32
    gaps: (TILE,) float32, filled with the bounds, and with -1 where it is unclear which is nearest
    """
    for i in range(width):
        highest = best[i] + errors[which[i]]
        # where there is no second centroid, its score is PAD, and twice that is infinite
        farther = min(squares[i] + np.float32(2.0) * second[i], PAD)
        far = np.sqrt(max(np.float32(0.0), farther))
        near = np.sqrt(max(np.float32(0.0), squares[i] + np.float32(2.0) * highest))
        gap = max(far - near - far * np.float32(2.0**-21), np.float32(0.0))
        gaps[i] = gap if highest < second[i] else np.float32(-1.0)


@rough_jit
def filter_box(low, high, ids, n, centers, kept, kept_centers, work):  # type: ignore[no-untyped-def]
    """Keep those of the first `n` centroids that may be nearest to some point of a box.

    The rule is that of Kanungo et al. 2002, "An efficient k-means clustering algorithm: analysis
    and implementation", PAMI 24(7), section 2: drop a centroid that loses against the one
    nearest to the box's middle, at the corner where it does best. Here it is dropped only where it
    loses by more than rounding could make up for.

    low, high: (C,) float64, corners of the box; ids, kept: (k + PADDING,) int32, ascending
    centers, kept_centers: (C, k + PADDING) float64, the centroids of these, followed by at least
    PADDING far away; work: (k + PADDING,) float64, a buffer

    Return how many are kept.
    """
    channels = centers.shape[0]
    padded = (n + PADDING - 1) // PADDING * PADDING  # whole SIMD registers
    for c in range(channels):
        middle = (low[c] + high[c]) * 0.5
        for j in range(padded):
            difference = centers[c, j] - middle
            work[j] = difference * difference if c == 0 else work[j] + difference * difference
    least, star = work[0], 0
    for j in range(n):
        least = min(least, work[j])
    for j in range(n):
        star = max(star, j if work[j] == least else 0)
    # by how much j is farther than star, at the corner of the box where j does best
    margin = 1.0
    for c in range(channels):
        l, h, s = low[c], high[c], centers[c, star]  # noqa: E741
        margin += max(l * l, h * h) + s * s
        for j in range(padded):
            x = centers[c, j]
            corner = h if x > s else l
            farther = (x - s) * (x + s - 2.0 * corner)
            work[j] = farther if c == 0 else work[j] + farther
    margin *= _MARGIN
    m = 0
    for j in range(n):  # without a branch, which would be mispredicted
        kept[m] = j
        m += work[j] <= margin
    for c in range(channels):
        for i in range(m):
            kept_centers[c, i] = centers[c, np.uint64(kept[i])]
        kept_centers[c, m : m + PADDING] = FAR
    for i in range(m):
        kept[i] = ids[np.uint64(kept[i])]
    return m


@jit
def list_candidates(n, centers, near, norms, heights):  # type: ignore[no-untyped-def]
    """Lay out the first `n` centroids of `centers` (C, k) in the way that `search_tile` needs.

    near: filled with coordinates; norms: with |c|; heights: with |c|^2 / 2
    """
    for m in range(n):
        norm = 0.0
        for c in range(centers.shape[0]):
            # squares of larger coordinates overflow; centroids so far away are left to float64
            coordinate = min(max(centers[c, m], -_FARTHEST), _FARTHEST)
            near[m, c] = np.float32(coordinate)
            norm += coordinate * coordinate
        heights[m] = norm * 0.5
        norms[m] = np.sqrt(norm)
    for m in range(n, n + AT_ONCE):
        for c in range(centers.shape[0]):
            near[m, c] = np.float32(0.0)


@jit
def lower_heights(n, channels, reach, norms, heights, lowered, errors):  # type: ignore[no-untyped-def]
    """Lower `heights` so that scores are lower bounds, whatever rounding has done to them.

    reach: upper bound of the norm of the points
    lowered: filled with the lowered heights
    errors: (n,), filled with how much a score may then be too low

    Return the largest of `errors`.
    """
    relative, largest = (channels + 6) * 2.0**-24, np.float32(0.0)
    for m in range(n):
        error = relative * norms[m] * (reach + norms[m]) + _TINY
        # nothing is known of a centroid whose coordinates were clipped
        errors[m] = np.float32(2.0 * error) if norms[m] < _FARTHEST else PAD
        largest = max(largest, errors[m])
        lowered[m] = np.float32(heights[m] - error)
    for m in range(n, n + AT_ONCE):
        lowered[m], errors[m] = PAD, np.float32(0.0)
    return largest


@jit
def search_plainly(values, p, centroids, candidates, n):  # type: ignore[no-untyped-def]
    """Return the nearest of `n` candidates, its squared distance, and that of the second nearest.

    Distances of point `p` are computed as in the plain loop, to the last bit.
    """
    label, nearest, next_nearest = np.int32(0), np.inf, np.inf
    for m in range(n):
        distance = 0.0
        for c in range(values.shape[1]):
            difference = np.float64(values[p, c]) - centroids[candidates[m], c]
            distance += difference * difference
        if distance < nearest:
            label, nearest, next_nearest = candidates[m], distance, nearest
        elif distance < next_nearest:
            next_nearest = distance
    return label, nearest, next_nearest
