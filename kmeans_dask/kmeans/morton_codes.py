"""Morton codes of 8-bit colours: one integer each, of the interleaved bits of r, g and b (24 bits).

Colours that are alike have codes that are close. So a table indexed by code is read with few
cache misses, and a sorted list of codes can be cut into runs whose colours fill a small box,
without sorting them again: counting needs the one, and the filter of boxes the other. A translucent
colour has its transparency in the byte above, so that all opaque colours come first.

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
    """Return a table (256,) in which bit i of the index is moved to bit 3 * i."""
    values = np.arange(256, dtype=np.uint32)
    spread = np.zeros(256, np.uint32)
    for bit in range(8):
        spread |= ((values >> np.uint32(bit)) & np.uint32(1)) << np.uint32(3 * bit)
    return spread


SPREAD = _spread()


def encode_colors(colors: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return the codes (...) uint32 of colours (..., 3) uint8."""
    r, g, b = SPREAD[colors[..., 0]], SPREAD[colors[..., 1]], SPREAD[colors[..., 2]]
    codes: NDArray[np.uint32] = (r << np.uint32(2)) | (g << np.uint32(1)) | b
    return codes


def encode_translucent(colors: NDArray[np.uint8], alphas: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return the codes (n,) uint32 of colours (n, 3) uint8 with alphas (n,) uint8.

    Opaque colours get the codes of `encode_colors`.

    >>> encode_translucent(np.array([[0, 0, 1]], np.uint8), np.array([254], np.uint8)).tolist()
    [16777217]
    """
    clear = (255 - alphas).astype(np.uint32)
    codes: NDArray[np.uint32] = encode_colors(colors) | (clear << np.uint32(CODE_BITS))
    return codes


def interleave_alphas(codes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return codes (n,) uint32 in which the bits of transparency are interleaved with the colour's.

    Translucent colours that are alike, in alpha as well, then have codes that are close. The codes
    of opaque colours keep their order, but there are others between them.

    >>> interleave_alphas(np.array([0, 1, 2, 4, 1 << 24], np.uint32)).tolist()
    [0, 1, 2, 4, 8]
    """
    colors, clear = decode_colors(codes), 255 - decode_alphas(codes)
    spread = np.zeros(256, np.uint32)  # bit i of the index is moved to bit 4 * i
    for bit in range(8):
        spread |= ((np.arange(256, dtype=np.uint32) >> np.uint32(bit)) & np.uint32(1)) << np.uint32(
            4 * bit
        )
    interleaved: NDArray[np.uint32] = spread[clear] << np.uint32(3)
    for channel in range(3):
        interleaved |= spread[colors[:, channel]] << np.uint32(2 - channel)
    return interleaved


def decode_alphas(codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return the alphas (n,) uint8 of codes (n,) uint32."""
    return (255 - (codes >> np.uint32(CODE_BITS))).astype(np.uint8)


def decode_colors(codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return the colours (..., 3) uint8 of codes (...) uint32."""
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
