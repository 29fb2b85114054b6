"""Names of objects, and objects, beside what pathlib has for files."""

from __future__ import annotations

import pickle
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from obstore.store import MemoryStore

from kmeans_dask.files import (
    Location,
    ObjectPath,
    is_within,
    object_client,
    object_path,
    parse_location,
)
from kmeans_dask.files.atomic_files import (
    bytes_below,
    clear,
    copy_folder,
    folders_in,
    names_in,
    remove,
)
from tests.files.server import Bucket

NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=("Cs", "Cc")), min_size=1, max_size=6
).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
ODD = ["a#b.png", "a%20b.png", "a%b", "ü x.png", "e\u0301", "a+b", "a?b", "a*b", "a\\b", "a~|b",
       "{a}[1]", "a'\"b", "a:b", "<a>&.png", " a", "a ", "…"]  # fmt: skip


# -- names ------------------------------------------------------------------------------------


@given(PATHS, NAMES)
def test_names_are_as_pathlib_has_them(path: str, name: str) -> None:
    here, there = PurePosixPath("/b", path), ObjectPath(f"s3://b/{path}")
    for ours, theirs in ((there, here), (there / name, here / name)):
        assert str(ours) == f"s3:/{theirs}"
        assert (ours.name, ours.stem, ours.suffix) == (theirs.name, theirs.stem, theirs.suffix)
        assert str(ours.parent) == f"s3:/{theirs.parent}"
        assert [str(each) for each in ours.parents] == [f"s3:/{p}" for p in theirs.parents][:-1]
        assert str(ours.with_name("x.y")) == f"s3:/{theirs.with_name('x.y')}"
        assert str(ours.with_suffix(".y")) == f"s3:/{theirs.with_suffix('.y')}"
    assert (there / path / name).relative_to(there) == PurePosixPath(path, name)
    assert pickle.loads(pickle.dumps(there)) == there
    assert parse_location(str(there)) == there
    assert hash(ObjectPath(str(there))) == hash(there)
    assert is_within(there / name, there)
    assert not is_within(there, there / name)


def test_no_name_leads_out_of_its_place() -> None:
    for name in ("../a", "/a", "b/../../a"):
        with pytest.raises(ValueError, match="no name below"):
            ObjectPath("s3://b/x") / name
    with pytest.raises(ValueError, match="is not below"):
        ObjectPath("s3://b/xy").relative_to(ObjectPath("s3://b/x"))


# -- objects, beside files --------------------------------------------------------------------


