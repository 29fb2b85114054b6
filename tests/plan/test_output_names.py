"""Tests that no two images of a collection share a name, and none has that of a file of ours."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.plan.name_checks import check_distinct
from kmeans_dask.plan.output_names import (
    OUR_FILES,
    PALETTE_FILE,
    assign_names,
    folded,
    names_of,
    output_name,
)
from kmeans_dask.plan.plan import make_plan
from tests.command import summary_here
from tests.plan.test_plan import draw, outputs

SUFFIXES = (".png", ".jpg", ".gif", ".webp", ".PNG", ".png.jpg", ".jpg.png", "", "-2.png", ".json")
STEMS = ("a", "A", "b", "b-2", "palette", "report", "\u212b", "\u00e5")
FOLDERS = ("", "a.png/", "sub/", "Sub/")

one_name = st.builds(
    lambda folder, stem, suffix: PurePosixPath(folder + stem + suffix),
    st.sampled_from(FOLDERS),
    st.sampled_from(STEMS),
    st.sampled_from(SUFFIXES),
)


@given(st.lists(one_name, max_size=14), st.lists(one_name.map(str), max_size=4))
@settings(deadline=None)
def test_all_names_differ_in_any_format_and_on_any_file_system(
    names: list[PurePosixPath], taken: list[str]
) -> None:
    assigned = assign_names(names, taken)
    assert len(assigned) == len(names)
    check_distinct((names_of(*each) for each in assigned), OUR_FILES)
    # a plain count must agree
    used = [{folded(name) for name in names_of(*each)} for each in assigned]
    assert sum(map(len, used)) == len(set().union(*used))
    folders = {folded(str(parent)) for name in names for parent in name.parents}
    ours = {*map(folded, OUR_FILES), *map(folded, taken), *folders}
    ours |= {folded(str(PurePosixPath(folder, PALETTE_FILE))) for folder in folders}
    assert not ours & set().union(*used, set())
    for name, (kept_as, _) in zip(names, assigned, strict=True):
        assert PurePosixPath(kept_as).parent == name.parent
        assert PurePosixPath(kept_as).suffix == name.suffix


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["cat.jpg", "cat.jpg.png", "cat.png"], ["cat-2.png", "cat.jpg.png", "cat.png"]),
        (["a", "a.png"], ["a-2.png", "a.png"]),
        (["a.jpg", "a.webp"], ["a.jpg.png", "a.webp.png"]),
        (["a.JPG", "a.jpg"], ["a.png", "a-2.png"]),
        (["a.PNG", "a.png"], ["a.png", "a-2.png"]),
        (["palette.json", "b.png"], ["palette-2.png", "b.png"]),
        (["b.jpg", "b.png/x.png"], ["b.jpg.png", "b.png/x.png"]),
        (["sub/palette.json"], ["sub/palette-2.png"]),
    ],
)
def test_a_name_that_is_free_is_found(given: list[str], expected: list[str]) -> None:
    assigned = assign_names([PurePosixPath(name) for name in given])
    assert [output_name(kept, stem, ".png") for kept, stem in assigned] == expected


def test_two_inputs_with_an_image_of_the_same_name_are_both_taken(tmp_path: Path) -> None:
    for folder in ("one", "two", "three"):
        draw(tmp_path / folder / "a.png")
    plan = make_plan([tmp_path / "one", tmp_path / "two", tmp_path / "three"])
    assert list(outputs(plan).items()) == [
        ("a.png", "a.png"),
        ("a-2.png", "a-2.png"),
        ("a-3.png", "a-3.png"),
    ]


def test_a_failure_takes_no_name(tmp_path: Path) -> None:
    draw(tmp_path / "one" / "a.png")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "a.png").write_text("no image")
    draw(tmp_path / "two" / "b.jpg")
    (tmp_path / "two" / "b.gif").write_text("no image")
    plan = make_plan([tmp_path / "one", tmp_path / "two"])
    assert outputs(plan) == {"a.png": "a.png", "b.jpg": "b.png"}
    assert len(plan.failures) == 2


@pytest.mark.parametrize("scope", ["shared", "folder", "image"])
def test_a_collection_of_clashing_names_is_compressed(scope: str, tmp_path: Path) -> None:
    given = ["cat.jpg", "cat.png", "cat.jpg.png", "CAT.PNG", "palette.json", "x/palette.json"]
    for name in given:
        draw(tmp_path / "in" / name, (9, 9))
    words = ("compress", tmp_path / "in", tmp_path / "out", "--workers", "0", "--always")
    found = summary_here(*words, "--palette", scope, "--colors", "4")
    assert (found["images"], found["failed"]) == (6, 0)
    assert len(list((tmp_path / "out").rglob("*.png"))) == 6
