"""What a job keeps of itself: it goes on where it was left, with what is still there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kmeans_dask.engine import connect
from kmeans_dask.errors import UsageError
from kmeans_dask.files import locks
from kmeans_dask.files.locks import locked
from kmeans_dask.job.encode_totals import EncodeTotals
from kmeans_dask.job.gallery import Gallery, ImageRow
from kmeans_dask.job.job_settings import JobSettings
from kmeans_dask.job.output_folder import write_below
from kmeans_dask.job.summary import Summary
from kmeans_dask.job.work_folder import WorkFolder, asked_for, open_work_folder, recorded
from kmeans_dask.plan.output_names import WORK_FOLDER
from kmeans_dask.plan.plan import MakePlan, make_plan
from kmeans_dask.settings import DecodeSettings, EncodeSettings, FitSettings
from kmeans_dask.steps import compress as compressing
from kmeans_dask.steps import per_group
from kmeans_dask.steps.compress import compress
from kmeans_dask.store.records import Failure
from tests.command import all_below
from tests.steps.strategies import StoppedError, Stopping, files_in, noise, save

ASKED = {"command": "compress", "fit": {"colors": 8, "seed": 0}, "versions": {"numpy": "2"}}
IMAGE = "pictures/a.png"
REPORTS = ("report.html", "report.json")


def everything(folder: Path) -> dict[str, bytes | str | None]:
    """All below a folder, hidden or not: contents of files, targets of links."""
    found: dict[str, bytes | str | None] = {}
    for path in all_below(folder):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def open_(
    output: Path,
    asked: Mapping[str, Any] = ASKED,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> AbstractContextManager[WorkFolder]:
    return begun(opening(output, asked, resume=resume, overwrite=overwrite))


def opening(
    output: Path,
    asked: Mapping[str, Any] = ASKED,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> AbstractContextManager[WorkFolder]:
    """Work that is not begun yet."""
    return open_work_folder(output, asked, resume=resume, overwrite=overwrite)


@contextmanager
def begun(opened: AbstractContextManager[WorkFolder]) -> Iterator[WorkFolder]:
    """Work that is begun at once."""
    with opened as work:
        work.begin()
        yield work


def leave_job(output: Path, *, finished: bool = False) -> None:
    """A job that wrote a file, and a record of it."""
    with open_(output) as work:
        recorded(
            work.stage("encode") / "000000.json", output, "x", writer(output, "pictures/a.png")
        )
        (work.path / "store.zarr").mkdir()
        if finished:
            for name in REPORTS:
                (output / name).write_text("{}")
            work.finish()


def writer(output: Path, *names: str, calls: list[str] | None = None) -> Callable[[], EncodeTotals]:
    """A piece of work that writes some files."""

    def do() -> EncodeTotals:
        if calls is not None:
            calls.append("done")
        written = [write_below(output, name, f"what is in {name}".encode()) for name in names]
        row = ImageRow("a", "a.png", "/in/a", "compressed", 9, 5, 31.5)
        return EncodeTotals(
            compressed=len(names),
            input_bytes=9,
            output_bytes=5,
            all_pixels=4,
            pixels=3,
            squared_error=1 << 70,
            failures=(Failure("/in/b", "broken"),),
            gallery=Gallery.of([row] * len(names), ((1, 2, 3, 4, 5, 6),)),
            files=tuple(written),
        )

    return do


# -- records ----------------------------------------------------------------------------------


def change(path: Path) -> None:
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def move_out(path: Path) -> None:
    """Its folder becomes a link to one elsewhere, with the same files."""
    elsewhere = path.parents[2] / "elsewhere"
    path.parent.rename(elsewhere)
    path.parent.symlink_to(elsewhere)


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "missing": Path.unlink,
    "changed": change,
    "cut": lambda path: os.truncate(path, path.stat().st_size - 1),
    "emptied": lambda path: os.truncate(path, 0),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "a folder": become_folder,
    "in a folder that is gone": lambda path: shutil.rmtree(path.parent),
}


def test_a_recorded_image_is_reported_without_being_written_again(tmp_path: Path) -> None:
    output, calls = tmp_path / "out", list[str]()
    do = writer(output, "a/1.png", "a/2.png", calls=calls)
    expected = replace(do(), files=())
    for _ in range(3):
        assert recorded(tmp_path / "r" / "0.json", output, {"x": 1}, do) == expected
    assert len(calls) == 2


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_recorded_image_is_written_again_where_its_file_has_changed(
    damage: Callable[[Path], Any], tmp_path: Path
) -> None:
    output, calls = tmp_path / "out", list[str]()
    record, do = tmp_path / "r" / "0.json", writer(output, "a/1.png", "b/2.png", calls=calls)
    recorded(record, output, "x", do)
    before = files_in(output)
    damage(output / "b" / "2.png")
    if (output / "b" / "2.png").is_dir():
        with pytest.raises(Exception, match="cannot be had"):  # as it would be the first time
            recorded(record, output, "x", do)
    else:
        assert recorded(record, output, "x", do).compressed == 2
        assert files_in(output) == before
    assert len(calls) == 2


def test_a_file_that_is_now_behind_a_link_out_of_the_output_does_not_count(tmp_path: Path) -> None:
    output, calls = tmp_path / "out", list[str]()

    def do() -> EncodeTotals:
        calls.append("done")
        return EncodeTotals(files=(("b/2.png", 4, zlib.crc32(b"data")),))

    (output / "b").mkdir(parents=True)
    (output / "b" / "2.png").write_bytes(b"data")
    recorded(tmp_path / "0.json", output, "x", do)
    move_out(output / "b" / "2.png")
    recorded(tmp_path / "0.json", output, "x", do)
    assert len(calls) == 2


def test_an_image_is_written_again_where_its_settings_have_changed(tmp_path: Path) -> None:
    output, calls = tmp_path / "out", list[str]()
    do = writer(output, IMAGE, calls=calls)
    for number, of in enumerate(({"modified": 1}, {"modified": 2}, [1], FitSettings(8)), 1):
        recorded(tmp_path / "0.json", output, of, do)
        recorded(tmp_path / "0.json", output, of, do)
        assert len(calls) == number
    recorded(tmp_path / "0.json", output, FitSettings(9), do)
    assert len(calls) == 5


def test_a_damaged_record_does_not_count(tmp_path: Path) -> None:
    record, output, calls = tmp_path / "0.json", tmp_path / "out", list[str]()
    do = writer(output, IMAGE, calls=calls)
    recorded(record, output, "x", do)
    content = record.read_bytes()
    places = [*range(70), *range(70, len(content), 9), len(content) - 1]
    for number, place in enumerate(places, 1):
        flipped = bytearray(content)
        flipped[place] ^= 4
        record.write_bytes(flipped)
        recorded(record, output, "x", do)
        assert len(calls) == 1 + number
        assert record.read_bytes() == content


# -- jobs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finished", "says"),
    [(False, r"is unfinished: add --resume to continue it, or --overwrite"),
     (True, r"holds a finished job: add --resume to write what is new, or --overwrite")],
)  # fmt: skip
def test_an_earlier_job_is_neither_resumed_nor_overwritten_unasked(
    finished: bool, says: str, tmp_path: Path
) -> None:
    leave_job(tmp_path / "out", finished=finished)
    before = everything(tmp_path)
    with pytest.raises(UsageError, match=says), open_(tmp_path / "out"):
        pytest.fail("it began")
    assert everything(tmp_path) == before


@pytest.mark.parametrize("finished", [False, True])
def test_resume_continues_a_job_with_all_its_records(finished: bool, tmp_path: Path) -> None:
    output, calls = tmp_path / "out", list[str]()
    leave_job(output, finished=finished)
    with open_(output, resume=True) as work:
        record = work.stage("encode") / "000000.json"
        recorded(record, output, "x", writer(output, IMAGE, calls=calls))
        assert calls == []
        assert work.is_finished == finished


def test_with_resume_a_job_begins_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        with open_(tmp_path / name, resume=True) as work:
            assert work.job == {**ASKED, "finished": False}
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"), open_(tmp_path / "full", resume=True):
        pytest.fail("it began")
    assert files_in(tmp_path / "full") == {"mine.txt": b"mine"}


@pytest.mark.parametrize("finished", [False, True])
def test_with_overwrite_a_job_begins_again_and_other_files_stay(
    finished: bool, tmp_path: Path
) -> None:
    output, calls = tmp_path / "out", list[str]()
    leave_job(output, finished=finished)
    (output / "mine.txt").write_text("mine")
    before = files_in(output)
    with open_(output, {"command": "encode"}, overwrite=True) as work:
        assert work.job == {"command": "encode", "finished": False}
        assert not work.store_path.exists()
        assert not work.is_finished
        record = work.stage("encode") / "000000.json"
        recorded(record, output, "x", writer(output, IMAGE, calls=calls))
        assert calls == ["done"]
    assert files_in(output) == before


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (
            {"fit": {"colors": 9, "seed": 0}},
            "cannot be resumed, fit colors was 8 and is 9; ask for the same",
        ),
        (
            {"fit": {"colors": 8, "seed": 5}, "command": "encode"},
            "command was compress and is encode, fit seed was 0 and is 5",
        ),
        ({"versions": {"numpy": "3"}}, "versions numpy was 2 and is 3"),
        ({"fit": {"colors": 8, "seed": 0, "init": "random"}}, "fit init was None and is random"),
    ],
)
def test_a_job_of_other_settings_is_not_resumed(
    now: dict[str, Any], says: str, tmp_path: Path
) -> None:
    leave_job(tmp_path / "out")
    before = everything(tmp_path)
    with (
        pytest.raises(UsageError, match=says) as caught,
        open_(tmp_path / "out", {**ASKED, **now}, resume=True),
    ):
        pytest.fail("it went on")
    assert "--overwrite" in str(caught.value)
    assert everything(tmp_path) == before


def test_the_request_of_a_job_is_the_same_after_it_was_stored(tmp_path: Path) -> None:
    fit = FitSettings(8, fixed=((1, 2, 3), (4, 5, 6)), min_psnr=30.1)
    asked = asked_for("compress", fit=fit, encode=EncodeSettings(), path=tmp_path, other=None)
    with open_(tmp_path / "out", asked):
        pass
    with open_(tmp_path / "out", asked, resume=True):
        pass


def test_resume_and_overwrite_exclude_each_other(tmp_path: Path) -> None:
    leave_job(tmp_path / "out")
    for path in (tmp_path / "out", tmp_path / "new"):
        before = everything(tmp_path)
        with pytest.raises(UsageError, match="exclude"), open_(path, resume=True, overwrite=True):
            pytest.fail("it began")
        assert everything(tmp_path) == before


def test_a_finished_job_keeps_its_records_and_removes_its_working_files(tmp_path: Path) -> None:
    leave_job(tmp_path / "out", finished=True)
    work = WorkFolder(tmp_path / "out", {})
    assert sorted(path.name for path in work.path.iterdir()) == ["done", "job.json", "lock"]
    assert work.is_finished
    assert work.job
    assert work.job == {**ASKED, "finished": work.job["finished"]}
    assert {name for name, _, _ in work.job["finished"]} == {"report.json", "report.html"}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_job_is_not_finished_any_more_where_an_image_is_not_as_it_was(
    damage: Callable[[Path], Any], tmp_path: Path
) -> None:
    leave_job(tmp_path / "out", finished=True)
    assert WorkFolder(tmp_path / "out", {}).is_finished
    damage(tmp_path / "out" / IMAGE)
    assert not WorkFolder(tmp_path / "out", {}).is_finished


@pytest.mark.parametrize("name", REPORTS)
def test_a_job_is_not_finished_any_more_where_its_report_is_gone(name: str, tmp_path: Path) -> None:
    leave_job(tmp_path / "out", finished=True)
    (tmp_path / "out" / name).unlink()
    assert not WorkFolder(tmp_path / "out", {}).is_finished


def test_a_job_whose_description_is_damaged_is_not_known(tmp_path: Path) -> None:
    leave_job(tmp_path / "out")
    change(tmp_path / "out" / WORK_FOLDER / "job.json")
    with pytest.raises(UsageError, match="is not empty"), open_(tmp_path / "out", resume=True):
        pytest.fail("it went on")


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out", "deep/er/out"])
def test_a_job_that_is_refused_at_last_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at last"), open_(tmp_path / name):
        raise UsageError("at last")
    assert everything(tmp_path) == {}


def test_a_job_that_is_refused_leaves_an_empty_folder_empty(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="at last"), open_(tmp_path / "out"):
        raise UsageError("at last")
    assert everything(tmp_path) == {"out": None}


@pytest.mark.parametrize("finished", [None, False, True])
@pytest.mark.parametrize("how", ["resume", "overwrite"])
def test_a_job_that_is_refused_removes_nothing_of_before(
    how: str, finished: bool | None, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    if finished is not None:
        leave_job(output, finished=finished)
    if how == "overwrite":
        (output / "mine.txt").write_text("mine")
    before = everything(tmp_path)
    words: dict[str, Any] = {how: True}
    with pytest.raises(UsageError, match="at last"), opening(output, **words):
        raise UsageError("at last")
    left = everything(tmp_path)
    left.pop(f"out/{WORK_FOLDER}/aside", None)
    before.pop(f"out/{WORK_FOLDER}/aside", None)
    assert left == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, StoppedError])
def test_a_job_that_fails_can_be_resumed(error: type[BaseException], tmp_path: Path) -> None:
    output, calls = tmp_path / "out", list[str]()

    def work_on(broken_off: BaseException | None = None) -> None:
        with open_(output, resume=True) as work:
            recorded(
                work.stage("x") / "0.json",
                output,
                "x",
                writer(output, IMAGE, calls=calls),
            )
            if broken_off:
                raise broken_off

    with pytest.raises(error):
        work_on(error())
    work_on()
    assert calls == ["done"]


@contextmanager
def held_elsewhere(path: Path) -> Iterator[None]:
    """Another process holds the lock at `path`, and has written something beside it."""
    code = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield
        process.communicate("end\n", timeout=600)


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
def test_a_running_job_is_left_alone(how: dict[str, Any], tmp_path: Path) -> None:
    leave_job(tmp_path / "out")
    with held_elsewhere(tmp_path / "out" / WORK_FOLDER / "lock"):
        before = everything(tmp_path)
        with pytest.raises(UsageError, match="another run is using"), open_(
            tmp_path / "out", **how
        ):  # fmt: skip
            pytest.fail("two are at work")
        assert everything(tmp_path) == before


def test_a_job_that_began_at_the_same_time_and_was_first_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    before: list[dict[str, Any]] = []

    @contextmanager
    def late(path: Path, what: str) -> Iterator[None]:
        """As if the other run had come between our looking and our locking."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with held_elsewhere(path):
            (path.parent / "job.json").write_text("theirs")
            before.append(everything(tmp_path))
            with locked(path, what):
                yield

    monkeypatch.setattr(locks, "locked", late)
    with pytest.raises(UsageError, match="another run is using"), open_(output):
        pytest.fail("two are at work")
    assert everything(tmp_path) == before[0]


