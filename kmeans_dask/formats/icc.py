"""ICC profiles made from the primaries and the transfer curve of an RGB colour space.

ICC.1:2010 (profile version 4.3), sections 7.2 (header), 8.3.3 (three-component matrix-based
display profiles), 10.16 (parametricCurveType); chromatic adaptation to D50 by Bradford's matrix, as
in its annex E.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


class Primaries(NamedTuple):
    """Chromaticities (x, y), CIE 1931, of the white point and the primaries of an RGB space."""

    white: tuple[float, float]
    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """Transfer curve from a sample x to light y, both 0 to 1.

    y = (a x + b)^gamma where x >= d, and y = c x where x < d.
    """

    gamma: float
    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0


SRGB_PRIMARIES = Primaries((0.3127, 0.3290), (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
SRGB_CURVE = Curve(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def make_profile(primaries: Primaries, curve: Curve) -> bytes:
    """Return an ICC profile of an RGB space, with `curve` for each channel.

    Raises ValueError where the primaries span no colours.

    >>> len(make_profile(SRGB_PRIMARIES, SRGB_CURVE))
    328
    """
    shared = _parametric(curve)
    columns = [_xyz(column) for column in _to_d50(primaries).T]
    tags = [
        (b"wtpt", _xyz(np.array(_D50))),
        *zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True),
    ]
    start = 128 + 4 + 12 * (len(tags) + 3)
    table, data = b"", b""
    for name, content in tags:
        table += struct.pack(">4sII", name, start + len(data), len(content))
        data += content
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        table += struct.pack(">4sII", name, start + len(data), len(shared))
    data += shared
    head = struct.pack(
        ">II4s4s4s4s12s4s28s12s48s",
        start + len(data), 0, b"\x04\x30\0\0", b"mntr", b"RGB ", b"XYZ ", b"", b"acsp", b"",
        _xyz(np.array(_D50))[8:], b"",
    )  # fmt: skip
    return head + struct.pack(">I", len(tags) + 3) + table + data


def _to_d50(primaries: Primaries) -> NDArray[np.float64]:
    """Return the matrix (3, 3) float64 from linear RGB to XYZ under D50.

    Raises ValueError where the primaries span no colours.
    """
    white = _direction_of(primaries.white)
    lights = np.column_stack([_direction_of(each) for each in primaries[1:]])
    given = np.isfinite(lights).all() and np.isfinite(white).all() and white[1] > 0
    if not given or abs(np.linalg.det(lights)) <= 1e-6:
        raise ValueError("these primaries span no colours")
    white = white / white[1]
    matrix = lights * np.linalg.solve(lights, white)
    cones = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ white)
    adapted: NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ matrix
    if not np.isfinite(adapted).all() or np.abs(adapted).max() >= 1 << 14:
        raise ValueError("these primaries span no colours")
    return adapted


def _direction_of(xy: tuple[float, float]) -> NDArray[np.float64]:
    """Return XYZ (3,) float64 of a chromaticity (x, y), scaled so that X + Y + Z = 1."""
    x, y = xy
    return np.array([x, y, 1 - x - y])


def _xyz(values: NDArray[np.float64]) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *(round(value * 65536) for value in values))


def _parametric(curve: Curve) -> bytes:
    values = (curve.gamma, curve.a, curve.b, curve.c, curve.d)
    return struct.pack(">4s4xHxx5i", b"para", 3, *(round(value * 65536) for value in values))
