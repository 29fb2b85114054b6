"""Where a job reads and writes: links and names lead nowhere else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kmeans_dask.errors import ImageError, StoreError
from kmeans_dask.job.output_folder import below, write_below
from kmeans_dask.plan.plan import MAX_DEPTH, make_plan
from tests.command import run_here as run
from tests.command import summary_here as summary
from tests.command import tree
from tests.steps.strategies import noise, save

WORDS = ("--workers", "0", "-k", "4", "--always")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """One image, and one in a folder."""
    save(tmp_path / "in" / "a.png", noise(1))
    save(tmp_path / "in" / "sub" / "b.png", noise(2))
    return tmp_path / "in"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder that is none of the job's business, with a file."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.png").write_bytes(b"precious")
    return tmp_path / "elsewhere"


# -- the output -------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["shared", "folder", "image"])
def test_a_link_in_the_output_that_leads_out_is_not_written_through(
    scope: str, images: Path, elsewhere: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(elsewhere)
    words = (*WORDS, "--overwrite", "--palette", scope)
    found = summary("compress", images, tmp_path / "out", *words, code=1)
    assert (found["compressed"], found["failed"]) == (1, 1)
    assert found["failures"] == [
        {
            "path": str(images / "sub" / "b.png"),
            "reason": "its folder in OUTPUT is a link that leads out of it",
        }
    ]
    assert tree(elsewhere).keys() == {"b.png"}
    assert (elsewhere / "b.png").read_bytes() == b"precious"


def test_a_store_is_not_written_through_such_a_link_either(
    images: Path, elsewhere: Path, tmp_path: Path
) -> None:
    store, out = tmp_path / "s.zarr", tmp_path / "out"
    run("ingest", images, store, "--workers", "0")
    run("fit", store, "--workers", "0", "-k", "4")
    out.mkdir()
    (out / "sub").symlink_to(elsewhere)
    words = ("--workers", "0", "--always", "--overwrite")
    assert summary("encode", store, out, *words, code=1)["failed"] == 1
    assert (elsewhere / "b.png").read_bytes() == b"precious"


def test_a_link_within_the_output_is_followed(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "other").mkdir(parents=True)
    (out / "sub").symlink_to("other")
    assert summary("compress", images, out, *WORDS, "--overwrite")["compressed"] == 2
    assert (out / "other" / "b.png").exists()


def test_an_output_that_is_a_link_is_taken_as_it_is_named(images: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    assert summary("compress", images, tmp_path / "out", *WORDS)["compressed"] == 2
    assert {"a.png", "sub/b.png", "palette.json"} <= tree(tmp_path / "real").keys()


@pytest.mark.parametrize("name", ["a.png", "palette.json", "report.html", "report.json"])
def test_a_file_that_is_a_link_is_replaced_and_not_what_it_leads_to(
    name: str, images: Path, elsewhere: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).symlink_to(elsewhere / "b.png")
    run("compress", images, out, *WORDS, "--overwrite")
    assert not (out / name).is_symlink()
    assert (out / name).stat().st_size > len(b"precious")
    assert (elsewhere / "b.png").read_bytes() == b"precious"


@pytest.mark.parametrize("full", [False, True])
def test_the_passing_store_is_not_made_or_removed_through_a_link(
    full: bool, images: Path, tmp_path: Path
) -> None:
    out, target = tmp_path / "out", tmp_path / "target"
    for folder in (out / ".kmeans-dask", target):
        folder.mkdir(parents=True)
    if full:
        (target / "precious").touch()
    store = out / ".kmeans-dask" / "store.zarr"
    store.symlink_to(target)
    run("compress", images, out, *WORDS)
    assert tree(target).keys() == ({"precious"} if full else set())
    assert not list(target.iterdir()) or full
    assert not os.path.lexists(store)


@pytest.mark.parametrize("words", [(), ("--overwrite",), ("--resume",)])
def test_what_a_job_keeps_of_itself_is_not_kept_through_a_link(
    words: tuple[str, ...], images: Path, elsewhere: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".kmeans-dask").symlink_to(elsewhere)
    said = run("compress", images, tmp_path / "out", *WORDS, *words, code=2).stderr
    assert "is a link" in said
    assert tree(elsewhere).keys() == {"b.png"}


def test_links_that_lead_to_themselves_or_nowhere_are_failures_by_name(
    images: Path, tmp_path: Path
) -> None:
    save(images / "loop" / "c.png", noise(3))
    out = tmp_path / "out"
    out.mkdir()
    (out / "sub").symlink_to(tmp_path / "not" / "yet")
    (out / "loop").symlink_to("loop")
    found = summary("compress", images, out, *WORDS, "--overwrite", code=1)
    assert (found["compressed"], found["failed"]) == (1, 2)
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize("name", ["", ".", "a\0b", "/etc/passwd", "a/../../b"])
def test_what_is_no_name_below_the_output_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="outside the output folder"):
        below(tmp_path, name)


def test_a_folder_or_file_in_the_way_fails_one_image(tmp_path: Path) -> None:
    (tmp_path / "a.png" / "inside").mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"precious")
    for name in ("a.png", "file/b.png"):
        with pytest.raises(ImageError, match="its name in OUTPUT cannot be had"):
            write_below(tmp_path, name, b"data")
    assert tree(tmp_path).keys() == {"file"}
    assert (tmp_path / "file").read_bytes() == b"precious"


# -- the input --------------------------------------------------------------------------------


def test_an_image_may_be_a_link_and_is_read_as_an_image_only(tmp_path: Path) -> None:
    """Links to files are followed, as users' photo folders have them; what is no image fails."""
    folder = tmp_path / "in"
    real = save(tmp_path / "photos" / "real.png", noise(4))
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret")
    folder.mkdir()
    (folder / "a.png").symlink_to(real)
    (folder / "b.png").symlink_to(secret)
    (folder / "up.png").symlink_to("../../../../../../../../etc/passwd")
    found = summary("compress", folder, tmp_path / "out", *WORDS, code=1)
    assert (found["compressed"], found["failed"]) == (1, 2)
    assert tree(tmp_path / "out").keys() == {"a.png", "palette.json", "failures.jsonl"}
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"a secret" not in path.read_bytes()


