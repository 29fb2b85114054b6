from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.color.color_lookup import squared_error
from kmeans_dask.color.lossy_lzw import (
    Coder,
    LzwDepth,
    LzwUnits,
    choose_lzw_indices,
    lzw_passes_of,
    near_entries,
    parse_strings,
)
from kmeans_dask.color.lzw import Grid, clear_places, code_bits_of, lzw_codes
from kmeans_dask.color.palette import Palette
from tests.color.test_lossy_indices import images, map_plainly, photograph, some_palette
from tests.kmeans.strategies import SEEDS

Bytes = NDArray[np.uint8]
String = tuple[int, ...]
QUICK = (LzwDepth(16, 4, 6),)


@dataclass(frozen=True)
class Case:
    """Arguments of a parse: units, costs of codes, places of clear codes, and the depth."""

    units: LzwUnits
    costs: list[int]
    clears: list[int]
    depth: LzwDepth


@dataclass
class PlainCoder:
    """Coder whose table is a set of strings of two indices and more."""

    n_codes: int
    table: set[String] = field(default_factory=set)
    string: String = ()
    size: int = 0

    def __post_init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.table, self.string, self.size = set(), (), self.n_codes.bit_length()

    @property
    def is_full(self) -> bool:
        return len(self.table) + self.n_codes + 2 == 4096

    def longer(self, string: String, index: int) -> String | None:
        """Return a string with one more index, or None where the table has no such string."""
        more = (*string, index)
        return more if len(more) == 1 or more in self.table else None

    def add(self, index: int) -> None:
        longer = self.longer(self.string, index)
        if longer is None and not self.is_full:
            self.size += len(self.table) + self.n_codes + 2 == 1 << self.size
            self.table.add((*self.string, index))
        self.string = longer or (index,)


@dataclass(frozen=True)
class Path:
    """Indices of some pixels ahead, what they cost, and the string under way after them."""

    cost: int
    indices: String
    string: String


