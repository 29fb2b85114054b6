"""What a collection's changes are, and the plan that goes on from there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.plan.changes import Changes, compare, grown
from kmeans_dask.plan.plan import Plan, Source, cut, make_plan, numbered
from kmeans_dask.store.records import PLAN, Failure
from tests.steps.strategies import noise, save

FOLDERS = ("/a", "/b")


def image(path: str, version: int = 0, n_pixels: int = 1, digest: str | None = None) -> Source:
    """Versions differ in size, time or both."""
    name = path.removeprefix("/").replace("/", " ")
    return Source(path, f"{name}.gif", name, 10 + version // 2, version, n_pixels, 14, digest)


def plan_of(
    images: Iterable[Source],
    inputs: Sequence[str] = FOLDERS,
    size: int = 3,
    failures: Iterable[Failure] = (),
) -> Plan:
    partitions = numbered(cut(list(images), size))
    return Plan(tuple(inputs), partitions, tuple(failures), {}, first_free=len(partitions))


def moved_on(before: Plan, now: Plan, size: int = 3) -> Plan:
    """The next plan of a store, as `open_or_create` makes it."""
    changes = compare(before, now)
    return grown(before, replace(now, partition_pixels=size), changes) if changes else before


@st.composite
def searches(draw: st.DrawFn) -> tuple[Plan, frozenset[Source]]:
    """A plan of one or both folders, as they are at some time; and all images that are there."""
    versions = draw(
        st.dictionaries(
            st.tuples(st.sampled_from(FOLDERS), st.integers(0, 5)), st.integers(0, 2), min_size=1
        )
    )
    there = [image(f"{folder}/{n}", version) for (folder, n), version in versions.items()]
    inputs = draw(st.sampled_from([FOLDERS, FOLDERS[:1], FOLDERS[1:]]))
    found = [each for each in there if each.path.startswith(tuple(inputs))]
    if not found:  # an empty search is an error
        inputs, found = FOLDERS, there
    return plan_of(draw(st.permutations(found)), inputs), frozenset(there)


def at(sources: Iterable[Source], inputs: Sequence[str]) -> set[Source]:
    return {each for each in sources if each.path.startswith(tuple(inputs))}


@given(searches(), searches(), st.integers(1, 4))
@settings(deadline=None, max_examples=300)
def test_a_grown_plan_has_the_images_found_now_and_those_of_inputs_not_searched_again(
    before: tuple[Plan, frozenset[Source]], now: tuple[Plan, frozenset[Source]], size: int
) -> None:
    old, new = before[0], now[0]
    found = moved_on(old, new, size)
    images = list(found.sources)
    assert len({each.path for each in images}) == len(images)
    elsewhere = set(old.sources) - at(old.sources, new.inputs)
    assert set(images) == set(new.sources) | elsewhere
    assert set(found.inputs) == set(old.inputs) | (
        set(new.inputs) if found is not old else set(old.inputs)
    )
    # a partition stays to the letter, or goes as a whole; no other takes its place
    fresh = {name for name in found.partitions if name not in old.partitions}
    for name in found.partitions.keys() - fresh:
        assert found.partitions[name] == old.partitions[name]
    assert all(int(name) > max(map(int, old.partitions)) for name in fresh)
    gone = old.partitions.keys() - found.partitions.keys()
    for name in gone:  # not without a reason
        assert not set(old.partitions[name]) <= set(images)
    for name in fresh:
        partition = found.partitions[name]
        assert len(partition) == 1 or sum(each.n_pixels for each in partition) <= size


@given(
    st.lists(st.dictionaries(st.integers(0, 3), st.integers(0, 1), min_size=1), min_size=2),
    st.integers(1, 3),
)
@settings(deadline=None, max_examples=200)
def test_no_id_is_ever_used_again_for_other_images(times: list[dict[int, int]], size: int) -> None:
    plans = [plan_of([image(f"/a/{n}", v) for n, v in time.items()], size=size) for time in times]
    plan = plans[0]
    used = dict(plan.partitions)
    for now in plans[1:]:
        after = moved_on(plan, now, size)
        assert after.generation == plan.generation + (after is not plan)
        plan = after
        for name, partition in plan.partitions.items():
            assert used.setdefault(name, partition) == partition


@given(searches(), searches())
@settings(deadline=None, max_examples=200)
def test_changes_are_those_of_the_images_that_were_searched(
    before: tuple[Plan, frozenset[Source]], now: tuple[Plan, frozenset[Source]]
) -> None:
    (old, _), (new, _) = before, now
    changes = compare(old, new)
    was = {each.path: each for each in old.sources}
    found = {each.path: each for each in new.sources}
    assert set(changes.new) == found.keys() - was.keys()
    assert set(changes.changed) == {
        path for path in found.keys() & was.keys() if found[path] != was[path]
    }
    assert set(changes.gone) == {
        path for path in was.keys() - found.keys() if path.startswith(tuple(new.inputs))
    }
    again = moved_on(old, new)
    assert not compare(again, new)
    assert not compare(again, again)


def test_an_image_that_gets_another_name_in_the_output_has_changed() -> None:
    before, now = image("/a/1"), replace(image("/a/1"), stem="other")
    assert compare(plan_of([before]), plan_of([now])).changed == ("/a/1",)
    now = replace(image("/a/1"), kept_as="other.gif")
    assert compare(plan_of([before]), plan_of([now])).changed == ("/a/1",)


def test_only_digests_count_where_both_plans_have_them() -> None:
    for before, now, changed in (
        (image("/a/1", 0, 1, "x"), image("/a/1", 3, 1, "x"), ()),
        (image("/a/1", 0, 1, "x"), image("/a/1", 0, 1, "y"), ("/a/1",)),
        (image("/a/1", 0, 1, None), image("/a/1", 0, 1, "y"), ()),
        (image("/a/1", 0, 1, "x"), image("/a/1", 3, 1, None), ("/a/1",)),
    ):
        assert compare(plan_of([before]), plan_of([now])).changed == changed


def test_a_folder_whose_name_begins_like_an_input_is_not_in_it() -> None:
    before = plan_of([image("/a/1"), image("/ab/1")], ["/a", "/ab"])
    assert compare(before, plan_of([image("/a/2")], ["/a"])).gone == ("/a/1",)


def test_files_that_cannot_be_read_are_those_found_now_and_elsewhere_before() -> None:
    before = plan_of(
        [image("/a/1"), image("/b/1")],
        failures=[Failure("/a/x", "old"), Failure("/a/y", "old"), Failure("/b/z", "old")],
    )
    now = plan_of([image("/a/1"), image("/a/y")], ["/a"], failures=[Failure("/a/x", "new")])
    after = moved_on(before, now)
    assert set(after.failures) == {Failure("/a/x", "new"), Failure("/b/z", "old")}


def test_an_image_that_cannot_be_read_any_more_is_gone() -> None:
    before = plan_of([image("/a/1"), image("/a/2")])
    now = plan_of([image("/a/1")], failures=[Failure("/a/2", "truncated")])
    assert compare(before, now) == Changes(gone=("/a/2",))
    after = moved_on(before, now)
    assert list(after.sources) == [image("/a/1")]
    assert after.failures == now.failures


def test_images_get_other_names_than_those_of_inputs_that_are_not_searched(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        save(tmp_path / folder / "a.png", noise(1))
    before = make_plan([tmp_path / "one"])
    known = {source.path: source for source in before.sources}
    now = make_plan([tmp_path / "two"], known=known)
    assert [source.kept_as for source in moved_on(before, now).sources] == ["a.png", "a-2.png"]


def test_changes_are_told_with_a_few_names() -> None:
    changes = Changes(new=tuple("abcd"), changed=("e",), gone=("f", "g"))
    assert str(changes) == "4 new (a, b, c, ...), 1 changed (e), 2 gone (f, g)"
    assert not Changes()


@given(searches(), st.text(st.characters(codec=None, exclude_categories=()), max_size=5))
@settings(deadline=None, max_examples=50)
def test_a_plan_comes_back_from_its_record(
    search: tuple[Plan, frozenset[Source]], name: str
) -> None:
    plan = replace(
        search[0], failures=(Failure(name, name),), skipped={".md": 7}, generation=3, settled=2
    )
    data = json.dumps(plan.as_record(), default=msgspec.to_builtins).encode()
    kept = PLAN.decode(data)
    assert Plan.of_record(kept) == plan
