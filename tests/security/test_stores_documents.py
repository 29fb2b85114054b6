"""Stores whose documents were made to harm: seals, plans, checkpoints and metadata.

Each is one line of an error, and nothing outside changes.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

import kmeans_dask.store.store
from kmeans_dask.errors import StoreError
from kmeans_dask.files.atomic_files import remove
from kmeans_dask.job.fit_result import plain_settings
from kmeans_dask.settings import FitSettings
from kmeans_dask.store import Store
from kmeans_dask.store.store import PLANS
from tests.command import run_here as run
from tests.documents import read_sealed, write_sealed
from tests.security.conftest import (
    IN_PROCESS,
    PARTITION,
    do_everything,
    edit,
    edit_image,
    edit_plan,
    encode,
    reseal,
)


def write_sealed_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


# -- seals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000, b"[]", b"null", b"{}", b"1" * 5000, b"\xff", b'{"a": 1}',
        b'{"zarr.json": null}', b'{"zarr.json": ["0"]}', b'{"zarr.json": "0"}',
        b'{"../../precious/pixels/mine.txt": "0"}', b'{"/dev/zero": "0"}',
        b'{"zarr.json\\u0000": 1}',
        b'{"\\ud800/zarr.json": "0"}', b'{"../zarr.json": "0"}', b'{"..": "0"}', b'{"": "0"}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("folder", ["", PARTITION, "colors", "palettes/k4"])
def test_a_seal_that_is_none_or_leads_elsewhere_is_one_line(
    folder: str, content: bytes, crafted: Path
) -> None:
    write_sealed_bytes(crafted / folder / "seal.json", content)
    said = run("encode", crafted, crafted.parent / "out", *IN_PROCESS, code=None).stderr
    assert said.count("\n") == 1
    assert "is damaged" in said
    assert "a defect" not in said


def test_a_seal_is_looked_at_before_what_it_seals(crafted: Path) -> None:
    """Without one, what follows is not even parsed."""
    edit_plan(crafted, lambda plan: plan["partitions"]["000000"][0].__setitem__(2, "z"))
    document = crafted / PARTITION / "zarr.json"
    document.write_bytes(document.read_bytes().replace(b'"stem": "a"', b'"stem": "z"'))
    assert "zarr.json is not as it was written" in encode(crafted, code=2)
    reseal(crafted / PARTITION)
    run("encode", crafted, crafted.parent / "out", *IN_PROCESS, "--always")
    assert (crafted.parent / "out" / "z.png").exists()


# -- the plan ---------------------------------------------------------------------------------


NEEDING_PLANS = ("info", "encode", "ingest", "repair")
SOURCE = ["/in/a.png", "a.png", "a", 100, 1, 480, 14, None]
PARTITIONS: list[Any] = [
    None, 5, "000000", [], ["000000"], {"../../precious": []}, {"../../precious/000000": []},
    {"/tmp": []}, {"": []}, {".": []}, {"x": []}, {"-00001": []}, {"00000\u0661": []},
    {"9" * 5000: []}, {"000000/../../../precious": []}, {"000000\0": []}, {"000000": None},
    {"000000": 5}, {"000000": {}}, {"000000": ["abcdefg"]}, {"000000": [[]]},
    {"000000": [[*SOURCE, 1]]}, {"000000": [SOURCE[:3]]}, {},
    *({"000000": [[*SOURCE[:i], wrong, *SOURCE[i + 1 :]]]}
      for i in range(8) for wrong in (True, [1], 1.5, -1, 10**30, "\ud800", "../../x", "a\0b")),
]  # fmt: skip
VALUES: list[Any] = [
    None, True, "x", [], [5], {"a": 1}, -1, 10**400, 1.5, [{"path": 1, "reason": 2}],
    [{"path": "a"}], [{"path": "a", "reason": "b", "c": 1}], ["\ud800"], ["a\0b"],
]  # fmt: skip
NAMES = ("generation", "settled", "skipped", "inputs", "failures", "attrs")
FIELDS = [
    *({"partitions": value} for value in PARTITIONS),
    *({name: value} for name in NAMES for value in VALUES),
]


@pytest.mark.parametrize("fields", FIELDS, ids=lambda fields: str(fields)[:60])
def test_a_hostile_plan_is_one_line_and_harms_nothing(
    fields: dict[str, Any], crafted: Path
) -> None:
    edit_plan(crafted, lambda plan: plan.update(fields))
    do_everything(crafted, *NEEDING_PLANS)


@pytest.mark.parametrize("name", ["../../precious", "../../precious/000000", "/tmp", "."])
def test_a_partition_of_a_name_that_leads_out_is_read_written_and_removed_nowhere(
    name: str, crafted: Path
) -> None:
    edit_plan(crafted, lambda plan: plan["partitions"].update({name: []}))
    do_everything(crafted)


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"a":' * 500 + b"1" + b"}" * 500, b"[]", b"1" * 5000, b"\xff", b""],
)
def test_a_plan_that_is_no_document_is_one_line(content: bytes, crafted: Path) -> None:
    for name in PLANS:
        write_sealed_bytes(crafted / name, content)
    do_everything(crafted)


def test_a_plan_beyond_the_limit_is_not_read(crafted: Path) -> None:
    for name in PLANS:
        os.truncate(crafted / name, 1 << 40)
    assert "its plan is lost" in encode(crafted, code=2)


@pytest.mark.parametrize(
    "decode", [None, [], {}, {"flat": False}, {"max_pixels": "9", "flat": 0, "keep_metadata": 1}]
)
def test_a_store_that_does_not_say_how_it_was_read_is_one_line(decode: Any, crafted: Path) -> None:
    edit(crafted, lambda root: root["attributes"].update(decode=decode))
    done = run("ingest", crafted.parent / "in", crafted, *IN_PROCESS, code=2)
    assert "is damaged" in done.stderr
    assert "decode" in done.stderr or "does not say its" in done.stderr
    do_everything(crafted)


# -- what a fit has left ----------------------------------------------------------------------


RUN = "2 0"  # the first k-means run of a fit of 3 colours, one of them clear
FIT = {"centroids": [[1, 2, 3, 4]] * 2, "weights": [1, 1], "inertia": 1.0, "history": [1.0],
       "n_iter": 1, "converged": True}  # fmt: skip
BEGUN = {"run": RUN, "history": [1.0], "centroids": FIT["centroids"]}
WRONG: list[Any] = [
    None, "x", 5, -1, [], {}, ["x"], [[1]], [-1, -1], [[1, 2], [3]], [["x"] * 4] * 2,
    [[1e999] * 4] * 2, [[10**400] * 4] * 2, [[1e200] * 4] * 2, [[1] * 4] * 9,
]  # fmt: skip
RUNS: list[Any] = [
    *(None, 5, [], "x", {RUN: 5}, {RUN: {}}, {"run": RUN}, {"run": 5}),
    *({RUN: FIT | {name: value}} for name in FIT for value in WRONG),
    *(BEGUN | {name: value} for name in ("history", "centroids") for value in WRONG),
]


@pytest.mark.parametrize("value", [None, [], 5, {}, {"done": 1}, {"begun": []}, {"identity": 1}])
def test_a_hostile_checkpoint_is_as_good_as_none(value: Any, crafted: Path) -> None:
    write_sealed(Store.open(crafted).fit_file("k3"), value)
    run("fit", crafted, "-k", "3", "--resume", *IN_PROCESS)


@pytest.mark.parametrize("runs", RUNS, ids=lambda runs: str(runs)[:60])
@pytest.mark.parametrize("kind", ["done", "begun"])
def test_runs_of_a_hostile_checkpoint_are_refused_in_one_line_or_ignored(
    kind: str, runs: Any, crafted: Path
) -> None:
    store = Store.open(crafted)
    identity = {
        "settings": plain_settings(FitSettings(3)),
        "generation": store.total.generation,
    }
    value = {"identity": identity, "done": {}, "begun": {}, kind: runs}
    write_sealed(store.fit_file("k3"), value)
    done = run("fit", crafted, "-k", "3", "--resume", *IN_PROCESS, code=None)
    assert done.stderr.count("\n") <= 1
    assert "a defect" not in done.stderr


@pytest.mark.parametrize(
    "change",
    [
        {"centroids": [[65026.0, 2, 3, 4]] * 2}, {"centroids": [[-65026.0, 2, 3, 4]] * 2},
        {"centroids": [[1, 2, 3]] * 2}, {"centroids": [[1, 2, 3, 4]] * 3, "weights": [1] * 3},
        {"centroids": [], "weights": []}, {"weights": [1]}, {"history": [-1.0]}, {"inertia": -1.0},
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["done", "begun"])
def test_impossible_runs_of_a_checkpoint_are_ignored(
    kind: str, change: dict[str, Any], crafted: Path
) -> None:
    """Check that a fit with impossible runs begins anew, and comes to the same palette."""
    store = Store.open(crafted)
    fit(store, "--resume")
    expected = store.read_palette("k3").entries.tolist()
    remove(crafted / "palettes" / "k3")
    identity = {
        "settings": plain_settings(FitSettings(3)),
        "generation": store.total.generation,
    }
    runs = {RUN: FIT | change} if kind == "done" else {**BEGUN, **change}
    for name in ("weights", "inertia") if kind == "begun" else ():
        runs.pop(name, None)
    kept = {"identity": identity, "done": {}, "begun": None, kind: runs}
    write_sealed(store.fit_file("k3"), kept)
    fit(store, "--resume")
    assert store.read_palette("k3").entries.tolist() == expected


def fit(store: Store, *words: str) -> None:
    run("fit", str(store.path), "-k", "3", *words, *IN_PROCESS)


# -- documents --------------------------------------------------------------------------------


@pytest.mark.parametrize("document", ["", PARTITION, "colors", "palettes/k4", "colors/codes"])
@pytest.mark.parametrize(
    "content", [b"[" * 100_000 + b"]" * 100_000, b"{}", b"", b"null", b'{"a": ' * 5000, b"\xff"]
)
def test_documents_that_are_none_are_one_line(content: bytes, document: str, crafted: Path) -> None:
    (crafted / document / "zarr.json").write_bytes(content)
    reseal(crafted / document)
    done = run("encode", crafted, crafted.parent / "out", *IN_PROCESS, code=None)
    assert done.returncode in (2, 3)
    assert done.stderr.count("\n") == 1
    assert "a defect" not in done.stderr


@pytest.mark.parametrize("document", ["", PARTITION, "palettes/k4"])
def test_a_document_beyond_the_limit_is_not_parsed(document: str, crafted: Path) -> None:
    os.truncate(crafted / document / "zarr.json", 1 << 40)
    said = encode(crafted, code=2)
    assert "zarr.json has more than" in said


@pytest.mark.parametrize(
    "fields",
    [
        {"offset": 10**12}, {"offset": -1}, {"height": 10**12}, {"width": "7"}, {"height": 2.5},
        {"offset": None}, {"height": None}, {"kept_as": None}, {"stem": None}, {"width": True},
        {"path": 5}, {"path": "a\0b"}, {"kept_as": ["a"]}, {"stem": "\ud800"}, {"n_bytes": -1},
        {"n_bytes": "many"}, {"n_bytes": 1 << 63}, {"transparent": "no"}, {"metadata": [1]},
        {"metadata": {"exif": "?", "density": 1, "text": 2}}, {"composited": 1},
    ],
)  # fmt: skip
def test_an_image_that_is_not_there_is_neither_waited_for_nor_made_up(
    fields: dict[str, Any], crafted: Path
) -> None:
    edit_image(crafted, **fields)
    said = encode(crafted, "--resume", code=None)
    assert "damaged" in said
    assert not list((crafted.parent / "out").rglob("a.png"))


@pytest.mark.parametrize("name", ["partitions", "inputs", "failures", "skipped", "generation"])
def test_a_missing_field_of_a_plan_is_named(name: str, crafted: Path) -> None:
    for plan in PLANS:
        said = read_sealed(crafted / plan)
        del said[name]
        write_sealed(crafted / plan, said)
    done = run("encode", crafted, crafted.parent / "out", *IN_PROCESS, code=None)
    assert done.returncode in (2, 3)
    assert f"does not say its {name}" in done.stderr


@pytest.mark.parametrize("name", ["settings", "history", "squared_error", "number"])
@pytest.mark.parametrize("value", [None, {"a": 1}, [[]], "many"])
def test_a_palette_that_was_never_fitted_is_refused(name: str, value: Any, crafted: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["attributes"] |= {name: value}

    edit(crafted / "palettes" / "k4", change)
    said = run("info", crafted, code=2).stderr
    assert said.count("\n") == 1
    assert "damaged" in said


def test_more_colours_than_settings_allow_are_no_palette(crafted: Path) -> None:
    edit(
        crafted / "palettes" / "k4",
        lambda content: content["attributes"]["settings"].update(colors=10**9),
    )
    assert "--colors is 1000000000" in run("info", crafted, code=2).stderr


# -- arrays -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"offset": 1}, {"width": 1}, {"height": 1}, {"height": 0}, {"width": 1 << 61},
        {"height": 48, "width": 48}, {"n_bytes": 1 << 62}, {"transparent": None}, {"modified": "x"},
        {"metadata": {"exif": "", "density": [1 << 40, 1], "text": []}},
        {"metadata": {"exif": "a" * 100_000, "density": None, "text": []}},
    ],
)  # fmt: skip
def test_images_fill_their_partition_and_no_more(change: dict[str, Any], crafted: Path) -> None:
    edit_image(crafted, **change)
    assert "damaged" in encode(crafted, code=2)


def test_a_partition_is_of_the_images_that_were_planned(crafted: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["attributes"]["images"][0]["stem"] = "other"

    edit(crafted / PARTITION, change)
    assert "was never planned so" in encode(crafted, code=3)
    assert not list((crafted.parent / "out").rglob("*.png"))


# -- names of what is kept --------------------------------------------------------------------


def test_a_palette_of_more_entries_than_there_may_be_is_refused(
    crafted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(Store.open(crafted).read_palette("k4").entries) == 4
    monkeypatch.setattr(kmeans_dask.store.store, "_MAX_ENTRIES", 3)
    with pytest.raises(StoreError, match="palette k4 is too large"):
        Store.open(crafted).read_palette("k4")
