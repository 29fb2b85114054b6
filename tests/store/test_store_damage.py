"""A damaged store: no read returns anything else than was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmeans_dask.errors import StoreError
from kmeans_dask.store import Store
from kmeans_dask.store.store import PLANS
from tests.store.conftest import (
    IDS,
    WEIGHED,
    chunk_files,
    files_of,
    palette,
    picture,
    root_of,
    whole_images,
    write,
)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


# -- partitions -------------------------------------------------------------------------------


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
            _ = (
                partition.histogram
                if array in ("codes", "weights")
                else list(whole_images(partition))
            )
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


# -- colours ----------------------------------------------------------------------------------


def test_a_flipped_bit_in_weights_of_colors_is_detected(store: Store) -> None:
    store.write_image_weights(WEIGHED)
    (damaged,) = chunk_files(store, "weighed/weights")
    flip_a_bit(damaged)
    with pytest.raises(StoreError, match="damaged"):
        store.read_image_weights()


# -- palettes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("array", ["centroids", "entries", "weights"])
def test_a_flipped_bit_in_a_palette_is_detected(store: Store, array: str) -> None:
    store.write_palette("a", palette(5))
    (damaged,) = chunk_files(store, f"palettes/a/{array}")
    flip_a_bit(damaged)
    with pytest.raises(StoreError, match="damaged"):
        store.read_palette("a")


# -- indices ----------------------------------------------------------------------------------


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


def read_all(store: Store) -> None:
    """What jobs read of a store."""
    opened = Store.open(store.path)
    for partition_id in opened.partition_ids:
        partition = opened.partition(partition_id)
        list(whole_images(partition))
        _ = partition.histogram
    opened.read_colors()
    opened.read_image_weights()
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
