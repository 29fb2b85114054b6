"""Stores that were made by someone else, to harm: each is one line, and nothing outside changes.

Whoever crafts a store can seal it as well: but where the seal itself is looked at, all here are.
"""

from __future__ import annotations

import hashlib
import json
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

import kmeans_dask.store.store
from kmeans_dask.errors import StoreError
from kmeans_dask.files.atomic_files import remove
from kmeans_dask.job.fit_result import plain_settings
from kmeans_dask.settings import FitSettings
from kmeans_dask.store import Store, zarr_groups
from kmeans_dask.store.dask_arrays import open_indices
from kmeans_dask.store.repair import damage_of, damaged_metadata, places
from kmeans_dask.store.store import PLANS
from tests.command import run_here as run
from tests.command import tree
from tests.documents import read_sealed, write_sealed
from tests.security.memory import peak_of
from tests.steps.strategies import noise, save

PARTITION = "partitions/000000"
IN_PROCESS = ("--workers", "0")
PLANNED = ("path", "kept_as", "stem", "n_bytes", "modified")  # fields of an image in a plan


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two images, one of them partly transparent, with a palette."""
    folder = tmp_path_factory.mktemp("whole")
    save(folder / "in" / "a.png", noise(1))
    save(folder / "in" / "b.png", noise(2, alphas="both"))
    run("ingest", folder / "in", folder / "s.zarr", *IN_PROCESS)
    run("fit", folder / "s.zarr", "-k", "4", *IN_PROCESS)
    return folder / "s.zarr"


@pytest.fixture
def crafted(whole: Path, tmp_path: Path) -> Path:
    """A copy to do harm to."""
    return Path(shutil.copytree(whole, tmp_path / "s.zarr"))


def edit(document: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((document / "zarr.json").read_text())
    change(content)
    (document / "zarr.json").write_text(json.dumps(content))
    reseal(document)


def reseal(document: Path) -> None:
    """Seal the group of a document as it is now: who crafts a store can do that as well."""
    parents = (document, *document.parents)
    folder = next(parent for parent in parents if (parent / "seal.json").exists())
    names = {name.rpartition("/")[0] for name in read_sealed(folder / "seal.json")}
    zarr_groups.seal(folder, sorted(names - {""}))


def edit_plan(store: Path, change: Callable[[dict[str, Any]], object]) -> None:
    for name in PLANS:
        plan = read_sealed(store / name)
        change(plan)
        write_sealed(store / name, plan)


def write_sealed_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def edit_image(store: Path, **fields: Any) -> None:
    """Change fields of the first image, in its partition and in the plan.

    A value of None removes the field from the partition, and changes no plan.
    """

    def change(content: dict[str, Any]) -> None:
        image = content["attributes"]["images"][0]
        image |= fields
        for name in [name for name, value in fields.items() if value is None]:
            del image[name]

    def plan(content: dict[str, Any]) -> None:
        source = content["partitions"]["000000"][0]
        for name, value in fields.items():
            if name in PLANNED and value is not None:
                source[PLANNED.index(name)] = value

    edit(store / PARTITION, change)
    edit_plan(store, plan)


def encode(store: Path, *words: str, code: int | None) -> str:
    """Encode to `out` beside it; what is said, in one line, and never that it is our defect."""
    done = run("encode", store, store.parent / "out", *IN_PROCESS, *words, code=code)
    assert done.returncode in (2, 3)
    assert done.stderr.count("\n") == 1
    assert "a defect" not in done.stderr
    return done.stderr


# -- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../x.png", "/tmp/x.png", "a/../../x.png", "../", "a\0b"])
@pytest.mark.parametrize("field", ["kept_as", "stem"])
def test_names_that_lead_out_write_nothing(field: str, name: str, crafted: Path) -> None:
    edit_image(crafted, **{field: name})
    before = tree(crafted)
    said = encode(crafted, "--always", code=2)
    assert ("damaged" if "\0" in name else "outside the output folder") in said
    assert tree(crafted) == before
    found = {path.name for path in crafted.parent.rglob("*.png")}
    assert found <= {"a.png", "b.png"}
    assert not Path("/tmp/x.png").exists()


@pytest.mark.parametrize("n_bytes", [0, 10**9])
def test_no_file_but_an_image_of_that_size_is_copied(n_bytes: int, crafted: Path) -> None:
    secret = crafted.parent / "secret.txt"
    secret.write_text("a secret")
    os.mkfifo(crafted.parent / "pipe")
    for path in (secret, crafted.parent / "pipe", Path("/dev/zero"), crafted.parent):
        edit_image(crafted, path=str(path), n_bytes=n_bytes)
        run("encode", crafted, crafted.parent / "out", *IN_PROCESS, "--overwrite")
        for written in (crafted.parent / "out").rglob("*.png"):
            assert b"a secret" not in written.read_bytes()
            assert written.read_bytes().startswith(b"\x89PNG")


def test_an_image_of_another_size_is_not_copied_in_its_place(crafted: Path) -> None:
    other = save(crafted.parent / "other.png", noise(9, (5, 5)))
    edit_image(crafted, path=str(other), n_bytes=0)
    run("encode", crafted, crafted.parent / "out", *IN_PROCESS)
    assert (crafted.parent / "out" / "a.png").read_bytes() != other.read_bytes()


# -- links ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["partitions", "colors", "palettes", "copies", "indices"])
def test_a_folder_of_a_store_that_is_a_link_is_refused(name: str, crafted: Path) -> None:
    precious = crafted.parent / "precious" / "k4"
    precious.mkdir(parents=True)
    (precious / "mine.txt").write_text("mine")
    shutil.copy(crafted / name / "zarr.json", precious.parent)  # as if it were one of the store's
    shutil.rmtree(crafted / name)
    (crafted / name).symlink_to(precious.parent)
    before = tree(precious.parent)
    for words in (
        ("fit", crafted, "-k", "4", *IN_PROCESS),
        ("tokenize", crafted, *IN_PROCESS),
        ("info", crafted),
    ):
        assert "is a link" in run(*words, code=2).stderr
    assert tree(precious.parent) == before


@pytest.mark.parametrize("folder", ["palettes", "indices"])
def test_what_is_replaced_is_the_link_and_not_what_it_leads_to(folder: str, crafted: Path) -> None:
    precious = crafted.parent / "precious"
    precious.mkdir()
    (precious / "mine.txt").write_text("mine")
    shutil.rmtree(crafted / folder / "k4", ignore_errors=True)
    (crafted / folder / "k4").symlink_to(precious)
    run("fit", crafted, "-k", "4", *IN_PROCESS)
    run("tokenize", crafted, *IN_PROCESS)
    assert tree(precious).keys() == {"mine.txt"}
    assert not (crafted / folder / "k4").is_symlink()


def precious_beside(store: Path) -> Path:
    """A folder that is none of the store's business, with what would be swept in a store."""
    precious = store.parent / "precious"
    for name in ("000000", ".hidden", "pixels"):
        (precious / name).mkdir(parents=True)
        (precious / name / "mine.txt").write_text("mine")
    return precious


