"""Which files are taken, in which order, under which names, and in which partitions."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath

import pytest
from PIL import Image

from kmeans_dask.errors import UsageError
from kmeans_dask.files.documents import Form
from kmeans_dask.job import work_folder
from kmeans_dask.plan import plan as planning
from kmeans_dask.plan.output_names import assign_names, output_name
from kmeans_dask.plan.plan import Plan, Search, Source, describe_skipped, make_plan
from kmeans_dask.store import store
from kmeans_dask.store.records import PlanRecord
from tests.command import all_below, run_here

KINDS = {".jpg": "JPEG", ".gif": "GIF", ".tif": "TIFF", ".bmp": "BMP"}


def draw(path: Path, size: tuple[int, int] = (2, 2)) -> Path:
    """Put an image at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path, KINDS.get(path.suffix.lower(), "PNG"))
    return path


def sources_of(plan: Plan) -> list[Source]:
    return list(plan.sources)


def kept(plan: Plan) -> list[str]:
    return [source.kept_as for source in sources_of(plan)]


def outputs(plan: Plan) -> dict[str, str]:
    return {
        source.kept_as: output_name(source.kept_as, source.stem, ".png")
        for source in sources_of(plan)
    }


def names(*given: str, suffix: str = ".png") -> list[str]:
    assigned = assign_names([PurePosixPath(name) for name in given])
    return [output_name(kept_as, stem, suffix) for kept_as, stem in assigned]


# -- what is found ----------------------------------------------------------------------------


def test_folders_are_searched_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("z.png", "b/z.png", "b/a/x.png", "c.png", "a.png", "b/B.png", "Y.png"):
        draw(tmp_path / name)
    plan = make_plan([tmp_path])
    assert kept(plan) == ["Y.png", "a.png", "b/B.png", "b/a/x.png", "b/z.png", "c.png", "z.png"]
    assert plan.failures == ()
    assert plan.skipped == {}


def test_a_source_says_where_it_is_and_how_big(tmp_path: Path) -> None:
    path = draw(tmp_path / "in" / "sub" / "a.jpg", (5, 7))
    assert sources_of(make_plan([tmp_path / "in"])) == [
        Source(
            str(path), "sub/a.jpg", "sub/a", path.stat().st_size, path.stat().st_mtime_ns, 35, 14
        )
    ]


def test_a_file_may_be_an_input(tmp_path: Path) -> None:
    path = draw(tmp_path / "deep" / "a.jpg")
    assert outputs(make_plan([path])) == {"a.jpg": "a.png"}


def test_inputs_are_searched_in_the_order_of_the_request(tmp_path: Path) -> None:
    draw(tmp_path / "one" / "a.png")
    draw(tmp_path / "two" / "b.png")
    single = draw(tmp_path / "c.png")
    plan = make_plan([tmp_path / "two", single, tmp_path / "one"])
    assert kept(plan) == ["b.png", "c.png", "a.png"]


def test_paths_are_absolute_though_the_input_is_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = draw(tmp_path / "in" / "a.png")
    monkeypatch.chdir(tmp_path)
    for given in (Path("in"), Path("in/a.png"), Path("in/../in")):
        assert [source.path for source in sources_of(make_plan([given]))] == [str(path)]
    monkeypatch.chdir(tmp_path / "in")
    assert kept(make_plan([Path()])) == ["a.png"]


