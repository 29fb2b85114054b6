"""Files that are whole or not there, that show damage, and that one run holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.errors import UsageError
from kmeans_dask.files.atomic_files import read_sealed, remove, write_file, write_sealed
from kmeans_dask.files.documents import DamagedError, Form
from tests.steps.strategies import files_in

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
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters() | st.sampled_from("\uffff\udc80\udcff\\"), max_size=9),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3), inside),
    max_leaves=6,
)


ANY: Form[Any] = Form(object, 1 << 20)


@contextmanager
def sealed(value: Any) -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        write_sealed(path, value, ANY)
        yield path


@given(VALUES)
@settings(deadline=None)
def test_what_was_sealed_comes_back(value: Any) -> None:
    with sealed(value) as path:
        assert read_sealed(path, ANY) == value
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
            read_sealed(path, ANY)


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
                read_sealed(path, ANY)


def test_a_sealed_file_that_is_not_there_or_too_large_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_sealed(tmp_path / "a.json", ANY)
    write_sealed(tmp_path / "a.json", list(range(100)), ANY)
    size = (tmp_path / "a.json").stat().st_size
    assert read_sealed(tmp_path / "a.json", Form(list[int], size)) == list(range(100))
    with pytest.raises(DamagedError, match="too large"):
        read_sealed(tmp_path / "a.json", Form(list[int], size - 1))


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    path, value = tmp_path / "a.json", list(range(100))
    write_sealed(path, value, ANY)
    form = Form(list[int], path.stat().st_size)
    write_sealed(path, value, form)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"361 bytes, .* at most 356 .*: name fewer images"):
        write_sealed(path, [*value, 1000], form)
    assert files_in(tmp_path) == {"a.json": before}


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("1")
    for target in ("folder", "folder/a", "nowhere"):
        (tmp_path / "link").symlink_to(tmp_path / target)
        remove(tmp_path / "link")
        assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "a").read_text() == "1"
    remove(tmp_path / "folder")
    assert not list(tmp_path.iterdir())