EVERYTHING: dict[str, Callable[[Path], tuple[str | Path, ...]]] = {
    "info": lambda store: ("info", store),
    "report": lambda store: ("report", store, store.parent / "s.zarr.html", "--overwrite"),
    "fit": lambda store: ("fit", store, "-k", "4", "--resume", *IN_PROCESS),
    "refit": lambda store: ("fit", store, "-k", "3", *IN_PROCESS),
    "encode": lambda store: ("encode", store, store.parent / "out", *IN_PROCESS),
    "tokens": lambda store: ("tokenize", store, *IN_PROCESS),
    "verify": lambda store: ("verify", store, *IN_PROCESS),
    "repair": lambda store: ("verify", store, "--repair", *IN_PROCESS),
    "ingest": lambda store: ("ingest", store.parent / "in", store, "--resume", *IN_PROCESS),
    "compress": lambda store: (
        "compress", store.parent / "in", store.parent / "out2", "--store", store, "-k", "4",
        "--resume", *IN_PROCESS,
    ),
}  # fmt: skip


def do_everything(store: Path, *names: str) -> None:
    """All commands, or some, each on a copy: none is a defect, nothing beside is changed."""
    precious = precious_beside(store)
    save(store.parent / "in" / "c.png", noise(3))
    before = tree(precious)
    whole = store.rename(store.with_name("kept"))
    for name in names or EVERYTHING:
        words = EVERYTHING[name]
        shutil.copytree(whole, store, symlinks=True)
        done = run(*words(store), code=None)
        assert done.stderr.count("\n") <= 1, done.stderr
        assert "a defect" not in done.stderr, (words(store), done.stderr)
        assert tree(precious) == before, words(store)
        shutil.rmtree(store)
    beside = {path.name for path in store.parent.iterdir()}
    assert beside <= {"precious", "in", "kept", "out", "out2", "s.zarr.html", "kept.html"}


@pytest.mark.parametrize("there", [False, True], ids=["to nowhere", "to something"])
@pytest.mark.parametrize(
    "name",
    [
        ".lock", "plan.json", "plan-copy.json", "seal.json", "zarr.json", "fits", "weighed",
        "fits/k4.json", "indices/k4", "indices/k4/000000", "copies/k4", "palettes/k4",
        "partitions/000000", "partitions/zarr.json", "partitions/000000/pixels",
        "partitions/000000/zarr.json", "partitions/000000/seal.json",
    ],
)  # fmt: skip
def test_no_link_in_a_store_is_written_or_removed_through(
    name: str, there: bool, crafted: Path
) -> None:
    path = crafted / name
    target = crafted.parent / "precious" / (path.name if there else "new")
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    if there and path.suffix != ".json" and name != ".lock":
        target = target.parent
    path.symlink_to(target)
    if there and path.suffix == ".json":
        target.parent.mkdir()
        target.write_text("mine")
        path.unlink()
        path.symlink_to(target)
    do_everything(crafted)
    assert there or not os.path.lexists(target)


