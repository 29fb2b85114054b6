"""A store and its images over time: what is there stays, what is not comes, what is gone goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmeans_dask.engine import connect
from kmeans_dask.errors import StoreError, UsageError
from kmeans_dask.files import locks
from kmeans_dask.files.locks import locked
from kmeans_dask.job.progress import Progress
from kmeans_dask.kmeans.histogram import count_colors
from kmeans_dask.plan.changes import grown
from kmeans_dask.plan.plan import Plan, Source, make_plan
from kmeans_dask.settings import DecodeSettings
from kmeans_dask.steps.collection import (
    Collection,
    ingest_and_count,
    is_whole,
    open_collection,
    recreate,
)
from kmeans_dask.store import Store
from kmeans_dask.store.store import PLANS
from tests.command import all_below
from tests.conftest import pixels_of
from tests.steps.strategies import StoppedError, Stopping, ingested, noise, save

SETTINGS = DecodeSettings()


def images_of(store: Store) -> dict[str, np.ndarray[Any, Any]]:
    """Names in the store, and pixels (n, 3)."""
    found = {}
    for partition_id in store.partition_ids:
        for record, pieces in store.partition(partition_id).read_images():
            found[record.path] = np.concatenate([pixels for pixels, _ in pieces])
    return found


def assert_holds(store: Store, folder: Path) -> None:
    """The images of a folder, as they are now, and the total of their colours."""
    store.require_whole()
    expected = {str(path): pixels_of(path) for path in folder.glob("*.png")}
    found = images_of(store)
    assert found.keys() == expected.keys()
    for name, pixels in expected.items():
        np.testing.assert_array_equal(found[name], pixels)
    histogram = count_colors(np.concatenate(list(expected.values())))
    total = store.read_colors()
    np.testing.assert_array_equal(total.codes, histogram.codes)
    np.testing.assert_array_equal(total.weights, histogram.weights)


def inodes_of(store: Store) -> dict[str, int]:
    """That change when a partition is made again."""
    folder = store.path / "partitions"
    return {name: Path(str(folder / name)).stat().st_ino for name in store.committed_partitions}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images, each of which will be a partition."""
    for number in range(4):
        save(tmp_path / "in" / f"{number}.png", noise(number))
    return tmp_path / "in"


def opened(path: Path, folder: Path, *, resume: bool = False) -> Any:
    def plan(known: Mapping[str, Source]) -> Plan:
        return make_plan([folder], partition_pixels=1, known=known)

    return open_collection(path, plan, SETTINGS, resume=resume)


def ingest(path: Path, folder: Path, *, resume: bool = False, steps: int = 0) -> Collection:
    with opened(path, folder, resume=resume) as held, connect(workers=0) as engine:
        ingest_and_count(held, engine, Stopping(steps))
        assert isinstance(held, Collection)
        return held


def add(folder: Path) -> None:
    save(folder / "new.png", noise(7))


def change(folder: Path) -> None:
    save(folder / "1.png", noise(8, (9, 9)))


def remove(folder: Path) -> None:
    (folder / "3.png").unlink()


def all_of_it(folder: Path) -> None:
    for each in (add, change, remove):
        each(folder)


HAPPENINGS = (add, change, remove, all_of_it)


@pytest.mark.parametrize("happen", HAPPENINGS)
def test_a_store_that_grows_holds_what_is_there_and_keeps_what_it_can(
    happen: Callable[[Path], None], folder: Path, tmp_path: Path
) -> None:
    store = ingest(tmp_path / "s", folder).store
    before = inodes_of(store)
    happen(folder)
    held = ingest(tmp_path / "s", folder)
    assert_holds(held.store, folder)
    assert bool(held.changes)
    after = inodes_of(held.store)
    others = {"000001"} if happen in (change, all_of_it) else set()
    others |= {"000003"} if happen in (remove, all_of_it) else set()
    assert before.keys() - after.keys() == others
    assert all(after[name] == before[name] for name in before.keys() - others)


def test_a_store_of_the_same_images_is_left_as_it_is(folder: Path, tmp_path: Path) -> None:
    ingest(tmp_path / "s", folder)

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in all_below(tmp_path / "s") if path.is_file()}

    before = files()
    assert not ingest(tmp_path / "s", folder).changes
    assert files() == before


