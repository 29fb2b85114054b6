"""What is below OUTPUT may be made by someone else: what a job keeps there is read as hostile."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from kmeans_dask.plan.output_names import OUR_FILES, WORK_FOLDER
from tests.command import run_here as run
from tests.command import tree
from tests.documents import read_sealed, write_sealed
from tests.steps.strategies import noise, save

WORDS = ("--workers", "0", "-k", "4", "--always")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, and the output of a job of each scope, as if it were unfinished."""
    folder = tmp_path_factory.mktemp("done")
    save(folder / "in" / "a.png", noise(1))
    save(folder / "in" / "sub" / "b.png", noise(2))
    for scope in ("shared", "image"):
        out = folder / scope / "out"
        run("compress", folder / "in", out, *WORDS, "--palette", scope)
        job = out / WORK_FOLDER / "job.json"
        write_sealed(job, {**read_sealed(job), "finished": False})
        shutil.copytree(out, folder / "kept" / scope)
    return folder


@pytest.fixture(params=["shared", "image"])
def crafted(request: pytest.FixtureRequest, done: Path) -> Path:
    """As it was, where it was, to do harm to; beside what is none of its business."""
    folder = done / request.param
    shutil.rmtree(folder)
    (folder / "precious").mkdir(parents=True)
    (folder / "precious" / "mine.txt").write_text("mine")
    return Path(shutil.copytree(done / "kept" / request.param, folder / "out"))


def resume(done: Path, out: Path, words: tuple[str, ...] = ("--resume",)) -> str:
    """Go on with the job, say: what is said, in one line at most; nothing beside is changed."""
    beside = out.parent / "precious"
    before = tree(beside)
    given = (*WORDS, "--palette", out.parent.name, *words)
    ended = run("compress", done / "in", out, *given, code=None)
    assert ended.stderr.count("\n") <= 1, ended.stderr
    assert "a defect" not in ended.stderr, ended.stderr
    assert tree(beside) == before
    assert {path.name for path in out.parent.iterdir()} == {"out", "precious"}
    return ended.stderr


def records(out: Path) -> list[Path]:
    found = sorted((out / WORK_FOLDER / "done").rglob("*.json"))
    assert found
    return found


def whole(out: Path) -> None:
    assert {"a.png", "sub/b.png"} <= tree(out).keys()
    assert (out / "a.png").read_bytes().startswith(b"\x89PNG")


def test_an_unaltered_job_is_resumed(done: Path, crafted: Path) -> None:
    before = {path: path.read_bytes() for path in records(crafted)}
    assert resume(done, crafted) == ""
    assert {path: path.read_bytes() for path in records(crafted)} == before


# -- links ------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("--resume",), ("--overwrite",), ()])
@pytest.mark.parametrize("there", [False, True], ids=["to nowhere", "to something"])
@pytest.mark.parametrize(
    "name", ["", "aside", "done", "store.zarr", "lock", "job.json", "plan.json", "done/stage"]
)
def test_nothing_is_written_or_removed_through_a_link(
    name: str, there: bool, words: tuple[str, ...], done: Path, crafted: Path
) -> None:
    target = crafted.parent / "precious" / ("there" if there else "new")
    path = crafted / WORK_FOLDER / name
    if name == "done/stage":
        path = records(crafted)[0].parent
    if path.is_dir():
        shutil.copytree(path, target) if there else None
        shutil.rmtree(path)
    elif there:
        target.write_text("mine")
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    said = resume(done, crafted, words)
    assert there or not os.path.lexists(target)
    assert said or name != "lock"
    if words == ("--resume",) and name != "job.json":
        assert "is a link: remove it" in said
    if words == ("--overwrite",) and name not in ("", "lock"):
        assert said == ""
        whole(crafted)


def test_a_record_that_is_a_link_is_replaced(done: Path, crafted: Path) -> None:
    target = crafted.parent / "precious" / "mine.txt"
    for path in records(crafted):
        path.unlink()
        path.symlink_to(target)
    assert resume(done, crafted) == ""
    assert not any(path.is_symlink() for path in records(crafted))


@pytest.mark.parametrize("kind", ["pipe", "device", "link", "folder out"])
def test_an_output_that_is_no_file_any_more_is_neither_waited_for_nor_written_through(
    kind: str, done: Path, crafted: Path
) -> None:
    """Though a record has it that this is what was written, and that nothing is in it."""
    precious = crafted.parent / "precious"
    for path in records(crafted):
        record = read_sealed(path)
        record["files"] = [[name, 0, 0] for name, *_ in record["files"]]
        write_sealed(path, record)
    path = crafted / "sub" / "b.png"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder out":
        shutil.rmtree(path.parent)
        path.parent.symlink_to(precious)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else precious / "mine.txt")
    said = resume(done, crafted)
    assert said == ""
    if kind != "folder out":
        whole(crafted)


