"""The store on disk: what is written comes back, and what is unfinished or foreign is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask.errors import StoreError
from kmeans_dask.files.documents import DamagedError
from kmeans_dask.kmeans.histogram import ColorCounter, ColorHistogram, count_colors
from kmeans_dask.settings import DecodeRecord, FitSettings
from kmeans_dask.store import FORMAT_VERSION, Partition, Store, StoredPalette, zarr_groups
from kmeans_dask.store.records import Failure, FitRecord, ImageRecord, PlanRecord, TotalRecord
from kmeans_dask.store.repair import damage_of, damaged_metadata, places
from kmeans_dask.store.store import MEMBERS, PLANS
from tests.documents import read_sealed

Pixels = NDArray[np.uint8]
Alphas = NDArray[np.uint8]

OF_A_NEW_STORE = [
    "copies", "indices", "palettes", "partitions", "plan-copy.json", "plan.json", "seal.json",
]  # fmt: skip
DECODE = DecodeRecord(max_pixels=10**6, flat=False, keep_metadata=False, white=None)
NOTHING = ColorHistogram(np.empty(0, np.uint32), np.empty(0, np.int64))
KINDS = ["opaque", "transparent", "translucent", "both"]


@dataclass(frozen=True)
class Picture:
    """What is appended for one image: pixels (n, 3), alphas (n,) or None."""

    pixels: Pixels
    alphas: Alphas | None = None


def picture(n: int, seed: int, kind: str = "opaque") -> Picture:
    """Of one of `KINDS`; about half of the pixels that may be are opaque."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 256, (n, 3)).astype(np.uint8)
    if kind == "opaque":
        return Picture(pixels)
    others = {"transparent": [0], "translucent": range(1, 255), "both": [0, 1, 90, 254]}[kind]
    alphas = np.where(rng.random(n) < 0.5, 255, rng.choice(list(others), n)).astype(np.uint8)
    alphas[:1] = others[0]
    return Picture(pixels * (alphas > 0)[:, None], alphas)


def is_partial(alphas: Alphas) -> bool:
    return bool(((alphas > 0) & (alphas < 255)).any())


def counted(pictures: Iterable[Picture]) -> ColorHistogram:
    """Of all pixels that are seen."""
    counter = ColorCounter()
    for image in pictures:
        counter.add(image.pixels, image.alphas)
    return counter.counts()


def in_full(image: Picture) -> Alphas:
    return np.full(len(image.pixels), 255, np.uint8) if image.alphas is None else image.alphas


def records(pictures: Iterable[Picture]) -> list[ImageRecord]:
    found: list[ImageRecord] = []
    offset = 0
    for number, image in enumerate(pictures):
        found.append(
            ImageRecord(
                path=f"/images/{number}.png",
                kept_as=f"{number}.png",
                stem=f"{number}",
                n_bytes=100,
                modified=1,
                composited=False,
                indexed=False,
                brightest=None,
                digest=None,
                metadata=None,
                offset=offset,
                height=1,
                width=len(image.pixels),
                transparent=image.alphas is not None and bool((image.alphas == 0).any()),
                translucent=image.alphas is not None and is_partial(image.alphas),
            )
        )
        offset += len(image.pixels)
    return found


def write(
    store: Store,
    pictures: Sequence[Picture],
    *,
    partition_id: str = "000000",
    planned: int | None = None,
    band: int = 10**9,
    failures: Sequence[Failure] = (),
) -> Partition:
    """Append pictures in bands of `band` pixels, as ingestion does."""
    total = sum(len(image.pixels) for image in pictures)
    with store.writing_partition(partition_id, total if planned is None else planned) as writer:
        for image in pictures:
            for start in range(0, len(image.pixels), band):
                place = slice(start, start + band)
                alphas = None if image.alphas is None else image.alphas[place]
                some = alphas is not None and bool((alphas < 255).any())
                writer.append(image.pixels[place], alphas if some else None)
        writer.describe(counted(pictures), records(pictures), list(failures))
    return store.partition(partition_id)