def plain_parse(case: Case) -> list[int]:
    """Choose as the kernel does, with whole paths in lists."""
    coder = PlainCoder(1 << code_bits_of(len(case.units.coordinates)))
    clears, done = list(case.clears), list[int]()
    n, depth = len(case.units.values), case.depth
    while len(done) < n:
        place = len(done)
        if clears and clears[0] == place:
            if coder.is_full:
                coder.clear()
            clears.pop(0)
        end = min([place + depth.ahead, n, *clears[:1]])
        cost = case.costs[coder.size]
        paths = [Path(0, (), coder.string)]
        for at in range(place, end):
            paths = longer_paths(paths, coder, allowed(case.units, at, cost), cost)
            paths = sorted(paths, key=lambda path: path.cost)[: depth.strings]
            paths = [path for path in paths if path.cost <= paths[0].cost + cost]
        whole = end < place + depth.ahead
        for index in paths[0].indices[: None if whole else (3 * depth.ahead + 3) // 4]:
            coder.add(index)
            done.append(index)
    return done


def allowed(units: LzwUnits, at: int, most: int) -> list[tuple[int, int]]:
    """Return the entries that a pixel may get, with their errors above the least one."""
    near = [int(entry) for entry in units.near[units.plain[at]] if entry >= 0]
    values = units.values[at].astype(int)
    errors = [int(((values - units.coordinates[entry]) ** 2).sum()) for entry in near]
    found = zip(near, errors, strict=True)
    tolerable = [(entry, e - min(errors)) for entry, e in found if e <= min(errors) + most]
    return sorted(tolerable, key=lambda each: each[1])


def longer_paths(
    paths: list[Path], coder: PlainCoder, entries: list[tuple[int, int]], code: int
) -> list[Path]:
    found, begun = [], set()
    for path in paths:
        for entry, error in entries:
            longer, cost = coder.longer(path.string, entry), path.cost + error
            if longer is None:
                if entry in begun:
                    continue
                begun.add(entry)
                longer, cost = (entry,), cost + code
            found.append(Path(cost, (*path.indices, entry), longer))
    return found


def parse(case: Case, at_once: int) -> list[int]:
    """Choose by the kernel, some pixels at once."""
    units, coder = case.units, Coder.start(len(case.units.coordinates))
    chosen = np.zeros(len(units.values), np.uint8)
    for first in range(0, len(chosen), at_once):
        some = slice(first, first + at_once)
        part = units._replace(values=units.values[some], plain=units.plain[some])
        costs, clears = np.array(case.costs), np.array(case.clears, np.int64)
        ahead, strings, _ = case.depth
        parse_strings(part, costs, clears, ahead, strings, coder, chosen, first)
    found: list[int] = chosen.tolist()
    return found


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rng = np.random.default_rng(draw(SEEDS))
    n, n_symbols = draw(st.sampled_from([1, 2, 40, 900])), draw(st.sampled_from([1, 2, 3, 9, 40]))
    levels, noise = draw(st.sampled_from([3, 60, 4000])), draw(st.sampled_from([0, 1, 40]))
    coordinates = rng.integers(0, levels, (n_symbols, draw(st.sampled_from([3, 4]))))
    plain = np.repeat(rng.integers(0, n_symbols, n), rng.integers(1, 4, n))[:n]
    values = coordinates[plain] + rng.integers(-noise, noise + 1, (n, coordinates.shape[1]))
    alphas = rng.choice(np.array([0, 90, 255, 255], np.uint8), n_symbols)
    depth = LzwDepth(*(draw(st.integers(1, most)) for most in (20, 9, 12)))
    clears = sorted({int(place) for place in rng.integers(1, n + 5, draw(st.integers(0, 4)))})
    units = LzwUnits(
        values.astype(np.int16),
        plain.astype(np.uint8),
        coordinates.astype(np.int32),
        *near_entries(coordinates.astype(np.int32), alphas, depth.entries),
    )
    bit = draw(st.sampled_from([0, 1, 50, 40_000]))
    return Case(units, [size * bit for size in range(13)], clears, depth)


@given(cases())
@settings(deadline=None, max_examples=200)
def test_the_kernel_chooses_as_its_plain_twin(case: Case) -> None:
    assert parse(case, len(case.units.values)) == plain_parse(case)


def test_the_kernel_chooses_as_its_plain_twin_where_the_table_is_full() -> None:
    rng = np.random.default_rng(5)
    coordinates = rng.integers(0, 4000, (250, 3)).astype(np.int32)
    plain = rng.integers(0, 250, 6000).astype(np.uint8)
    near = near_entries(coordinates, np.full(250, 255, np.uint8), 6)
    units = LzwUnits(coordinates[plain].astype(np.int16), plain, coordinates, *near)
    for clears in ([], [2000, 5000], [4500]):
        case = Case(units, [size * 4000 for size in range(13)], clears, LzwDepth(12, 5, 6))
        assert parse(case, 6000) == plain_parse(case)


@given(cases(), st.integers(1, 400))
@settings(deadline=None, max_examples=50)
def test_pixels_in_parts_get_entries_that_they_may(case: Case, at_once: int) -> None:
    for index, plain in zip(parse(case, at_once), case.units.plain, strict=True):
        assert index in case.units.near[plain]


def test_near_entries_are_in_order_and_of_the_same_alpha() -> None:
    coordinates = np.array([[0], [50], [10], [11], [12], [9]], np.int32)
    alphas = np.array([0, 255, 255, 90, 255, 90], np.uint8)
    expected = [[0, -1, -1], [1, 4, 2], [2, 4, 1], [3, 2, 4], [4, 2, 1], [5, 2, 3]]
    found, distances = near_entries(coordinates, alphas, 3)
    # From 11, entries 10 and 12 are as near: the smaller index comes first.
    assert found.tolist() == expected
    assert distances[2].tolist() == [0, 4, 1600]


def n_bytes(indices: Bytes, palette: Palette) -> int:
    clears = clear_places(indices, len(palette), Grid(1024, 32, 3))
    return len(lzw_codes(indices, len(palette), clears))


@pytest.mark.parametrize("space", ["rgb", "oklab"])
@pytest.mark.parametrize("k", [2, 4, 17, 200])
def test_more_weight_gives_fewer_bytes_and_more_error(k: int, space: str) -> None:
    pixels, width = photograph()
    palette = some_palette(pixels, k)
    plain = map_plainly(pixels, None, palette, space)
    sizes, errors = [n_bytes(plain, palette)], [0]
    errors[0] = squared_error(pixels, None, plain, palette.entries).total
    for weight in (1000 / k, 20_000 / k):
        found = choose_lzw_indices(pixels, None, width, plain, palette, space, weight, QUICK)
        assert found.palette is palette
        sizes.append(n_bytes(found.indices, palette))
        errors.append(squared_error(pixels, None, found.indices, palette.entries).total)
    assert sizes[0] > sizes[1] > sizes[2]
    assert errors[0] < errors[1] < errors[2] or space == "oklab"


@given(images(), st.sampled_from(["rgb", "oklab"]), st.sampled_from([0.5, 30.0, 10_000.0]))
@settings(deadline=None, max_examples=150)
def test_pixels_keep_what_they_are(
    image: tuple[Bytes, Bytes | None, int, Palette], space: str, weight: float
) -> None:
    pixels, alphas, width, palette = image
    plain = map_plainly(pixels, alphas, palette, space)
    free = np.ones(len(palette), np.bool_)
    found = choose_lzw_indices(
        pixels, alphas, width, plain, palette, space, weight, QUICK * 2, free
    )
    indices, after = found.indices, found.palette.entries
    assert len(indices) == len(pixels)
    assert np.array_equal(after[:, 3] == 0, palette.entries[:, 3] == 0)
    if alphas is None:
        return
    assert np.array_equal(indices == palette.clear, alphas == 0)
    if (palette.entries[:, 3] == 255).any():
        assert (after[indices[alphas == 255], 3] == 255).all()


def test_entries_that_are_free_to_move_lower_the_error() -> None:
    pixels, width = photograph()
    palette = replace(some_palette(pixels, 64), fixed=8)
    plain = map_plainly(pixels, None, palette, "rgb")
    free = np.arange(64) >= 8
    args = (pixels, None, width, plain, palette, "rgb", 8.0, lzw_passes_of(3))
    found, fixed = choose_lzw_indices(*args, free), choose_lzw_indices(*args)
    assert np.array_equal(found.palette.entries[:8], palette.entries[:8])
    moved = squared_error(pixels, None, found.indices, found.palette.entries).total
    assert moved < squared_error(pixels, None, fixed.indices, palette.entries).total


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (100_000, 1), (7, 900)])
@pytest.mark.parametrize("k", [1, 2, 256])
def test_images_of_any_shape_are_written(width: int, height: int, k: int) -> None:
    rng = np.random.default_rng(k)
    pixels = rng.integers(0, 256, (width * height, 3)).astype(np.uint8)
    palette = Palette.of_colors(rng.integers(0, 256, (k, 3)).astype(np.uint8))
    plain = map_plainly(pixels, None, palette, "rgb")
    found = choose_lzw_indices(pixels, None, width, plain, palette, "rgb", 900.0, QUICK)
    assert n_bytes(found.indices, palette) <= n_bytes(plain, palette) + 2


@pytest.mark.parametrize("effort", range(10))
def test_every_effort_has_passes(effort: int) -> None:
    assert lzw_passes_of(effort)[-1] >= lzw_passes_of(max(0, effort - 1))[-1]
