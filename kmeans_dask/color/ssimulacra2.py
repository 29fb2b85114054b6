"""SSIMULACRA2: a score of how much a distorted image looks like its original, at most 100.

Jon Sneyers (Cloudinary), version 2.1, April 2023. This is a port of src/ssimulacra2.cc in
https://github.com/cloudinary/ssimulacra2, under the licence below. A score of 100 is for equal
images, 90 for differences that nobody sees, 70 for high quality, 50 for medium and 10 for very low
quality; the worst scores are negative.

Images are compared at six scales, whole and halved up to five times in linear light, in the colour
space XYB: red-green, luma, and blue-yellow. Three errors are measured at each pixel: SSIM
(structural dissimilarity), artifacts (detail that only the distorted image has) and loss (detail
that only the original has). Their means and 4-norms are weighted and mapped to the score.

The port differs from the reference in three ways:

- The reference blurs with a recursive filter in 32-bit floating point. Its rounding errors count as
  differences of the images: its scores of one pair, with the instructions of SSE4 and of AVX-512,
  differ by up to 0.4. Here the nine taps that the filter stands for are applied directly, and the
  variance of the difference is computed in place of a difference of variances. Scores are within
  0.001 of those of 64-bit arithmetic. They are within the range of the reference's scores or above
  it, by less than 0.1 for scores up to 75, and by up to 0.4 where almost nothing was lost.
- A side of less than 113 pixels leaves less than six scales. Here the others keep their own
  weights. The reference numbers the weights on, so that a scale gets the weights of another one;
  then a better JPEG image often has a lower score. In either, small images score higher than large
  ones of the same quality.
- The reference refuses a side of less than 8 pixels. Here such images have the first scale only.

Apart from two powers, all steps are sums, products, quotients and square roots in a fixed order.
Even so, scores may differ by 0.001 between machines, because compilers may round otherwise.
"""

# Copyright (c) Cloudinary. All rights reserved.
#
# Redistribution and use in source and binary forms, with or without modification, are permitted
# provided that the following conditions are met:
#
# 1. Redistributions of source code must retain the above copyright notice, this list of conditions
#    and the following disclaimer.
#
# 2. Redistributions in binary form must reproduce the above copyright notice, this list of
#    conditions and the following disclaimer in the documentation and/or other materials provided
#    with the distribution.
#
# 3. Neither the name of the copyright holder nor the names of its contributors may be used to
#    endorse or promote products derived from this software without specific prior written
#    permission.
#
# THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR
# IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND
# FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR
# CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
# DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE,
# DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER
# IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT
# OF THE USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.kernels.jit import jit

_SCALES = 6
_LEAST = 8  # pixels a side from which on an image is halved once more
_STRIP = 64  # rows that are converted at a time, an even number
LARGE = 1 << 22  # pixels from which on sampled scoring leaves strips of a scale out
ROUGH = 1 << 17  # the same for means over several images, where errors cancel
_SAMPLED = 4  # strips of which sampled scoring measures one
_OPAQUE = 255
_BACKGROUNDS = (0.1, 0.9)  # sRGB values behind translucent images, dark and light

# Weights of the errors SSIM, artifacts and loss: (3, 6, 2, 3), for each channel, scale and norm.
_WEIGHTS = np.array(
    [
        # red-green
        [0.0, 0.0007376606707406586, 0.0],
        [0.0, 0.0007793481682867309, 0.0],
        [0.0, 0.0004371155730107379, 0.0],
        [1.1041726426657346, 0.00066284834129271, 0.00015231632783718752],
        [0.0, 0.0016406437456599754, 0.0],
        [1.8422455520539298, 11.441172603757666, 0.0],
        [0.0007989109436015163, 0.000176816438078653, 0.0],
        [1.8787594979546387, 10.94906990605142, 0.0],
        [0.0007289346991508072, 0.9677937080626833, 0.0],
        [0.00014003424285435884, 0.9981766977854967, 0.00031949755934435053],
        [0.0004550992113792063, 0.0, 0.0],
        [0.0013648766163243398, 0.0, 0.0],
        # luma
        [0.0, 0.0, 0.0],
        [7.466890328078848, 0.0, 17.445833984131262],
        [0.0006235601634041466, 0.0, 0.0],
        [6.683678146179332, 0.00037724407979611296, 1.027889937768264],
        [225.20515300849274, 0.0, 0.0],
        [19.213238186143016, 0.0011401524586618361, 0.001237755635509985],
        [176.39317598450694, 0.0, 0.0],
        [24.43300999870476, 0.28520802612117757, 0.0004485436923833408],
        [0.0, 0.0, 0.0],
        [34.77906344483772, 44.835625328877896, 0.0],
        [0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0],
        # blue-yellow
        [0.0, 0.0008680556573291698, 0.0],
        [0.0, 0.0, 0.0],
        [0.0, 0.0005313191874358747, 0.0],
        [0.00016533814161379112, 0.0, 0.0],
        [0.0, 0.0, 0.0],
        [0.0004179171803251336, 0.0017290828234722833, 0.0],
        [0.0020827005846636437, 0.0, 0.0],
        [8.826982764996862, 23.19243343998926, 0.0],
        [95.1080498811086, 0.9863978034400682, 0.9834382792465353],
        [0.0012286405048278493, 171.2667255897307, 0.9807858872435379],
        [0.0, 0.0, 0.0],
        [0.0005130064588990679, 0.0, 0.00010854057858411537],
    ]
).reshape(3, _SCALES, 2, 3)

