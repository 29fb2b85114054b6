"""Palettes for a folder, an image, or where the shared one will not do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kmeans_dask.color.palette import Palette
from kmeans_dask.engine import connect
from kmeans_dask.engine.memory_model import bytes_to_fit
from kmeans_dask.errors import ImageError
from kmeans_dask.job.encode_totals import EncodeTotals
from kmeans_dask.job.progress import Progress
from kmeans_dask.plan.output_names import WORK_FOLDER
from kmeans_dask.plan.plan import Plan, Source, make_plan, numbered
from kmeans_dask.settings import DecodeSettings, EncodeSettings, FitSettings
from kmeans_dask.steps import compress, per_group, quantize
from kmeans_dask.steps.per_group import (
    Group,
    Job,
    compress_groups,
    groups_by_folder,
    groups_of_one,
)
from kmeans_dask.steps.quarantine import WorkItem
from kmeans_dask.store.records import Failure
from tests.steps.strategies import files_in, job, noise, save

ALWAYS = EncodeSettings(always=True)
Batch = WorkItem[Sequence[Group]]
FITS = {
    "rgb": FitSettings(8),
    "oklab": FitSettings(8, space="oklab"),
    "fixed": FitSettings(8, fixed=((1, 2, 3), (255, 255, 255))),
    "target": FitSettings(16, min_psnr=24, tol=0.01),
    "random": FitSettings(5, init="random", seed=3, n_init=2, tol=0),
}
each_fit = pytest.mark.parametrize("fit", FITS.values(), ids=FITS)


def source(name: str, n_pixels: int = 1) -> Source:
    return Source(f"/in/{name}", name, name.removesuffix(".png"), 1, 1, n_pixels, 14)


def plan_of(*partitions: Sequence[Source]) -> Plan:
    return Plan(("/in",), numbered(map(tuple, partitions)), (), {})


def job_below(output: Path) -> Job:
    """One whose output is at `output`."""
    return Job(output, output / WORK_FOLDER / "done", FitSettings(8), ALWAYS, DecodeSettings())


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of every kind of transparency, in two folders and the one that these are in."""
    folder = tmp_path_factory.mktemp("collection")
    for number, (name, alphas) in enumerate(
        {
            "a.png": "opaque",
            "b.png": "clear",
            "cats/a.png": "opaque",
            "cats/c.png": "opaque",
            "cats/old/d.png": "both",
            "cats/old/e.png": "opaque",
            "dogs/f.png": "clear",
        }.items()
    ):
        save(folder / name, noise(number, (16 + number, 20), alphas))
    return folder


def folders_of(collection: Path) -> dict[str, list[Path]]:
    """The images of each folder, by its name below."""
    images = sorted(collection.rglob("*.png"))
    names = {path.parent.relative_to(collection).as_posix() for path in images}
    return {
        name: [path for path in images if path.parent == collection / name]
        for name in sorted(names)
    }


# -- groups -----------------------------------------------------------------------------------


def test_each_folder_is_a_group_of_its_own_images_in_their_order() -> None:
    names = [["z.png", "b/2.png", "a/1.png"], ["b/1.png", "a/b/1.png", "b/0.png", "y.png"]]
    plan = plan_of(*[[source(name) for name in part] for part in names])
    found = {
        group.folder: [each.kept_as for each in group.sources] for group in groups_by_folder(plan)
    }
    assert found == {
        ".": ["z.png", "y.png"],
        "a": ["a/1.png"],
        "a/b": ["a/b/1.png"],
        "b": ["b/2.png", "b/1.png", "b/0.png"],
    }
    assert list(found) == [".", "a", "a/b", "b"]


def test_each_image_is_a_group_without_a_folder() -> None:
    sources = [source(f"{i}/x.png") for i in range(5)]
    found = groups_of_one(plan_of(sources[:2], sources[2:]))
    assert found == [Group((each,)) for each in sources]
    assert {group.folder for group in found} == {None}


