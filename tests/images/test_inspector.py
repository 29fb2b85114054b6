"""Tests that a file which ends, hangs or fills its inspector costs no more than that process."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from kmeans_dask.errors import ImageError, NoImageError
from kmeans_dask.images import inspector as module
from kmeans_dask.images.decode import decode
from kmeans_dask.images.inspector import Answer, Inspector, Question, find_killers
from kmeans_dask.settings import DecodeSettings
from tests.formats.hostile import files, mutations, saved

KINDS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")


@pytest.fixture
def inspector() -> Iterator[Inspector]:
    found = Inspector()
    yield found
    found.close()


def draw(folder: Path, *names: str) -> list[str]:
    for number, name in enumerate(names, 1):
        Image.new("RGB", (number, 10)).save(folder / name)
    return [str(folder / name) for name in names]


def put(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def test_questions_are_answered_in_order_and_by_one_process(
    tmp_path: Path, inspector: Inspector
) -> None:
    paths = draw(tmp_path, *(f"{number}.png" for number in range(200)))
    answers = list(inspector.ask(Question("header", path) for path in paths))
    assert [answer.size for answer in answers] == [(number, 10) for number in range(1, 201)]
    process = inspector._process
    assert inspector.ask_one(Question("header", paths[0])).to_size() == (1, 10)
    assert inspector._process is process


def test_what_is_no_image_and_what_is_damaged_are_told_apart(
    tmp_path: Path, inspector: Inspector
) -> None:
    text = inspector.ask_one(Question("header", put(tmp_path, "a.txt", b"no image")))
    with pytest.raises(NoImageError):
        text.to_size()
    cut = inspector.ask_one(Question("header", put(tmp_path, "a.png", saved("PNG")[:20])))
    with pytest.raises(ImageError) as caught:
        cut.to_size()
    assert not isinstance(caught.value, NoImageError)
    assert str(caught.value) == "a PNG that is damaged or cut off"


def test_a_job_that_was_suspended_has_not_waited_so_long_for_its_inspector(
    tmp_path: Path, inspector: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = itertools.count(0, 3600)
    monkeypatch.setattr(time, "monotonic", lambda: next(hours))
    (path,) = draw(tmp_path, "a.png")
    assert inspector.ask_one(Question("header", path)).to_size() == (1, 10)


@pytest.fixture
def killing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder, and let images of some names end, hang or fill new inspectors."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(
        textwrap.dedent(
            """
            import os, signal, sys
            if "kmeans_dask.images.inspector" in sys.orig_argv:
                from kmeans_dask.images import decode, header
                def patched(read):
                    def look(path, *args, **kwargs):
                        if "crash" in path.name:
                            os.kill(os.getpid(), signal.SIGSEGV)
                        if "exit" in path.name:
                            os._exit(7)
                        while "spin" in path.name:
                            pass
                        if "hang" in path.name:
                            signal.pause()
                        if "eat" in path.name:
                            bytearray(1 << 42)
                        return read(path, *args, **kwargs)
                    return look
                decode.decode = patched(decode.decode)
                header.read_header = patched(header.read_header)
            """
        )
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"), prepend=os.pathsep)
    return tmp_path


@pytest.mark.parametrize("task", ["header", "decode"])
def test_who_ends_the_process_is_named_and_the_others_are_looked_at(
    task: module.Task, killing: Path, inspector: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = draw(killing, "a.png", "crash.png", "b.png", "exit.png", "c.png", "eat.png", "d.png")
    asked = [Question(task, path, memory=1 << 32) for path in paths]
    answers = dict(zip(map(os.path.basename, paths), inspector.ask(asked), strict=True))
    assert {name for name, answer in answers.items() if answer.ended} == {
        "crash.png", "exit.png", "eat.png",
    }  # fmt: skip
    assert "SIGSEGV" in (answers["crash.png"].reason or "")
    assert "exit code 7" in (answers["exit.png"].reason or "")
    assert "memory" in (answers["eat.png"].reason or "")
    assert answers["d.png"].size == (7, 10)


def test_who_takes_too_long_is_named(killing: Path, inspector: Inspector, chaos: bool) -> None:
    """Check the limits of elapsed and of processor time, and that a sound image reaches neither."""
    hang, spin, good = draw(killing, "hang.png", "spin.png", "good.png")
    assert "longer than 1 s" in (
        inspector.ask_one(Question("header", hang, seconds=1)).reason or ""
    )
    if chaos:  # this takes 10 s
        assert "10 s of a processor" in (inspector.ask_one(Question("header", spin)).reason or "")
    assert inspector.ask_one(Question("header", good)).size == (3, 10)


def test_killers_are_those_whose_decoding_ends_the_process(killing: Path) -> None:
    module._inspector.close()  # the running inspector was started without the patch
    paths = draw(killing, "a.png", "crash.png")
    paths.append(put(killing, "damaged.png", saved("PNG")[:60]))
    found = find_killers(paths, DecodeSettings())
    module._inspector.close()
    assert list(found) == [paths[1]]


def test_a_process_that_is_killed_from_outside_is_replaced(
    tmp_path: Path, inspector: Inspector
) -> None:
    [path] = draw(tmp_path, "a.png")
    assert inspector.ask_one(Question("header", path)).size
    assert inspector._process
    os.kill(inspector._process.pid, signal.SIGKILL)
    inspector._process.wait()
    assert inspector.ask_one(Question("header", path)).ended
    assert inspector.ask_one(Question("header", path)).size == (1, 10)


def test_answers_that_nobody_waits_for_are_not_taken_for_others(
    tmp_path: Path, inspector: Inspector
) -> None:
    paths = draw(tmp_path, "a.png", "b.png", "c.png")
    asking = inspector.ask([Question("header", path) for path in paths])
    assert next(asking).size == (1, 10)
    asking.close()  # type: ignore[attr-defined]
    assert inspector.ask_one(Question("header", paths[2])).size == (3, 10)


def test_a_question_is_the_same_on_the_other_side() -> None:
    question = Question("header", "s3://b/\udcff.png", 7, 1.5, 9, (b"\0\xff", 4, 5), (3, 4))
    assert Question.from_line(question.to_line()) == question
    assert Question.from_line(Question("decode", "a").to_line()) == Question("decode", "a")


# -- a fuzz target -----------------------------------------------------------------------------


def sentence(answer: Answer) -> None:
    """Check that an answer has a size, or a reason in our own words."""
    if answer.size is None:
        assert answer.reason
        foreign = ("PIL", "cannot identify", "Errno", "error", "object", "argument", "unpack")
        assert not any(word in answer.reason for word in foreign), answer.reason


def test_headers_and_images_made_to_take_time_or_memory_are_bounded(
    tmp_path: Path, inspector: Inspector, chaos: bool
) -> None:
    size = 8_000_000 if chaos else 60_000
    for name, content in files(size):
        path = put(tmp_path, name, content)
        for task in ("header", "decode"):
            answer = inspector.ask_one(Question(task, path, seconds=60, memory=1 << 30))
            sentence(answer)
            assert inspector._process is None or peak(inspector._process.pid) < 1 << 30
        (tmp_path / name).unlink()


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_are_decoded_or_refused_in_words_of_ours(
    kind: str, tmp_path: Path, inspector: Inspector, chaos: bool
) -> None:
    contents = mutations(saved(kind), 2000 if chaos else 40, seed=7)
    paths = [put(tmp_path, f"{number}.img", content) for number, content in enumerate(contents)]
    for task in ("header", "decode"):
        asked = [Question(task, path, 1 << 16, 60, 1 << 30) for path in paths]
        for answer in inspector.ask(asked):
            sentence(answer)


def peak(pid: int) -> int:
    """Return the peak resident size of a process in bytes, or 0 where /proc does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line.split() for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0][1]) << 10 if lines else 0


def test_this_process_reads_no_header_by_itself_when_it_plans(
    killing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kmeans_dask.plan.plan import make_plan

    module._inspector.close()
    draw(killing, "a.png", "crash.png")
    monkeypatch.setattr("kmeans_dask.images.header.read_header", sys.exit)
    monkeypatch.setattr("kmeans_dask.images.decode.decode", decode)
    plan = make_plan([killing])
    module._inspector.close()
    assert [source.kept_as for source in plan.sources] == ["a.png"]
    [failure] = plan.failures
    assert failure.reason == "ends the process that reads its header (SIGSEGV): quarantined"
