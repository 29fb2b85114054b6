"""Stores that were made by someone else, to harm: names, links and pipes lead nowhere outside."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from kmeans_dask.store import Store
from kmeans_dask.store.repair import damaged_metadata
from tests.command import run_here as run
from tests.command import tree
from tests.security.conftest import IN_PROCESS, do_everything, edit_image, encode, precious_beside
from tests.steps.strategies import noise, save

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