@pytest.mark.parametrize("happen", [None, *HAPPENINGS])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_an_unfinished_store_is_resumed_on_request(
    steps: int, happen: Callable[[Path], None] | None, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(StoppedError):
        ingest(tmp_path / "s", folder, steps=steps)
    store = Store.open(tmp_path / "s")
    before = inodes_of(store)
    assert len(before) == steps
    if happen:
        happen(folder)
    with pytest.raises(UsageError, match="is unfinished: add --resume"):
        ingest(tmp_path / "s", folder)
    assert inodes_of(store) == before
    held = ingest(tmp_path / "s", folder, resume=True)
    assert_holds(held.store, folder)
    after = inodes_of(held.store)
    assert all(after[name] == before[name] for name in before.keys() & after.keys())
    if not happen:
        assert before.keys() <= after.keys()


@pytest.mark.parametrize("steps", [1, 2])
def test_unfinished_growth_of_a_store_is_resumed(
    steps: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grown, "__kwdefaults__", {"partition_pixels": 1})
    ingest(tmp_path / "s", folder)
    all_of_it(folder)
    with pytest.raises(StoppedError):
        ingest(tmp_path / "s", folder, steps=steps)
    assert not is_whole(Store.open(tmp_path / "s"))
    (folder / "new.png").unlink()
    save(folder / "newer.png", noise(12))
    assert_holds(ingest(tmp_path / "s", folder, resume=True).store, folder)


def test_growth_killed_before_old_partitions_are_removed_does_not_take_them_for_new_ones(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(tmp_path / "s", folder)
    remove(folder)  # the last of the partitions

    def die(_: Store) -> None:
        raise StoppedError

    monkeypatch.setattr(Store, "remove_unplanned", die)
    with pytest.raises(StoppedError):
        ingest(tmp_path / "s", folder)
    monkeypatch.undo()
    add(folder)
    assert_holds(ingest(tmp_path / "s", folder, resume=True).store, folder)


def test_a_damaged_partition_of_an_unfinished_store_is_made_again(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(StoppedError):
        ingest(tmp_path / "s", folder, steps=3)
    chunks = [
        path for path in (tmp_path / "s").glob("partitions/*/pixels/c/**/*") if path.is_file()
    ]
    os.truncate(chunks[0], 20)
    (tmp_path / "s" / "partitions" / "000001" / "seal.json").unlink()
    assert_holds(ingest(tmp_path / "s", folder, resume=True).store, folder)


# -- passing stores ---------------------------------------------------------------------------


def test_a_passing_store_of_the_same_images_is_kept(folder: Path, tmp_path: Path) -> None:
    plan = make_plan([folder], partition_pixels=1)
    store = ingest(tmp_path / "s", folder).store
    before = inodes_of(store)
    held = recreate(tmp_path / "s", plan, SETTINGS)
    assert inodes_of(held.store) == before
    assert is_whole(held.store)


@pytest.mark.parametrize("damage", ["zarr.json", "seal.json"])
def test_a_passing_store_that_is_damaged_is_made_anew(
    damage: str, folder: Path, tmp_path: Path
) -> None:
    plan = make_plan([folder], partition_pixels=1)
    ingest(tmp_path / "s", folder)
    os.truncate(tmp_path / "s" / damage, 10)
    held = recreate(tmp_path / "s", plan, SETTINGS)
    assert held.store.committed_partitions == []
    with connect(workers=0) as engine:
        assert_holds(ingest_and_count(held, engine, Progress()).store, folder)


def test_a_passing_store_of_other_images_is_made_anew(folder: Path, tmp_path: Path) -> None:
    ingest(tmp_path / "s", folder)
    add(folder)
    plan = make_plan([folder], partition_pixels=1)
    assert recreate(tmp_path / "s", plan, SETTINGS).store.committed_partitions == []


# -- what is refused --------------------------------------------------------------------------


def test_a_store_of_other_settings_is_refused_with_what_differs(
    folder: Path, tmp_path: Path
) -> None:
    ingested([folder], tmp_path / "s")
    before = all_below(tmp_path)
    with (
        pytest.raises(UsageError, match="with keep metadata False, now it is True"),
        open_collection(
            tmp_path / "s",
            lambda _: make_plan([folder]),
            DecodeSettings(keep_metadata=True),
            resume=True,
        ),
    ):
        pytest.fail("it was opened")
    assert set(all_below(tmp_path)) - {tmp_path / "s" / ".lock"} == set(before)


@pytest.mark.parametrize("name", ["s", "deep/er/s"])
def test_a_store_that_is_refused_at_last_leaves_nothing_behind(
    name: str, folder: Path, tmp_path: Path
) -> None:
    before = all_below(tmp_path)
    with pytest.raises(UsageError, match="at last"), opened(tmp_path / name, folder):
        raise UsageError("at last")
    assert all_below(tmp_path) == before


def test_a_store_that_is_refused_leaves_an_empty_folder_empty(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    before = all_below(tmp_path)
    with pytest.raises(UsageError, match="at last"), opened(tmp_path / "s", folder):
        raise UsageError("at last")
    assert all_below(tmp_path) == before


def test_a_damaged_store_is_an_error_that_removes_nothing(folder: Path, tmp_path: Path) -> None:
    ingest(tmp_path / "s", folder)
    for name in PLANS:
        os.truncate(tmp_path / "s" / name, 10)
    before = all_below(tmp_path)
    with pytest.raises(StoreError, match="damaged"), opened(tmp_path / "s", folder, resume=True):
        pytest.fail("it was opened")
    assert all_below(tmp_path) == before


def test_a_store_that_another_run_began_at_the_same_time_is_left_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "s" / "zarr.json"

    @contextmanager
    def late(path: Path, what: str) -> Iterator[None]:
        """As if the other run had come between our looking and our locking."""
        with locked(path, what):  # another description of the file: it counts as another run's
            theirs.write_text("theirs")
            with locked(path, what):
                yield

    monkeypatch.setattr(locks, "locked", late)
    with pytest.raises(UsageError, match="another run is using"), opened(tmp_path / "s", folder):
        pytest.fail("two are at work")
    assert theirs.read_text() == "theirs"
