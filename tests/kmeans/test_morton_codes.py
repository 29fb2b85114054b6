from __future__ import annotations

import numpy as np

from kmeans_dask.kmeans.morton_codes import (
    N_CODES,
    decode_alphas,
    decode_colors,
    encode_colors,
    encode_translucent,
)


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


def test_codes_of_translucent_colours_have_their_transparency_above_the_colour() -> None:
    rng = np.random.default_rng(3)
    colors = rng.integers(0, 256, (5000, 3)).astype(np.uint8)
    alphas = rng.integers(0, 256, 5000).astype(np.uint8)
    expected = [
        (255 - alpha) * N_CODES + plain_code(*color)
        for color, alpha in zip(colors.tolist(), alphas.tolist(), strict=True)
    ]
    codes = encode_translucent(colors, alphas)
    assert codes.dtype == np.uint32
    assert codes.tolist() == expected


def test_every_alpha_of_light_and_dark_colours_is_decoded_again() -> None:
    alphas = np.tile(np.arange(256, dtype=np.uint8), 3)
    colors = np.repeat(np.array([[0, 0, 0], [255, 255, 255], [1, 128, 77]], np.uint8), 256, axis=0)
    codes = encode_translucent(colors, alphas)
    assert len(np.unique(codes)) == len(codes)
    assert decode_alphas(codes).dtype == np.uint8
    assert np.array_equal(decode_alphas(codes), alphas)
    assert np.array_equal(decode_colors(codes), colors)


def test_opaque_colours_have_the_codes_they_always_had_and_come_first() -> None:
    colors = np.random.default_rng(4).integers(0, 256, (1000, 3)).astype(np.uint8)
    colors[0], colors[1] = 255, 0
    opaque = encode_translucent(colors, np.full(1000, 255, np.uint8))
    assert np.array_equal(opaque, encode_colors(colors))
    assert (decode_alphas(opaque) == 255).all()
    translucent = encode_translucent(colors, np.full(1000, 254, np.uint8))
    assert opaque.max() == N_CODES - 1
    assert translucent.min() == N_CODES


def test_no_translucent_colours_are_no_codes() -> None:
    nothing = encode_translucent(np.empty((0, 3), np.uint8), np.empty(0, np.uint8))
    assert nothing.shape == (0,)
    assert nothing.dtype == np.uint32
    assert decode_alphas(nothing).shape == (0,)
