from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from kmeans_dask.files import parse_location
from kmeans_dask.images.decode import decode
from kmeans_dask.images.inspector import make_thumbnail
from kmeans_dask.images.thumbnail import as_webp, shrunk
from kmeans_dask.job import previews
from kmeans_dask.job.previews import (
    keep_preview,
    name_of_preview,
    previews_for,
    previews_of,
    read_preview,
)
from kmeans_dask.plan.output_names import WORK_FOLDER
from kmeans_dask.plan.plan import make_plan
from kmeans_dask.report import job_page
from tests.command import run_here
from tests.steps.strategies import noise, save

LARGE, SMALL = (400, 300), (30, 40)  # of those that are large in these tests


@pytest.fixture(autouse=True)
def few_pixels_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "_FROM", LARGE[0] * LARGE[1])


def test_what_is_read_is_what_would_be_made_of_the_image(tmp_path: Path) -> None:
    image = save(tmp_path / "a.png", noise(1, LARGE))
    decoded = decode(image)
    keep_preview(previews_of(tmp_path / "out"), str(image), decoded, flat=False)
    found = read_preview(tmp_path / "out" / name_of_preview(str(image)))
    small = shrunk(decoded.image)
    assert found == (as_webp(small), small.size)


@pytest.mark.parametrize(
    ("size", "alphas", "flat", "kept"),
    [
        (LARGE, "opaque", True, True),
        (LARGE, "both", False, True),
        (LARGE, "both", True, False),  # as it was read, it is not what it was
        (SMALL, "opaque", False, False),
    ],
)
def test_previews_are_kept_only_of_large_images_that_were_read_unchanged(
    size: tuple[int, int], alphas: str, flat: bool, kept: bool, tmp_path: Path
) -> None:
    image = save(tmp_path / "a.png", noise(1, size, alphas))
    keep_preview(previews_of(tmp_path), str(image), decode(image, flat=flat), flat=flat)
    assert (read_preview(tmp_path / name_of_preview(str(image))) is not None) == kept


def test_previews_are_kept_on_disks_and_only_of_few_large_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        save(tmp_path / "in" / f"{number}.png", noise(number, LARGE))
        save(tmp_path / "in" / f"small {number}.png", noise(number, SMALL))
    plan = make_plan([tmp_path / "in"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(previews, "_WORTHWHILE", 3)
    assert previews_for(plan, Path("out")) == previews_of(tmp_path / "out")
    assert previews_for(plan, parse_location("s3://bucket/out")) is None
    monkeypatch.setattr(previews, "_WORTHWHILE", 2)
    assert previews_for(plan, Path("out")) is None


def test_none_is_read_of_objects() -> None:
    assert read_preview(parse_location("s3://bucket/out") / name_of_preview("a.png")) is None


@pytest.mark.parametrize("what", ["nothing", "a folder", "a pipe", "no image", "too large"])
def test_a_malformed_preview_is_ignored(what: str, tmp_path: Path) -> None:
    file = tmp_path / "a.webp"
    if what == "a folder":
        file.mkdir()
    elif what == "a pipe":
        os.mkfifo(file)
    elif what != "nothing":
        file.write_bytes(b"RIFF" if what == "no image" else bytes(2 << 20))
    assert read_preview(file) is None


def test_a_disk_that_is_full_costs_the_preview_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    image = save(tmp_path / "a.png", noise(1, LARGE))
    monkeypatch.setattr(previews, "write_file", fail)
    keep_preview(previews_of(tmp_path), str(image), decode(image), flat=False)
    assert not (tmp_path / WORK_FOLDER).exists()


@pytest.mark.parametrize("palette", ["shared", "image", "folder"])
@pytest.mark.parametrize("way", ["at once", "by way of a store"])
def test_a_report_decodes_no_large_image_again_and_is_the_same(
    palette: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = save(tmp_path / "in" / "large.png", noise(1, LARGE))
    small = save(tmp_path / "in" / "small.png", noise(2, SMALL))
    if way == "by way of a store":
        monkeypatch.setattr("kmeans_dask.steps.compress.fits_in_memory", lambda plan, engine: False)
    decoded = []

    def noted(path: str, size: tuple[int, int] | None = None) -> object:
        decoded.append(Path(path))
        return make_thumbnail(path, size)

    def page(name: str) -> str:
        decoded.clear()
        words = ["compress", str(tmp_path / "in"), str(tmp_path / name), "--palette", palette]
        run_here(*words, "--workers", "0", "--colors", "8", "--always", "--overwrite")
        assert not (tmp_path / name / WORK_FOLDER / "previews").exists()
        return (tmp_path / name / "report.html").read_text()

    monkeypatch.setattr(job_page, "make_thumbnail", noted)
    with_it = page("out")
    assert large not in decoded
    assert small in decoded
    monkeypatch.setattr(previews, "_FROM", 1 << 40)
    without = page("out")
    assert large in decoded
    assert pictures(with_it) == pictures(without)


def pictures(page: str) -> list[str]:
    """The thumbnails of a page."""
    return [each.partition('"')[0] for each in page.split("data:image/webp;base64,")[1:]]


def test_a_link_in_the_place_of_a_preview_leads_nowhere_else(tmp_path: Path) -> None:
    outside = tmp_path / "outside.webp"
    Image.new("RGB", (420, 420)).save(outside)
    image = save(tmp_path / "a.png", noise(1, LARGE))
    file = tmp_path / "out" / name_of_preview(str(image))
    file.parent.mkdir(parents=True)
    file.symlink_to(outside)
    with pytest.raises(ValueError, match="outside of the output folder"):
        job_page._thumbnails(tmp_path / "out", str(image), image)