def whole_images(partition: Partition) -> Iterator[tuple[ImageRecord, Pixels, Alphas | None]]:
    """Each image's record, pixels and alphas, put together from the pieces that are read."""
    for image, read in partition.read_images():
        pieces = list(read)
        pixels = np.concatenate([piece for piece, _ in pieces])
        alphas = [piece for _, piece in pieces if piece is not None]
        assert len(alphas) in (0, len(pieces))
        yield image, pixels, np.concatenate(alphas) if alphas else None


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


def new_store(folder: Path, n_partitions: int = 1) -> Store:
    return Store.create(folder / "new.zarr", planned(n_partitions), DECODE)


def planned(n_partitions: int, generation: int = 1) -> PlanRecord:
    """A plan, as far as the store knows plans."""
    names = [f"{number:06d}" for number in range(n_partitions)]
    return PlanRecord(
        inputs=("/images",),
        partitions=dict.fromkeys(names, ()),
        failures=(),
        skipped={},
        generation=generation,
        settled=0,
        first_free=n_partitions,
        partition_pixels=1 << 24,
    )


def total(counts: ColorHistogram, generation: int = 1) -> TotalRecord:
    """Return the totals that a store keeps beside its colours, as far as it looks at them."""
    return TotalRecord(
        images=1,
        pixels=counts.pixels,
        n_bytes=100,
        transparent=0,
        translucent=0,
        dim=0,
        failed=0,
        generation=generation,
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(tmp_path)


@pytest.fixture
def chunks_of_10(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zarr_groups, "CHUNK_PIXELS", 10)


def root_of(store: Store) -> Path:
    """The folder of a store that is none of objects."""
    assert isinstance(store.path, Path)
    return store.path


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def chunk_files(store: Store, array: str) -> list[Path]:
    return sorted(path for path in (root_of(store) / array / "c").rglob("*") if path.is_file())


# -- partitions -------------------------------------------------------------------------------


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
def test_the_room_of_images_that_failed_is_cut_off(store: Store, planned: int, kind: str) -> None:
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
    assert len(partition.counts) == 0
    assert store.committed_partitions == ["000000"]


@pytest.mark.parametrize("kind", KINDS)
def test_counts_of_a_partition_come_back(store: Store, kind: str) -> None:
    image = picture(50, seed=0, kind=kind)
    expected = counted([image])
    assert expected.is_opaque == (kind in ("opaque", "transparent"))
    found = write(store, [image]).counts
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


def test_what_a_killed_writer_left_is_no_partition(store: Store) -> None:
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


def test_what_is_planned_is_listed_whether_it_is_there_or_not(tmp_path: Path) -> None:
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


@pytest.mark.usefixtures("chunks_of_10")
@pytest.mark.parametrize("array", ["pixels", "alphas", "codes", "weights"])
def test_a_flipped_bit_in_a_chunk_is_detected(store: Store, array: str) -> None:
    partition = write(store, [picture(25, seed=0, kind="both")])
    damaged = chunk_files(store, f"partitions/000000/{array}")[-1]
    content = damaged.read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 0x10
        damaged.write_bytes(flipped)
        with pytest.raises(StoreError, match="damaged"):
            _ = partition.counts if array in ("codes", "weights") else list(whole_images(partition))
    damaged.write_bytes(content)
    assert len(list(whole_images(partition))) == 1


@pytest.mark.usefixtures("chunks_of_10")
def test_a_truncated_chunk_is_detected(store: Store) -> None:
    partition = write(store, [picture(25, seed=0)])
    damaged = chunk_files(store, "partitions/000000/pixels")[1]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(StoreError, match="damaged"):
        list(whole_images(partition))


@pytest.mark.usefixtures("chunks_of_10")
def test_a_missing_chunk_is_not_read_as_black(store: Store) -> None:
    image = picture(25, seed=0)
    partition = write(store, [image])
    chunk_files(store, "partitions/000000/pixels")[1].unlink()
    with pytest.raises(StoreError, match="1 of its chunks are missing"):
        list(whole_images(partition))


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
    assert not opened.is_weighed


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
    counts = store.partition("000000").counts
    store.write_colors(counts, total(counts))
    store.require_whole()
    Store.open(store.path).require_whole()


def test_a_plan_of_a_new_generation_is_to_be_added_up_again(store: Store) -> None:
    write(store, [picture(3, seed=0)])
    counts = store.partition("000000").counts
    store.write_colors(counts, total(counts))
    store.write_plan(planned(1, generation=2))
    for opened in (store, Store.open(store.path)):
        assert not opened.is_counted
        with pytest.raises(StoreError, match="not added up"):
            opened.require_whole()


def test_what_is_not_planned_any_more_goes_with_its_indices(with_indices: Store) -> None:
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


def test_the_total_comes_back_whole_and_in_parts(store: Store) -> None:
    counts = count_colors(picture(500, seed=0).pixels)
    expected = total(counts)
    store.write_colors(counts, expected)
    assert store.is_counted
    assert store.n_colors == len(counts)
    assert store.total == expected
    for start, stop in ((0, None), (0, 7), (3, 11), (len(counts) - 1, len(counts))):
        found = store.read_colors(start, stop)
        np.testing.assert_array_equal(found.codes, counts.codes[start:stop])
        np.testing.assert_array_equal(found.weights, counts.weights[start:stop])


def test_the_total_of_nothing_comes_back(store: Store) -> None:
    store.write_colors(NOTHING, total(NOTHING))
    assert store.n_colors == 0
    assert store.read_colors().pixels == 0


WEIGHED = np.array([2**62, 1, 7, 0, 2**40], np.int64)


def test_what_colors_weigh_comes_back_whole_and_in_parts(store: Store) -> None:
    store.write_weighed(WEIGHED)
    assert store.is_weighed
    assert Store.open(store.path).is_weighed
    for start, stop in ((0, None), (0, 2), (1, 4), (4, 5)):
        found = store.read_weighed(start, stop)
        np.testing.assert_array_equal(found, WEIGHED[start:stop])
        assert found.dtype == np.int64


def test_what_colors_weigh_is_written_over(store: Store) -> None:
    store.write_weighed(WEIGHED)
    store.write_weighed(WEIGHED[1:3])
    np.testing.assert_array_equal(store.read_weighed(), WEIGHED[1:3])
    assert listed(root_of(store)) == [*OF_A_NEW_STORE, "weighed", "zarr.json"]


def test_what_the_colors_of_nothing_weigh_comes_back(store: Store) -> None:
    store.write_weighed(WEIGHED[:0])
    assert store.is_weighed
    assert store.read_weighed().tolist() == []


def test_a_flipped_bit_in_what_colors_weigh_is_detected(store: Store) -> None:
    store.write_weighed(WEIGHED)
    (damaged,) = chunk_files(store, "weighed/weights")
    flip_a_bit(damaged)
    with pytest.raises(StoreError, match="damaged"):
        store.read_weighed()


# -- palettes ---------------------------------------------------------------------------------


def palette(k: int, **fields: Any) -> StoredPalette:
    """A clear entry, and k colours of some alphas; weights of both."""
    rng = np.random.default_rng(k)
    centroids = rng.random((k, 3)) * 255
    colors = np.column_stack([centroids.round(), rng.integers(1, 256, k)])
    entries = np.concatenate([np.zeros((1, 4)), colors]).astype(np.uint8)
    fitted = FitRecord(
        settings=FitSettings(),
        distinct_colors=k,
        iterations=2,
        converged=True,
        inertia=0.1,
        squared_error="1" * 30,
        history=(3.5, 0.1),
        generation=1,
    )
    fitted = replace(fitted, **fields)
    return StoredPalette(centroids, entries, rng.integers(1, 2**40, k + 1), fitted)


def assert_same(found: StoredPalette, expected: StoredPalette) -> None:
    assert found.centroids.tobytes() == expected.centroids.tobytes()
    np.testing.assert_array_equal(found.entries, expected.entries)
    assert found.entries.dtype == np.uint8
    np.testing.assert_array_equal(found.weights, expected.weights)
    assert replace(found.fitted, number=0) == expected.fitted


@pytest.mark.parametrize("array", ["centroids", "entries", "weights"])
def test_a_flipped_bit_in_a_palette_is_detected(store: Store, array: str) -> None:
    store.write_palette("a", palette(5))
    (damaged,) = chunk_files(store, f"palettes/a/{array}")
    flip_a_bit(damaged)
    with pytest.raises(StoreError, match="damaged"):
        store.read_palette("a")


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


# -- indices ----------------------------------------------------------------------------------

Indices = NDArray[np.unsignedinteger[Any]]
IDS = ["000000", "000001", "000002"]


def some_indices(n: int, seed: int, dtype: type[np.unsignedinteger[Any]] = np.uint8) -> Indices:
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(dtype).max, n, endpoint=True).astype(dtype)


