"""The store as a whole: how it is made and opened, its plan, its colours and what they weigh."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zarr

from kmeans_dask.errors import StoreError
from kmeans_dask.files.documents import DamagedError
from kmeans_dask.kmeans.histogram import count_colors
from kmeans_dask.store import FORMAT_VERSION, Store, zarr_groups
from kmeans_dask.store.store import MEMBERS, PLANS
from tests.documents import read_sealed
from tests.store.conftest import (
    DECODE,
    IDS,
    NOTHING,
    WEIGHED,
    assert_indices,
    listed,
    new_store,
    picture,
    planned,
    root_of,
    some_indices,
    total,
    write,
)

OF_A_NEW_STORE = [
    "copies", "indices", "palettes", "partitions", "plan-copy.json", "plan.json", "seal.json",
]  # fmt: skip


# -- the whole --------------------------------------------------------------------------------


def test_a_new_store_says_what_it_is(tmp_path: Path) -> None:
    made = Store.create(tmp_path / "a.zarr", planned(3), DECODE)
    opened = Store.open(tmp_path / "a.zarr")
    assert opened.attrs == made.attrs
    assert opened.attrs.format == "kmeans-dask"
    assert opened.attrs.format_version == FORMAT_VERSION
    assert opened.plan == msgspec.structs.replace(planned(3), attrs=made.attrs)
    assert opened.partition_ids == ["000000", "000001", "000002"]
    assert opened.attrs.decode == DECODE
    assert opened.attrs.versions["numpy"] == np.__version__
    assert opened.committed_partitions == opened.palette_names == []
    assert not opened.is_counted
    assert not opened.has_image_weights


def test_a_store_may_be_made_in_an_empty_folder(tmp_path: Path) -> None:
    Store.create(tmp_path, planned(1), DECODE)
    assert Store.open(tmp_path).partition_ids == ["000000"]


def test_a_store_is_not_made_where_something_is(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "precious.txt"):
        with pytest.raises(StoreError, match="exists already"):
            Store.create(path, planned(1), DECODE)
    assert listed(tmp_path) == ["precious.txt"]
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_a_store_is_not_made_in_place_of_another(store: Store) -> None:
    write(store, [picture(3, seed=0)])
    with pytest.raises(StoreError, match="exists already"):
        Store.create(store.path, planned(1), DECODE)
    assert store.committed_partitions == ["000000"]


@pytest.mark.parametrize("name", [".", "missing", "file"])
def test_where_there_is_no_store_none_is_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"is no store: make one with `kmeans-dask ingest"):
        Store.open(tmp_path / name)
    assert listed(tmp_path) == ["file"]


def test_a_folder_with_a_link_is_not_taken_for_the_beginning_of_a_store(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "s.zarr").mkdir()
    (tmp_path / "s.zarr" / "partitions").symlink_to(tmp_path / "elsewhere")
    assert not Store.is_free(tmp_path / "s.zarr")
    with pytest.raises(StoreError, match="exists already"):
        Store.create(tmp_path / "s.zarr", planned(0), DECODE)


def test_a_foreign_zarr_group_is_not_opened(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "x.zarr", zarr_format=3, attributes={"format": "other"})
    with pytest.raises(StoreError, match="not a store of kmeans-dask"):
        Store.open(tmp_path / "x.zarr")


def test_a_group_that_is_versioned_but_foreign_is_not_opened(tmp_path: Path) -> None:
    attributes = {"format": "other", "format_version": FORMAT_VERSION}
    zarr.create_group(tmp_path / "x.zarr", zarr_format=3, attributes=attributes)
    version = FORMAT_VERSION
    expected = f"format other {version}; this version reads kmeans-dask {version}"
    with pytest.raises(StoreError, match=expected):
        Store.open(tmp_path / "x.zarr")


def test_a_zarr_array_is_not_opened(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "x.zarr", shape=(3,), dtype="u1", zarr_format=3)
    with pytest.raises(StoreError, match="not a store of kmeans-dask"):
        Store.open(tmp_path / "x.zarr")


@pytest.mark.parametrize("content", [b"", b"junk", b"{}", b"[]", b"null", b"\xff\xfe"])
def test_a_broken_group_is_not_opened(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "zarr.json").write_bytes(content)
    with pytest.raises(StoreError, match="not a store of kmeans-dask"):
        Store.open(tmp_path)


@pytest.mark.parametrize("version", [1, FORMAT_VERSION + 1])
def test_a_store_of_another_format_is_not_opened(store: Store, version: int) -> None:
    document = json.loads((store.path / "zarr.json").read_text())
    document["attributes"]["format_version"] = version
    (store.path / "zarr.json").write_text(json.dumps(document))
    zarr_groups.seal(store.path, MEMBERS)
    expected = f"format kmeans-dask {version}; this version reads kmeans-dask {FORMAT_VERSION}$"
    with pytest.raises(StoreError, match=expected):
        Store.open(store.path)


def test_a_store_without_some_partitions_is_unfinished(tmp_path: Path) -> None:
    store = new_store(tmp_path, n_partitions=3)
    write(store, [picture(3, seed=0)], partition_id="000001")
    with pytest.raises(StoreError, match="2 of 3 partitions are missing") as caught:
        store.require_whole()
    assert "run the job that made it again, with --resume" in str(caught.value)
    assert str(store.path) in str(caught.value)


def test_a_store_is_unfinished_until_its_colors_are_added_up(store: Store) -> None:
    write(store, [picture(3, seed=0)])
    with pytest.raises(StoreError, match="not added up"):
        store.require_whole()
    histogram = store.partition("000000").histogram
    store.write_colors(histogram, total(histogram))
    store.require_whole()
    Store.open(store.path).require_whole()


def test_a_plan_of_a_new_generation_needs_its_colors_added_up_again(store: Store) -> None:
    write(store, [picture(3, seed=0)])
    histogram = store.partition("000000").histogram
    store.write_colors(histogram, total(histogram))
    store.write_plan(planned(1, generation=2))
    for opened in (store, Store.open(store.path)):
        assert not opened.is_counted
        with pytest.raises(StoreError, match="not added up"):
            opened.require_whole()


def test_unplanned_partitions_are_removed_with_their_indices(with_indices: Store) -> None:
    killed = with_indices.writing_partition("000007", 5)
    killed.__enter__()
    plan = planned(3, generation=2)
    del plan.partitions["000001"]
    with_indices.write_plan(plan)
    with_indices.remove_unplanned()
    assert with_indices.partition_ids == with_indices.committed_partitions == [IDS[0], IDS[2]]
    for folder in ("partitions", "indices/a"):
        assert [name for name in listed(root_of(with_indices) / folder) if ".json" not in name] == [
            IDS[0],
            IDS[2],
        ]
    assert_indices(with_indices, "a", [some_indices(25, seed=25), some_indices(0, seed=0)])


# -- colours ----------------------------------------------------------------------------------


def test_the_total_histogram_comes_back_whole_and_in_parts(store: Store) -> None:
    histogram = count_colors(picture(500, seed=0).pixels)
    expected = total(histogram)
    store.write_colors(histogram, expected)
    assert store.is_counted
    assert store.n_colors == len(histogram)
    assert store.total == expected
    for start, stop in ((0, None), (0, 7), (3, 11), (len(histogram) - 1, len(histogram))):
        found = store.read_colors(start, stop)
        np.testing.assert_array_equal(found.codes, histogram.codes[start:stop])
        np.testing.assert_array_equal(found.weights, histogram.weights[start:stop])


def test_an_empty_total_histogram_comes_back(store: Store) -> None:
    store.write_colors(NOTHING, total(NOTHING))
    assert store.n_colors == 0
    assert store.read_colors().pixels == 0


def test_weights_of_colors_come_back_whole_and_in_parts(store: Store) -> None:
    store.write_image_weights(WEIGHED)
    assert store.has_image_weights
    assert Store.open(store.path).has_image_weights
    for start, stop in ((0, None), (0, 2), (1, 4), (4, 5)):
        found = store.read_image_weights(start, stop)
        np.testing.assert_array_equal(found, WEIGHED[start:stop])
        assert found.dtype == np.int64


def test_weights_of_colors_are_overwritten(store: Store) -> None:
    store.write_image_weights(WEIGHED)
    store.write_image_weights(WEIGHED[1:3])
    np.testing.assert_array_equal(store.read_image_weights(), WEIGHED[1:3])
    assert listed(root_of(store)) == [*OF_A_NEW_STORE, "weighed", "zarr.json"]


def test_weights_of_no_colors_come_back(store: Store) -> None:
    store.write_image_weights(WEIGHED[:0])
    assert store.has_image_weights
    assert store.read_image_weights().tolist() == []


# -- damage -----------------------------------------------------------------------------------


def test_a_plan_is_read_from_its_copy_where_it_is_damaged(store: Store) -> None:
    for name in PLANS:
        content = (store.path / name).read_bytes()
        (store.path / name).write_bytes(content[:-1])
        with pytest.raises(DamagedError):
            read_sealed(store.path / name)
        assert Store.open(store.path).plan.partitions == planned(1).partitions
        (store.path / name).write_bytes(content)
    for name in PLANS:
        (store.path / name).write_bytes(b"")
    with pytest.raises(StoreError, match="its plan is lost"):
        _ = Store.open(store.path).plan