# Numbers in kernels have 32 bits: a single 64-bit one would make a whole expression 64-bit.
_HALF, _ONE, _QUARTER = np.float32(0.5), np.float32(1), np.float32(0.25)

# Taps of a Gaussian with a standard deviation of 1.5, from the middle outwards: what the recursive
# filter makes of a single pixel. Charalampidis 2016, "Recursive Implementation of the Gaussian
# Filter Using Truncated Cosine Functions", IEEE Transactions on Signal Processing 64(14).
_REACH = 4
_TAP_0 = np.float32(0.26462110548819856)
_TAP_1 = np.float32(0.2129285920104222)
_TAP_2 = np.float32(0.10933537277746032)
_TAP_3 = np.float32(0.036011114658364374)
_TAP_4 = np.float32(0.0094143678096537)
_RING = 2 * _REACH + 1  # rows that a blurred row is made of

_SSIM_C2 = np.float32(0.0009)

# Cone responses to linear red, green and blue, (3, 3), and what is added to each; src/lib/jxl/
# opsin_params.h in the reference's repository.
_CONES = np.array(
    [
        [0.3, 0.622, 0.078],
        [0.23, 0.692, 0.078],
        [0.24342268924547819, 0.20476744424496821, 0.5518098665095537],
    ],
    np.float32,
)
_BIAS = np.float32(0.0037930732552754493)
_BIAS_ROOT = np.float32(0.15595420054924863)
# Red-green is 7 times the difference of two cones, and all three are moved to the range 0 to 1.
_RED_GREEN, _RED_GREEN_SHIFT = np.float32(7), np.float32(0.42)
_LUMA_SHIFT, _BLUE_YELLOW_SHIFT = np.float32(0.01), np.float32(0.55)
# Polynomial in the fourth root of a number between the bias and 1: its cube root, within 0.5%.
_ROOT_0, _ROOT_1, _ROOT_2 = np.float32(-0.03998617), np.float32(0.7021662), np.float32(0.34182736)


def ssimulacra2(
    original: NDArray[np.uint8],
    distorted: NDArray[np.uint8],
    *,
    sampled: bool = False,
    large: int = LARGE,
) -> float:
    """Return the SSIMULACRA2 score of the image `distorted`, 100 where it equals `original`.

    original, distorted: (h, w, 3) uint8 in sRGB, or (h, w, 4) with alpha
    sampled: whether to measure only one strip of 64 rows in four, at the scales of more than
        `large` pixels; the other scales are measured whole

    Images of which one is translucent are composited over a dark and over a light background, and
    the lower score is returned. (The reference looks for alpha in the original alone.)

    A megapixel takes about 0.06 CPU seconds, on one thread, and 11 MB beside both images. Memory
    grows by 8 bytes a pixel, and by 4 kB a pixel of width. Sampled scores of seven images of 14 to
    24 megapixels, with palettes of 16 to 256 colours and as JPEG, took less than half of the time,
    and differed from scores of the whole by up to 0.35, and by 0.09 on average. With `large` as
    `ROUGH`, 20 photographs of 0.1 to 2 megapixels with 32 and 256 colours took half of the time,
    and differed by 0.9 on average; their means differed by up to 0.7.

    Raises ValueError where the images differ in size.

    >>> ramp = np.tile(np.arange(256, dtype=np.uint8)[:, None], (256, 1, 3))
    >>> ssimulacra2(ramp, ramp)
    100.0
    >>> round(ssimulacra2(ramp, ramp // 4 * 4), 1)
    90.9
    """
    if original.shape[:2] != distorted.shape[:2]:
        raise ValueError(f"images of {original.shape} and {distorted.shape} cannot be compared")
    pair = original, distorted
    translucent = any(image.shape[2] == 4 and image[..., 3].min() < _OPAQUE for image in pair)
    most = large if sampled else original.size
    backgrounds = _BACKGROUNDS if translucent else _BACKGROUNDS[:1]
    return min(
        _score(_norms(original, distorted, _light_table(background), most))
        for background in backgrounds
    )


