"""All workers must see the same files under the same paths."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from kmeans_dask.engine import connect
from kmeans_dask.engine.admission import Admission, admit
from kmeans_dask.engine.shared_files import look, open_sight, unseen
from kmeans_dask.errors import ClusterError
from kmeans_dask.job.work_folder import open_work_folder
from kmeans_dask.store import Store
from tests.clusters.processes import Cluster, refused, run, until
from tests.clusters.tasks import hold, leave
from tests.command import all_below, run_here

_CAN = (
    shutil.which("unshare")
    and not subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode
)
needs_namespaces = pytest.mark.skipif(not _CAN, reason="needs root and unshare(1)")


def hiding(*mounts: str) -> list[str]:
    """What starts a process that sees other mounts than the rest of us."""
    script = " && ".join([*mounts, 'exec "$@"'])
    return ["unshare", "--mount", "sh", "-c", script, "sh"]


def emptied(folder: Path) -> str:
    return f"mount -t tmpfs none {shlex.quote(str(folder))}"


@pytest.fixture
def place(tmp_path: Path, photos: Path) -> Path:
    """A folder with images in `in`, and one for what is made."""
    shutil.copytree(photos, tmp_path / "place" / "in")
    (tmp_path / "place" / "made").mkdir()
    return tmp_path / "place"


@needs_namespaces
def test_a_worker_that_does_not_see_the_input_is_named(lonely: Cluster, place: Path) -> None:
    lonely.start_worker()
    lonely.start_worker(prefix=hiding(emptied(place / "in")))
    out = place / "made" / "out"
    said = refused("compress", place / "in", out, "--scheduler", lonely.address)
    assert f"({socket.gethostname()}) does not see {place}/in/" in said
    assert "No such file or directory" in said
    assert all_below(place / "made") == []


@needs_namespaces
def test_a_worker_that_does_not_see_what_is_made_is_named(lonely: Cluster, place: Path) -> None:
    lonely.start_worker(prefix=hiding(emptied(place / "made")))
    scheduler = ("--scheduler", lonely.address)
    said = refused("compress", place / "in", place / "made" / "out", *scheduler)
    assert f"does not see {place}/made/out/.kmeans-dask (No such file" in said
    said = refused("ingest", place / "in", place / "made" / "a.zarr", *scheduler)
    assert f"does not see {place}/made/a.zarr (No such file" in said
    assert all_below(place / "made") == []


@needs_namespaces
def test_other_commands_look_as_well(
    lonely: Cluster, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    store = place / "made" / "a.zarr"
    run("ingest", place / "in", store, "--workers", "0")
    run("fit", store, "--colors", "4", "--workers", "0")
    before = all_below(store)
    lonely.start_worker(prefix=hiding(emptied(place)))
    for words in (
        ["fit", store],
        ["encode", store, place / "out"],
        ["tokenize", store],
        ["verify", store],
        ["verify", store, "--repair"],
        ["tokenize", place / "in", place / "tokens.zarr"],
        ["sweep", place / "in", "--colors", "4"],
        ["estimate", place / "in"],
    ):
        assert f"does not see {place}" in refused(*words, "--scheduler", lonely.address), words
    assert all_below(store) == before
    assert {path.name for path in place.iterdir()} == {"in", "made"}


@needs_namespaces
def test_a_worker_that_may_not_write_is_named(lonely: Cluster, place: Path) -> None:
    made = shlex.quote(str(place / "made"))
    lonely.start_worker(
        prefix=hiding(f"mount --bind {made} {made}", f"mount -o remount,bind,ro {made}")
    )
    said = refused("compress", place / "in", place / "made" / "out", "--scheduler", lonely.address)
    assert f"cannot write to {place}/made/out/.kmeans-dask (Read-only" in said
    assert all_below(place / "made") == []


@needs_namespaces
def test_a_worker_that_joins_late_and_does_not_see_the_files_does_nothing(
    lonely: Cluster, place: Path, tmp_path: Path
) -> None:
    lonely.start_worker()
    gate, trace = tmp_path / "gate", tmp_path / "trace"
    with connect(scheduler=lonely.address, timeout=30) as engine:
        with engine.sharing([place / "made"]):
            held = engine.submit("hold", hold, str(gate))
            until(lambda: gate.with_suffix(".held").exists(), "a task at work")
            lonely.start_worker(prefix=hiding(emptied(place / "made")))
            late = engine.submit("leave", leave, str(trace))
            with pytest.raises(ClusterError, match=r"which joined late, does not see .*made"):
                engine.result(late)
            gate.touch()
            assert engine.result(held) == str(gate)
        assert all_below(place / "made") == []
    assert not trace.exists()


def test_shared_files_are_checked_in_both_directions(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"four")
    with open_sight([tmp_path], [(str(file), 4)]) as sight:
        assert sight.missing() is None
        admit(Admission((), sight))
        missing, written = look(sight)
        assert (missing, len(written)) == (None, 1)
        assert unseen(written) is None
        Path(written[0]).unlink()  # as where it is written to a disk of its own
        assert unseen(written) == str(tmp_path)
        file.write_bytes(b"three")
        assert "with 5 bytes, not 4" in str(sight.missing())
        (tmp_path / Path(sight.folders[0]).name / "token").write_text("another")
        file.write_bytes(b"four")
        assert sight.missing() == f"sees another folder as {tmp_path}"
    assert all_below(tmp_path) == [file]


def test_a_file_that_has_changed_is_no_workers_fault(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"four")
    with open_sight([], [(str(file), 3), (str(tmp_path / "gone"), 1)]) as sight:
        assert sight.files == ()


def test_probe_files_survive_cleanup_of_a_store_and_an_output(photos: Path, tmp_path: Path) -> None:
    run_here("ingest", photos, tmp_path / "a.zarr", "--workers", "0")
    store = Store.open(tmp_path / "a.zarr")
    with (
        open_work_folder(tmp_path / "out", {}, resume=False, overwrite=False) as work,
        open_sight([store.path, work.path], []) as sight,
    ):
        store.remove_unplanned()
        work.begin()
        assert sight.missing() is None
