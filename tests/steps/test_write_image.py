"""Files below the output folder: which, where, never half-written, and what is said of them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kmeans_dask.color.palette import Palette
from kmeans_dask.errors import StoreError
from kmeans_dask.images import encode
from kmeans_dask.images.palette_files import read_entries
from kmeans_dask.job.encode_totals import EncodeTotals
from kmeans_dask.job.gallery import Gallery
from kmeans_dask.job.output_folder import below, write_failures, write_palette
from kmeans_dask.job.work_folder import _RECORD
from kmeans_dask.settings import EncodeSettings, FitSettings, Targets
from kmeans_dask.steps.write_image import RemappedImage, better_file, write_image
from kmeans_dask.store.records import Failure, ImageRecord
from tests.steps.strategies import files_in, job, noise, save

GREYS = Palette.of_colors(np.repeat(np.arange(0, 256, 17, dtype=np.uint8), 3).reshape(-1, 3))
ALWAYS = EncodeSettings(always=True)
KEPT = "kept/image.png"
GONE = "and the input file is gone or has changed: run the job anew"


def record_of(
    path: Path, pixels: NDArray[np.uint8], kept_as: str = KEPT, stem: str = "kept/image"
) -> ImageRecord:
    height, width = pixels.shape[:2]
    return ImageRecord(
        path=str(path),
        kept_as=kept_as,
        stem=stem,
        n_bytes=path.stat().st_size,
        modified=path.stat().st_mtime_ns,
        digest=None,
        height=height,
        width=width,
        transparent=False,
        translucent=False,
        composited=False,
        brightest=None,
        indexed=False,
        metadata=None,
        offset=0,
    )


def remapped_to(palette: Palette, record: ImageRecord, pixels: NDArray[np.uint8]) -> RemappedImage:
    """Each pixel to the entry nearest to its red."""
    flat = pixels.reshape(-1, 3)
    reds = palette.entries[:, 0].astype(int)
    indices = np.abs(flat[:, :1].astype(int) - reds).argmin(axis=1).astype(np.uint8)
    return RemappedImage.of(record, flat, None, indices, palette)


@pytest.fixture
def photo(tmp_path: Path) -> tuple[ImageRecord, RemappedImage, bytes]:
    """An image of noise, its file, which is larger than 16 greys, and what they make of it."""
    pixels = noise(1)
    path = save(tmp_path / "in" / "image.png", pixels)
    record = record_of(path, pixels)
    return record, remapped_to(GREYS, record, pixels), path.read_bytes()


@pytest.fixture
def small(tmp_path: Path) -> tuple[ImageRecord, RemappedImage, bytes]:
    """A file that no palette makes smaller."""
    pixels = np.full((2, 2, 3), 34, np.uint8)
    path = save(tmp_path / "in" / "image.gif", pixels)
    record = record_of(path, pixels, kept_as="kept/image.gif")
    return record, remapped_to(GREYS, record, pixels), path.read_bytes()


Sample = tuple[ImageRecord, RemappedImage, bytes]


def figures_of(found: EncodeTotals, output: Path) -> EncodeTotals:
    """Without the gallery; and without the files, which must be those that are in `output`."""
    written = files_in(output)
    assert found.files == tuple(
        (name, len(data), zlib.crc32(data)) for name, data in written.items()
    )
    return replace(found, gallery=Gallery(), files=())


# -- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a/b.png", "a/..b/...png", "a//b.png", "..a/b", "a b"])
def test_names_below_the_output_are_paths_below_it(name: str, tmp_path: Path) -> None:
    assert below(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize("name", ["/a.png", "../a.png", "a/../b.png", "a/../../b", "..", "a/.."])
def test_names_that_leave_the_output_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="outside the output folder"):
        below(tmp_path / "out", name)


@pytest.mark.parametrize("key", ["kept_as", "stem"])
def test_a_record_that_names_a_file_outside_writes_nothing(
    key: str, photo: Sample, small: Sample, tmp_path: Path
) -> None:
    record, remapped, _ = photo if key == "stem" else small
    with pytest.raises(StoreError, match="outside the output folder"):
        write_image(
            msgspec.structs.replace(record, **{key: "../escaped"}),
            remapped,
            tmp_path / "out",
            EncodeSettings(),
            Targets(),
        )
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("escaped*"))


# -- images -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["png", "webp"])
def test_an_image_is_written_and_counted_as_it_is(name: str, photo: Sample, tmp_path: Path) -> None:
    record, remapped, original = photo
    found = write_image(record, remapped, tmp_path / "out", EncodeSettings(name), Targets())
    (written,) = files_in(tmp_path / "out").items()
    assert written[0] == f"kept/image.{name}"
    with Image.open(io.BytesIO(written[1])) as image:
        assert np.array_equal(
            np.asarray(image.convert("RGB")), GREYS.entries[remapped.indices][..., :3]
        )
    assert figures_of(found, tmp_path / "out") == EncodeTotals(
        compressed=1,
        input_bytes=len(original),
        output_bytes=len(written[1]),
        all_pixels=20 * 24,
        pixels=20 * 24,
        squared_error=remapped.squared_error,
        palette_error=remapped.squared_error,
        largest_error=remapped.largest_error,
        largest_in=KEPT,
    )
    assert len(written[1]) < len(original)


def test_what_is_private_composited_or_reindexed_is_counted(photo: Sample, tmp_path: Path) -> None:
    record, remapped, _ = photo
    own = replace(remapped, private=True)
    said = msgspec.structs.replace(record, composited=True, indexed=True)
    found = write_image(said, own, tmp_path / "out", ALWAYS, Targets())
    assert (found.compressed, found.private, found.composited, found.reindexed) == (1, 1, 1, 1)
    kept = write_image(said, own, tmp_path / "kept", ALWAYS, Targets(60))
    assert (kept.kept, kept.reindexed) == (1, 0)


def test_only_a_palette_that_is_the_images_own_may_be_written_in_another_order(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    walks = [rng.integers(-1, 2, side).cumsum() for side in (100, 150)]
    values = (np.add.outer(*walks) + rng.integers(0, 3, (100, 150))) % 97  # filters predict them
    pixels = np.repeat(values[..., None], 3, axis=2).astype(np.uint8)
    greys = rng.permutation(97).astype(np.uint8)
    palette = Palette.of_colors(np.repeat(greys, 3).reshape(-1, 3))
    record = record_of(save(tmp_path / "in" / "image.png", pixels), pixels)
    shared = remapped_to(palette, record, pixels)
    settings = EncodeSettings(effort=5, always=True)
    sizes = []
    for mapped in (shared, replace(shared, private=True)):
        file = better_file(record, mapped, settings, Targets())
        assert file is not None
        sizes.append(len(file))
        with Image.open(io.BytesIO(file)) as image:
            assert np.array_equal(np.asarray(image.convert("RGB")), pixels)
            is_same = np.array_equal(np.asarray(image), mapped.indices)
        assert is_same is not mapped.private
    assert sizes[1] < sizes[0]


def test_the_error_is_that_of_the_pixels_that_are_seen(tmp_path: Path) -> None:
    pixels = np.array([[10, 20, 30], [0, 0, 0], [40, 40, 40]], np.uint8)
    alphas = np.array([255, 0, 51], np.uint8)
    palette = Palette.of_colors(
        np.array([[11, 22, 33, 255], [40, 40, 40, 102]], np.uint8), transparent=True
    )
    indices = np.array([1, 0, 2], np.uint8)
    record = record_of(save(tmp_path / "a.png", pixels[None]), pixels[None])
    found = RemappedImage.of(record, pixels, alphas, indices, palette)
    over = 3 * (40 * 51) ** 2 + (255 * 51) ** 2
    assert found.pixels == 2
    assert found.squared_error == (1 + 4 + 9) * 255**2 + over
    assert found.largest_error == max((1 + 4 + 9) * 255**2, over)
    assert found.indices.tolist() == [[1, 0, 2]]


def test_the_original_is_kept_where_it_is_smaller(small: Sample, tmp_path: Path) -> None:
    record, remapped, original = small
    found = write_image(record, remapped, tmp_path / "out", EncodeSettings(), Targets())
    assert files_in(tmp_path / "out") == {"kept/image.gif": original}
    assert figures_of(found, tmp_path / "out") == EncodeTotals(
        kept=1, input_bytes=len(original), output_bytes=len(original), all_pixels=4
    )


def test_an_original_of_the_same_size_is_not_kept(small: Sample, tmp_path: Path) -> None:
    record, remapped, _ = small
    write_image(record, remapped, tmp_path / "a", ALWAYS, Targets())
    (file,) = files_in(tmp_path / "a").values()
    for n_bytes, is_kept in ((len(file), False), (len(file) - 1, True)):
        same = msgspec.structs.replace(record, n_bytes=n_bytes)
        found = better_file(same, remapped, EncodeSettings(), Targets())
        assert (found is None) is is_kept


def test_always_means_always(small: Sample, tmp_path: Path) -> None:
    record, remapped, original = small
    found = write_image(record, remapped, tmp_path / "out", ALWAYS, Targets())
    assert list(files_in(tmp_path / "out")) == ["kept/image.png"]
    assert (found.compressed, found.kept) == (1, 0)
    assert found.output_bytes > found.input_bytes == len(original)


def test_a_larger_file_is_written_where_the_smaller_one_is_gone(
    small: Sample, tmp_path: Path
) -> None:
    record, remapped, _ = small
    Path(record.path).unlink()
    found = write_image(record, remapped, tmp_path / "out", EncodeSettings(), Targets())
    assert list(files_in(tmp_path / "out")) == ["kept/image.png"]
    assert (found.compressed, found.kept, found.outgrown, found.failures) == (1, 0, 1, ())


@pytest.mark.parametrize("settings", [EncodeSettings(), ALWAYS], ids=["smaller", "always"])
def test_an_image_that_misses_the_target_is_kept_to_the_byte(
    settings: EncodeSettings, photo: Sample, tmp_path: Path
) -> None:
    record, remapped, original = photo
    assert not remapped.reaches(Targets(60))
    found = write_image(record, remapped, tmp_path / "out", settings, Targets(60))
    assert files_in(tmp_path / "out") == {KEPT: original}
    assert figures_of(found, tmp_path / "out") == EncodeTotals(
        kept=1,
        below_target=1,
        input_bytes=len(original),
        output_bytes=len(original),
        all_pixels=20 * 24,
    )


def test_a_target_that_is_met_exactly_is_met(photo: Sample, tmp_path: Path) -> None:
    record, remapped, _ = photo
    mean = remapped.squared_error / (255**2 * 3 * remapped.pixels)
    exact = 10 * np.log10(255**2 / mean)
    assert remapped.reaches(Targets(exact - 1e-9))
    assert not remapped.reaches(Targets(exact + 1e-9))
    for name, target, kept in (("a", exact - 1e-9, 0), ("b", exact + 1e-9, 1)):
        found = write_image(record, remapped, tmp_path / name, ALWAYS, Targets(target))
        assert (found.compressed, found.below_target) == (1 - kept, kept)


def other_picture(path: Path) -> None:
    save(path, np.arange(12).reshape(2, 2, 3))


def other_bytes(path: Path) -> None:
    """Flip one bit of the last byte, so that the sizes of file and picture stay."""
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def nothing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "time", "by_time", "by_digest"),
    [
        (nothing, 0, True, True),
        (nothing, 1, False, True),
        (other_bytes, 1, False, False),
        (other_bytes, 0, True, False),  # a change that neither size nor time shows
        (other_picture, 0, False, False),
        (other_picture, 1, False, False),
        (Path.unlink, None, False, False),
    ],
)
@pytest.mark.parametrize("hashed", [False, True])
def test_an_original_is_kept_only_if_it_is_the_file_that_was_read(
    change: Callable[[Path], None],
    time: int | None,
    by_time: bool,
    by_digest: bool,
    hashed: bool,
    small: Sample,
    tmp_path: Path,
) -> None:
    record, remapped, original = small
    path = Path(record.path)
    if hashed:
        record = msgspec.structs.replace(record, digest=hashlib.sha256(original).hexdigest())
    change(path)
    if time is not None:
        os.utime(path, ns=(record.modified + time, record.modified + time))
    found = write_image(record, remapped, tmp_path / "out", EncodeSettings(), Targets())
    is_kept = by_digest if hashed else by_time
    assert (found.kept, found.compressed, found.outgrown) == (is_kept, not is_kept, not is_kept)
    (written,) = files_in(tmp_path / "out").items()
    if is_kept:
        assert written == ("kept/image.gif", path.read_bytes())
        assert not hashed or written[1] == original
    else:  # the picture that was read is encoded, though its file is larger
        with Image.open(io.BytesIO(written[1])) as image:
            assert np.array_equal(np.asarray(image.convert("RGB")), np.full((2, 2, 3), 34))


def test_a_changed_original_below_the_target_is_a_failure_by_name(
    photo: Sample, tmp_path: Path
) -> None:
    record, remapped, _ = photo
    os.utime(record.path, ns=(1, 1))
    found = write_image(record, remapped, tmp_path / "out", ALWAYS, Targets(60))
    assert found == EncodeTotals(failures=(Failure(record.path, f"too far off, {GONE}"),))


def nine_patch(tmp_path: Path, frame: tuple[int, int, int]) -> Sample:
    pixels = noise(4)
    pixels[0] = pixels[-1] = pixels[:, 0] = pixels[:, -1] = frame
    path = save(tmp_path / "in" / "button.9.png", pixels)
    record = record_of(path, pixels, kept_as="kept/button.9.png", stem="kept/button.9")
    return record, remapped_to(GREYS, record, pixels), path.read_bytes()


@pytest.mark.parametrize("settings", [EncodeSettings(), ALWAYS], ids=["smaller", "always"])
@pytest.mark.parametrize(("frame", "stays"), [((0, 0, 0), True), ((1, 1, 1), False)])
def test_a_nine_patch_is_kept_unless_its_frame_stays_as_it_is(
    frame: tuple[int, int, int], stays: bool, settings: EncodeSettings, tmp_path: Path
) -> None:
    record, remapped, original = nine_patch(tmp_path, frame)
    found = write_image(record, remapped, tmp_path / "out", settings, Targets())
    assert (found.compressed, found.kept, found.nine_patches) == (stays, not stays, not stays)
    (written,) = files_in(tmp_path / "out").values()
    assert (written == original) is not stays
    named = replace(remapped, has_frame=True)  # its frame would stay
    assert write_image(record, named, tmp_path / "other", settings, Targets()).compressed == 1


def test_a_nine_patch_whose_file_has_changed_is_a_failure_by_name(tmp_path: Path) -> None:
    record, remapped, _ = nine_patch(tmp_path, (1, 1, 1))
    os.utime(record.path, ns=(1, 1))
    found = write_image(record, remapped, tmp_path / "out", ALWAYS, Targets())
    assert found == EncodeTotals(
        failures=(Failure(record.path, f"its frame would change, {GONE}"),)
    )


def test_a_file_that_is_there_already_is_not_written_again(photo: Sample, tmp_path: Path) -> None:
    record, remapped, _ = photo
    first = write_image(record, remapped, tmp_path / "out", EncodeSettings(), Targets())
    path = tmp_path / "out" / KEPT
    before = path.stat()
    assert write_image(record, remapped, tmp_path / "out", EncodeSettings(), Targets()) == first
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    whole = path.read_bytes()
    for damage in (whole[:-1], whole[:-1] + b"?", whole + b"?"):
        path.write_bytes(damage)
        assert write_image(record, remapped, tmp_path / "out", EncodeSettings(), Targets()) == first
        assert path.read_bytes() == whole


@pytest.mark.parametrize("link", [Path.hardlink_to, Path.symlink_to])
def test_an_output_that_became_a_link_is_written_again(
    link: Callable[[Path, Path], None], photo: Sample, tmp_path: Path
) -> None:
    record, remapped, _ = photo
    write_image(record, remapped, tmp_path / "out", EncodeSettings(), Targets())
    path, elsewhere = tmp_path / "out" / KEPT, tmp_path / "elsewhere"
    path.rename(elsewhere)
    link(path, elsewhere)
    write_image(record, remapped, tmp_path / "out", EncodeSettings(), Targets())
    assert not path.is_symlink()
    assert path.stat().st_ino != elsewhere.stat().st_ino


def test_what_loses_nothing_reaches_any_target(small: Sample) -> None:
    _, remapped, _ = small
    assert remapped.squared_error == 0
    assert remapped.reaches(Targets(1e6))
    assert remapped.reaches(Targets())


def test_a_deleted_original_below_the_target_is_a_failure_by_name(
    photo: Sample, tmp_path: Path
) -> None:
    record, remapped, _ = photo
    Path(record.path).unlink()
    found = write_image(record, remapped, tmp_path / "out", ALWAYS, Targets(60))
    assert found == EncodeTotals(failures=(Failure(record.path, f"too far off, {GONE}"),))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["webp", "gif"])
def test_an_image_too_large_for_the_format_is_a_failure_by_name(
    name: str, photo: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, remapped, _ = photo  # 24 x 20
    monkeypatch.setitem(encode._LONGEST, name, 23)
    found = write_image(record, remapped, tmp_path / "out", EncodeSettings(name), Targets())
    reason = f"{name} holds 23 pixels a side: choose png"
    assert found == EncodeTotals(failures=(Failure(record.path, reason),))
    assert not (tmp_path / "out").exists()
    monkeypatch.setitem(encode._LONGEST, name, 24)
    assert not write_image(
        record, remapped, tmp_path / "out", EncodeSettings(name), Targets()
    ).failures


@pytest.mark.parametrize("scope", ["shared", "image"])
def test_one_image_too_large_for_the_format_fails_alone(
    scope: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(encode._LONGEST, "webp", 25)
    save(tmp_path / "in" / "a.png", noise(1))
    large = save(tmp_path / "in" / "b.png", noise(2, (9, 26)))
    settings = EncodeSettings("webp", always=True)
    found = job([tmp_path / "in"], tmp_path / "out", FitSettings(8), settings, scope)
    assert (found.compressed, found.failed, found.images) == (1, 1, 2)
    assert found.failures == (Failure(str(large), "webp holds 25 pixels a side: choose png"),)
    written = files_in(tmp_path / "out")
    assert "a.webp" in written
    assert "b.webp" not in written
    (line,) = written["failures.jsonl"].decode().splitlines()
    assert json.loads(line) == {"path": str(large), "reason": found.failures[0].reason}


def test_a_job_keeps_what_it_makes_no_smaller_or_not_good_enough(tmp_path: Path) -> None:
    save(tmp_path / "in" / "plain.bmp", np.full((100, 100, 3), 7))
    noisy = save(tmp_path / "in" / "noisy.png", noise(3))
    found = job([tmp_path / "in"], tmp_path / "out", FitSettings(3, min_psnr=40))
    assert (found.compressed, found.kept, found.failed) == (1, 1, 0)
    assert found.below_target == 1
    written = files_in(tmp_path / "out")
    assert sorted(written) == ["noisy.png", "palette.json", "plain.png"]
    assert written["noisy.png"] == noisy.read_bytes()


# -- beside the images ------------------------------------------------------------------------


def test_a_palette_is_written_with_the_pixels_of_each_entry(tmp_path: Path) -> None:
    palette = Palette.of_colors(
        np.array([[1, 2, 3, 9], [4, 5, 6, 255]], np.uint8), transparent=True
    )
    write_palette(tmp_path / "deep", palette, np.array([7, 8]))
    assert json.loads((tmp_path / "deep" / "palette.json").read_text()) == {
        "colors": ["#00000000", "#01020309", "#040506"],
        "transparent": 0,
        "pixels": [None, 7, 8],
    }
    assert read_entries(tmp_path / "deep" / "palette.json").tolist() == palette.entries.tolist()
    write_palette(tmp_path, GREYS)
    assert "pixels" not in json.loads((tmp_path / "palette.json").read_text())


def test_failures_are_lines_of_json_and_those_of_an_earlier_run_go(tmp_path: Path) -> None:
    failures = [Failure("/a\nb.png", "the file is empty"), Failure("/c.png", "ü")]
    write_failures(tmp_path, failures)
    lines = (tmp_path / "failures.jsonl").read_text().splitlines()
    assert [Failure(**json.loads(line)) for line in lines] == failures
    write_failures(tmp_path, [])
    assert files_in(tmp_path) == {}
    write_failures(tmp_path, [])


def test_sums_of_encoded_are_field_by_field() -> None:
    numbers = [name for name, value in vars(EncodeTotals()).items() if value == 0]
    largest = ("largest_error", "colors_bytes", "brightest")
    numbers = [name for name in numbers if name not in largest]
    some: dict[str, Any] = {name: number for number, name in enumerate(numbers, 1)}
    a = EncodeTotals(
        **some, largest_error=7, largest_in="a.png", colors_bytes=5, brightest=4,
        failures=(Failure("a", "b"),),
        files=(("a.png", 1, 2),),
    )  # fmt: skip
    tens: dict[str, Any] = {name: 10 * number for name, number in some.items()}
    b = EncodeTotals(**tens, largest_error=8, largest_in="b.png", failures=(Failure("c", "d"),))
    total = a + b
    failures, files = (Failure("a", "b"), Failure("c", "d")), (("a.png", 1, 2),)
    sums: dict[str, Any] = {name: 11 * number for name, number in some.items()}
    assert total == EncodeTotals(
        **sums,
        largest_error=8,
        largest_in="b.png",
        colors_bytes=5,
        brightest=4,
        failures=failures,
        files=files,
    )
    assert total.images == a.images + b.images == 33
    alike = EncodeTotals(largest_error=8, largest_in="0.png")
    assert (b + alike).largest_in == (alike + b).largest_in == "0.png"
    assert EncodeTotals.total([]) == EncodeTotals()


def test_what_was_encoded_comes_back_from_its_record(photo: Sample, tmp_path: Path) -> None:
    record, remapped, _ = photo
    named = msgspec.structs.replace(record, kept_as="\udcff\n.png")
    found = write_image(named, remapped, tmp_path, ALWAYS, Targets())
    found = found.with_cloud(((1, 2, 3, 4, 5, 6), (7, 8, 9, 10, 11, 12)))
    total = found + EncodeTotals(squared_error=1 << 80, failures=(Failure("/a\udcff", "b"),))
    assert found.compressed == len(found.gallery.rows) == len(found.files) == 1
    kept = _RECORD.decode(json.dumps(total.as_record()).encode())
    assert kept.encoded == total