def _score(norms: NDArray[np.float64]) -> float:
    """Return the score that stands for the norms (3, 6, 2, 3) of errors."""
    error = float((norms * _WEIGHTS).sum()) * 0.9562382616834844
    cubic = 6.248496625763138e-05 * error**3 - 0.020884521182843837 * error**2
    error = max(cubic + 2.326765642916932 * error, 0.0)
    return 100 - 10 * math.pow(error, 0.6276336467831387)


def _norms(
    original: NDArray[np.uint8],
    distorted: NDArray[np.uint8],
    table: NDArray[np.float32],
    most: int,
) -> NDArray[np.float64]:
    """Return the means and 4-norms of the errors, (3, 6, 2, 3), in the order of the weights.

    table: see `_light_table`
    most: pixels of a scale of which all strips are measured

    The norms of a scale that images are too small for are 0.
    """
    norms = np.zeros_like(_WEIGHTS)
    pair: list[NDArray[Any]] = [original, distorted]
    height, width = original.shape[:2]
    for scale in range(_SCALES):
        step = _SAMPLED if height * width > most else 1
        norms[:, scale], pair = _measure_scale(pair, height, width, table, step)
        if min(height, width) < _LEAST:
            break
        height, width = (height + 1) // 2, (width + 1) // 2
    return norms


