"""What a job leaves on disk: no pickle anywhere, nor anything that would be unpickled."""

from __future__ import annotations

import json
import pickle
import pickletools
from pathlib import Path

import pytest

from kmeans_dask.engine import connect
from tests.command import run

_CODECS = {"bytes", "blosc", "crc32c"}
_TYPES = {"uint8", "uint16", "uint32", "int64", "float64"}


def is_pickle(data: bytes) -> bool:
    """Whether all of it parses as one pickle, of any protocol."""
    try:
        operations = list(pickletools.genops(data))
    except Exception:
        return False
    return bool(operations)


def has_pickle(data: bytes) -> bool:
    """Whether a pickle of protocol 2 or newer that names a class or function begins anywhere."""
    start = data.find(b"\x80")
    while start >= 0:
        if 2 <= data[start + 1 : start + 2].ljust(1, b"\0")[0] <= pickle.HIGHEST_PROTOCOL:
            try:
                names = {each[0].name for each in pickletools.genops(data[start:])}
            except Exception:
                names = set()
            if names & {"GLOBAL", "STACK_GLOBAL", "REDUCE"}:
                return True
        start = data.find(b"\x80", start + 1)
    return False


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_search_for_pickles_finds_one(protocol: int) -> None:
    data = pickle.dumps({"a": Path("x")}, protocol)
    assert is_pickle(data)
    assert has_pickle(b"before" + data) is (protocol >= 2)
    assert not is_pickle(json.dumps({"a": [1]}).encode())


def test_nothing_that_a_job_leaves_is_or_holds_a_pickle(photos: Path, tmp_path: Path) -> None:
    store, out = tmp_path / "s.zarr", tmp_path / "out"
    words = ("-k", "4", "--workers", "1")
    run("compress", photos, out, "--store", store, "--keep-metadata", *words)
    run("fit", store, "-k", "8", "--weight", "images", "--chunk-colors", "5000", "--workers", "1")
    run("tokenize", store, "--workers", "1")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".json", ".png", ".html"}
    assert len(files) > 30
    for path in files:
        data = path.read_bytes()
        assert not is_pickle(data), path
        assert not has_pickle(data), path


def test_arrays_of_a_store_are_numbers_under_codecs_that_run_nothing(
    photos: Path, tmp_path: Path
) -> None:
    store = tmp_path / "s.zarr"
    run("compress", photos, tmp_path / "out", "--store", store, "-k", "4", "--workers", "0")
    run("tokenize", store, "--workers", "0")
    documents = [json.loads(path.read_text()) for path in store.rglob("zarr.json")]
    arrays = [each for each in documents if each["node_type"] == "array"]
    assert len(arrays) >= 8
    assert {each["data_type"] for each in arrays} <= _TYPES
    assert {codec["name"] for each in arrays for codec in each["codecs"]} == _CODECS
    assert not any(each.get("storage_transformers") for each in arrays)


@pytest.mark.parametrize("memory", [None, 1 << 30])
def test_workers_of_this_machine_never_write_what_they_hold_to_disk(memory: int | None) -> None:
    """Dask would, pickled, where memory is short."""
    with connect(workers=1, memory=memory) as engine:
        assert engine.result(engine.submit("look", spilling)) == (False, False, True)


def spilling() -> tuple[object, object, bool]:
    from distributed import get_worker

    memory = get_worker().memory_manager
    held = get_worker().data
    return memory.memory_target_fraction, memory.memory_spill_fraction, isinstance(held, dict)