@pytest.mark.parametrize("there", [False, True], ids=["to nowhere", "to a folder"])
@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
def test_a_link_as_the_work_folder_is_refused_and_not_followed(
    how: dict[str, Any], there: bool, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    if there:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "mine.txt").write_text("mine")
    (tmp_path / "out" / WORK_FOLDER).symlink_to(tmp_path / "elsewhere")
    before = everything(tmp_path)
    with pytest.raises(UsageError, match="is a link: remove it"), open_(tmp_path / "out", **how):
        pytest.fail("it began")
    assert everything(tmp_path) == before


@pytest.mark.parametrize("name", ["out", f"out/{WORK_FOLDER}"])
def test_a_file_in_place_of_a_folder_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    before = everything(tmp_path)
    with pytest.raises(UsageError, match=re.escape(f"{path} is ")), open_(tmp_path / "out"):
        pytest.fail("it began")
    assert everything(tmp_path) == before


# -- the images -------------------------------------------------------------------------------


def finding(*inputs: Path, **words: Any) -> MakePlan:
    return lambda known: make_plan(inputs, known=known, **words)


def test_a_job_is_resumed_only_for_the_images_it_started_with(tmp_path: Path) -> None:
    images = [save(tmp_path / "in" / f"{n}.png", noise(n)) for n in range(3)]
    with opening(tmp_path / "out") as work:
        plan = work.settle(finding(tmp_path / "in", partition_pixels=1))
        assert len(plan.partitions) == 3
        work.begin(plan)
        # as they were cut then
        assert work.settle(finding(tmp_path / "in")) == plan
        for others in (images, images[:2]):  # all of them, named; and fewer than before
            with pytest.raises(UsageError, match="the inputs are others; add --overwrite"):
                work.settle(finding(*others))
        save(images[1], noise(9, (5, 5)))
        images[0].unlink()
        save(tmp_path / "in" / "new.png", noise(4))
        with pytest.raises(UsageError) as caught:
            work.settle(finding(tmp_path / "in"))
    said = str(caught.value)
    assert f"1 new ({tmp_path / 'in' / 'new.png'})" in said
    assert f"1 changed ({images[1]})" in said
    assert f"1 gone ({images[0]})" in said


