"""Files that are whole or not there, that show damage, and that one run holds."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.errors import UsageError
from kmeans_dask.storage import files
from kmeans_dask.storage.files import DamagedError, read_sealed, write_file, write_sealed
from kmeans_dask.storage.locks import locked
from tests.pipeline.strategies import files_in

# -- whole files ------------------------------------------------------------------------------


def test_a_file_is_written_with_its_folders_and_in_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.bin"
    for data in (b"first and longer", b"second"):
        write_file(path, data)
        assert files_in(tmp_path) == {"a/b/c.bin": data}


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_file_that_cannot_be_written_leaves_what_was_there_and_nothing_else(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    write_file(path, b"before")

    def half(aside: Path, *_: object) -> None:
        with aside.open("ab") as file:
            file.write(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, step, half)
    with pytest.raises(OSError, match="no space left"):
        write_file(path, b"after")
    monkeypatch.undo()
    assert files_in(tmp_path) == {"a.bin": b"before"}


def test_a_folder_in_the_way_is_an_error_that_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.bin" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"a\.bin"):
        write_file(tmp_path / "a.bin", b"data")
    assert files_in(tmp_path) == {}


def test_a_file_is_whole_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    replacing = Path.replace

    def watch(aside: Path, target: Path) -> Path:
        seen.append((target.exists(), aside.read_bytes(), aside.parent == target.parent))
        return replacing(aside, target)

    monkeypatch.setattr(Path, "replace", watch)
    write_file(tmp_path / "a.bin", b"all of it")
    assert seen == [(False, b"all of it", True)]


def test_a_passing_file_may_be_kept_elsewhere_until_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    replacing = Path.replace

    def watch(passing: Path, target: Path) -> Path:
        seen.append(passing.parent)
        return replacing(passing, target)

    monkeypatch.setattr(Path, "replace", watch)
    write_file(tmp_path / "out" / "a.bin", b"all of it", tmp_path / "aside")
    assert seen == [tmp_path / "aside"]
    assert files_in(tmp_path) == {"out/a.bin": b"all of it"}


# -- sealed files -----------------------------------------------------------------------------

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None, exclude_categories=()), max_size=9),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3), inside),
    max_leaves=6,
)


@contextmanager
def sealed(value: Any) -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        write_sealed(path, value)
        yield path


@given(VALUES)
@settings(deadline=None)
def test_what_was_sealed_comes_back(value: Any) -> None:
    with sealed(value) as path:
        assert read_sealed(path) == value
        assert [each.name for each in path.parent.iterdir()] == ["a.json"]


@given(VALUES, st.data())
@settings(deadline=None)
def test_any_byte_of_a_sealed_file_that_changes_is_noticed(value: Any, data: st.DataObject) -> None:
    with sealed(value) as path:
        content = path.read_bytes()
        place = data.draw(st.integers(0, len(content) - 1))
        changed = bytearray(content)
        changed[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(changed)
        with pytest.raises(DamagedError):
            read_sealed(path)


@given(VALUES, st.data())
@settings(deadline=None)
def test_a_sealed_file_that_is_cut_or_goes_on_is_noticed(value: Any, data: st.DataObject) -> None:
    with sealed(value) as path:
        content = path.read_bytes()
        length = data.draw(st.integers(0, len(content) - 1))
        more = data.draw(st.binary(min_size=1, max_size=70))
        for damaged in (content[:length], content + more, more + content):
            path.write_bytes(damaged)
            with pytest.raises(DamagedError):
                read_sealed(path)


def test_a_sealed_file_that_is_not_there_or_too_large_is_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError):
        read_sealed(tmp_path / "a.json")
    write_sealed(tmp_path / "a.json", list(range(100)))
    size = (tmp_path / "a.json").stat().st_size
    monkeypatch.setattr(files, "_MAX_BYTES", size)
    assert read_sealed(tmp_path / "a.json") == list(range(100))
    monkeypatch.setattr(files, "_MAX_BYTES", size - 1)
    with pytest.raises(DamagedError, match="too large"):
        read_sealed(tmp_path / "a.json")


def test_what_could_not_be_read_again_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, value = tmp_path / "a.json", list(range(100))
    write_sealed(path, value)
    monkeypatch.setattr(files, "_MAX_BYTES", path.stat().st_size)
    write_sealed(path, value)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"361 bytes, .* at most 356 .*: name fewer images"):
        write_sealed(path, [*value, 1000])
    assert files_in(tmp_path) == {"a.json": before}


# -- locks ------------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from kmeans_dask.errors import UsageError
from kmeans_dask.storage.locks import locked

try:
    with locked(Path(sys.argv[1]), "photos", shared=sys.argv[2] == "shared"):
        print("held", flush=True)
        sys.stdin.readline()
except UsageError as error:
    print(error, flush=True)
"""


