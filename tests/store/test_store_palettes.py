"""Palettes of a store: they come back to the last bit, and replace those of the same name."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from kmeans_dask.errors import StoreError
from kmeans_dask.store import Store, StoredPalette
from tests.store.conftest import listed, palette, root_of


def assert_same(found: StoredPalette, expected: StoredPalette) -> None:
    assert found.centroids.tobytes() == expected.centroids.tobytes()
    np.testing.assert_array_equal(found.entries, expected.entries)
    assert found.entries.dtype == np.uint8
    np.testing.assert_array_equal(found.weights, expected.weights)
    assert replace(found.fitted, number=0) == expected.fitted


def make_older(store: Store, name: str) -> None:
    """Set a palette's time back, as two may be written within one tick of the clock."""
    folder = root_of(store) / "palettes" / name
    before = folder.stat().st_mtime_ns - 10**9
    os.utime(folder, ns=(before, before))


def test_a_palette_comes_back_to_the_last_bit(store: Store) -> None:
    written = palette(16, inertia=3.25, converged=False)
    store.write_palette("k16", written)
    assert_same(Store.open(store.path).read_palette("k16"), written)


def test_a_palette_replaces_one_of_the_same_name(store: Store) -> None:
    store.write_palette("a", palette(16, iterations=1))
    store.write_palette("a", palette(4, iterations=2))
    assert store.palette_names == ["a"]
    assert_same(store.read_palette("a"), palette(4, iterations=2))
    assert listed(root_of(store) / "palettes") == ["a", "zarr.json"]


def test_a_palette_stays_where_its_replacement_cannot_be_written(store: Store) -> None:
    store.write_palette("a", palette(16, iterations=1))
    with pytest.raises(TypeError):
        store.write_palette("a", palette(4, iterations=object()))
    assert_same(store.read_palette("a"), palette(16, iterations=1))
    assert listed(root_of(store) / "palettes") == ["a", "zarr.json"]


def test_the_palette_written_last_is_the_last(store: Store) -> None:
    for name in ("b", "c", "a"):
        store.write_palette(name, palette(2))
        assert store.palette_names[-1] == name
        make_older(store, name)
        for older in set(store.palette_names) - {name}:
            make_older(store, older)
    assert store.palette_names == ["b", "c", "a"]
    store.write_palette("b", palette(3))
    assert store.palette_names == ["c", "a", "b"]


def test_a_palette_that_is_not_there_is_named_with_those_that_are(store: Store) -> None:
    with pytest.raises(StoreError, match="no palette x; it has none: run `kmeans-dask fit` first"):
        store.read_palette("x")
    store.write_palette("a", palette(2))
    with pytest.raises(StoreError, match=r"no palette x; it has a$"):
        store.read_palette("x")