@st.composite
def some_groups(draw: st.DrawFn) -> list[Group]:
    sizes = draw(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=6), max_size=20))
    return [
        Group(tuple(source(f"{i}/{j}.png", n) for j, n in enumerate(group)), str(i))
        for i, group in enumerate(sizes)
    ]


@given(some_groups(), st.integers(1, 200), st.integers(1, 12))
@settings(deadline=None, max_examples=200)
def test_batches_are_runs_of_groups_up_to_a_size_and_none_is_lost(
    groups: list[Group], size: int, images: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(per_group, "MAX_IMAGES", images)
        batches = list(per_group._batches(groups, size))
    assert [group for batch in batches for group in batch] == groups

    def fits(batch: Sequence[Group]) -> bool:
        n_images = sum(len(group.sources) for group in batch)
        return n_images <= images and sum(group.n_pixels for group in batch) <= size

    for number, batch in enumerate(batches):
        assert batch
        assert fits(batch) or len(batch) == 1
        if number:  # none is cut off too early
            assert not fits([*batches[number - 1], batch[0]])


@pytest.mark.parametrize(
    ("n_pixels", "n_tasks"), [(1, 1), (1 << 17, 1), (1 << 20, 8), (1 << 23, 32)]
)
def test_small_jobs_are_few_tasks_and_large_ones_about_thirty(
    n_pixels: int, n_tasks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    batches: list[Sequence[Group]] = []

    def note(_: Job, batch: Batch) -> EncodeTotals:
        names.append(batch.name)
        batches.append(batch.work)
        return EncodeTotals(compressed=len(batch.work))

    monkeypatch.setattr(per_group, "compress_batch", note)
    n = min(n_pixels, 512)
    groups = [Group((source(f"{i}.png", n_pixels // n),)) for i in range(n)]
    with connect(workers=0) as engine:
        total = compress_groups(groups, job_below(tmp_path), engine, Progress())
    assert total.compressed == n
    assert len(batches) == n_tasks
    assert len(set(names)) == n_tasks  # so that each has a record of its own
    assert sorted(each.sources[0].kept_as for batch in batches for each in batch) == sorted(
        each.sources[0].kept_as for each in groups
    )
    pixels = [sum(group.n_pixels for group in batch) for batch in batches]
    assert pixels == sorted(pixels, reverse=True)


def test_the_largest_batch_is_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def note(_: Job, batch: Batch) -> EncodeTotals:
        seen.append(sum(group.n_pixels for group in batch.work))
        return EncodeTotals()

    monkeypatch.setattr(per_group, "compress_batch", note)
    sizes = [1 << 17, 1 << 19, 1 << 18, 1 << 20]
    groups = [Group((source(f"{n}.png", n),)) for n in sizes]
    with connect(workers=0) as engine:
        compress_groups(groups, job_below(tmp_path), engine, Progress())
    assert seen == sorted(sizes, reverse=True)


# -- an image, a folder -----------------------------------------------------------------------


@each_fit
def test_an_image_with_its_own_palette_is_as_if_it_were_alone(
    fit: FitSettings, collection: Path, tmp_path: Path
) -> None:
    found = job([collection], tmp_path / "out", fit, ALWAYS, "image")
    written = files_in(tmp_path / "out")
    names = [path.relative_to(collection).as_posix() for path in sorted(collection.rglob("*.png"))]
    assert sorted(written) == sorted(names)
    assert (found.compressed + found.kept, found.failed) == (len(names), 0)
    assert found.private == found.compressed
    pixels = 0
    for number, name in enumerate(names):
        alone = tmp_path / f"{number}"
        summary = job([collection / name], alone, fit, ALWAYS)
        (file,) = alone.glob("*.png")
        assert file.read_bytes() == written[name]
        pixels += summary.pixels
    assert found.pixels == pixels


@each_fit
@pytest.mark.parametrize("weight", ["pixels", "images"])
def test_a_folder_with_its_own_palette_is_as_if_it_were_alone(
    fit: FitSettings, weight: str, collection: Path, tmp_path: Path
) -> None:
    fit = replace(fit, weight=weight)
    folders = folders_of(collection)
    if weight == "images":  # one image by itself is weighed by its pixels
        folders = {name: images for name, images in folders.items() if len(images) > 1}
    encode = replace(ALWAYS, dither=0.0 if fit.min_psnr else 0.7)
    found = job([collection], tmp_path / "out", fit, encode, "folder")
    assert (found.failed, found.private, found.colors) == (0, 0, None)
    written = files_in(tmp_path / "out")
    for number, (name, images) in enumerate(folders.items()):
        alone = tmp_path / f"{number}"
        job(images, alone, fit, encode)
        expected = files_in(alone)
        assert "palette.json" in expected
        assert len(expected) == len(images) + 1
        below = "" if name == "." else f"{name}/"
        for file, data in expected.items():
            assert written[below + file] == data
    assert len(written) == 7 + 4


def test_a_folder_of_many_pixels_goes_by_way_of_a_store_to_the_same_files(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summaries = []
    for name in ("small", "large"):
        summaries.append(job([collection], tmp_path / name, FitSettings(8), ALWAYS, "folder"))
        monkeypatch.setattr(compress, "PARTITION_PIXELS", 600)
    assert files_in(tmp_path / "small") == files_in(tmp_path / "large")
    small, large = ({**each.as_dict(), "seconds": None} for each in summaries)
    assert small == large
    assert summaries[0].colors_bytes == summaries[1].colors_bytes > bytes_to_fit(0, opaque=True)
    assert "ingest" in summaries[1].seconds
    assert "ingest" not in summaries[0].seconds
    assert not (tmp_path / "large" / WORK_FOLDER / "store.zarr").exists()


def test_images_of_a_folder_weigh_the_same_where_that_is_asked_for(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", np.full((60, 60, 3), 120))
    small = np.repeat(np.array([0] * 8 + [60] * 4 + [255] * 4).reshape(4, 4, 1), 3, axis=2)
    save(tmp_path / "in" / "b.png", small)
    colors = {}
    for weight in ("pixels", "images"):
        fit = FitSettings(2, weight=weight, n_init=16)
        job([tmp_path / "in"], tmp_path / weight, fit, ALWAYS, "folder")
        colors[weight] = json.loads((tmp_path / weight / "palette.json").read_text())["colors"]
    assert colors == {"pixels": ["#141414", "#787878"], "images": ["#141414", "#939393"]}


def test_a_palette_of_a_folder_says_how_many_pixels_each_entry_has(
    collection: Path, tmp_path: Path
) -> None:
    job([collection], tmp_path / "out", FitSettings(6), ALWAYS, "folder")
    for name, images in folders_of(collection).items():
        told = json.loads((tmp_path / "out" / name / "palette.json").read_text())
        some = [np.asarray(Image.open(path).convert("RGBA"))[..., 3] for path in images]
        is_clear = any((alphas == 0).any() for alphas in some)
        assert told["transparent"] == (0 if is_clear else None)
        assert sum(n or 0 for n in told["pixels"]) == sum((alphas > 0).sum() for alphas in some)


# -- what goes wrong --------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["image", "folder"])
def test_a_broken_image_among_good_ones_fails_alone(
    scope: str, collection: Path, tmp_path: Path
) -> None:
    sources = tmp_path / "in"
    for path in collection.rglob("*.png"):
        copy = sources / path.relative_to(collection)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    good = job([sources], tmp_path / "good", FitSettings(8), ALWAYS, scope)
    assert good.failures == ()
    broken = save(sources / "cats" / "b.png", noise(99))
    broken.write_bytes(broken.read_bytes()[:-500])  # its header is whole
    found = job([sources], tmp_path / "out", FitSettings(8), ALWAYS, scope)
    (failure,) = found.failures
    assert failure.path == str(broken)
    assert failure.reason == "a PNG that is damaged or cut off"
    assert (found.images, found.failed) == (good.images + 1, 1)
    written = files_in(tmp_path / "out")
    assert json.loads(written.pop("failures.jsonl")) == {
        "path": str(broken),
        "reason": failure.reason,
    }
    assert written == files_in(tmp_path / "good")


def test_where_all_images_of_a_folder_are_broken_nothing_is_written_there(tmp_path: Path) -> None:
    for name in ("bad/a.png", "bad/b.png"):
        path = save(tmp_path / "in" / name, noise(1))
        path.write_bytes(path.read_bytes()[:-500])
    save(tmp_path / "in" / "good" / "c.png", noise(2))
    found = job([tmp_path / "in"], tmp_path / "out", FitSettings(8), ALWAYS, "folder")
    assert (found.compressed, found.failed) == (1, 2)
    assert sorted(files_in(tmp_path / "out")) == [
        "failures.jsonl",
        "good/c.png",
        "good/palette.json",
    ]


def test_an_image_that_changed_since_it_was_planned_fails_by_name(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", noise(1))
    groups = groups_of_one(make_plan([path]))
    save(path, noise(1, (9, 9)))
    of_one = job_below(tmp_path / "out")
    (batch,) = groups
    found = per_group.compress_batch(of_one, WorkItem("0", groups, batch.sources))
    assert [failure.path for failure in found.failures] == [str(path)]
    assert "changed while the job was running" in found.failures[0].reason
    assert found.images == 0


@pytest.mark.parametrize("scope", ["image", "folder"])
def test_an_image_with_transparency_and_no_room_for_it_fails_by_name(
    scope: str, collection: Path, tmp_path: Path
) -> None:
    fit = FitSettings(2, fixed=((0, 0, 0), (255, 255, 255)))
    found = job([collection], tmp_path / "out", fit, ALWAYS, scope)
    clear = ["b.png", "cats/old/d.png", "dogs/f.png"]
    # whoever shares a palette with these fails with them
    names = clear if scope == "image" else ["a.png", clear[0], clear[1], "cats/old/e.png", clear[2]]
    reason = "transparent, and all 2 colours of the palette are taken"
    assert found.failures == tuple(Failure(str(collection / name), reason) for name in names)
    images = {path.relative_to(collection).as_posix() for path in collection.rglob("*.png")}
    written = set(files_in(tmp_path / "out"))
    assert {name for name in written if name.endswith(".png")} == images - set(names)
    assert found.compressed == len(images) - len(names)


def test_a_given_palette_of_all_256_entries_has_no_room_for_what_is_clear(
    collection: Path, tmp_path: Path
) -> None:
    greys = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(-1, 3)
    for colors, n_failed in ((greys, 3), (greys[1:], 0)):
        output = tmp_path / f"{n_failed}"
        found = job([collection], output, FitSettings(), ALWAYS, palette=Palette.of_colors(colors))
        assert found.failed == n_failed
        assert all("taken" in failure.reason for failure in found.failures)
        assert found.compressed == 7 - n_failed


# -- a given palette --------------------------------------------------------------------------


@pytest.mark.parametrize("transparent", [False, True])
def test_images_are_mapped_to_a_given_palette_each_to_its_nearest_entry(
    transparent: bool, collection: Path, tmp_path: Path
) -> None:
    colors = np.random.default_rng(1).integers(0, 256, (12, 3)).astype(np.uint8)
    found = job(
        [collection],
        tmp_path / "out",
        FitSettings(),
        ALWAYS,
        palette=Palette.of_colors(colors, transparent=transparent),
    )
    assert (found.compressed, found.private, found.colors) == (7, 0, None)
    for path in collection.rglob("*.png"):
        given = np.asarray(Image.open(path).convert("RGBA")).reshape(-1, 4).astype(np.int64)
        written = Image.open(tmp_path / "out" / path.relative_to(collection)).convert("RGBA")
        over = given[:, 3:]
        shown = np.column_stack([given[:, :3] * over, 255 * over])
        places = np.column_stack([colors.astype(np.int64) * 255, np.full(12, 255 * 255)])
        nearest = ((shown[:, None] - places) ** 2).sum(axis=2).argmin(axis=1)
        expected = np.column_stack([colors[nearest], np.full(len(nearest), 255)])
        expected[over[:, 0] == 0] = 0
        assert np.array_equal(np.asarray(written).reshape(-1, 4), expected)
    told = json.loads((tmp_path / "out" / "palette.json").read_text())
    assert len(told["colors"]) == 12 + transparent


# -- where the shared palette will not do -----------------------------------------------------


def test_where_the_shared_palette_is_good_enough_it_is_taken(
    collection: Path, tmp_path: Path
) -> None:
    fit = FitSettings(16, min_psnr=5)
    shared, auto = (
        job([collection], tmp_path / scope, fit, ALWAYS, scope) for scope in ("shared", "auto")
    )
    assert auto.private == 0
    assert files_in(tmp_path / "auto") == files_in(tmp_path / "shared")
    assert shared.psnr == auto.psnr


def test_an_image_that_misses_the_target_has_the_palette_it_would_have_alone(
    tmp_path: Path,
) -> None:
    greys = np.repeat(np.tile(np.arange(0, 250, 50), (120, 24))[..., None], 3, axis=2)
    save(tmp_path / "in" / "a.png", greys)
    odd = save(tmp_path / "in" / "b.png", noise(1, (6, 6), "both"))
    fit = FitSettings(12, min_psnr=30)
    found = job([tmp_path / "in"], tmp_path / "out", fit, ALWAYS, "auto")
    job([odd], tmp_path / "alone", fit, ALWAYS, "image")
    written = files_in(tmp_path / "out")
    assert written["b.png"] == files_in(tmp_path / "alone")["b.png"]
    assert (found.private, found.below_target) == (1, 0)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "a.png").convert("RGB")), greys)


def test_where_its_own_palette_takes_too_much_memory_it_alone_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    greys = np.repeat(np.tile(np.arange(0, 250, 50), (120, 24))[..., None], 3, axis=2)
    save(tmp_path / "in" / "a.png", greys)
    odd = save(tmp_path / "in" / "b.png", noise(1, (6, 6), "both"))

    asked: list[int] = []

    def refuse(n_colors: int, *, opaque: bool) -> None:
        asked.append(n_colors)
        if n_colors < max(asked):  # fewer than those of the shared palette: an image's own
            raise ImageError(f"{n_colors} colours, opaque: {opaque}")

    monkeypatch.setattr(quantize, "check_colors", refuse)
    fit = FitSettings(12, min_psnr=30)
    found = job([tmp_path / "in"], tmp_path / "out", fit, ALWAYS, "auto")
    [failure] = found.failures
    assert failure.path == str(odd)
    assert failure.reason.endswith("colours, opaque: False")
    assert sorted(files_in(tmp_path / "out")) == ["a.png", "failures.jsonl", "palette.json"]


def test_an_image_after_one_with_its_own_palette_still_has_the_shared_one(tmp_path: Path) -> None:
    bands = np.repeat(np.arange(6) * 50, 50)
    greys = np.repeat(np.tile(bands, (300, 1))[..., None], 3, axis=2)
    odd = np.zeros((4, 4, 3), np.int64)
    odd[0], odd[1], odd[2], odd[3] = [255, 0, 0], [0, 255, 0], [250, 250, 250], [100, 100, 100]
    summaries = []
    for name in ("z", "a"):  # after the greys, and before them
        save(tmp_path / name / f"{name}.png", odd)
        save(tmp_path / name / "greys.png", greys)
        fit = FitSettings(6, min_psnr=40)
        summaries.append(job([tmp_path / name], tmp_path / f"out {name}", fit, ALWAYS, "auto"))
    assert [each.private for each in summaries] == [1, 1]
    first, second = (files_in(tmp_path / f"out {name}") for name in ("z", "a"))
    assert first["greys.png"] == second["greys.png"]
    assert first["z.png"] == second["a.png"]