def _measure_scale(
    pair: list[NDArray[Any]], height: int, width: int, table: NDArray[np.float32], step: int
) -> tuple[NDArray[np.float64], list[NDArray[Any]]]:
    """Return the norms (3, 2, 3) of the errors at one scale, and the two images of the next one.

    pair: 8-bit images (h, w, 3 or 4), or linear light (h, 3, w)
    table: see `_light_table`; step: strips of which one is measured
    """
    sums = np.zeros((3, 2, 3))
    rows = _Rows.of(width)
    halves: list[NDArray[Any]] = [
        np.empty(((height + 1) // 2, 3, (width + 1) // 2), np.float32) for _ in pair
    ]
    measured = 0
    for number, top in enumerate(range(0, height, _STRIP)):
        bottom = min(top + _STRIP, height)
        # with the rows above and below that are blurred into it
        start, stop = max(top - _REACH, 0), min(bottom + _REACH, height)
        strips = [_light_of(image[start:stop], table) for image in pair]
        for strip, half in zip(strips, halves, strict=True):
            _halve(strip[top - start : bottom - start], half[top // 2 :])
        # one strip of each group, the next one each time: no pattern of the image keeps step
        if number % step == number // step % step:
            _add_errors(strips[0], strips[1], top - start, bottom - start, rows, sums)
            measured += bottom - top
    norms = sums / (measured * width)
    norms[:, 1] = np.sqrt(np.sqrt(norms[:, 1]))
    return norms, halves


def _light_of(strip: NDArray[Any], table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return linear light (n, 3, w) of a strip: 8-bit pixels (n, w, 3 or 4), or light already."""
    if strip.dtype == np.float32:
        return strip
    light = np.empty((strip.shape[0], 3, strip.shape[1]), np.float32)
    _look_up(np.ascontiguousarray(strip), table, light)
    return light


@cache
def _light_table(background: float) -> NDArray[np.float32]:
    """Return the linear light of each alpha and sRGB value (256, 256) over a grey `background`.

    background: an sRGB value, where white is 1. Values are composited in sRGB, as in the reference.
    """
    levels = np.arange(256) / 255
    alphas = levels[:, None]
    values = alphas * levels + (1 - alphas) * background
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)  # IEC 61966-2-1


class _Rows(NamedTuple):
    """Rows of two images that `_add_errors` needs at a time, so that it needs no whole planes.

    xyb: (9, 2, 3, w + 8), the last rows of both images, with four zeros at either end
    blurred: (3, 4, 9, w), of each channel and each of `means`, the last rows, blurred along rows
    cones: (3, w), responses of cones to one row
    products: (3, w + 8), what is blurred beside the original, of one row and channel
    means: (4, w), blurred values of one row and channel: of the original, of the difference, of
        the difference's square, and of the sum of both squares
    errors: (2, w), SSIM, and detail that was gained (above 0) or lost (below 0)
    """

    xyb: NDArray[np.float32]
    blurred: NDArray[np.float32]
    cones: NDArray[np.float32]
    products: NDArray[np.float32]
    means: NDArray[np.float32]
    errors: NDArray[np.float32]

    @classmethod
    def of(cls, width: int) -> _Rows:
        """Return rows for images of `width` pixels."""
        wide = width + 2 * _REACH
        shapes = (_RING, 2, 3, wide), (3, 4, _RING, width), (3, width), (3, wide), (4, width)
        return cls(*(np.zeros(shape, np.float32) for shape in (*shapes, (2, width))))


@jit
def _look_up(pixels, table, light):  # type: ignore[no-untyped-def]
    """Fill `light` (n, 3, w) with the linear light of 8-bit pixels (n, w, 3 or 4)."""
    height, width, channels = pixels.shape
    for y in range(height):
        for x in range(width):
            lights = table[pixels[y, x, 3] if channels == 4 else _OPAQUE]
            for c in range(3):
                light[y, c, x] = lights[pixels[y, x, c]]


@jit
def _halve(light, half):  # type: ignore[no-untyped-def]
    """Fill `half` with means of 2 x 2 pixels of `light` (n, 3, w).

    half: ((n + 1) // 2, 3, (w + 1) // 2); a last row or column without a partner counts twice
    """
    height, _, width = light.shape
    for y in range((height + 1) // 2):
        for c in range(3):
            upper, lower = light[2 * y, c], light[min(2 * y + 1, height - 1), c]
            row = half[y, c]
            for x in range(width // 2):
                row[x] = _QUARTER * (
                    upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1]
                )
            if width % 2:
                row[width // 2] = _HALF * (upper[width - 1] + lower[width - 1])


@jit
def _add_errors(original, distorted, start, stop, rows, sums):  # type: ignore[no-untyped-def]
    """Add the errors of the rows from `start` to `stop` to `sums` (3, 2, 3).

    original, distorted: linear light (n, 3, w); rows: `_Rows`, overwritten
    sums: of each channel, sums of the errors and of their fourth powers

    Four rows above `start` and below `stop` are blurred into these. Beyond the first and the last
    row, all values are 0, as in the reference.
    """
    xyb, blurred, cones, products, means, errors = rows
    for y in range(start - _REACH, stop + _REACH):
        slot = y % _RING
        if 0 <= y < original.shape[0]:
            _to_xyb(original[y], cones, xyb[slot, 0])
            _to_xyb(distorted[y], cones, xyb[slot, 1])
            for c in range(3):
                before, after = xyb[slot, 0, c], xyb[slot, 1, c]
                for x in range(before.shape[0]):
                    change = after[x] - before[x]
                    products[0, x] = change
                    products[1, x] = change * change
                    products[2, x] = before[x] * before[x] + after[x] * after[x]
                _blur_along(before, blurred[c, 0, slot])
                for k in range(3):
                    _blur_along(products[k], blurred[c, k + 1, slot])
        else:
            blurred[:, :, slot] = 0
        middle = y - _REACH
        if middle >= start:
            slot = middle % _RING
            for c in range(3):
                for k in range(4):
                    _blur_across(blurred[c, k], middle, means[k])
                _find_errors(xyb[slot, 0, c], xyb[slot, 1, c], means, errors)
                _add_row(errors, sums[c])


@jit
def _to_xyb(light, cones, xyb):  # type: ignore[no-untyped-def]
    """Fill `xyb` (3, w + 8), but for its margins, with the colours of one row of `light` (3, w)."""
    width = light.shape[1]
    red, green, blue = light[0], light[1], light[2]
    for k in range(3):
        of_red, of_green, of_blue = _CONES[k, 0], _CONES[k, 1], _CONES[k, 2]
        cone = cones[k]
        for x in range(width):
            value = of_red * red[x] + (of_green * green[x] + (of_blue * blue[x] + _BIAS))
            fourth = np.sqrt(np.sqrt(value))
            root = _ROOT_0 + fourth * (_ROOT_1 + fourth * _ROOT_2)
            # one step of Halley's method, which takes the error from 0.5% to that of rounding
            cube = root * root * root
            root *= (cube + value + value) / (cube + cube + value)
            cone[x] = root - _BIAS_ROOT
    long, medium, short = cones[0], cones[1], cones[2]
    for x in range(width):
        luma = _HALF * (long[x] + medium[x])
        xyb[0, x + _REACH] = _RED_GREEN * (long[x] - medium[x]) + _RED_GREEN_SHIFT
        xyb[1, x + _REACH] = luma + _LUMA_SHIFT
        xyb[2, x + _REACH] = short[x] - luma + _BLUE_YELLOW_SHIFT


@jit
def _blur_along(row, blurred):  # type: ignore[no-untyped-def]
    """Fill `blurred` (w,) with the blurred values of `row` (w + 8,)."""
    for x in range(blurred.shape[0]):
        blurred[x] = (
            _TAP_0 * row[x + 4]
            + _TAP_1 * (row[x + 3] + row[x + 5])
            + _TAP_2 * (row[x + 2] + row[x + 6])
            + _TAP_3 * (row[x + 1] + row[x + 7])
            + _TAP_4 * (row[x] + row[x + 8])
        )


@jit
def _blur_across(ring, middle, blurred):  # type: ignore[no-untyped-def]
    """Fill `blurred` (w,) with values blurred over nine rows, of which `middle` is the fifth.

    ring: (9, w), where row y is at y % 9
    """
    row_0 = ring[middle % _RING]
    above_1, below_1 = ring[(middle - 1) % _RING], ring[(middle + 1) % _RING]
    above_2, below_2 = ring[(middle - 2) % _RING], ring[(middle + 2) % _RING]
    above_3, below_3 = ring[(middle - 3) % _RING], ring[(middle + 3) % _RING]
    above_4, below_4 = ring[(middle - 4) % _RING], ring[(middle + 4) % _RING]
    for x in range(blurred.shape[0]):
        blurred[x] = (
            _TAP_0 * row_0[x]
            + _TAP_1 * (above_1[x] + below_1[x])
            + _TAP_2 * (above_2[x] + below_2[x])
            + _TAP_3 * (above_3[x] + below_3[x])
            + _TAP_4 * (above_4[x] + below_4[x])
        )


@jit
def _find_errors(before, after, means, errors):  # type: ignore[no-untyped-def]
    """Fill `errors` (2, w) with the SSIM error of one row, and with its gain or loss of detail.

    before, after: (w + 8,), the rows of both images, in one channel; means: see `_Rows`

    In the reference the SSIM error is 1 - (1 - d d) (2 c + C) / (s + C), where d is the difference
    of the means, c the covariance and s the sum of both variances. Since s - 2 c is the variance v
    of the difference, that is d d + (1 - d d) v / (s + C): a sum of small numbers in place of a
    difference of large ones.
    """
    of_before, of_change, of_square, of_squares = means[0], means[1], means[2], means[3]
    ssim, detail = errors[0], errors[1]
    for x in range(ssim.shape[0]):
        mean_before, mean_after = of_before[x], of_before[x] + of_change[x]
        square = of_change[x] * of_change[x]
        spread = of_squares[x] - mean_before * mean_before - mean_after * mean_after + _SSIM_C2
        ssim[x] = square + (_ONE - square) * ((of_square[x] - square) / spread)
        edge_before = np.abs(before[x + _REACH] - mean_before)
        edge_after = np.abs(after[x + _REACH] - mean_after)
        detail[x] = (_ONE + edge_after) / (_ONE + edge_before) - _ONE


@jit
def _add_row(errors, sums):  # type: ignore[no-untyped-def]
    """Add errors (2, w) of one row, and their fourth powers, to the 64-bit `sums` (2, 3)."""
    ssims = artifacts = losses = ssims_4 = artifacts_4 = losses_4 = 0.0
    for x in range(errors.shape[1]):
        ssim = max(np.float64(errors[0, x]), 0.0)
        artifact = max(np.float64(errors[1, x]), 0.0)
        loss = max(-np.float64(errors[1, x]), 0.0)
        ssims += ssim
        artifacts += artifact
        losses += loss
        ssims_4 += (ssim * ssim) * (ssim * ssim)
        artifacts_4 += (artifact * artifact) * (artifact * artifact)
        losses_4 += (loss * loss) * (loss * loss)
    sums[0, 0] += ssims
    sums[0, 1] += artifacts
    sums[0, 2] += losses
    sums[1, 0] += ssims_4
    sums[1, 1] += artifacts_4
    sums[1, 2] += losses_4