def test_a_damaged_plan_is_made_again(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", noise(1))
    find = finding(tmp_path / "in")
    with opening(tmp_path / "out") as work:
        plan = work.settle(find)
        work.begin(plan)
        (work.path / "done").mkdir()
        change(tmp_path / "out" / WORK_FOLDER / "plan.json")
        assert work.settle(find) == plan
        work.begin(plan)
        assert not (work.path / "done").exists()  # of what was done nobody knows to what
        assert work.settle(find) == plan


# -- whole jobs -------------------------------------------------------------------------------


SCOPES = ("shared", "stored", "folder", "large folders", "image", "auto")
_TARGET = 20.1  # dB, that the shared palette misses for some images


def run_job(scope: str, folder: Path, output: Path, steps: int = 0) -> Summary:
    """A job of many small pieces, which goes on with what is there, and may be ended."""
    name = scope.removeprefix("large ").removesuffix("s") if "folder" in scope else scope
    name = "shared" if scope == "stored" else name
    settings = JobSettings(
        FitSettings(8, min_psnr=_TARGET if scope == "auto" else None),
        EncodeSettings(always=True),
        DecodeSettings(),
        name,
    )
    with (
        open_(output, resume=True) as work,
        connect(workers=0) as engine,
    ):
        plan = work.settle(finding(folder, partition_pixels=1))
        found = compress(plan, work, engine, Stopping(steps), settings)
        for name in REPORTS:
            (output / name).write_text("{}")
        work.finish()
        return found


@pytest.fixture(params=SCOPES)
def scope(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(per_group, "_LEAST", 1)
    monkeypatch.setattr(per_group, "_TASKS", 100)
    if request.param == "large folders":
        monkeypatch.setattr(compressing, "PARTITION_PIXELS", 500)
    if request.param == "stored":  # else so few are held
        monkeypatch.setattr(compressing, "fits_in_memory", lambda plan, engine: False)
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Five images in two folders, and one that is broken."""
    for number, name in enumerate(("a.png", "b.png", "c/a.png", "c/b.png", "c/d.png")):
        save(tmp_path / "in" / name, noise(number))
    broken = save(tmp_path / "in" / "broken.png", noise(9))
    broken.write_bytes(broken.read_bytes()[:-300])
    return tmp_path / "in"


def alike(summary: Summary) -> dict[str, Any]:
    return {**summary.as_dict(), "seconds": None, "gallery": summary.gallery.as_dict()}


def test_a_job_interrupted_anywhere_resumes_to_the_same_output(
    scope: str, images: Path, tmp_path: Path
) -> None:
    expected = run_job(scope, images, tmp_path / "whole")
    assert (expected.compressed, expected.failed) == (5, 1)
    assert expected.private == {"image": 5, "auto": 2}.get(scope, 0)
    for stop in range(1, 30):
        output = tmp_path / f"{stop}"
        try:
            run_job(scope, images, output, stop)
        except StoppedError:
            there = {path: path.stat().st_ino for path in output.rglob("*.png")}
            assert not WorkFolder(output, {}).is_finished
            found = run_job(scope, images, output)
            assert files_in(output) == files_in(tmp_path / "whole")
            assert alike(found) == alike(expected)
            kept = [path for path, inode in there.items() if path.stat().st_ino == inode]
            assert kept == list(there)  # what was done was not done again
            continue
        break
    assert 2 < stop < 29


def test_a_job_interrupted_again_and_again_resumes_to_the_same_output(
    scope: str, images: Path, tmp_path: Path
) -> None:
    expected = run_job(scope, images, tmp_path / "whole")
    for steps in range(2, 40):
        try:
            found = run_job(scope, images, tmp_path / "out", steps)
        except StoppedError:
            continue
        break
    assert files_in(tmp_path / "out") == files_in(tmp_path / "whole")
    assert alike(found) == alike(expected)


def test_a_finished_job_of_which_a_file_was_lost_makes_that_again(
    scope: str, images: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    run_job(scope, images, output)
    expected = files_in(output)
    assert WorkFolder(output, {}).is_finished
    for name in sorted(expected.keys() - {*REPORTS, "failures.jsonl"}):
        (output / name).unlink()
        assert not WorkFolder(output, {}).is_finished, name
        run_job(scope, images, output)
        assert files_in(output) == expected
        assert WorkFolder(output, {}).is_finished
