from __future__ import annotations

import numpy as np

from kmeans_dask.clustering.codes import N_CODES, decode_colors, encode_colors


def plain_code(r: int, g: int, b: int) -> int:
    """Interleave bit by bit: from the top r7 g7 b7 r6 g6 b6 and so on."""
    code = 0
    for bit in range(7, -1, -1):
        for channel in (r, g, b):
            code = code * 2 + (channel >> bit) % 2
    return code


def test_every_code_decodes_to_a_colour_that_encodes_to_it() -> None:
    codes = np.arange(N_CODES, dtype=np.uint32)
    colors = decode_colors(codes)
    assert colors.dtype == np.uint8
    assert colors.shape == (N_CODES, 3)
    back = encode_colors(colors)
    assert back.dtype == np.uint32
    assert np.array_equal(back, codes)


def test_codes_interleave_the_bits_of_the_channels() -> None:
    colors = np.random.default_rng(1).integers(0, 256, (5000, 3)).astype(np.uint8)
    expected = [plain_code(*color) for color in colors.tolist()]
    assert encode_colors(colors).tolist() == expected
    assert decode_colors(np.array(expected, np.uint32)).tolist() == colors.tolist()


def test_each_single_bit_lands_in_its_place() -> None:
    for channel in range(3):
        for bit in range(8):
            color = np.zeros(3, np.uint8)
            color[channel] = 1 << bit
            assert int(encode_colors(color)) == 1 << (3 * bit + 2 - channel)


def test_shapes_are_kept() -> None:
    image = np.random.default_rng(2).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    codes = encode_colors(image)
    assert codes.shape == (4, 5)
    assert np.array_equal(decode_colors(codes), image)
    assert encode_colors(np.empty((0, 3), np.uint8)).shape == (0,)
    assert decode_colors(np.empty(0, np.uint32)).shape == (0, 3)