class Holder:
    """Another process that holds a lock, or was refused, as `said` tells."""

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, path, "shared" if shared else "alone"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert select.select([self.process.stdout], [], [], 60)[0]
        self.said = self.process.stdout.readline().strip()

    def end(self, how: signal.Signals | None = None) -> None:
        """Let go, by itself or by a signal."""
        if how:
            self.process.send_signal(how)
        self.process.communicate(timeout=60)


Hold = Callable[..., Holder]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Starts holders; they end with the test."""
    holders: list[Holder] = []

    def start(path: Path, *, shared: bool = False) -> Holder:
        holders.append(Holder(path, shared=shared))
        return holders[-1]

    yield start
    for holder in holders:
        holder.end(signal.SIGKILL)


REFUSED = "another run is at work on photos: wait for its end, or stop it"


@pytest.mark.parametrize("first", [False, True], ids=["alone", "shared"])
@pytest.mark.parametrize("second", [False, True], ids=["alone", "shared"])
def test_two_processes_hold_a_lock_only_where_both_share_it(
    first: bool, second: bool, tmp_path: Path, hold: Hold
) -> None:
    assert hold(tmp_path / "lock", shared=first).said == "held"
    assert hold(tmp_path / "lock", shared=second).said == ("held" if first and second else REFUSED)


def test_who_is_refused_takes_nothing_from_the_holder(tmp_path: Path, hold: Hold) -> None:
    holder = hold(tmp_path / "lock")
    for _ in range(2):
        with pytest.raises(UsageError, match=REFUSED), locked(tmp_path / "lock", "photos"):
            pytest.fail("two hold it")
    assert holder.said == "held"
    assert (tmp_path / "lock").exists()


@pytest.mark.parametrize("how", [None, signal.SIGTERM, signal.SIGKILL])
def test_a_lock_is_free_again_however_its_holder_ends(
    how: signal.Signals | None, tmp_path: Path, hold: Hold
) -> None:
    holder = hold(tmp_path / "lock")
    assert holder.said == "held"
    holder.end(how)
    assert hold(tmp_path / "lock").said == "held"


def test_a_lock_is_free_again_after_an_error_in_its_block(tmp_path: Path, hold: Hold) -> None:
    with pytest.raises(RuntimeError, match="half-way"), locked(tmp_path / "lock", "photos"):
        raise RuntimeError("half-way")
    assert hold(tmp_path / "lock").said == "held"


def test_a_lock_whose_file_was_removed_between_opening_and_holding_it_is_taken_on_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hold: Hold
) -> None:
    path = tmp_path / "lock"
    path.touch()
    locking, seen = fcntl.flock, list[int]()

    def flock(file: int, how: int) -> None:
        if not seen:  # who held it ends, and removes it
            path.unlink()
        seen.append(os.fstat(file).st_nlink)
        locking(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(path, "photos"):
        assert seen == [0, 1]
        assert hold(path).said == REFUSED


def test_a_lock_that_goes_with_its_folder_does_not_keep_others_from_a_new_one(
    tmp_path: Path, hold: Hold
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with locked(folder / "lock", "photos"):
        shutil.rmtree(folder)
        folder.mkdir()
        assert hold(folder / "lock").said == "held"
