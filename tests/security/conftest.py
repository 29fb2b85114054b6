"""What the tests of crafted stores share: a sound store, and means to harm a copy.

Whoever crafts a store can seal it as well: but where the seal itself is looked at, all are.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kmeans_dask.store import zarr_groups
from kmeans_dask.store.store import PLANS
from tests.command import run_here as run
from tests.command import tree
from tests.documents import read_sealed, write_sealed
from tests.steps.strategies import noise, save

PARTITION = "partitions/000000"
IN_PROCESS = ("--workers", "0")
PLANNED = ("path", "kept_as", "stem", "n_bytes", "modified")  # fields of an image in a plan


@pytest.fixture(scope="session")
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
