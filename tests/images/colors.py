"""Colours by plain arithmetic, which shares no code with a colour management system."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.images.pixels import Floats, Pixels

D50 = np.array([0.9642, 1.0, 0.8249])
D65 = np.array([0.3127, 0.3290, 0.3583]) / 0.3290
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
INKS = np.array(
    [[0, 0, 0, 0], [255, 0, 0, 0], [0, 200, 0, 30], [10, 20, 250, 0], [0, 0, 0, 255]], np.uint8
)


def to_xyz(primaries: Sequence[tuple[float, float]]) -> Floats:
    """(3, 3): linear RGB with the white D65 to XYZ with the white D50."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    matrix = columns * np.linalg.solve(columns, D65)
    adapt = np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ D50 / (BRADFORD @ D65)) @ BRADFORD
    found: Floats = adapt @ matrix
    return found


def srgb_from_xyz(xyz: Floats) -> Floats:
    """(..., 3) with the white D50 to levels, not rounded."""
    linear = np.clip(xyz @ np.linalg.inv(to_xyz(SRGB)).T, 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    levels: Floats = 255 * curved
    return levels


def xyz_from_lab(lab: Floats) -> Floats:
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz: Floats = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50
    return xyz


def in_srgb(pixels: Pixels, primaries: Sequence[tuple[float, float]], gamma: float) -> Floats:
    linear = (pixels / 255) ** (round(gamma * 256) / 256)
    return srgb_from_xyz(linear @ to_xyz(primaries).T)


def naive_cmyk(inks: Pixels) -> Floats:
    """(..., 4) to (..., 3): each ink, and black over it, takes its part of the light."""
    light: Floats = 255 - inks.astype(np.float64)
    found: Floats = light[..., :3] * light[..., 3:] / 255
    return found
