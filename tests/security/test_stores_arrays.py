"""Stores whose arrays were made to harm: types, shapes, chunks and values.

Each is one line of an error, takes little memory, and nothing outside changes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr
from zarr.codecs import ZstdCodec

from kmeans_dask.errors import StoreError
from kmeans_dask.store import Store
from kmeans_dask.store.dask_arrays import open_indices
from kmeans_dask.store.repair import damage_of, places
from tests.command import run_here as run
from tests.security.conftest import IN_PROCESS, PARTITION, do_everything, edit, encode, reseal
from tests.security.memory import peak_of


def array_of(store: Path, name: str, **change: Any) -> None:
    """Put an array of other types, codecs or shapes in place of one of the store."""
    group, _, array = name.rpartition("/")
    shutil.rmtree(store / name)
    options: dict[str, Any] = {"shape": (4,), "chunks": (4,), "dtype": "uint8"} | change
    made = zarr.open_group(store / group, mode="r+").create_array(array, **options)
    if made.nchunks < 100:
        made[...] = np.ones(made.shape, made.dtype)
    reseal(store / name)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("pixels", {"shape": (960, 3), "chunks": (960, 3), "dtype": "int64"}),
        ("pixels", {"shape": (960,), "chunks": (960,)}),
        ("pixels", {"shape": (960, 4), "chunks": (960, 4)}),
        ("pixels", {"shape": (960, 3), "chunks": (960, 3), "compressors": [ZstdCodec()]}),
        ("pixels", {"shape": (960, 3), "chunks": (10, 3), "shards": (960, 3)}),
        ("pixels", {"shape": (10**15, 3), "chunks": (1, 3)}),
        ("codes", {"dtype": "float64"}),
        ("codes", {"dtype": "uint32"}),
        ("weights", {"dtype": "int64"}),
    ],
)
def test_an_array_that_we_never_write_is_never_read(
    name: str, change: dict[str, Any], crafted: Path
) -> None:
    array_of(crafted, f"{PARTITION}/{name}", **change)
    assert "damaged" in encode(crafted, code=2)


@pytest.mark.parametrize("dtype", ["object", "string", "variable_length_bytes", "python-pickle"])
def test_objects_are_never_read(dtype: str, crafted: Path) -> None:
    edit(crafted / PARTITION / "pixels", lambda content: content.update(data_type=dtype))
    assert "damaged" in encode(crafted, code=2)


@pytest.mark.parametrize("codec", ["pickle", "numcodecs.pickle", "json2", "zstd", "gzip"])
def test_codecs_are_those_that_we_write_with(codec: str, crafted: Path) -> None:
    edit(
        crafted / PARTITION / "pixels",
        lambda content: content["codecs"].insert(1, {"name": codec, "configuration": {}}),
    )
    assert "damaged" in encode(crafted, code=2)


def test_a_chunk_of_a_tebibyte_is_refused_before_it_is_asked_for(crafted: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["shape"] = [1 << 38, 3]
        content["chunk_grid"]["configuration"]["chunk_shape"] = [1 << 38, 3]

    edit(crafted / PARTITION / "pixels", change)
    assert "no store has such an array" in encode(crafted, code=2)


HUGE = [
    {"shape": [10**7], "chunk": 1}, {"shape": [10**13], "chunk": 1}, {"shape": [2**62 - 1]},
    {"shape": [10**13], "chunk": 1 << 20}, {"shape": [10**13], "chunk": 1 << 22},
    {"shape": [-1]}, {"shape": [2**63]}, {"shape": []}, {"shape": [1.5]}, {"shape": [4, 10**9]},
    {"shape": [2] * 40}, {"chunk": 0}, {"chunk": -1}, {"chunk": 10**12},
]  # fmt: skip


@pytest.mark.parametrize("change", HUGE, ids=str)
@pytest.mark.parametrize(
    "name",
    [f"{PARTITION}/pixels", "colors/codes", "palettes/k4/weights", "indices/k4/000000/indices"],
)
def test_what_an_array_only_says_is_never_gone_through(
    name: str, change: dict[str, Any], with_tokens: Path
) -> None:
    """Check that chunks are not listed: a list of the largest array's would never end."""

    def edited(content: dict[str, Any]) -> None:
        tail = content["shape"][1:]
        if "shape" in change:
            content["shape"] = [*change["shape"], *tail]
        if "chunk" in change:
            content["chunk_grid"]["configuration"]["chunk_shape"] = [change["chunk"], *tail]

    edit(with_tokens / name, edited)
    with suppress(StoreError):
        open_indices(with_tokens)
    assert damages(with_tokens) == "damaged"
    if name.startswith(("partitions", "colors")):
        assert "damaged" in encode(with_tokens, code=None)


def damages(store: Path) -> str:
    """Return "damaged" where `verify` finds anything damaged, or "whole"."""
    found = [damage_of(store, place) for place in places(Store.open(store))]
    return "damaged" if any(found) else "whole"


@pytest.fixture
def with_tokens(crafted: Path) -> Path:
    """Return a store to do harm to, which holds indices as well."""
    run("tokenize", crafted, *IN_PROCESS)
    return crafted


