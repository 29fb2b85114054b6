"""What colours weigh where every image counts the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.engine import connect
from kmeans_dask.job.progress import Progress
from kmeans_dask.kmeans.histogram import ColorHistogram, count_colors, merge_histograms
from kmeans_dask.settings import FitSettings
from kmeans_dask.steps.count import compute_image_weights, image_weight, share_weight
from kmeans_dask.steps.fit import fit
from tests.steps.strategies import ingested, noise, save, table_of, tables

WEIGHTS = st.one_of(st.integers(1, 10**6), st.integers(1, 2**46), st.just(2**46))


@given(tables(), WEIGHTS)
@settings(deadline=None, max_examples=150)
def test_the_weight_is_spread_as_the_pixels_are(histogram: ColorHistogram, weight: int) -> None:
    histogram = ColorHistogram(
        histogram.codes, np.minimum(histogram.weights, 10**7)
    )  # of one image
    found = share_weight(histogram, weight)
    assert found.codes.tolist() == histogram.codes.tolist()
    assert found.weights.min() >= 1
    assert abs(found.pixels - weight) <= len(histogram)
    pixels = histogram.pixels
    for share, n in zip(found.weights.tolist(), histogram.weights.tolist(), strict=True):
        # to the nearest integer, exactly; but none is lost
        assert share == max(1, (2 * weight * n + pixels) // (2 * pixels))


@given(tables(max_colors=20), st.integers(1, 1000))
@settings(deadline=None, max_examples=50)
def test_an_image_many_times_as_large_weighs_the_same(
    histogram: ColorHistogram, times: int
) -> None:
    weights = np.minimum(histogram.weights, 10**6)
    small = share_weight(ColorHistogram(histogram.codes, weights), 2**46)
    large = share_weight(ColorHistogram(histogram.codes, weights * times), 2**46)
    assert np.abs(small.weights - large.weights).max() <= 1


def test_an_image_of_three_gigapixels_is_weighed_exactly() -> None:
    histogram = table_of(np.array([[0, 0, 0], [9, 9, 9]]), weights=np.array([3 * 10**9, 1]))
    pixels = 3 * 10**9 + 1
    assert share_weight(histogram, 2**46).weights.tolist() == [
        (2 * 2**46 * n + pixels) // (2 * pixels) for n in (3 * 10**9, 1)
    ]


def test_an_image_without_a_colour_weighs_nothing() -> None:
    assert len(share_weight(table_of(np.zeros((0, 3))), 100)) == 0


def test_all_images_together_weigh_the_same_however_many() -> None:
    for images in (1, 3, 1000, 10**7):
        assert 0 <= 2**46 - images * image_weight(images) < images


@pytest.mark.parametrize("alphas", ["opaque", "clear", "both"])
def test_images_of_different_sizes_weigh_the_same_in_the_store(alphas: str, tmp_path: Path) -> None:
    large, small = noise(1, (60, 80), alphas), noise(2, (5, 6), alphas)
    store = ingested(
        [save(tmp_path / "a.png", large), save(tmp_path / "b.png", small)], tmp_path / "s"
    )
    with connect(workers=0) as engine:
        compute_image_weights(store, engine, Progress())
    histogram = store.read_colors()
    weights = dict(zip(histogram.codes.tolist(), store.read_image_weights().tolist(), strict=True))
    assert len(weights) == len(histogram)
    assert abs(sum(weights.values()) - 2**46) <= len(histogram) + 2
    one = [
        ingested([tmp_path / name], tmp_path / name[0]).read_colors() for name in ("a.png", "b.png")
    ]
    expected = merge_histograms([share_weight(each, 2**45) for each in one])
    assert weights == dict(zip(expected.codes.tolist(), expected.weights.tolist(), strict=True))
    assert one[0].pixels > 100 * one[1].pixels
    of_large = sum(
        weights[code] for code in set(one[0].codes.tolist()) - set(one[1].codes.tolist())
    )
    assert of_large == pytest.approx(2**45, rel=0.05)


def test_partitions_and_images_that_cannot_be_read_change_no_weight(tmp_path: Path) -> None:
    images = [save(tmp_path / f"{i}.png", noise(i, (9 + i, 9))) for i in range(12)]
    broken = save(tmp_path / "x.png", noise(99))
    broken.write_bytes(broken.read_bytes()[:-400])
    found = []
    for name, inputs, size in (("a", images, 1 << 24), ("b", [*images, broken], 150)):
        store = ingested(inputs, tmp_path / f"{name}.zarr", size)
        with connect(workers=0) as engine:
            compute_image_weights(store, engine, Progress())
        found.append((store.read_colors().codes.tolist(), store.read_image_weights().tolist()))
    assert len(store.partition_ids) > 8
    assert found[0] == found[1]


def test_a_small_image_has_its_say_only_where_images_count_the_same(tmp_path: Path) -> None:
    # all of one grey; and of 16 pixels 8 are black, 4 dark grey and 4 white
    large = np.full((100, 100, 3), 120)
    values = np.random.default_rng(3).permutation([0] * 8 + [60] * 4 + [255] * 4)
    small = np.repeat(values.reshape(4, 4, 1), 3, axis=2)
    images = [save(tmp_path / "a.png", large), save(tmp_path / "b.png", small)]
    store = ingested(images, tmp_path / "s.zarr")
    greys = {}
    with connect(workers=0) as engine:
        for weight in ("pixels", "images"):
            chosen = FitSettings(2, weight=weight, n_init=16)
            found = fit(store, engine, Progress(), chosen)
            assert store.has_image_weights == (weight == "images")
            assert found.weights.tolist() == [12, 10_004]  # as they are, whatever the fit goes by
            greys[weight] = found.palette.colors[:, 0].tolist()
    dark = 4 * 60 // 12
    assert greys["pixels"] == [dark, 120]  # white is 4 of 10 004 pixels
    assert greys["images"] == [dark, (4 * 120 + 255) // 5]  # a quarter of the small image


def test_the_palette_of_weights_is_that_of_an_image_blown_up(tmp_path: Path) -> None:
    small, large = noise(4, (6, 6)), noise(5, (24, 24))
    store = ingested(
        [save(tmp_path / "a.png", small), save(tmp_path / "b.png", large)], tmp_path / "s"
    )
    blown_up = np.repeat(np.repeat(small, 4, axis=0), 4, axis=1)
    alike = count_colors(np.concatenate([blown_up, large]))
    histogram = store.read_colors()
    assert alike.codes.tolist() == histogram.codes.tolist()
    with connect(workers=0) as engine:
        compute_image_weights(store, engine, Progress())
    shares = store.read_image_weights() / store.read_image_weights().sum()
    assert np.abs(shares - alike.weights / alike.pixels).max() < 1e-12