def test_folders_nested_without_end_are_a_failure_and_the_rest_is_done(tmp_path: Path) -> None:
    save(tmp_path / "a.png", noise(5))
    at = tmp_path
    for _ in range(MAX_DEPTH + 800):  # more than Python nests calls
        at /= "d"
        at.mkdir()
    try:
        plan = make_plan([tmp_path])
    finally:  # what clears up after tests nests too
        while at != tmp_path:
            at.rmdir()
            at = at.parent
    assert plan.n_images == 1
    (failure,) = plan.failures
    assert failure.reason == f"more than {MAX_DEPTH} folders deep"


def test_as_deep_as_folders_may_be_nested_images_are_written(tmp_path: Path) -> None:
    folder = "/".join(["d"] * MAX_DEPTH)
    save(tmp_path / "in" / folder / "a.png", noise(6))
    assert summary("compress", tmp_path / "in", tmp_path / "out", *WORDS)["compressed"] == 1
    assert (tmp_path / "out" / folder / "a.png").exists()


# -- the report -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b"{", b"[]", b'{"summary": 1}', b'{"summary": {}, "worst": 3}', b"\xff"],
)
def test_a_record_that_is_none_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(content)
    done = run("report", tmp_path, code=2)
    assert done.stderr.count("\n") == 1
    assert "report.json" in done.stderr
    assert "defect" not in done.stderr
    assert tree(tmp_path) == {}
    assert (tmp_path / "report.json").read_bytes() == content
    assert not (tmp_path / "report.html").exists()


def test_a_record_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "report.json")
    assert "not a regular file" in run("report", tmp_path, code=2).stderr


def test_a_record_beyond_the_limit_is_not_parsed(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(b"{}")
    os.truncate(tmp_path / "report.json", 1 << 40)
    assert "too large" in run("report", tmp_path, code=2).stderr


def test_a_record_shows_no_file_outside_of_its_output(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("compress", images, out, *WORDS)
    outside = save(tmp_path / "outside.png", noise(7))
    record = json.loads((out / "report.json").read_text())
    for row in record["worst"] + record["best"]:
        row["output"] = "../outside.png"
    (out / "report.json").write_text(json.dumps(record))
    run("report", out)
    assert "data:image/webp" not in (out / "report.html").read_text()
    assert outside.exists()