def test_a_huge_array_takes_no_memory_in_any_command(crafted: Path) -> None:
    """Check the peak memory: a list of 10^7 chunks, as Zarr makes it, takes 400 MiB."""

    def change(content: dict[str, Any]) -> None:
        content["shape"] = [10**7, 3]
        content["chunk_grid"]["configuration"]["chunk_shape"] = [1, 3]

    edit(crafted / PARTITION / "pixels", change)
    said, peak = peak_of(READ, crafted)
    assert "no store has such an array" in said
    assert peak < peak_of("import kmeans_dask.store, zarr")[1] + 50
    do_everything(crafted)


READ = """
import sys
from pathlib import Path
from kmeans_dask.store.dask_arrays import open_indices
from kmeans_dask.errors import StoreError
from kmeans_dask.store import Store
try:
    for _, pieces in Store.open(Path(sys.argv[1])).partition("000000").read_images():
        list(pieces)
except StoreError as error:
    print(error)
"""


def repack(chunk: Path, change: Callable[[bytearray], object]) -> None:
    """Change the content of a chunk file, and make its CRC32C checksum fit."""
    content = bytearray(chunk.read_bytes()[:-4])
    change(content)
    chunk.write_bytes(bytes(content) + google_crc32c.value(bytes(content)).to_bytes(4, "little"))


def test_a_chunk_unpacks_to_no_more_than_it_should(crafted: Path) -> None:
    """Check that Blosc is not given as much memory as the chunk says, here nearly 2 GiB."""

    def change(content: bytearray) -> None:
        content[4:8] = (2**31 - 17).to_bytes(4, "little")

    repack(crafted / PARTITION / "pixels" / "c" / "0" / "0", change)
    said, peak = peak_of(READ, crafted)
    assert "does not unpack to 2,880 bytes" in said
    assert peak < peak_of("import kmeans_dask.store, zarr")[1] + 100
    assert "damaged" in encode(crafted, code=3)


@pytest.mark.parametrize("kind", ["pipe", "link", "device", "folder", "huge", "nothing", "empty"])
@pytest.mark.parametrize("of", ["chunk", "row"])
def test_a_chunk_that_is_none_is_neither_waited_for_nor_read(
    of: str, kind: str, crafted: Path
) -> None:
    chunk = crafted / PARTITION / "pixels" / "c" / "0" / "0"
    kept = crafted.parent / "kept"
    path = chunk if of == "chunk" else chunk.parent
    path.rename(kept)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind in ("link", "device"):
        path.symlink_to(kept if kind == "link" else "/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind != "nothing":
        path.write_bytes(b"")
        os.truncate(path, (1 << 40) * (kind == "huge"))
    assert "damaged" in encode(crafted, code=3)


@pytest.mark.parametrize(
    "change",
    [
        {"fill_value": 1}, {"fill_value": "NaN"}, {"attributes": {"a": 1}}, {"node_type": "group"},
        {"dimension_names": ["a", "b"]}, {"storage_transformers": [{"name": "x"}]},
        {"zarr_format": 2}, {"consolidated_metadata": {}}, {"more": 1}, {"codecs": []},
        {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}}},
        {"chunk_key_encoding": {"name": "v2", "configuration": {"separator": "/"}}},
        {"chunk_grid": {"name": "rectilinear", "configuration": {"chunk_shape": [960, 3]}}},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [960, 1]}}},
    ],
)  # fmt: skip
def test_an_array_says_nothing_but_what_is_written(change: dict[str, Any], crafted: Path) -> None:
    edit(crafted / PARTITION / "pixels", lambda content: content.update(change))
    assert "damaged" in encode(crafted, code=2)


def values_of(store: Path, name: str, change: Callable[[Any], object]) -> None:
    """Change the values of an array through Zarr, which makes their checksums fit."""
    group, _, array = name.rpartition("/")
    found = zarr.open_group(store / group, mode="r+")[array]
    assert isinstance(found, zarr.Array)
    values = np.asarray(found[...])
    change(values)
    found[...] = values


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e300, 65026.0])
def test_centroids_that_no_colours_have_are_damage(value: float, crafted: Path) -> None:
    values_of(crafted, "palettes/k4/centroids", lambda values: values.__setitem__((0, 1), value))
    for words in (("info", crafted), ("palette", crafted), ("fit", crafted, "-k", "4", "--resume")):
        said = run(*words, code=None).stderr
        assert "palette k4 is none" in said
        assert said.count("\n") == 1


@pytest.mark.parametrize("name", ["colors/weights", f"{PARTITION}/weights", "palettes/k4/weights"])
@pytest.mark.parametrize("value", [-1, 2**62, 2**63 - 1])
def test_weights_whose_sums_would_overflow_are_damage(value: int, name: str, crafted: Path) -> None:
    values_of(crafted, name, lambda values: values.__setitem__(slice(2), value))
    done = run("encode", crafted, crafted.parent / "out", *IN_PROCESS, code=None)
    again = run("fit", crafted, "-k", "3", *IN_PROCESS, code=None)
    assert "damaged" in done.stderr + again.stderr
    assert "a defect" not in done.stderr + again.stderr


def test_what_images_weigh_is_no_more_than_it_can_be(crafted: Path) -> None:
    words = ("fit", crafted, "--weight", "images", *IN_PROCESS)
    run(*words, "-k", "3")
    values_of(crafted, "weighed/weights", lambda values: values.__setitem__(0, 2**60))
    assert "cannot weigh so much" in run(*words, "-k", "5", code=None).stderr