@pytest.mark.parametrize("partition", ["000000", "000007"])
def test_what_is_not_planned_is_not_removed_through_a_link(partition: str, crafted: Path) -> None:
    """Indices of a partition are removed with it: of the store only."""
    (crafted / "partitions" / partition).mkdir(exist_ok=True)
    precious = precious_beside(crafted)
    (precious / "000007").mkdir()
    (precious / "000007" / "mine.txt").write_text("mine")
    before = tree(precious)
    (crafted / "indices" / "k4").symlink_to(precious)
    Store.open(crafted).remove_partition(partition)
    Store.open(crafted).start_indices("k4")
    assert tree(precious) == before
    assert not (crafted / "indices" / "k4").is_symlink()


@pytest.mark.parametrize("name", ["seal.json", "plan.json", "zarr.json", "partitions/zarr.json"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_not_waited_for(kind: str, name: str, crafted: Path) -> None:
    (crafted / name).unlink()
    if kind == "pipe":
        os.mkfifo(crafted / name)
    elif kind == "folder":
        (crafted / name).mkdir()
    else:
        (crafted / name).symlink_to("/dev/zero")
    assert "damaged" in run("info", crafted, code=None).stderr + "damaged" * (name == "plan.json")
    assert "damaged" in str(damaged_metadata(crafted))


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
def test_runs_of_a_hostile_checkpoint_are_one_line_or_as_good_as_none(
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
def test_runs_that_cannot_be_are_as_good_as_none(
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
def test_what_a_store_does_not_say_is_missed_by_name(name: str, crafted: Path) -> None:
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


# -- names of what is kept --------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["evil.html", "evil.HTM", "x.svg", "run.sh", "a.py", ".bashrc", "Makefile", "x.desktop",
     "palette.json", "failures.jsonl", "report.json", "report.html", "sub/palette.json", "a.exe"],
)  # fmt: skip
def test_a_kept_image_has_the_name_of_one(name: str, crafted: Path) -> None:
    """Check that no file is copied under a name that is not an image's: it is encoded instead."""
    save(crafted.parent / "in" / "a.png", noise(1))
    edit_image(crafted, path=str(crafted.parent / "in" / "a.png"), kept_as=name, n_bytes=0)
    out = crafted.parent / "out"
    run("encode", crafted, out, *IN_PROCESS)
    ours = {"palette.json", "report.json", "report.html"}
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert {each for each in written if not each.startswith(".kmeans")} == {"a.png", "b.png"} | ours
    assert json.loads((out / "palette.json").read_text())["colors"]


@pytest.mark.parametrize(
    ("name", "is_kept"),
    [("photo", True), ("IMG_1.JPG_large", True), ("a.JPG", True), ("x.php", False), ("q", True)],
)
def test_an_honest_name_is_kept_whatever_its_suffix(
    name: str, is_kept: bool, tmp_path: Path
) -> None:
    """Check that an image below the target is copied, unless its name is that of a program."""
    save(tmp_path / "a.png", noise(1)).rename(tmp_path / name)
    out = tmp_path / "out"
    run("compress", tmp_path / name, out, "--min-psnr", "90", "-k", "2", *IN_PROCESS, code=None)
    kept = (out / name).exists() and (out / name).read_bytes() == (tmp_path / name).read_bytes()
    assert kept == is_kept


@pytest.mark.parametrize(
    ("kept_as", "stem", "said"),
    [
        ("b.png", "b", "would become 'b.png'"), ("z.png", "b", "would become 'b.png'"),
        ("b.png/a.png", "z", "an image and a folder"),
        ("a.png", "b.png/a", "an image and a folder"),
        ("a//b.png", "a", "outside the output"), ("./a.png", "a", "outside the output"),
        ("a/", "a", "outside the output"), (".ssh/a.png", "a", "hidden folder"),
        (".kmeans-dask/job.json", "a", "hidden folder"), ("a.png", ".git/a", "hidden folder"),
    ],
)  # fmt: skip
def test_no_two_files_of_a_store_are_one_and_none_is_hidden_away(
    kept_as: str, stem: str, said: str, crafted: Path
) -> None:
    source = crafted.parent / "in" / "a.png"
    save(source, noise(1))
    edit_image(crafted, path=str(source), kept_as=kept_as, stem=stem)
    assert said in encode(crafted, code=None)
    assert not list((crafted.parent / "out").rglob("*.png"))


def test_a_palette_of_more_entries_than_there_may_be_is_refused(
    crafted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(Store.open(crafted).read_palette("k4").entries) == 4
    monkeypatch.setattr(kmeans_dask.store.store, "_MAX_ENTRIES", 3)
    with pytest.raises(StoreError, match="palette k4 is too large"):
        Store.open(crafted).read_palette("k4")
