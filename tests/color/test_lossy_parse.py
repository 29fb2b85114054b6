from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.color.lossy_parse import (
    FARTHEST,
    IMPOSSIBLE,
    LONGEST,
    SHORTEST,
    Costs,
    Counts,
    Progress,
    Symbols,
    Units,
    _hash,
    parse_rows,
)

INFINITE = 1 << 60


@dataclass(frozen=True)
class Case:
    """Arguments of a parse, and the number of copies from far away that are tried at a byte."""

    units: Units
    symbols: Symbols
    costs: Costs
    tries: int


@dataclass
class Path:
    """Cheapest way to write some bytes of a row: its cost, the bytes, and its tokens.

    tokens: (length, distance) of each literal (1, 0) and copy; a copy may have begun a row before
    """

    cost: int = 0
    data: list[int] = field(default_factory=list)
    tokens: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Copy:
    """Copy that is under way: the path that it makes longer, its cost, its bytes and its length."""

    before: Path
    cost: int
    data: list[int]
    length: int


@dataclass
class Parsed:
    """Bytes that were chosen, and the tokens that write them."""

    stream: list[int] = field(default_factory=list)
    tokens: list[tuple[int, int]] = field(default_factory=list)


def plain_parse(case: Case) -> Parsed:
    """Parse as the kernel does, row by row, in Python's integers and lists."""
    done = Parsed()
    width = case.units.width
    for row in range(len(case.units.values) // width):
        carried = done.tokens[-1] if done.tokens and done.tokens[-1][1] else None
        path = plain_row(case, row, done.stream, carried)
        first, *others = path.tokens
        if first[0] > len(path.data) - sum(length for length, _ in others):
            done.tokens.pop()  # the copy of the row before goes on
        done.stream += path.data
        done.tokens += path.tokens
    return done


def plain_row(case: Case, row: int, stream: list[int], carried: tuple[int, int] | None) -> Path:
    costs, width = case.costs, case.units.width
    offsets, starts, steps = costs.offsets.tolist(), costs.starts.tolist(), costs.steps.tolist()
    paths = [Path()]
    under_way: dict[int, Copy] = {}
    if carried and carried[1] in offsets:
        under_way[carried[1]] = Copy(Path(), 0, [], carried[0])
    far: dict[int, Path] = {}
    for x in range(width):
        here, unit = paths[x], row * width + x
        errors = errors_of(case, unit)
        literals = [e + bits for e, bits in zip(errors, costs.literals.tolist(), strict=True)]
        literal = literals.index(min(literals))
        try_far(case, row, x, here, stream, far)
        best = Path(here.cost + literals[literal], [*here.data, literal], [*here.tokens, (1, 0)])
        for offset, start in zip(offsets, starts, strict=True):
            copy = under_way.pop(offset, None)
            source = len(stream) + x - offset
            if source < 0 or (offset > 8 and source >= len(stream)):
                continue
            if copy is None or copy.cost + steps[copy.length] > here.cost + start:
                copy = Copy(here, here.cost + start, list(here.data), 0)
            else:
                copy = Copy(copy.before, copy.cost + steps[copy.length], copy.data, copy.length)
            byte = [*stream, *copy.data][-offset]
            copy = Copy(copy.before, copy.cost + errors[byte], [*copy.data, byte], copy.length + 1)
            under_way[offset] = copy
            if copy.length >= SHORTEST and copy.cost < best.cost:
                tokens = [*copy.before.tokens, (copy.length, offset)]
                best = Path(copy.cost, copy.data, tokens)
        if x + 1 in far and far[x + 1].cost < best.cost:
            best = far[x + 1]
        paths.append(best)
    return paths[width]


def errors_of(case: Case, unit: int) -> list[int]:
    """Return the error of each symbol for a unit, with its penalty."""
    values = case.units.values[unit].astype(int)
    squares = ((values[:, None] - case.symbols.coordinates) ** 2).sum(axis=0)
    total: list[int] = (squares + case.symbols.penalties[case.units.kinds[unit]]).tolist()
    return total


def try_far(
    case: Case, row: int, x: int, here: Path, stream: list[int], far: dict[int, Path]
) -> None:
    width, guesses = case.units.width, case.units.guesses.tolist()
    if x + SHORTEST > width:
        return
    unit, start = row * width + x, len(stream)
    key = _hash(*guesses[unit : unit + 3])
    alike = [p for p in range(start - 3, -1, -1) if _hash(*stream[p : p + 3]) == key]
    for source in alike[: case.tries]:
        distance = start + x - source
        bits, cost = int(case.costs.far[distance]), 0
        for i in range(min(LONGEST, width - x, start - source)):
            cost += errors_of(case, unit + i)[stream[source + i]]
            cost += int(case.costs.steps[i]) if i >= SHORTEST else 0
            if cost > 3 * bits:
                break
            end, paid = x + i + 1, here.cost + bits + cost
            if i + 1 >= SHORTEST and (end not in far or paid < far[end].cost):
                data = [*here.data, *stream[source : source + i + 1]]
                far[end] = Path(paid, data, [*here.tokens, (i + 1, distance)])


def parse(case: Case, rows_at_once: int) -> tuple[NDArray[np.uint8], Counts]:
    """Parse by the kernel, some rows at once."""
    progress, n = Progress.start(), case.symbols.coordinates.shape[1]
    counts = Counts(*(np.zeros(size, np.int64) for size in (n, LONGEST + 1, FARTHEST + 1)))
    units, stream = case.units, np.zeros(len(case.units.values), np.uint8)
    for first in range(0, len(stream), rows_at_once * units.width):
        some = slice(first, first + rows_at_once * units.width)
        part = Units(units.values[some], units.kinds[some], units.guesses[some], units.width)
        parse_rows(part, case.symbols, case.costs, case.tries, progress, counts, stream, first)
    length, distance = progress.carried
    if length:
        counts.lengths[length] += 1
        counts.distances[distance] += 1
    return stream, counts


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    width, n_rows = draw(st.integers(1, 14)), draw(st.integers(1, 7))
    channels, n_symbols = draw(st.sampled_from([1, 3, 4])), draw(st.integers(1, 6))
    levels = draw(st.sampled_from([2, 5, 4000]))
    n = width * n_rows
    coordinates = rng.integers(0, levels, (channels, n_symbols)).astype(np.int32)
    values = coordinates.T[rng.integers(0, n_symbols, n)]
    noise = draw(st.sampled_from([0, 1, 300]))
    values = values + rng.integers(-noise, noise + 1, values.shape)
    kinds = (rng.random(n) < 0.2).astype(np.uint16)
    penalties = np.zeros((2, n_symbols), np.int32)
    penalties[1] = np.where(rng.random(n_symbols) < 0.4, IMPOSSIBLE, 0)
    penalties[1, rng.integers(n_symbols)] = 0  # something is allowed
    bit = draw(st.sampled_from([0, 1, 50, 4000]))
    around = {1, 2, 3, 4, *(r * width + c for r in (1, 2) for c in (-2, -1, 0, 1, 2))}
    offsets = np.array(sorted(each for each in around if each > 0), np.int32)
    far = (bit * rng.integers(5, 20, FARTHEST + 1)).astype(np.int32)
    steps = (bit * rng.integers(-1, 2, LONGEST + 1)).astype(np.int32)
    steps[LONGEST] = IMPOSSIBLE
    steps[:SHORTEST] = 0
    literals = (bit * rng.integers(1, 12, n_symbols)).astype(np.int32)
    return Case(
        Units(
            values.astype(np.int16), kinds, rng.integers(0, n_symbols, n).astype(np.uint8), width
        ),
        Symbols(coordinates, penalties),
        Costs(literals, offsets, far[offsets], far, steps),
        draw(st.integers(0, 4)),
    )


@given(cases(), st.integers(1, 7))
@settings(deadline=None, max_examples=300)
def test_the_kernel_parses_as_its_plain_twin(case: Case, rows_at_once: int) -> None:
    expected = plain_parse(case)
    stream, counts = parse(case, rows_at_once)
    assert stream.tolist() == expected.stream
    literals = np.zeros(len(counts.literals), int)
    copies = [token for token in expected.tokens if token[1]]
    place = 0
    for length, distance in expected.tokens:
        if not distance:
            literals[expected.stream[place]] += 1
        place += length
    assert place == len(stream)
    assert counts.literals.tolist() == literals.tolist()
    assert counts.lengths.tolist() == np.bincount([n for n, _ in copies], minlength=259).tolist()
    assert counts.distances.sum() == counts.lengths.sum() == len(copies)
    assert all(counts.distances[distance] for _, distance in copies)


@given(cases())
@settings(deadline=None, max_examples=100)
def test_no_unit_gets_a_byte_that_it_must_not_have(case: Case) -> None:
    stream, _ = parse(case, 3)
    assert not case.symbols.penalties[case.units.kinds, stream].any()
