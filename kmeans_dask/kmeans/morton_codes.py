"""One integer per 8-bit colour: its Morton code (24 bits, the bits of r, g and b interleaved).

Colours that are alike have codes that are close. So a table indexed by code is walked with few
cache misses, and a sorted list of codes can be cut into runs whose colours fill a small box,
with no sorting of its own: what counting and the block filter both want. What is not opaque has
its transparency in the byte above, so that all opaque colours come first.

>>> import numpy as np
>>> encode_colors(np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0], [255, 255, 255]], np.uint8))
array([       0,        1,        4, 16777215], dtype=uint32)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit

CODE_BITS = 24
N_CODES = 1 << CODE_BITS


def _spread() -> NDArray[np.uint32]:
    """Table (256,): bit i of the index moved to bit 3 * i."""
    values = np.arange(256, dtype=np.uint32)
    spread = np.zeros(256, np.uint32)
    for bit in range(8):
        spread |= ((values >> np.uint32(bit)) & np.uint32(1)) << np.uint32(3 * bit)
    return spread


SPREAD = _spread()


def encode_colors(colors: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Colours (..., 3) uint8 to codes (...) uint32."""
    r, g, b = SPREAD[colors[..., 0]], SPREAD[colors[..., 1]], SPREAD[colors[..., 2]]
    codes: NDArray[np.uint32] = (r << np.uint32(2)) | (g << np.uint32(1)) | b
    return codes


def encode_translucent(colors: NDArray[np.uint8], alphas: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Colours (n, 3) and alphas (n,) uint8 to codes (n,) uint32; opaque ones as above.

    >>> encode_translucent(np.array([[0, 0, 1]], np.uint8), np.array([254], np.uint8)).tolist()
    [16777217]
    """
    clear = (255 - alphas).astype(np.uint32)
    codes: NDArray[np.uint32] = encode_colors(colors) | (clear << np.uint32(CODE_BITS))
    return codes


def decode_alphas(codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Codes (n,) uint32 to alphas (n,) uint8."""
    return (255 - (codes >> np.uint32(CODE_BITS))).astype(np.uint8)


def decode_colors(codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Codes (...) uint32 to colours (..., 3) uint8."""
    colors = np.empty((codes.size, 3), np.uint8)
    _decode(codes.ravel(), colors)
    return colors.reshape(*codes.shape, 3)


@jit
def _decode(codes: NDArray[np.uint32], colors: NDArray[np.uint8]) -> None:
    for i in range(codes.size):
        for c in range(3):
            bits = (codes[i] >> np.uint32(2 - c)) & np.uint32(0o11111111)
            # every third bit, brought together in three steps
            bits = (bits | (bits >> np.uint32(2))) & np.uint32(0x0C30C3)
            bits = (bits | (bits >> np.uint32(4))) & np.uint32(0x0F00F)
            colors[i, c] = (bits | (bits >> np.uint32(8))) & np.uint32(0xFF)