def write_indices(
    store: Store, name: str, partition_id: str, indices: Indices, band: int = 10**9
) -> None:
    with store.writing_indices(name, partition_id, len(indices), indices.dtype) as append:
        for start in range(0, len(indices), band):
            append(indices[start : start + band])


def assert_indices(store: Store, name: str, expected: Sequence[Indices]) -> None:
    found = store.indices(name)
    for array, indices in zip(found, expected, strict=True):
        assert array.dtype == indices.dtype
        np.testing.assert_array_equal(np.asarray(array[:]), indices)


@pytest.fixture
def with_partitions(tmp_path: Path) -> Store:
    """Three partitions, of 25, 10 and no pixels; a palette "a"."""
    store = new_store(tmp_path, n_partitions=3)
    for partition_id, sizes in zip(IDS, ((25,), (7, 3), ()), strict=True):
        write(store, [picture(n, seed=n) for n in sizes], partition_id=partition_id)
    store.write_palette("a", palette(4))
    return store


@pytest.fixture
def with_indices(with_partitions: Store) -> Store:
    """The same, and its indices, of which the seed is a partition's number of pixels."""
    with_partitions.start_indices("a")
    for partition_id, n in zip(IDS, (25, 10, 0), strict=True):
        write_indices(with_partitions, "a", partition_id, some_indices(n, seed=n))
    return with_partitions


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
def test_what_was_appended_may_be_changed_afterwards(store: Store) -> None:
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


