"""From a table of colours to a palette: what it promises of entries, errors, targets and starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.color.evaluation import evaluate
from kmeans_dask.color.palette import Palette
from kmeans_dask.color.remap import nearest_entries
from kmeans_dask.color.spaces import Space
from kmeans_dask.engine import connect
from kmeans_dask.job.fit_result import read_fit
from kmeans_dask.job.progress import Progress
from kmeans_dask.kmeans import lloyd
from kmeans_dask.kmeans.assignment import Assignment
from kmeans_dask.kmeans.histogram import ColorHistogram
from kmeans_dask.kmeans.points import color_points
from kmeans_dask.kmeans.seeding import SEEDINGS
from kmeans_dask.plan.plan import Plan
from kmeans_dask.settings import DecodeSettings, FitSettings
from kmeans_dask.steps.fit import fit
from kmeans_dask.steps.quantize import PaletteFit
from kmeans_dask.store import Store
from kmeans_dask.store.tally import Tally
from tests.kmeans.strategies import SEEDS, same_fit
from tests.steps.strategies import (
    ALPHAS,
    SPACES,
    palettes,
    plain_entries,
    plain_error,
    quantized,
    random_table,
    same_palette,
    same_result,
    table_of,
    tables,
)

FIXED = ((12, 34, 56), (255, 255, 255), (0, 0, 0))
each_space = pytest.mark.parametrize("space", SPACES)
each_alpha = pytest.mark.parametrize("alphas", ALPHAS)


def entries_of(histogram: ColorHistogram, palette: Palette, space: str) -> NDArray[np.int64]:
    return plain_entries(histogram.colors, histogram.alphas, palette, space)


def is_distinct(histogram: ColorHistogram, space: str) -> bool:
    """Whether the space tells all colours apart: Oklab in integers does not quite."""
    places = Space(space, alpha=True).coordinates(histogram.colors, histogram.alphas)
    return len(np.unique(places, axis=0)) == len(histogram)


@st.composite
def any_settings(draw: st.DrawFn) -> FitSettings:
    return FitSettings(
        draw(st.integers(4, 12)),
        seed=draw(st.integers(0, 9)),
        init=draw(st.sampled_from(["k-means++", "random"])),
        n_init=draw(st.sampled_from([None, 1, 2])),
        space=draw(st.sampled_from(SPACES)),
        fixed=FIXED[: draw(st.integers(0, 3))],
    )


# -- what a palette makes of colours ----------------------------------------------------------


@given(tables(), any_settings(), st.booleans())
@settings(deadline=None, max_examples=80)
def test_weights_and_error_are_those_of_the_plain_nearest_entries(
    histogram: ColorHistogram, chosen: FitSettings, transparent: bool
) -> None:
    found = quantized(histogram, chosen, transparent=transparent)
    entries = entries_of(histogram, found.palette, chosen.space)
    weights = np.zeros(len(found.palette), np.int64)
    np.add.at(weights, entries, histogram.weights)
    assert found.evaluation.weights.tolist() == weights[transparent:].tolist()
    assert found.evaluation.squared_error == plain_error(histogram, entries, found.palette)


@given(tables(), palettes(), st.sampled_from(SPACES))
@settings(deadline=None, max_examples=80)
def test_any_palette_is_judged_by_the_plain_nearest_entries(
    histogram: ColorHistogram, palette: Palette, space: str
) -> None:
    found = evaluate(histogram, nearest_entries(histogram, palette, space), palette)
    entries = entries_of(histogram, palette, space)
    assert found.squared_error == plain_error(histogram, entries, palette)
    assert found.weights.sum() == histogram.pixels
    assert palette.numbers[np.flatnonzero(found.weights)].tolist() == np.unique(entries).tolist()


def test_errors_are_exact_where_their_sum_passes_64_bits() -> None:
    greys = np.array([[0, 0, 0], [101, 101, 101], [150, 150, 150], [255, 255, 255]])
    histogram = table_of(greys, weights=np.array([2**42 + 1, 2**41 + 3, 2**41, 2**42 + 7]))
    found = quantized(histogram, FitSettings(2, n_init=1))
    entries = entries_of(histogram, found.palette, "rgb")
    expected = plain_error(histogram, entries, found.palette)
    assert expected > 2**64
    assert found.evaluation.squared_error == expected
    assert found.evaluation.weights.sum() == histogram.pixels


@given(tables(), any_settings(), st.booleans())
@settings(deadline=None, max_examples=80)
def test_entries_are_distinct_and_no_more_than_asked_for(
    histogram: ColorHistogram, chosen: FitSettings, transparent: bool
) -> None:
    palette = quantized(histogram, chosen, transparent=transparent).palette
    assert len(palette) <= chosen.colors
    assert len(np.unique(palette.entries, axis=0)) == len(palette)
    assert palette.clear == (0 if transparent else None)
    assert len(palette.numbers) == len(palette) - transparent


@each_space
@each_alpha
def test_as_many_entries_as_asked_for_are_used_where_colours_are_far_apart(
    space: str, alphas: str
) -> None:
    histogram = random_table(150, seed=1, alphas=alphas)
    for transparent in (False, True):
        chosen = FitSettings(9, space=space, fixed=FIXED[:1])
        assert len(quantized(histogram, chosen, transparent=transparent).palette) == 9


@given(tables(max_colors=12), st.sampled_from(SPACES), st.integers(0, 2), st.booleans())
@settings(deadline=None, max_examples=100)
def test_quantizing_is_lossless_with_no_more_colours_than_entries(
    histogram: ColorHistogram, space: str, fixed: int, transparent: bool
) -> None:
    assume(is_distinct(histogram, space))
    colors = max(2, len(histogram) + fixed + transparent)
    chosen = FitSettings(colors, space=space, fixed=FIXED[:fixed])
    found = quantized(histogram, chosen, transparent=transparent)
    assert found.evaluation.squared_error == 0
    assert found.evaluation.psnr == float("inf")
    assert found.evaluation.weights.sum() == histogram.pixels
    assert found.fit.inertia == 0
    there = {tuple(entry) for entry in found.palette.entries.tolist()}
    rows = np.column_stack([histogram.colors, histogram.alphas]).tolist()
    assert {tuple(row) for row in rows} <= there


@given(tables(max_colors=11, alphas="opaque", min_colors=2), st.data())
@settings(deadline=None, max_examples=50)
def test_a_fixed_colour_that_occurs_takes_no_entry_more(
    histogram: ColorHistogram, data: st.DataObject
) -> None:
    assume(len(histogram) > 1)
    which = data.draw(st.integers(0, len(histogram) - 1))
    r, g, b = histogram.colors[which].tolist()
    for more in (0, 1):
        found = quantized(histogram, FitSettings(len(histogram) + more, fixed=((r, g, b),)))
        assert found.evaluation.squared_error == 0
        assert len(found.palette) == len(histogram)


def test_an_empty_histogram_gives_only_fixed_and_clear_entries() -> None:
    nothing = table_of(np.zeros((0, 3)))
    for min_psnr in (None, 30.0):
        for fixed in ((), FIXED):
            chosen = FitSettings(8, fixed=fixed, min_psnr=min_psnr)
            found = quantized(nothing, chosen, transparent=True)
            opaque = [[*color, 255] for color in fixed]
            assert found.palette.entries.tolist() == [[0, 0, 0, 0], *opaque]
            assert found.evaluation.squared_error == 0
            assert found.evaluation.weights.tolist() == [0] * len(fixed)


@given(tables(), any_settings(), st.booleans(), st.sampled_from([None, 20.0]))
@settings(deadline=None, max_examples=80)
def test_fixed_colours_are_the_first_entries_exactly(
    histogram: ColorHistogram, chosen: FitSettings, transparent: bool, min_psnr: float | None
) -> None:
    chosen = replace(chosen, min_psnr=min_psnr)
    palette = quantized(histogram, chosen, transparent=transparent).palette
    first = palette.entries[palette.numbers][: len(chosen.fixed)].tolist()
    assert first == [[*color, 255] for color in chosen.fixed]


def test_fixed_colours_may_take_all_entries() -> None:
    for alphas in ALPHAS:
        histogram = random_table(50, seed=2, alphas=alphas)
        found = quantized(histogram, FitSettings(4, fixed=FIXED), transparent=True)
        assert found.palette.colors[:, :3].tolist() == [list(color) for color in FIXED]
        entries = entries_of(histogram, found.palette, "rgb")
        assert found.evaluation.squared_error == plain_error(histogram, entries, found.palette)


# -- alpha ------------------------------------------------------------------------------------


@given(tables(alphas="both"), any_settings())
@settings(deadline=None, max_examples=80)
def test_opaque_colours_stay_opaque_where_any_entry_is(
    histogram: ColorHistogram, chosen: FitSettings
) -> None:
    palette = quantized(histogram, chosen).palette
    got = palette.entries[nearest_entries(histogram, palette, chosen.space), 3]
    if (palette.entries[:, 3] == 255).any():
        assert (got[histogram.alphas == 255] == 255).all()
    else:
        n = histogram.n_opaque  # they outweigh what is translucent in no cluster
        assert 2 * int(histogram.weights[:n].sum()) < histogram.pixels


@given(tables(alphas="both"), any_settings())
@settings(deadline=None, max_examples=50)
def test_where_half_of_the_pixels_are_opaque_all_of_these_stay_so(
    histogram: ColorHistogram, chosen: FitSettings
) -> None:
    n = histogram.n_opaque
    assume(n)
    weights = histogram.weights.copy()
    weights[0] += histogram.pixels
    histogram = ColorHistogram(histogram.codes, weights)
    palette = quantized(histogram, chosen).palette
    got = palette.entries[nearest_entries(histogram, palette, chosen.space), 3]
    assert (got[:n] == 255).all()


@given(tables(alphas="translucent"), any_settings())
@settings(deadline=None, max_examples=80)
def test_what_is_translucent_neither_becomes_opaque_nor_clear(
    histogram: ColorHistogram, chosen: FitSettings
) -> None:
    chosen = replace(chosen, fixed=())
    alphas = quantized(histogram, chosen, transparent=True).palette.alphas
    assert alphas is not None
    assert alphas.min() >= 1
    assert alphas.max() <= 254


@each_space
def test_alphas_at_the_ends_are_not_rounded_away(space: str) -> None:
    rng = np.random.default_rng(3)
    for alpha in (1, 254):
        histogram = table_of(rng.integers(0, 256, (60, 3)), np.full(60, alpha))
        found = quantized(histogram, FitSettings(5, space=space))
        assert found.palette.alphas is not None
        assert set(found.palette.alphas.tolist()) == {alpha}


# -- targets ----------------------------------------------------------------------------------


def with_colors(
    histogram: ColorHistogram, k: int, chosen: FitSettings, *, transparent: bool
) -> PaletteFit:
    settings = replace(chosen, colors=k + transparent, min_psnr=None)
    return quantized(histogram, settings, transparent=transparent)


@given(tables(min_colors=2), any_settings(), st.floats(12, 45), st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_target_is_reached_by_a_number_of_colours_and_missed_by_one_less(
    histogram: ColorHistogram, chosen: FitSettings, target: float, transparent: bool
) -> None:
    found = quantized(histogram, replace(chosen, min_psnr=target), transparent=transparent)
    least = max(1 if transparent else 2, len(chosen.fixed))
    fits = {
        k: with_colors(histogram, k, chosen, transparent=transparent)
        for k in range(least, chosen.colors - transparent + 1)
    }
    full = fits[chosen.colors - transparent]
    if full.evaluation.psnr < target:
        assert same_result(found, full)
        return
    assert found.evaluation.psnr >= target
    if len(found.palette.colors) < least:  # one colour: no settings ask for it
        return
    assert any(
        same_result(found, fits[k]) and (k == least or fits[k - 1].evaluation.psnr < target)
        for k in fits
    )


@each_space
@each_alpha
def test_the_smallest_palette_that_reaches_a_target_is_taken(space: str, alphas: str) -> None:
    histogram = random_table(60, seed=4, alphas=alphas)
    chosen = FitSettings(17, space=space)
    fits = [with_colors(histogram, k, chosen, transparent=True) for k in range(1, 17)]
    reached = [each.evaluation.psnr for each in fits]
    n_tried = 0
    for target in reached:
        will_do = [value >= target for value in reached]
        if will_do != sorted(will_do):  # one colour more made it worse: which is found, is open
            continue
        n_tried += 1
        found = quantized(histogram, replace(chosen, min_psnr=target), transparent=True)
        k = will_do.index(True)
        assert same_result(found, fits[k])
        assert len(found.palette) == k + 2
    assert n_tried > 8


@each_space
def test_a_target_out_of_reach_gives_the_full_palette(space: str) -> None:
    histogram = random_table(100, seed=5)
    chosen = FitSettings(6, space=space, min_psnr=70)
    found = quantized(histogram, chosen)
    assert found.evaluation.psnr < 70
    assert len(found.palette) == 6
    assert same_result(found, quantized(histogram, replace(chosen, min_psnr=None)))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_no_more_entries_are_taken_than_there_are_colours(n: int) -> None:
    histogram = random_table(n, seed=6)
    found = quantized(histogram, FitSettings(64, min_psnr=99))
    assert len(found.palette) == n
    assert found.evaluation.squared_error == 0


def test_fixed_colours_stay_where_fewer_would_reach_the_target() -> None:
    histogram = random_table(40, seed=7, kind="tight")
    found = quantized(histogram, FitSettings(16, fixed=FIXED, min_psnr=1))
    assert found.palette.colors.tolist() == [list(color) for color in FIXED]


# -- starts -----------------------------------------------------------------------------------


@given(tables(min_colors=20, max_colors=200), any_settings())
@settings(deadline=None, max_examples=40)
def test_the_best_of_several_starts_is_the_best_of_them_one_by_one(
    histogram: ColorHistogram, chosen: FitSettings
) -> None:
    singles = [
        quantized(histogram, replace(chosen, seed=chosen.seed + i, n_init=1)) for i in range(5)
    ]
    inertias = [single.fit.inertia for single in singles]
    for starts in range(1, 6):
        found = quantized(histogram, replace(chosen, n_init=starts))
        best = singles[inertias.index(min(inertias[:starts]))]
        assert found.fit.inertia == min(inertias[:starts])
        assert same_fit(found.fit, best.fit)
        assert same_result(found, best)


def test_more_starts_find_better_palettes() -> None:
    histogram = random_table(200, seed=8)
    found = [quantized(histogram, FitSettings(8, n_init=n, init="random")) for n in (1, 16)]
    assert found[0].fit.inertia > found[1].fit.inertia
    assert found[0].evaluation.psnr < found[1].evaluation.psnr


def test_a_search_finds_better_palettes_than_plain_starts() -> None:
    better = 0
    for seed in range(10):
        histogram = random_table(4000, seed)
        one, searched = (
            quantized(histogram, FitSettings(16, init="random", n_init=n)) for n in (1, None)
        )
        better += searched.fit.inertia < one.fit.inertia
    assert better >= 9


def test_one_start_is_plain_k_means_from_its_seeding() -> None:
    histogram = random_table(400, seed=9)
    points = color_points(histogram)
    for init in ("k-means++", "random"):
        chosen = FitSettings(8, init=init, n_init=1, seed=3)
        start = SEEDINGS[init](points, 8, 3)
        expected = lloyd.fit(start, Assignment(points).partial, tol=chosen.tol)
        assert same_fit(quantized(histogram, chosen).fit, expected)


def test_tokens_of_more_colours_than_an_image_holds_are_not_searched_for() -> None:
    histogram = random_table(900, seed=10)
    found = [quantized(histogram, FitSettings(300, n_init=n)) for n in (None, 1)]
    assert same_fit(found[0].fit, found[1].fit)


@given(tables(), any_settings(), st.booleans())
@settings(deadline=None, max_examples=30)
def test_same_input_same_palette(
    histogram: ColorHistogram, chosen: FitSettings, transparent: bool
) -> None:
    found = [quantized(histogram, chosen, transparent=transparent) for _ in range(2)]
    assert same_result(*found)
    assert same_fit(found[0].fit, found[1].fit)


@each_space
def test_threads_make_no_difference(space: str) -> None:
    histogram = random_table(20_000, seed=10)
    for n_init in (1, None):
        chosen = FitSettings(8, space=space, n_init=n_init)
        found = [quantized(histogram, chosen, threads=n) for n in (1, 2)]
        assert same_result(*found)
        assert same_fit(found[0].fit, found[1].fit)


# -- chunks of a store ------------------------------------------------------------------------


def store_of(
    path: Path, histogram: ColorHistogram, transparent: bool, weights: NDArray[Any]
) -> Store:
    """A store as counting and weighing leave it; without images."""
    tally = Tally(1, histogram.pixels, 1, int(transparent), int(not histogram.is_opaque), 0, 0)
    store = Store.create(path, Plan((), {}, (), {}).as_record(), DecodeSettings().of_result)
    store.write_colors(histogram, tally.as_record(1))
    store.write_image_weights(weights)
    return store


@each_space
@each_alpha
@pytest.mark.parametrize("weight", ["pixels", "images"])
@pytest.mark.parametrize("fixed", [0, 2])
@pytest.mark.parametrize("n_init", [2, None])
def test_chunks_of_a_store_give_what_one_table_gives(
    space: str, alphas: str, weight: str, fixed: int, n_init: int | None, tmp_path: Path
) -> None:
    histogram = random_table(90, seed=11, alphas=alphas)
    weights = np.random.default_rng(12).integers(1, 2**40, len(histogram))
    chosen = FitSettings(
        8, space=space, weight=weight, fixed=FIXED[:fixed], n_init=n_init, init="random"
    )
    expected = quantized(
        histogram, chosen, transparent=True, weights=weights if weight == "images" else None
    )
    store = store_of(tmp_path / "a.zarr", histogram, True, weights)
    with connect(workers=0) as engine:
        for size in (1 << 22, 37):
            found = fit(store, engine, Progress(), replace(chosen, chunk_colors=size))
            assert same_palette(found.palette, expected.palette)
            assert found.weights.tolist() == expected.evaluation.weights.tolist()
            assert found.squared_error == expected.evaluation.squared_error
            assert found.inertia == expected.fit.inertia
            assert found.history == expected.fit.history
            assert (found.iterations, found.converged) == (
                expected.fit.n_iter,
                expected.fit.converged,
            )
            stored = read_fit(store)
            assert same_palette(stored.palette, found.palette)
            assert stored.weights.tolist() == found.weights.tolist()
            assert stored.squared_error == found.squared_error
            assert stored.settings == found.settings


def test_weights_of_images_change_what_is_fitted_and_not_what_is_judged(tmp_path: Path) -> None:
    histogram = random_table(90, seed=13)
    weights = np.random.default_rng(14).integers(1, 2**40, len(histogram))
    by_pixels, by_images = (
        quantized(histogram, FitSettings(4), weights=some) for some in (None, weights)
    )
    assert not same_palette(by_pixels.palette, by_images.palette)
    assert by_images.evaluation.weights.sum() == histogram.pixels


@given(SEEDS, st.sampled_from([1, None]))
@settings(deadline=None, max_examples=8)
def test_chunks_reach_a_target_with_the_same_palette(seed: int, n_init: int | None) -> None:
    histogram = random_table(70, seed, alphas="both")
    chosen = FitSettings(12, min_psnr=19, n_init=n_init, chunk_colors=25)
    expected = quantized(histogram, chosen)
    with connect(workers=0) as engine, TemporaryDirectory() as folder:
        store = store_of(Path(folder) / "a.zarr", histogram, False, histogram.weights)
        found = fit(store, engine, Progress(), chosen)
    assert same_palette(found.palette, expected.palette)
    assert found.squared_error == expected.evaluation.squared_error


def test_few_colours_of_a_store_in_chunks_are_all_kept(tmp_path: Path) -> None:
    histogram = random_table(6, seed=15, alphas="both")
    store = store_of(tmp_path / "a.zarr", histogram, True, histogram.weights)
    with connect(workers=0) as engine:
        found = fit(store, engine, Progress(), FitSettings(9, chunk_colors=2))
    assert found.squared_error == 0
    assert found.psnr is None
    assert len(found.palette) == 7