# -- documents --------------------------------------------------------------------------------


DOCUMENTS = [b"[" * 100_000, b"[]", b"null", b"5", b"{}", b"1" * 5000, b"\xff", b"",
             b'{"a":' * 900 + b"1" + b"}" * 900]  # fmt: skip


@pytest.mark.parametrize("content", DOCUMENTS)
@pytest.mark.parametrize("name", ["job.json", "plan.json", "records"])
def test_a_malformed_document_is_ignored(
    name: str, content: bytes, done: Path, crafted: Path
) -> None:
    for path in records(crafted) if name == "records" else [crafted / WORK_FOLDER / name]:
        path.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    said = resume(done, crafted)
    assert ("is not empty" in said) if name == "job.json" else (said == "")
    whole(crafted)


@pytest.mark.parametrize("name", ["job.json", "plan.json"])
def test_a_document_that_is_a_pipe_is_not_waited_for(name: str, done: Path, crafted: Path) -> None:
    (crafted / WORK_FOLDER / name).unlink()
    os.mkfifo(crafted / WORK_FOLDER / name)
    resume(done, crafted)


@pytest.mark.parametrize(
    "fields",
    [
        {"finished": 1}, {"finished": None}, {"command": ["a"] * 1000}, {"fit": []}, {"fit": None},
        {"fit": {"colors": {}}}, {"versions": "x"}, {"x" * 100: "\ud800\n\x1b[31m"},
        {"decode": json.loads("[" * 900 + "]" * 900)}, {"": {"": {"": 1}}}, {"palette": 10**400},
    ],
)  # fmt: skip
def test_a_hostile_job_is_one_line(fields: dict[str, Any], done: Path, crafted: Path) -> None:
    job = crafted / WORK_FOLDER / "job.json"
    write_sealed(job, {**read_sealed(job), **fields})
    assert len(resume(done, crafted)) < 5000


SOURCE = ["/in/a.png", "a.png", "a", 100, 1, 480, None]
PARTITIONS: list[Any] = [
    None, 5, [], {"../../precious": []}, {"x": []}, {"000000": 5}, {"000000": [[]]},
    *({"000000": [[*SOURCE[:i], wrong, *SOURCE[i + 1 :]]]}
      for i in range(7) for wrong in ([1], -1, 10**30, "\ud800", "../../x", "a\0b")),
]  # fmt: skip
VALUES: list[Any] = [None, "x", [5], {"a": 1}, -1, 10**400, [{"path": 1}]]
FIELDS = [
    *({"partitions": value} for value in PARTITIONS),
    *({name: value} for name in ("inputs", "failures", "skipped", "generation", "settled")
      for value in VALUES),
]  # fmt: skip


@pytest.mark.parametrize("fields", FIELDS, ids=lambda fields: str(fields)[:60])
def test_a_hostile_plan_is_made_again_or_told_from_the_images(
    fields: dict[str, Any], done: Path, crafted: Path
) -> None:
    path = crafted / WORK_FOLDER / "plan.json"
    write_sealed(path, {**read_sealed(path), **fields})
    said = resume(done, crafted)
    assert said == "" or "cannot be resumed" in said
    whole(crafted)


def test_a_plan_of_images_that_nobody_asked_for_counts_as_none(done: Path, crafted: Path) -> None:
    """Check that an image added to the plan is not written, though all others are as they were."""
    other = save(done / "other.png", noise(5))
    status, path = other.stat(), crafted / WORK_FOLDER / "plan.json"
    plan = read_sealed(path)
    name, sources = next(iter(plan["partitions"].items()))
    more = [str(other), "evil.png", "evil", status.st_size, status.st_mtime_ns, 480, None]
    write_sealed(path, {**plan, "partitions": {**plan["partitions"], name: [*sources, more]}})
    for record in records(crafted):
        record.unlink()
    assert resume(done, crafted) == ""
    whole(crafted)
    assert not (crafted / "evil.png").exists()


def change(record: dict[str, Any], where: str, value: Any) -> None:
    *way, last = where.split("/")
    at: Any = record
    for name in way:
        at = at[int(name) if isinstance(at, list) else name]
    at[int(last) if isinstance(at, list) else last] = value


