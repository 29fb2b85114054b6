"""Dithering by error diffusion: the error of each pixel is passed on to its neighbours.

Floyd & Steinberg 1976, "An adaptive algorithm for spatial grey scale", Proc. SID 17(2), in
serpentine order: every other row runs from right to left. All arithmetic is in integers, so that an
image is the same on every machine. Each pixel gets the colour that is exactly nearest to its own
colour plus the errors passed on to it.

Large errors are damped, as is known from practice; the rule is ours. Floyd and Steinberg pass on
every error as a whole. Errors that no mixture of the palette's colours makes up for then add up,
until they show as halos beside edges and as speckle. An error that is larger than half the distance
from the pixel's new colour to that colour's nearest other is therefore passed on to three quarters
only. Smaller errors, of which gradients are made, keep the mean colour. The limits depend on the
palette alone, so an image is the same whatever else is in its collection.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.color.nearest_color import NearestColor, find_nearest
from kmeans_dask.color.spaces import Space
from kmeans_dask.kernels.jit import jit

_STRENGTH = 256  # steps of the strength between 0 and 1


class Ditherer:
    """Ditherer of images with one palette: it maps pixels to indices of the palette's colours.

    space: colour space in which errors and distances are measured
    colors: (k, 3) uint8; alphas: (k,) uint8, None where all are opaque
    strength: the part of a small error that is passed on, 0 to 1; of a large one it is 3/4 of that
    """

    def __init__(
        self,
        space: Space,
        colors: NDArray[np.uint8],
        alphas: NDArray[np.uint8] | None,
        strength: float,
    ) -> None:
        self._space = space
        self._places = space.coordinates(colors, alphas).astype(np.int64)
        self._gaps = _squared_gaps(self._places)
        self._strength = round(strength * _STRENGTH)
        # where coordinates are 8-bit colours, a table is used; else all colours are compared
        self._nearest = NearestColor.from_palette(colors if space == Space() else colors[:0])
        self._has_table = space == Space()

    def map(
        self, pixels: NDArray[np.uint8], alphas: NDArray[np.uint8] | None, width: int
    ) -> NDArray[np.uint16]:
        """Return the indices (n,) of an image's pixels (n, 3), row after row, with alphas (n,).

        width: pixels of a row

        Fully transparent pixels get index 0. They neither receive errors nor pass any on.
        """
        values = self._space.coordinates(pixels, alphas)
        clear = np.zeros(len(pixels), np.bool_) if alphas is None else alphas == 0
        lower = np.full(self._space.channels, 0, np.int64)
        if self._space.name == "oklab":
            lower[1:3] = -self._space.largest
        indices = np.zeros(len(pixels), np.uint16)
        bounds = lower, self._space.largest
        _diffuse(
            values, clear, width, self._strength, bounds, self._places, self._gaps,
            self._has_table, self._nearest, indices,
        )  # fmt: skip
        return indices


def _squared_gaps(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the squared distance of each of `places` (k, C) to the nearest other one, (k,)."""
    distances: NDArray[np.int64] = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.iinfo(np.int64).max)
    gaps: NDArray[np.int64] = distances.min(axis=1)
    return gaps


@jit
def _diffuse(  # type: ignore[no-untyped-def]
    values, clear, width, strength, bounds, places, gaps, has_table, nearest, indices
):
    """Fill `indices` (n,) with the index of the colour that each pixel gets.

    values: (n, C), coordinates of the pixels; clear: (n,), whether a pixel is fully transparent
    strength: in steps of 1 / 256; bounds: least value of each channel, (C,), and largest of all
    places: (k, C), coordinates of the palette's colours; gaps: (k,), as of `_squared_gaps`
    nearest: `NearestColor`, which is used where `has_table` is set
    """
    lower, upper = bounds
    palette, found, candidates = nearest.palette, nearest.found, nearest.candidates
    n_candidates, corners = nearest.n_candidates, nearest.corners
    channels = values.shape[1]
    # errors of this row and the next, in sixteenths, with a column of padding on either side
    errors = np.zeros((2, width + 2, channels), np.int64)
    wanted = np.zeros(channels, np.int64)
    damped = 3 * strength // 4
    for row in range(values.shape[0] // width):
        here, below = errors[row % 2], errors[1 - row % 2]
        below[:] = 0
        step = 1 - 2 * (row % 2)
        for n in range(width):
            x = n if step == 1 else width - 1 - n
            i = row * width + x
            if clear[i]:
                continue
            for c in range(channels):
                value = np.int64(values[i, c]) + ((here[x + 1, c] + 8) >> 4)
                wanted[c] = min(max(value, lower[c]), upper)
            for_opaque = channels == 4 and values[i, 3] == upper
            if has_table:
                j = find_nearest(
                    wanted[0], wanted[1], wanted[2], palette, found, candidates, n_candidates,
                    corners,
                )  # fmt: skip
            else:
                j = _search(wanted, places, for_opaque, upper)
            indices[i] = j
            squared = np.int64(0)
            for c in range(channels):
                difference = wanted[c] - places[j, c]
                squared += difference * difference
            part = damped if 4 * squared > gaps[j] else strength
            for c in range(channels):
                error = ((wanted[c] - places[j, c]) * part + 128) >> 8
                here[x + 1 + step, c] += 7 * error
                below[x + 1 - step, c] += 3 * error
                below[x + 1, c] += 5 * error
                below[x + 1 + step, c] += error


@jit
def _search(wanted, places, for_opaque, upper):  # type: ignore[no-untyped-def]
    """Return the index of the place nearest to `wanted` (C,), among `places` (k, C).

    for_opaque: search only the opaque places, if there are any
    upper: the alpha of opaque places
    """
    best = -1
    for only_opaque in (for_opaque, False):  # no recursion: a cached kernel cannot call itself
        smallest = np.int64(1) << 62
        for j in range(places.shape[0]):
            if only_opaque and places[j, 3] != upper:
                continue
            distance = np.int64(0)
            for c in range(places.shape[1]):
                difference = wanted[c] - places[j, c]
                distance += difference * difference
            if distance < smallest:
                best, smallest = j, distance
        if best >= 0:
            break
    return best
