"""Oklab in integers: a colour space in which equal distances look about equally large.

Björn Ottosson 2020, "A perceptual color space for image processing". All steps are rounded by
integer arithmetic, so that the coordinates of the 2^24 colours are the same on every machine.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import cache

import numpy as np
from numpy.typing import NDArray

UNIT = 1 << 14  # the lightness of white

_LINEAR_BITS = 24  # fractional bits of linear light: white is 2^24
_ROOT_BITS = 20  # fractional bits of cube roots of cone responses
_MATRIX_BITS = 24  # fractional bits of the factors in matrices

# Matrices from linear sRGB to cone responses, and from the cube roots of these to lightness,
# green-red and blue-yellow; then the inverse ones.
_TO_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_TO_LAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
_FROM_LAB = (
    (0.3963377774, 0.2158037573),
    (-0.1055613458, -0.0638541728),
    (-0.0894841775, -1.2914855480),
)
_FROM_CONES = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)


def to_oklab(colors: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the Oklab coordinates L, a, b (n, 3) of sRGB colours (n, 3), in units of 1 / `UNIT`.

    colors: uint8

    >>> to_oklab(np.array([[255, 255, 255], [255, 0, 0], [0, 0, 0]], np.uint8)).tolist()
    [[16384, 0, 0], [10288, 3684, 2062], [0, 0, 0]]
    """
    cones = _apply(_TO_CONES, _linear()[colors], _MATRIX_BITS)
    roots = _cube_root(cones << (3 * _ROOT_BITS - _LINEAR_BITS))
    return _apply(_TO_LAB, roots, _MATRIX_BITS + _ROOT_BITS - UNIT.bit_length() + 1)


def from_oklab(places: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the 8-bit sRGB colours (n, 3) that are nearest, channel by channel, to `places`.

    places: L, a, b (n, 3), in units of 1 / `UNIT`

    Colours that no screen can show are clipped, channel by channel.
    """
    light, a, b = places.T / UNIT
    # Only sums and products, in a fixed order: the result is the same on every machine.
    cones = [light + (p * a + q * b) for p, q in _FROM_LAB]
    cubes = [cone * cone * cone for cone in cones]
    linear = [p * cubes[0] + q * cubes[1] + r * cubes[2] for p, q, r in _FROM_CONES]
    scaled = np.stack(linear, axis=1) * (1 << _LINEAR_BITS)
    return np.searchsorted(_between(), scaled, side="right").astype(np.uint8)


def _apply(
    matrix: tuple[tuple[float, ...], ...], values: NDArray[np.int64], bits: int
) -> NDArray[np.int64]:
    """Return `matrix` times `values` (n, 3), divided by 2^`bits` and rounded to the nearest."""
    whole = [[round(factor * (1 << _MATRIX_BITS)) for factor in row] for row in matrix]
    rows = [sum(f * values[:, c] for c, f in enumerate(row)) for row in whole]
    return (np.stack(rows, axis=1) + (1 << (bits - 1))) >> bits


def _cube_root(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the largest integers whose cubes are at most `values`, which are below 2^62."""
    roots = np.cbrt(values.astype(np.float64)).astype(np.int64)
    roots -= roots**3 > values
    roots += (roots + 1) ** 3 <= values
    return roots


@cache
def _linear() -> NDArray[np.int64]:
    """Return the linear light of the 256 values of an sRGB channel (IEC 61966-2-1)."""
    return np.array([round(_light_of(Decimal(value))) for value in range(256)], np.int64)


@cache
def _between() -> NDArray[np.float64]:
    """Return the linear light half-way between neighbouring values of an sRGB channel, (255,)."""
    halves = [_light_of(value + Decimal("0.5")) for value in range(255)]
    return np.array([float(half) for half in halves])


def _light_of(value: Decimal) -> Decimal:
    """Return the linear light of an sRGB value from 0 to 255, where white is 2^24.

    Decimal numbers are used because powers of floating-point ones differ between machines.
    """
    with localcontext(prec=30):
        part = value / 255
        if part <= Decimal("0.04045"):
            light = part / Decimal("12.92")
        else:
            light = ((part + Decimal("0.055")) / Decimal("1.055")) ** Decimal("2.4")
        return light * (1 << _LINEAR_BITS)
