"""Filters of PNG rows, against the specification in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.images.png_filters import filter_rows


def predicted(kind: int, left: int, up: int, corner: int) -> int:
    """PNG specification, third edition, section 9.2."""
    if kind < 4:
        return (0, left, up, (left + up) // 2)[kind]
    p = left + up - corner
    return min((left, up, corner), key=lambda each: abs(p - each))  # the first of those as near


def plain_filter(row: list[int], above: list[int], kind: int) -> list[int]:
    left, corners = [0, *row[:-1]], [0, *above[:-1]]
    return [
        (value - predicted(kind, *near)) % 256
        for value, *near in zip(row, left, above, corners, strict=True)
    ]


def plain_choice(row: list[int], above: list[int]) -> list[int]:
    """The filter type, and then the bytes, whose squared counts have the largest sum."""
    tried = [plain_filter(row, above, kind) for kind in range(5)]
    best = max(range(5), key=lambda kind: sum(tried[kind].count(v) ** 2 for v in set(tried[kind])))
    return [best, *tried[best]]


@settings(deadline=None)
@given(
    height=st.integers(1, 8),
    width=st.integers(1, 40),
    most=st.sampled_from([0, 1, 3, 255]),
    slope=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_rows_are_those_of_the_plain_loop_ties_included(
    height: int, width: int, most: int, slope: int, seed: int
) -> None:
    noise = np.random.default_rng(seed).integers(0, most + 1, (height, width))
    pixels = (noise + slope * np.add.outer(np.arange(height), np.arange(width))).astype(np.uint8)
    rows = np.column_stack([np.full(height, 99, np.uint8), pixels])
    above = [[0] * width, *pixels.tolist()]
    assert filter_rows(rows).tolist() == [
        plain_choice(row, before) for row, before in zip(pixels.tolist(), above, strict=False)
    ]


@pytest.mark.parametrize("kind", range(5))
def test_every_filter_is_chosen_where_it_predicts_best(kind: int) -> None:
    rng = np.random.default_rng(kind)
    pixels = rng.integers(0, 256, (2, 4000))
    for x in range(1, 4000):
        near = (pixels[1, x - 1], pixels[0, x], pixels[0, x - 1])
        pixels[1, x] = (predicted(kind, *map(int, near)) + rng.integers(2)) % 256
    if kind == 0:
        pixels[1] = rng.integers(0, 2, 4000)
        pixels[1, ::2] *= 128  # steps that no prediction from the left makes fewer
    rows = np.column_stack([np.zeros(2, np.uint8), pixels.astype(np.uint8)])
    assert filter_rows(rows)[1, 0] == kind
