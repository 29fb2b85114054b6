"""Partitions of a store on disk: what is written comes back, and what is unfinished is absent."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmeans_dask.store import Partition, Store, zarr_groups
from kmeans_dask.store.records import Failure
from kmeans_dask.store.store import PLANS
from tests.documents import read_sealed
from tests.store.conftest import (
    KINDS,
    NOTHING,
    Alphas,
    Picture,
    chunk_files,
    counted,
    listed,
    new_store,
    picture,
    planned,
    records,
    root_of,
    total,
    whole_images,
    write,
)


def in_full(image: Picture) -> Alphas:
    return np.full(len(image.pixels), 255, np.uint8) if image.alphas is None else image.alphas


def assert_holds(partition: Partition, pictures: Sequence[Picture]) -> None:
    assert partition.pixels.shape == (sum(len(p.pixels) for p in pictures), 3)
    found = list(whole_images(partition))
    assert [record for record, _, _ in found] == records(pictures)
    for (_, pixels, alphas), image in zip(found, pictures, strict=True):
        np.testing.assert_array_equal(pixels, image.pixels)
        if image.alphas is None:
            assert alphas is None
        else:
            assert alphas is not None
            assert alphas.dtype == np.uint8
            np.testing.assert_array_equal(alphas, image.alphas)


@pytest.mark.usefixtures("chunks_of_10")
@pytest.mark.parametrize("band", [1, 3, 10, 1000])
def test_images_that_cross_chunks_come_back(store: Store, band: int) -> None:
    pictures = [picture(n, seed=n) for n in (3, 7, 10, 25, 1, 11)]
    partition = write(store, pictures, band=band)
    assert partition.pixels.chunks == (10, 3)
    assert_holds(partition, pictures)
    assert "alphas" not in listed(root_of(store) / "partitions" / "000000")


@pytest.mark.usefixtures("chunks_of_10")
@pytest.mark.parametrize("band", [1, 3, 10, 1000])
@pytest.mark.parametrize("before", [(), (4,), (10,), (7, 3), (35,), (40, 2)])
@pytest.mark.parametrize("kind", KINDS[1:])
def test_alphas_that_start_late_are_opaque_before(
    store: Store, kind: str, band: int, before: tuple[int, ...]
) -> None:
    pictures = [picture(n, seed=n) for n in before]
    pictures += [picture(17, seed=1, kind=kind), picture(13, seed=2)]
    pictures += [picture(5, seed=3, kind="transparent"), picture(1, seed=4)]
    assert_holds(write(store, pictures, band=band), pictures)
    stored = zarr.open_array(store.path / "partitions" / "000000" / "alphas", mode="r")
    assert stored.dtype == np.uint8
    expected = np.concatenate([in_full(image) for image in pictures])
    np.testing.assert_array_equal(np.asarray(stored[:]), expected)


@pytest.mark.usefixtures("chunks_of_10")
@pytest.mark.parametrize("kind", KINDS[1:])
def test_an_image_whose_last_pixel_alone_is_not_opaque_comes_back(store: Store, kind: str) -> None:
    image = picture(34, seed=0, kind=kind)
    assert image.alphas is not None
    last = np.full(34, 255, np.uint8)
    last[-1] = image.alphas[0]
    assert_holds(write(store, [Picture(image.pixels, last)], band=3), [Picture(image.pixels, last)])


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 30), st.sampled_from(KINDS)), max_size=6),
    chunk=st.integers(1, 40),
    band=st.integers(1, 40),
    spare=st.integers(0, 25),
)
def test_any_partition_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    sizes: list[tuple[int, str]],
    chunk: int,
    band: int,
    spare: int,
) -> None:
    monkeypatch.setattr(zarr_groups, "CHUNK_PIXELS", chunk)
    pictures = [picture(n, seed=n, kind=kind) for n, kind in sizes]
    planned = sum(n for n, _ in sizes) + spare
    store = new_store(tmp_path_factory.mktemp("any"))
    assert_holds(write(store, pictures, planned=planned, band=band), pictures)


@pytest.mark.usefixtures("chunks_of_10")
@pytest.mark.parametrize("kind", ["opaque", "both"])
@pytest.mark.parametrize("planned", [24, 30, 31, 200])
def test_space_reserved_for_failed_images_is_cut_off(store: Store, planned: int, kind: str) -> None:
    pictures = [picture(14, seed=0), picture(10, seed=1, kind=kind)]
    failures = [Failure("/images/bad.png", "truncated")]
    partition = write(store, pictures, planned=planned, failures=failures)
    assert_holds(partition, pictures)
    assert partition.failures == failures
    for array in ("pixels", "alphas") if kind == "both" else ("pixels",):
        assert len(chunk_files(store, f"partitions/000000/{array}")) == 3


@pytest.mark.parametrize("planned", [0, 12])
def test_a_partition_may_hold_no_image(store: Store, planned: int) -> None:
    partition = write(store, [], planned=planned, failures=[Failure("x", "y")])
    assert_holds(partition, [])
    assert partition.images == []
    assert len(partition.histogram) == 0
    assert store.committed_partitions == ["000000"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_histogram_of_a_partition_comes_back(store: Store, kind: str) -> None:
    image = picture(50, seed=0, kind=kind)
    expected = counted([image])
    assert expected.is_opaque == (kind in ("opaque", "transparent"))
    found = write(store, [image]).histogram
    np.testing.assert_array_equal(found.codes, expected.codes)
    np.testing.assert_array_equal(found.weights, expected.weights)
    assert found.codes.dtype == np.dtype(np.uint32)
    assert found.weights.dtype == np.dtype(np.int64)


def test_a_partition_that_was_not_finished_leaves_nothing(store: Store) -> None:
    def fail_half_way() -> None:
        with store.writing_partition("000000", 20) as writer:
            writer.append(picture(12, seed=0).pixels)
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail_half_way()
    assert store.committed_partitions == []
    assert store.missing_partitions == ["000000"]
    assert not store.has_partition("000000")
    assert listed(root_of(store) / "partitions") == ["zarr.json"]


def test_a_partition_is_not_there_before_its_block_ends(store: Store) -> None:
    with store.writing_partition("000000", 5) as writer:
        writer.append(picture(5, seed=0).pixels)
        writer.describe(NOTHING, [], [])
        assert store.committed_partitions == []
        assert not store.has_partition("000000")
    assert store.committed_partitions == ["000000"]
    assert store.has_partition("000000")
    assert store.missing_partitions == []


def test_leftovers_of_a_killed_writer_are_no_partition(store: Store) -> None:
    killed = store.writing_partition("000000", 5)
    killed.__enter__()
    assert len(listed(root_of(store) / "partitions")) == 2
    assert Store.open(store.path).committed_partitions == []
    image = picture(5, seed=0)
    assert_holds(write(store, [image]), [image])


def test_the_first_writer_of_a_partition_wins(store: Store) -> None:
    first, second = picture(8, seed=1), picture(8, seed=2)
    with store.writing_partition("000000", 8) as late:
        late.append(second.pixels)
        late.describe(NOTHING, records([second]), [])
        write(store, [first])
    assert_holds(store.partition("000000"), [first])
    assert listed(root_of(store) / "partitions") == ["000000", "zarr.json"]


def test_partitions_are_listed_in_the_order_of_their_ids(store: Store) -> None:
    for partition_id in ("000002", "000000", "000010", "000001"):
        write(store, [picture(2, seed=0)], partition_id=partition_id)
    assert store.committed_partitions == ["000000", "000001", "000002", "000010"]


def test_planned_partitions_are_listed_whether_written_or_not(tmp_path: Path) -> None:
    store = new_store(tmp_path, n_partitions=4)
    for partition_id in ("000003", "000001"):
        write(store, [picture(2, seed=0)], partition_id=partition_id)
    assert store.partition_ids == ["000000", "000001", "000002", "000003"]
    assert store.committed_partitions == ["000001", "000003"]
    assert store.missing_partitions == ["000000", "000002"]


NAMES = [os.fsdecode(b"\xff.png"), "two\nlines.png", "Jürgen/日本.png", "\x01\x7f.png", '"\\.png']


@pytest.mark.parametrize("name", NAMES)
def test_any_file_name_survives(store: Store, name: str) -> None:
    with store.writing_partition("000000", 1) as writer:
        writer.append(np.zeros((1, 3), np.uint8))
        image = msgspec.structs.replace(records([picture(1, seed=0)])[0], path=name)
        writer.describe(NOTHING, [image], [Failure(name, "none")])
    found = Store.open(store.path).partition("000000")
    assert found.images == [image]
    assert found.failures == [Failure(name, "none")]
    assert os.fsencode(found.images[0].path) == os.fsencode(name)


@pytest.mark.usefixtures("chunks_of_10")
def test_black_is_written_and_differs_from_what_is_missing(store: Store) -> None:
    clear = Picture(np.zeros((25, 3), np.uint8), np.zeros(25, np.uint8))
    write(store, [clear])
    assert len(chunk_files(store, "partitions/000000/pixels")) == 3
    assert len(chunk_files(store, "partitions/000000/alphas")) == 3


def test_records_are_written_with_these_fields_in_this_order(store: Store) -> None:
    write(store, [picture(3, seed=0)], failures=[Failure("x", "y")])
    store.write_colors(NOTHING, total(NOTHING))
    document = json.loads((root_of(store) / "partitions" / "000000" / "zarr.json").read_text())
    assert list(document) == ["attributes", "zarr_format", "node_type"]
    assert list(document["attributes"]) == ["images", "failures"]
    assert list(document["attributes"]["images"][0]) == [
        "path", "kept_as", "stem", "n_bytes", "modified", "digest", "height", "width",
        "transparent", "translucent", "composited", "brightest", "indexed", "metadata", "offset",
    ]  # fmt: skip
    assert document["attributes"]["failures"] == [{"path": "x", "reason": "y"}]
    totals = json.loads((root_of(store) / "colors" / "zarr.json").read_text())["attributes"]
    assert list(totals) == [
        "images", "pixels", "n_bytes", "transparent", "translucent", "dim", "failed", "generation",
    ]  # fmt: skip
    plan = read_sealed(root_of(store) / PLANS[0])
    assert list(plan) == [*planned(1).__struct_fields__]
    assert list(plan["attrs"]) == ["format", "format_version", "versions", "decode"]
    assert list(plan["attrs"]["decode"]) == ["max_pixels", "flat", "keep_metadata", "white"]