@pytest.mark.parametrize(
    ("where", "values"),
    [
        ("files", [None, 5, "x", [5], [[]], [["a.png"]], [["a.png", "1", 2]], {"a": 1}]),
        ("files/0/0", ["../../precious/mine.txt", "/etc/passwd", "", ".", "a\0b", "\ud800", 5,
                       None, ["a"], "sub", "x" * 5000]),
        ("files/0/1", ["1", None, -1, 1 << 70, 4.5]),
        ("failures", [None, 5, [5], [{"path": 1, "reason": "x"}], [{"a": 1}], {"a": 1}]),
        ("compressed", [None, "1", -1, 10**400, [1], float("nan")]),
        ("pixels", [None, 0, "x", -5]),
        ("squared_error", [None, "0", -1, 10**400, 1.5]),
        ("input_bytes", [0, None, "x"]),
        ("output_bytes", [0, None, 10**400]),
        ("more", [1]),
        ("gallery", [None, [], {}, "x"]),
        ("gallery/rows", [None, 5, [5], [[]], [[1] * 7], {"a": 1}]),
        ("gallery/rows/0/6", ["x", float("nan"), float("inf"), 10**400, [1]]),
        ("gallery/rows/0/4", ["x", -1, None, 10**400]),
        ("gallery/worst", [None, [["a"] * 7]]),
        ("gallery/left_out", [None, "x", -1]),
        ("gallery/ratios", [None, [], [1], ["x"] * 30, "x" * 30, [-1] * 30]),
        ("gallery/decibels", [[0] * 24, [None] * 25]),
        ("gallery/cloud", [None, 5, [5], [[]], [[1, 2, 3]], [["x"] * 6], [[300] * 6], [[-1] * 6]]),
    ],
)  # fmt: skip
def test_a_hostile_record_counts_as_none(
    where: str, values: list[Any], done: Path, crafted: Path
) -> None:
    kept = {path: read_sealed(path) for path in records(crafted)}
    for value in values:
        for path, record in kept.items():
            crafted_record = json.loads(json.dumps(record))
            change(crafted_record, where, value)
            write_sealed(path, crafted_record)
        assert resume(done, crafted) == "", value
        whole(crafted)
        assert {path: read_sealed(path) for path in kept} == kept, value


def say_finished(out: Path, *more: Any) -> None:
    """As a job does at its end, with its own files as they are now."""
    names = [name for name in OUR_FILES if (out / name).is_file()]
    contents = [(out / name).read_bytes() for name in names]
    files = [[name, len(data), crc32(data)] for name, data in zip(names, contents, strict=True)]
    job = out / WORK_FOLDER / "job.json"
    write_sealed(job, {**read_sealed(job), "finished": [*files, *more]})


def test_a_job_that_is_finished_is_not_done_again(done: Path, crafted: Path) -> None:
    """So what is crafted below is believed to be."""
    say_finished(crafted)
    before = (crafted / "report.json").stat().st_mtime_ns
    assert resume(done, crafted) == ""
    assert (crafted / "report.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "content",
    ["", "[" * 100_000, "null", "{}", '{"summary": 1}', '{"summary": {}}',
     '{"summary": {"failed": "x"}}', '{"summary": {"failed": 0}}', '{"summary": [NaN]}',
     '{"summary": {"failed": 0, "seconds": NaN}}'],
)  # fmt: skip
@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_job_that_claims_to_be_finished_may_have_a_malformed_record(
    words: tuple[str, ...], content: str, done: Path, crafted: Path
) -> None:
    (crafted / "report.json").write_text(content)
    say_finished(crafted)
    resume(done, crafted, ("--resume", *words))
    whole(crafted)


@pytest.mark.parametrize(
    "more",
    [None, 5, [], ["report.json"], [[1], 2, 3], ["../precious/mine.txt", 4, crc32(b"mine")],
     ["../../../precious/mine.txt", 4, 1], ["/dev/zero", 0, 0], ["\ud800", 1, 1], ["a\0b", 1, 1],
     ["sub", 4096, 0], ["report.json", "x", None], ["", 0, 0]],
)  # fmt: skip
def test_a_job_with_impossible_finished_files_is_resumed_or_refused(
    more: Any, done: Path, crafted: Path
) -> None:
    say_finished(crafted, more)
    resume(done, crafted)
    whole(crafted)


@pytest.mark.parametrize("content", [b"{}", b"[]", b"[" * 1000])
def test_a_hostile_passing_store_is_made_again(content: bytes, done: Path, crafted: Path) -> None:
    store = crafted / WORK_FOLDER / "store.zarr"
    (store / "partitions").mkdir(parents=True)
    for name in ("zarr.json", "partitions/zarr.json", "seal.json", "plan.json", "plan-copy.json"):
        (store / name).write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    for path in records(crafted):
        path.unlink()
    assert resume(done, crafted) == ""
    whole(crafted)