def test_indices_that_were_never_written_are_missed_with_the_command_for_them(
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


@pytest.mark.usefixtures("chunks_of_10")
def test_a_missing_chunk_of_indices_is_not_read_as_zeros(with_indices: Store) -> None:
    chunk_files(with_indices, f"indices/a/{IDS[0]}/indices")[1].unlink()
    with pytest.raises(StoreError, match="damaged"):
        with_indices.indices("a")


@pytest.mark.usefixtures("chunks_of_10")
def test_a_flipped_bit_in_indices_is_detected(with_indices: Store) -> None:
    array = with_indices.indices("a")[0]
    flip_a_bit(chunk_files(with_indices, f"indices/a/{IDS[0]}/indices")[1])
    with pytest.raises(ValueError, match="checksum"):
        _ = array[:]


# -- damage -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """All that a store may hold, in as few bytes as possible; what tests change they mend."""
    store = new_store(tmp_path_factory.mktemp("tiny"), n_partitions=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zarr_groups, "CHUNK_PIXELS", 10)
        write(store, [picture(11, seed=1)], partition_id=IDS[0])
        write(store, [picture(3, seed=2, kind="both")], partition_id=IDS[1])
        counts = store.partition(IDS[0]).counts
        store.write_colors(counts, total(counts))
        store.write_weighed(WEIGHED)
        store.write_palette("a", palette(2))
        store.start_indices("a")
        for partition_id, n in zip(IDS, (11, 3), strict=False):
            write_indices(store, "a", partition_id, some_indices(n, seed=n))
        assert damages_of(root_of(store)) == []
        yield store


def damages_of(path: Path) -> list[str]:
    """What is found to be damaged when everything is read."""
    try:
        store = Store.open(path)
    except StoreError as error:
        return [str(error)]
    return [*damaged_metadata(path), *(place for place in places(store) if damage_of(path, place))]


def parse_location(store: Store, file: Path) -> str | None:
    """The smallest place that a file is in; None of what is of the whole store."""
    inside = [place for place in places(store) if store.path / place in file.parents]
    return max(inside, key=len, default=None)


def files_of(store: Store) -> list[Path]:
    return sorted(path for path in root_of(store).rglob("*") if path.is_file())


def test_any_byte_of_any_file_that_changes_is_noticed(tiny: Store) -> None:
    unnoticed = []
    for file in files_of(tiny):
        content, place = file.read_bytes(), parse_location(tiny, file)
        for position in range(len(content)):
            flipped = bytearray(content)
            flipped[position] ^= 1 << position % 8
            file.write_bytes(flipped)
            if not (damage_of(tiny.path, place) if place else damaged_metadata(tiny.path)):
                unnoticed.append((file.relative_to(root_of(tiny)), position))
        file.write_bytes(content)
    assert not unnoticed
    assert damages_of(root_of(tiny)) == []


@pytest.mark.parametrize("damage", ["deleted", "cut", "emptied", "longer"])
def test_any_file_that_is_gone_or_of_another_length_is_noticed(damage: str, tiny: Store) -> None:
    for file in files_of(tiny):
        content = file.read_bytes()
        file.unlink()
        if damage != "deleted":
            file.write_bytes({"cut": content[:-1], "emptied": b"", "longer": content * 2}[damage])
        assert damages_of(root_of(tiny)), file
        file.write_bytes(content)
    assert damages_of(root_of(tiny)) == []


def read_all(store: Store) -> None:
    """What jobs read of a store."""
    opened = Store.open(store.path)
    for partition_id in opened.partition_ids:
        partition = opened.partition(partition_id)
        list(whole_images(partition))
        _ = partition.counts
    opened.read_colors()
    opened.read_weighed()
    opened.read_palette("a")
    for array in opened.indices("a"):
        _ = array[:]


def test_no_damage_changes_what_is_read(tiny: Store) -> None:
    """Each file with one bit flipped, or gone: an error, or nothing that was needed."""
    spared = set()
    for file in files_of(tiny):
        content = file.read_bytes()
        for place in (None, 0, len(content) // 3, len(content) // 2, len(content) - 1):
            file.unlink()
            if place is not None:
                flipped = bytearray(content)
                flipped[place] ^= 4
                file.write_bytes(flipped)
            try:
                read_all(tiny)
            except (StoreError, ValueError):  # of an array of indices, Zarr's own
                pass
            else:
                spared.add(str(file.relative_to(root_of(tiny))))
            file.write_bytes(content)
    names = [path.relative_to(root_of(tiny)) for path in files_of(tiny)]
    copies = {str(name) for name in names if "copies" in name.parts}
    of_folder = {"indices/a/zarr.json", "indices/a/seal.json"}
    assert spared - copies <= {*PLANS, *of_folder, "copies/zarr.json"}


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


def test_a_group_that_is_damaged_is_named(tiny: Store) -> None:
    file = tiny.path / "partitions" / IDS[0] / "pixels" / "zarr.json"
    content = file.read_bytes()
    for damaged, says in (
        (b"{}", "pixels/zarr.json is not as it was written"),
        (None, "it has lost"),
    ):
        file.unlink()
        if damaged:
            file.write_bytes(damaged)
        with pytest.raises(StoreError, match=f"{IDS[0]} is damaged: .*{says}"):
            tiny.partition(IDS[0])
        file.write_bytes(content)