def test_hidden_files_and_folders_are_skipped_and_counted(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    draw(tmp_path / ".hidden.png")
    draw(tmp_path / ".hidden" / "b.png")
    draw(tmp_path / ".hidden" / "c.png")
    plan = make_plan([tmp_path])
    assert kept(plan) == ["a.png"]
    assert plan.skipped == {"hidden": 2}
    assert plan.failures == ()


def test_a_hidden_file_that_is_named_is_taken(tmp_path: Path) -> None:
    assert kept(make_plan([draw(tmp_path / ".hidden.png")])) == [".hidden.png"]


def test_links_to_folders_are_skipped_and_counted(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png")
    draw(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "round").symlink_to(tmp_path / "in")
    plan = make_plan([tmp_path / "in"])
    assert kept(plan) == ["a.png"]
    assert plan.skipped == {"links": 2}


def test_a_link_to_a_folder_that_is_named_is_searched(tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert kept(make_plan([tmp_path / "link"])) == ["b.png"]


def test_links_to_files_are_taken_under_their_own_names(tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    assert kept(make_plan([tmp_path / "in"])) == ["a.png"]
    assert kept(make_plan([tmp_path / "in" / "a.png"])) == ["a.png"]


def test_what_cannot_be_read_is_a_failure_with_a_reason(tmp_path: Path) -> None:
    draw(tmp_path / "good.png")
    (tmp_path / "broken-link.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.txt").write_text("no image\nat all\n")
    os.mkfifo(tmp_path / "pipe.png")
    plan = make_plan([tmp_path])
    assert kept(plan) == ["good.png"]
    reasons = {Path(failure.path).name: failure.reason for failure in plan.failures}
    assert list(reasons) == ["broken-link.png", "empty.jpg", "pipe.png"]
    assert reasons["broken-link.png"] == "No such file or directory"
    assert reasons["empty.jpg"] == "the file is empty"
    assert reasons["pipe.png"] == "not a regular file"
    assert plan.skipped == {".txt": 1}


OTHERS = ("a.txt", "a.json", "README.md", "b.JSON", "noname", "movie.mp4", "drawing.svg", "x.zip")


def test_files_that_are_neither_images_nor_named_so_are_skipped_and_counted(tmp_path: Path) -> None:
    draw(tmp_path / "good.png")
    (tmp_path / "photo.nef").write_bytes((draw(tmp_path / "x" / "y.tif")).read_bytes())
    for name in OTHERS:
        (tmp_path / name).write_text("{}")
    (tmp_path / "empty.txt").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "image-without-a-suffix").write_bytes((tmp_path / "good.png").read_bytes())
    (tmp_path / "image.json").write_bytes((tmp_path / "good.png").read_bytes())
    plan = make_plan([tmp_path])
    assert kept(plan) == ["good.png", "image-without-a-suffix", "image.json", "x/y.tif"]
    assert plan.failures == ()
    assert plan.skipped == {
        "": 2, ".json": 2, ".md": 1, ".mp4": 1, ".nef": 1, ".svg": 1, ".txt": 2, ".zip": 1,
    }  # fmt: skip
    assert describe_skipped(plan.skipped) == (
        "11 other files: 2 without a suffix, 2 .json, 2 .txt, 1 .md, 1 .mp4, 1 .nef, 2 more"
    )


def test_a_file_that_is_named_is_meant_to_be_an_image(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("no image")
    plan = make_plan([draw(tmp_path / "a.png"), notes])
    assert [failure.path for failure in plan.failures] == [str(notes)]
    assert plan.skipped == {}


@pytest.mark.parametrize(
    ("include", "exclude", "expected", "excluded"),
    [
        ((), (), ["a.jpg", "old/b.png", "old/deep/c.png", "thumbs/d.png"], 0),
        (("*.png",), (), ["old/b.png", "old/deep/c.png", "thumbs/d.png"], 1),
        ((), ("thumbs",), ["a.jpg", "old/b.png", "old/deep/c.png"], 1),
        ((), ("thumbs/",), ["a.jpg", "old/b.png", "old/deep/c.png"], 1),
        ((), ("*.png",), ["a.jpg"], 3),
        (("old/*",), ("old/deep",), ["old/b.png"], 3),
        (("a.jpg", "[cd].png"), (), ["a.jpg", "old/deep/c.png", "thumbs/d.png"], 1),
    ],
)
def test_only_included_files_are_searched(
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    expected: list[str],
    excluded: int,
    tmp_path: Path,
) -> None:
    for name in ("a.jpg", "old/b.png", "old/deep/c.png", "thumbs/d.png"):
        draw(tmp_path / name)
    plan = make_plan([tmp_path], search=Search(include, exclude))
    assert kept(plan) == expected
    assert plan.skipped == ({"excluded": excluded} if excluded else {})


def test_a_link_to_itself_is_a_failure(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    plan = make_plan([tmp_path])
    assert kept(plan) == ["a.png"]
    assert [failure.path for failure in plan.failures] == [str(tmp_path / "loop.png")]


def test_images_of_too_many_pixels_are_failures(tmp_path: Path) -> None:
    draw(tmp_path / "big.png", (11, 10))
    draw(tmp_path / "small.png", (10, 10))
    plan = make_plan([tmp_path], max_pixels=100)
    assert kept(plan) == ["small.png"]
    assert "limit of 100" in plan.failures[0].reason


@pytest.mark.parametrize("name", [os.fsdecode(b"\xff.png"), "two\nlines.png", "日本.png"])
def test_any_file_name_is_taken(tmp_path: Path, name: str) -> None:
    draw(tmp_path / name)
    assert kept(make_plan([tmp_path])) == [name]


@pytest.mark.parametrize("given", ["missing", "missing/too.png", "broken", "loop"])
def test_an_input_that_is_missing_is_refused(tmp_path: Path, given: str) -> None:
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    draw(tmp_path / "a.png")
    with pytest.raises(UsageError, match=f"{given} does not exist"):
        make_plan([tmp_path / "a.png", tmp_path / given])


def test_inputs_without_an_image_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    for inputs in ([tmp_path / "empty"], [tmp_path / "notes.txt"], [tmp_path], []):
        with pytest.raises(UsageError, match="no image found in"):
            make_plan(inputs)


def test_where_all_images_are_excluded_that_is_said(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    told = r"\(1 excluded\): name a file or folder of images, or change --include and --exclude"
    with pytest.raises(UsageError, match=told):
        make_plan([tmp_path], search=Search(exclude=("*.png",)))


def test_a_repeated_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = draw(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert kept(make_plan([path, Path("a.png"), path])) == ["a.png"]
    assert kept(make_plan([tmp_path, tmp_path])) == ["a.png"]


def test_a_file_given_beside_its_folder_is_taken_once(tmp_path: Path) -> None:
    path = draw(tmp_path / "sub" / "a.png")
    for inputs in ([tmp_path, path], [path, tmp_path]):
        assert [source.path for source in sources_of(make_plan(inputs))] == [str(path)]


def test_the_figures_are_those_of_the_readable_images(tmp_path: Path) -> None:
    paths = [draw(tmp_path / "a.png", (3, 4)), draw(tmp_path / "b.jpg", (10, 10))]
    (tmp_path / "c.png").write_text("no image")
    (tmp_path / "c.txt").write_text("no image")
    (tmp_path / ".d").touch()
    plan = make_plan([tmp_path], partition_pixels=50)
    n_bytes = sum(path.stat().st_size for path in paths)
    assert (plan.n_images, plan.n_pixels, plan.n_bytes) == (2, 112, n_bytes)
    document = json.loads(json.dumps(plan.as_dict()))
    failures = document.pop("failures")
    assert [failure["path"] for failure in failures] == [str(tmp_path / "c.png")]
    assert document == {
        "images": 3,
        "failed": 1,
        "skipped": 2,
        "skipped_by_suffix": {".txt": 1, "hidden": 1},
        "pixels": 112,
        "input_bytes": n_bytes,
        "partitions": 2,
    }


# -- names ------------------------------------------------------------------------------------


def test_outputs_are_png() -> None:
    assert names("a.jpg", "b.png", "sub/c.tiff") == ["a.png", "b.png", "sub/c.png"]


def test_of_names_that_differ_in_their_suffix_all_keep_it() -> None:
    assert names("hopper.jpg", "hopper.gif", "hopper.png") == [
        "hopper.jpg.png",
        "hopper.gif.png",
        "hopper.png",
    ]


def test_outputs_bear_the_suffix_of_their_format() -> None:
    assert names("a.jpg", "b.png", suffix=".webp") == ["a.webp", "b.webp"]
    assert names("a.jpg", "a.webp", "a.png", suffix=".webp") == [
        "a.jpg.webp",
        "a.webp",
        "a.png.webp",
    ]


def test_names_in_different_folders_are_not_alike() -> None:
    assert names("a/x.jpg", "b/x.gif", "x.bmp") == ["a/x.png", "b/x.png", "x.png"]


def test_the_suffix_in_capitals_becomes_small() -> None:
    assert names("a.PNG") == ["a.png"]
    assert names("a.JPG") == ["a.png"]


def test_names_without_suffix_get_one() -> None:
    assert names("scan", "sub/scan") == ["scan.png", "sub/scan.png"]
    assert names("scan", "scan.jpg") == ["scan.png", "scan.jpg.png"]
    assert names(".hidden") == [".hidden.png"]


def test_only_the_last_suffix_of_dotted_names_is_replaced() -> None:
    assert names("a.b.jpg", "a.jpg", "v1.2") == ["a.b.png", "a.png", "v1.png"]
    assert names("a.b.jpg", "a.b.gif") == ["a.b.jpg.png", "a.b.gif.png"]


def test_no_name_depends_on_the_order() -> None:
    given = ["hopper.jpg", "hopper.png", "a.b.jpg", "a.PNG", "hopper.gif"]
    forward = dict(zip(given, names(*given), strict=True))
    backward = dict(zip(given[::-1], names(*given[::-1]), strict=True))
    assert forward == backward


# -- partitions -------------------------------------------------------------------------------


def sizes_of(plan: Plan) -> list[list[int]]:
    return [[source.n_pixels for source in partition] for partition in plan.partitions.values()]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (1000, [[10, 20, 30, 40, 5]]),
        (60, [[10, 20, 30], [40, 5]]),
        (59, [[10, 20], [30], [40, 5]]),
        (30, [[10, 20], [30], [40], [5]]),
        (1, [[10], [20], [30], [40], [5]]),
    ],
)
def test_partitions_are_cut_by_pixels(
    tmp_path: Path, limit: int, expected: list[list[int]]
) -> None:
    for number, n_pixels in enumerate([10, 20, 30, 40, 5]):
        draw(tmp_path / f"{number}.png", (n_pixels // 5, 5))
    plan = make_plan([tmp_path], partition_pixels=limit)
    assert sizes_of(plan) == expected
    assert kept(plan) == [f"{number}.png" for number in range(5)]


def test_partitions_are_cut_by_the_number_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "MAX_IMAGES", 2)
    for number in range(5):
        draw(tmp_path / f"{number}.png")
    assert sizes_of(make_plan([tmp_path])) == [[4, 4], [4, 4], [4]]


# -- too many images --------------------------------------------------------------------------


@pytest.fixture
def small_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one image; `more` has so many that their plan could not be read again."""
    draw(tmp_path / "in" / "a.png")
    for number in range(100):
        draw(tmp_path / "more" / f"{number}.png")
    for module in (store, work_folder):
        monkeypatch.setattr(module, "PLAN", Form(PlanRecord, 5000))
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["compress", "more", "out"],
        ["compress", "more", "out", "--palette", "image"],
        ["compress", "more", "out", "--store", "s.zarr"],
        ["tokenize", "more", "s.zarr"],
        ["ingest", "more", "s.zarr"],
    ],
)
def test_a_plan_too_large_to_be_read_again_is_refused_before_the_work(
    words: list[str], small_plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small_plans)
    done = run_here(*words, "--workers", "0", code=2)
    [line] = done.stderr.splitlines()
    assert line.endswith("is not written: name fewer images at once")
    left = [path for name in ("out", "s.zarr") for path in all_below(small_plans / name)]
    assert not [path for path in left if path.is_file()]


def test_what_was_there_stays_where_a_plan_is_too_large(
    small_plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small_plans)
    run_here("compress", "in", "out", "--workers", "0")
    run_here("ingest", "in", "s.zarr", "--workers", "0")
    before = {path: path.read_bytes() for path in small_plans.rglob("*") if path.is_file()}
    run_here("compress", "more", "out", "--overwrite", "--workers", "0", code=2)
    run_here("ingest", "more", "s.zarr", "--workers", "0", code=2)
    after = {path: path.read_bytes() for path in small_plans.rglob("*") if path.is_file()}
    assert after == before
    run_here("verify", "s.zarr", "--workers", "0")
