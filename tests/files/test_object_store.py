"""Names of objects, and objects, beside what pathlib has for files."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from obstore.store import MemoryStore

from kmeans_dask.errors import UnreachableError, UsageError
from kmeans_dask.files import Location, ObjectPath, is_within, object_store, parse_location
from kmeans_dask.files.atomic_files import (
    bytes_below,
    clear,
    copy_folder,
    folders_in,
    names_in,
    remove,
)
from tests.files.server import KEY, SECRET, Between, Bucket, Server

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


@pytest.mark.parametrize("text", ["a/b.png", "/a/b.png", "./a", "a:/b", "a/s3://b", "C:\\a"])
def test_what_is_no_url_is_a_path(text: str) -> None:
    assert parse_location(text) == Path(text)


@pytest.mark.parametrize("text", ["file:///a%20b/c", "file://localhost/a%20b/c"])
def test_a_url_of_a_file_is_a_path(text: str) -> None:
    assert parse_location(text) == Path("/a b/c")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("s3://", "names no bucket"),
        ("s3:///a", "names no bucket"),
        ("s3://me:hush@bucket/a", "credentials and addresses belong into the environment"),
        ("s3://127.0.0.1:9000/bucket", "credentials and addresses belong into the environment"),
        ("s3://b/../a", "has . or .. in it"),
        ("s3://b/a/./c", "has . or .. in it"),
        ("file://other/a", "on another machine"),
        ("http://a/b", "s3://, gs://, az://, file://"),
        ("ftp://a/b", "cannot be read"),
    ],
)
def test_urls_that_nobody_can_read_are_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        parse_location(text)
    assert "hush" not in str(caught.value)


def test_no_name_leads_out_of_its_place() -> None:
    for name in ("../a", "/a", "b/../../a"):
        with pytest.raises(ValueError, match="no name below"):
            ObjectPath("s3://b/x") / name
    with pytest.raises(ValueError, match="is not below"):
        ObjectPath("s3://b/xy").relative_to(ObjectPath("s3://b/x"))


# -- objects, beside files ----------------------------------------------------------------------


class ObjectsBesideFiles(RuleBasedStateMachine):
    """Whatever is written and removed, both hold the same.

    Names end differently for folders, as no file system has a file and a folder of one name.
    """

    folders = st.lists(st.sampled_from("AB"), max_size=2).map("/".join)
    names = st.sampled_from(["a", "ä b", "c#d"])

    def __init__(self) -> None:
        super().__init__()
        self.files = Path(tempfile.mkdtemp())
        object_store._opened["s3://beside"] = MemoryStore()
        self.objects = ObjectPath("s3://beside/in")

    def teardown(self) -> None:
        shutil.rmtree(self.files)
        del object_store._opened["s3://beside"]

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


@given(
    st.binary(max_size=300),
    st.lists(
        st.tuples(st.integers(-350, 350), st.sampled_from([0, 1, 2]), st.integers(-1, 350)),
        max_size=8,
    ),
)
def test_an_object_is_read_as_a_file_is(data: bytes, steps: list[tuple[int, int, int]]) -> None:
    object_store._opened["s3://read"] = MemoryStore()
    path = ObjectPath("s3://read/a")
    path.write_bytes(data)
    [listed] = path.parent.walk()
    for file in (path.open(), listed.open(), listed.with_head().open()):
        beside = io.BytesIO(data)
        for offset, whence, size in steps:
            if whence or offset >= 0:
                try:
                    expected = beside.seek(offset, whence)
                except (ValueError, OSError):
                    continue
                assert file.seek(offset, whence) == expected
            assert file.read(size) == beside.read(size)


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


# -- a server -----------------------------------------------------------------------------------


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


@pytest.mark.parametrize("name", ["a//b", "./b", "../b", "a\tb"])
def test_a_name_that_cannot_be_read_is_said(name: str, bucket: Bucket) -> None:
    bucket.put(f"in/{name}", b"")
    with pytest.raises(UsageError, match="has an object whose name cannot be read, 'in/"):
        list(ObjectPath(bucket.url("in")).walk())


def test_a_name_that_no_object_can_have(memory: ObjectPath) -> None:
    with pytest.raises(OSError, match="no object can have such a name"):
        (memory / "a\tb").write_bytes(b"")


def test_what_stands_for_an_empty_folder_is_no_object(bucket: Bucket) -> None:
    bucket.put("in/empty/", b"")
    bucket.put("in/nothing.png", b"")
    assert [path.name for path in ObjectPath(bucket.url("in")).walk()] == ["nothing.png"]


def test_a_change_within_a_second_is_seen(bucket: Bucket) -> None:
    path = ObjectPath(bucket.url("a"))
    seen = set()
    for data in (b"1", b"2", b"3"):
        path.write_bytes(data)
        [listed] = path.parent.walk()
        assert listed.stat() == path.stat()
        seen.add(path.stat().st_mtime_ns)
    assert len(seen) == 3


def test_what_is_large_is_sent_in_parts(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "_WHOLE", 1 << 20)
    data = bytes(range(256)) * (12 << 12)
    ObjectPath(bucket.url("a")).write_bytes(data)
    assert bucket.get("a") == data


def test_thousands_are_removed(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "_DELETED", 7)
    for number in range(20):
        bucket.put(f"in/{number}", b"")
    bucket.put("inside", b"")
    remove(ObjectPath(bucket.url("in")))
    assert bucket.keys() == ["inside"]


def test_what_the_environment_says_now_counts(
    bucket: Bucket, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("a", b"1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    elsewhere = object_store._bucket(f"s3://{bucket.name}")
    assert object_store._bucket(f"s3://{bucket.name}") is elsewhere
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    assert object_store._bucket(f"s3://{bucket.name}") is not elsewhere
    assert ObjectPath(bucket.url("a")).read_bytes() == b"1"


def test_a_bucket_that_is_not_there(bucket: Bucket) -> None:
    assert bucket.keys() == []
    missing = ObjectPath("s3://nobody-has-made-it/a")
    with pytest.raises(UsageError, match="s3://nobody-has-made-it does not exist: make the bucket"):
        list(missing.walk())
    with pytest.raises(UsageError, match="make the bucket first"):
        missing.write_bytes(b"")


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_are_refused(
    status: int, server: Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Between(server, before=lambda request: status).open() as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.url)
        path = ObjectPath(bucket.url("a"))
        for ask in (path.stat, lambda: list(path.walk()), lambda: path.write_bytes(b"")):
            with pytest.raises((PermissionError, UnreachableError)) as caught:
                ask()
            assert str(path) in str(caught.value)
            assert SECRET not in str(caught.value)


def test_it_is_said_that_obstore_is_missing() -> None:
    code = (
        "import sys; sys.modules['obstore'] = sys.modules['obstore.store'] = None\n"
        "from kmeans_dask import cli; cli.main(['compress', 's3://b/in', 'out'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == (
        "kmeans-dask: s3://b needs obstore: pip install 'kmeans-dask[cloud]', here and on all "
        "workers\n"
    )


def test_files_need_no_obstore() -> None:
    code = (
        "import sys, kmeans_dask.cli.compress; assert not {'obstore', 'boto3'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("gs://photos", {"GOOGLE_SKIP_SIGNATURE": "true"}),
        ("az://photos", {"AZURE_STORAGE_ACCOUNT_NAME": "us", "AZURE_STORAGE_ACCOUNT_KEY": "aGk="}),
    ],
)
def test_what_environments_of_others_say_is_enough(
    url: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asked of a server."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert type(object_store._bucket(url)).__name__ in ("GCSStore", "AzureStore")


def test_files_of_credentials_are_read(tmp_path: Path, server: Server) -> None:
    """As the tools of Amazon write them, in a process that has nothing of it in its environment."""
    bucket = server.bucket("of-a-profile")
    bucket.put("a", b"1")
    (tmp_path / "credentials").write_text(
        f"[me]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    (tmp_path / "config").write_text("[profile me]\nregion = us-east-1\n")
    code = (
        "from kmeans_dask.files import ObjectPath; "
        "print(ObjectPath('s3://of-a-profile/a').read_bytes())"
    )
    files = {
        "AWS_PROFILE": "me",
        "AWS_ENDPOINT_URL": server.url,
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
    }
    rest = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=rest | files, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "b'1'\n", done.stderr