class ObjectsBesideFiles(RuleBasedStateMachine):
    """Whatever is written and removed, both hold the same.

    Names end differently for folders, as no file system has a file and a folder of one name.
    """

    folders = st.lists(st.sampled_from("AB"), max_size=2).map("/".join)
    names = st.sampled_from(["a", "ä b", "c#d"])

    def __init__(self) -> None:
        super().__init__()
        self.files = Path(tempfile.mkdtemp())
        object_client._clients["s3://beside"] = MemoryStore()
        self.objects = ObjectPath("s3://beside/in")

    def teardown(self) -> None:
        shutil.rmtree(self.files)
        del object_client._clients["s3://beside"]

    def both(self, *parts: str) -> tuple[Path, ObjectPath]:
        path = PurePosixPath(*parts)
        return self.files / path, self.objects / path

    def alike(self, path: tuple[Path, ObjectPath], ask: Callable[[Location], object]) -> None:
        """They answer the same, or raise the same."""
        answers: list[object] = []
        for place in path:
            try:
                answers.append(ask(place))
            except OSError as error:
                answers.append(type(error))
        assert answers[0] == answers[1]

    @rule(folder=folders, name=names, data=st.binary(max_size=20))
    def write(self, folder: str, name: str, data: bytes) -> None:
        file, there = self.both(folder, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        assert file.write_bytes(data) == there.write_bytes(data)

    @rule(folder=folders, name=names, missing_ok=st.booleans())
    def unlink(self, folder: str, name: str, missing_ok: bool) -> None:
        self.alike(self.both(folder, name), lambda place: place.unlink(missing_ok=missing_ok))

    @rule(folder=folders)
    def remove(self, folder: str) -> None:
        if folder:
            for place in self.both(folder):
                remove(place)

    @rule(folder=folders)
    def clear(self, folder: str) -> None:
        for place in self.both(folder):
            if place.is_dir():
                clear(place, "a")

    @rule(folder=st.sampled_from(["A", "B", "A/B"]))
    def copy(self, folder: str) -> None:
        if not self.has_files(self.files / folder):
            return
        roots: tuple[Path, ObjectPath] = (self.files, self.objects)
        for root in roots:
            remove(root / "copy")
            copy_folder(root / folder, root / "copy", "a")

    @rule(folder=folders, name=names)
    def look(self, folder: str, name: str) -> None:
        path = self.both(folder, name)
        self.alike(path, lambda place: place.read_bytes())
        self.alike(path, lambda place: place.is_file())
        self.alike(path, lambda place: place.exists())
        self.alike(path, lambda place: place.stat().st_size)

    @staticmethod
    def has_files(folder: Path) -> bool:
        return any(path.is_file() for path in folder.rglob("*"))

    @invariant()
    def holds_the_same(self) -> None:
        files = {
            str(path.relative_to(self.files)): path.read_bytes()
            for path in self.files.rglob("*")
            if path.is_file()
        }
        objects = {
            str(path.relative_to(self.objects)): path.read_bytes() for path in self.objects.walk()
        }
        assert objects == files
        assert self.objects.is_dir() == bool(files)
        assert bytes_below(self.objects) == sum(map(len, files.values()))
        named = {
            path.name for path in self.files.iterdir() if path.is_file() or self.has_files(path)
        }
        assert names_in(self.objects) == named
        inside = [path.name for path in sorted(self.files.iterdir()) if self.has_files(path)]
        assert [path.name for path in folders_in(self.objects)] == inside


TestObjectsBesideFiles = ObjectsBesideFiles.TestCase


def test_reading_at_most(memory: ObjectPath) -> None:
    (memory / "a").write_bytes(b"12345")
    assert (memory / "a").read_at_most(5) == b"12345"
    assert (memory / "a").read_at_most(4) is None


def test_only_one_creates_and_only_who_has_seen_it_exchanges(memory: ObjectPath) -> None:
    path = memory / "lock"
    first = path.create(b"1")
    with pytest.raises(FileExistsError):
        path.create(b"2")
    second = path.exchange(b"2", first)
    with pytest.raises(FileExistsError):
        path.exchange(b"3", first)
    assert path.tagged()[::2] == (second, b"2")


# -- a server ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD)
def test_any_name_is_read_as_it_is_there_and_written_as_it_is_here(
    name: str, bucket: Bucket
) -> None:
    bucket.put(f"in/{name}", name.encode())
    [found] = ObjectPath(bucket.url("in")).walk()
    assert found.name == name
    assert found.read_bytes() == (ObjectPath(bucket.url("in")) / name).read_bytes() == name.encode()
    (ObjectPath(bucket.url("out")) / name).write_bytes(b"x")
    assert bucket.keys("out") == [f"out/{name}"]


def test_what_stands_for_an_empty_folder_is_no_object(bucket: Bucket) -> None:
    bucket.put("in/empty/", b"")
    bucket.put("in/nothing.png", b"")
    assert [path.name for path in ObjectPath(bucket.url("in")).walk()] == ["nothing.png"]


def test_what_is_large_is_sent_in_parts(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_path, "_MAX_PUT", 1 << 20)
    data = bytes(range(256)) * (12 << 12)
    ObjectPath(bucket.url("a")).write_bytes(data)
    assert bucket.get("a") == data


def test_thousands_are_removed(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_path, "_DELETE_BATCH", 7)
    for number in range(20):
        bucket.put(f"in/{number}", b"")
    bucket.put("inside", b"")
    remove(ObjectPath(bucket.url("in")))
    assert bucket.keys() == ["inside"]
