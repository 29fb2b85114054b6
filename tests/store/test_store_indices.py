"""Palette indices of a store: they come back, and what is missing of them is noticed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.errors import StoreError
from kmeans_dask.store import Store, zarr_groups
from tests.store.conftest import (
    IDS,
    assert_indices,
    chunk_files,
    listed,
    new_store,
    palette,
    picture,
    root_of,
    some_indices,
    write,
    write_indices,
)


@pytest.mark.usefixtures("chunks_of_10")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("band", [1, 3, 10, 1000])
def test_indices_come_back_in_the_order_of_partitions(
    with_partitions: Store, band: int, dtype: type[np.unsignedinteger[Any]]
) -> None:
    expected = [some_indices(n, seed=n, dtype=dtype) for n in (25, 10, 0)]
    with_partitions.start_indices("a")
    for place in (2, 0, 1):
        write_indices(with_partitions, "a", IDS[place], expected[place], band)
    assert_indices(Store.open(with_partitions.path), "a", expected)
    assert with_partitions.indices("a")[0].chunks == (10,)


@settings(deadline=None, max_examples=25)
@given(
    bands=st.lists(st.integers(0, 25), max_size=6),
    chunk=st.integers(1, 30),
    dtype=st.sampled_from([np.uint8, np.uint16]),
)
def test_indices_come_back_however_they_are_cut(
    tmp_path_factory: pytest.TempPathFactory,
    bands: list[int],
    chunk: int,
    dtype: type[np.unsignedinteger[Any]],
) -> None:
    indices = some_indices(sum(bands), seed=chunk, dtype=dtype)
    store = new_store(tmp_path_factory.mktemp("cut"))
    write(store, [])
    store.start_indices("a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zarr_groups, "CHUNK_PIXELS", chunk)
        with store.writing_indices("a", "000000", len(indices), indices.dtype) as append:
            start = 0
            for size in bands:
                append(indices[start : start + size])
                start += size
        assert_indices(store, "a", [indices])


@pytest.mark.usefixtures("chunks_of_10")
def test_an_appended_buffer_may_be_reused(store: Store) -> None:
    write(store, [picture(4, seed=0)])
    store.start_indices("a")
    reused = np.empty(2, np.uint8)
    with store.writing_indices("a", "000000", 4, reused.dtype) as append:
        for value in (1, 2):
            reused[:] = value
            append(reused)
    assert_indices(store, "a", [np.array([1, 1, 2, 2], np.uint8)])


@pytest.mark.usefixtures("chunks_of_10")
def test_indices_are_written_even_where_they_are_zero(store: Store) -> None:
    write(store, [picture(25, seed=0)])
    store.start_indices("a")
    write_indices(store, "a", "000000", np.zeros(25, np.uint8))
    assert len(chunk_files(store, "indices/a/000000/indices")) == 3
    assert_indices(store, "a", [np.zeros(25, np.uint8)])


def assert_no_indices(store: Store, name: str) -> None:
    with pytest.raises(StoreError) as caught:
        store.indices(name)
    assert str(caught.value) == (
        f"{store.path} lacks the indices of palette {name}: run `kmeans-dask tokenize {store.path}`"
    )


def test_missing_indices_are_an_error_that_names_the_command_for_them(
    with_partitions: Store,
) -> None:
    assert_no_indices(with_partitions, "a")
    with_partitions.start_indices("a")
    assert_no_indices(with_partitions, "a")


@pytest.mark.parametrize("partition_id", IDS)
def test_the_indices_of_one_partition_are_missed(with_indices: Store, partition_id: str) -> None:
    assert len(with_indices.indices("a")) == 3
    shutil.rmtree(root_of(with_indices) / "indices" / "a" / partition_id)
    assert_no_indices(with_indices, "a")


def test_a_store_of_no_partitions_has_no_indices(tmp_path: Path) -> None:
    store = new_store(tmp_path, n_partitions=0)
    store.start_indices("a")
    assert_no_indices(store, "a")


def test_indices_go_when_the_palette_of_that_name_is_written_again(with_indices: Store) -> None:
    with_indices.write_palette("b", palette(3))
    with_indices.start_indices("b")
    assert len(with_indices.indices("a")) == 3  # those of another name stay
    with_indices.write_palette("a", palette(5))
    assert_no_indices(with_indices, "a")
    assert listed(root_of(with_indices) / "indices") == ["b", "zarr.json"]


def test_indices_that_are_there_stay_when_they_are_started_again(with_indices: Store) -> None:
    killed = with_indices.writing_indices("a", "000007", 5, np.dtype(np.uint8))
    killed.__enter__()
    with_indices.start_indices("a")
    assert all(with_indices.has_indices("a", partition_id) for partition_id in IDS)
    assert_indices(with_indices, "a", [some_indices(n, seed=n) for n in (25, 10, 0)])
    assert listed(root_of(with_indices) / "indices" / "a") == [*IDS, "seal.json", "zarr.json"]


def test_each_palette_has_its_own_indices(with_indices: Store) -> None:
    with_indices.write_palette("b", palette(3))
    with_indices.start_indices("b")
    others = [some_indices(n, seed=n + 1) for n in (25, 10, 0)]
    for partition_id, indices in zip(IDS, others, strict=True):
        write_indices(with_indices, "b", partition_id, indices)
    assert_indices(with_indices, "b", others)
    assert_indices(with_indices, "a", [some_indices(n, seed=n) for n in (25, 10, 0)])


def test_the_last_attempt_at_a_partitions_indices_stays(with_indices: Store) -> None:
    again = some_indices(10, seed=77)
    write_indices(with_indices, "a", IDS[1], again)
    assert_indices(with_indices, "a", [some_indices(25, seed=25), again, some_indices(0, seed=0)])
    assert listed(root_of(with_indices) / "indices" / "a") == [*IDS, "seal.json", "zarr.json"]


def test_indices_that_were_not_finished_leave_nothing(with_partitions: Store) -> None:
    def fail_half_way() -> None:
        with with_partitions.writing_indices("a", IDS[0], 25, np.dtype(np.uint8)) as append:
            append(some_indices(12, seed=0))
            assert len(listed(root_of(with_partitions) / "indices" / "a")) == 3
            raise RuntimeError("half-way")

    with_partitions.start_indices("a")
    with pytest.raises(RuntimeError, match="half-way"):
        fail_half_way()
    assert listed(root_of(with_partitions) / "indices" / "a") == ["seal.json", "zarr.json"]
    assert_no_indices(with_partitions, "a")
