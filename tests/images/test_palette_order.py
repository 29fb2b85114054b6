"""The order of an image's own palette, against some lines of plain Python."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.color.palette import Palette
from kmeans_dask.images.palette_order import line_up, neighbors, order_entries
from tests.images.conftest import some_palette

Indices = NDArray[np.uint8]

SIDES = st.integers(1, 20)
SEEDS = st.integers(0, 2**32 - 1)


def plain_neighbors(rows: list[list[int]], n: int) -> list[list[int]]:
    pairs = [[0] * n for _ in range(n)]
    columns = [list(column) for column in zip(*rows, strict=True)]
    for line in rows + columns:
        for a, b in itertools.pairwise(line):
            if a != b:
                pairs[a][b] += 1
                pairs[b][a] += 1
    return pairs


def plain_line(pairs: list[list[int]]) -> list[int]:
    """Zeng's method as Pinho and Neves modify it, as their papers have it."""
    waiting = list(range(len(pairs)))
    line = [max(waiting, key=lambda i: sum(pairs[i]))]  # the first of those with equally many
    waiting.remove(line[0])
    while waiting:
        new = max(waiting, key=lambda i: sum(pairs[i][j] for j in line))
        n = len(line)
        delta = sum((n + 1 - 2 * j) * pairs[new][line[j - 1]] for j in range(1, n + 1))
        line = [new, *line] if delta > 0 else [*line, new]
        waiting.remove(new)
    return line


@settings(deadline=None)
@given(height=SIDES, width=SIDES, n=st.integers(1, 256), seed=SEEDS)
def test_neighbors_are_those_of_the_plain_loop(height: int, width: int, n: int, seed: int) -> None:
    indices = np.random.default_rng(seed).integers(0, n, (height, width)).astype(np.uint8)
    assert neighbors(indices, n).tolist() == plain_neighbors(indices.tolist(), n)


@settings(deadline=None)
@given(n=st.integers(1, 40), most=st.sampled_from([0, 1, 3, 1000, 1 << 40]), seed=SEEDS)
def test_the_line_is_that_of_the_plain_loop_ties_included(n: int, most: int, seed: int) -> None:
    half = np.triu(np.random.default_rng(seed).integers(0, most + 1, (n, n)), 1)
    pairs = half + half.T
    assert line_up(pairs).tolist() == plain_line(pairs.tolist())


def test_the_line_of_256_entries_is_that_of_the_plain_loop() -> None:
    half = np.triu(np.random.default_rng(0).integers(0, 9, (256, 256)), 1)
    pairs = half + half.T
    assert line_up(pairs).tolist() == plain_line(pairs.tolist())


@settings(deadline=None, max_examples=200)
@given(
    height=SIDES,
    width=SIDES,
    entries=st.integers(2, 256),
    seed=SEEDS,
    transparent=st.booleans(),
    partial=st.booleans(),
    fixed=st.integers(0, 3),
)
def test_the_order_has_each_entry_once_and_keeps_what_has_a_place(
    height: int,
    width: int,
    entries: int,
    seed: int,
    transparent: bool,
    partial: bool,
    fixed: int,
) -> None:
    rng = np.random.default_rng(seed)
    palette = some_palette(rng, entries, transparent=transparent, partial=partial)
    palette = replace(palette, fixed=min(fixed, entries - transparent))
    indices = rng.integers(0, entries, (height, width)).astype(np.uint8)
    order = order_entries(indices, palette)
    assert sorted(order.tolist()) == list(range(entries))
    kept = palette.fixed + (palette.clear == 0)
    assert order[:kept].tolist() == list(range(kept))
    opaque = palette.entries[order[kept:], 3] == 255
    assert opaque.tolist() == sorted(opaque.tolist())
    line = plain_line(plain_neighbors(indices.tolist(), entries))
    for part in (order[kept:][opaque], order[kept:][~opaque]):
        assert part.tolist() == [i for i in line if i in set(part.tolist())]


@pytest.mark.parametrize("entries", [2, 16, 200])
def test_a_ramp_whose_entries_are_shuffled_is_put_in_order_again(entries: int) -> None:
    shuffled = np.random.default_rng(entries).permutation(entries)
    row = shuffled[np.arange(400) * entries // 400]
    indices = np.tile(row, (3, 1)).astype(np.uint8)
    order = order_entries(indices, Palette.of_colors(np.zeros((entries, 3), np.uint8))).tolist()
    assert order in (shuffled.tolist(), shuffled[::-1].tolist())


def test_indices_that_are_a_view_or_read_only_are_taken_as_seen() -> None:
    rng = np.random.default_rng(4)
    palette = some_palette(rng, 16)
    view = rng.integers(0, 16, (30, 41)).astype(np.uint8)[::-2, 1::3].T
    assert not view.flags.c_contiguous
    order = order_entries(view.copy(), palette).tolist()
    assert order_entries(view, palette).tolist() == order
    view.flags.writeable = False
    assert order_entries(view, palette).tolist() == order
