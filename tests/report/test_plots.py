"""`plot` and the report of a store, as a user types them; and what is on the plots."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.errors import UsageError
from kmeans_dask.report import plots
from kmeans_dask.report.before_after import exhibit_image, exhibit_store
from kmeans_dask.settings import FitSettings
from tests.command import palette_file, run, summary
from tests.conftest import photograph

EVIL = "<img src=x onerror=alert(1)>"


def image(folder: Path, name: str = "a.png") -> Path:
    photograph("coffee.png", (90, 60)).save(folder / name)
    return folder / name


def with_alpha(path: Path) -> Path:
    """Red where it is clear, a photograph elsewhere."""
    rgba = np.dstack([np.asarray(photograph("chelsea.png", (60, 40))), np.full((40, 60), 255)])
    rgba[:, :20] = (255, 0, 0, 0)
    Image.fromarray(rgba.astype(np.uint8)).save(path)
    return path


def store(folder: Path, *colors: str, pixels: int = 9000) -> Path:
    """Of six images, with palettes of so many colours."""
    (folder / "in").mkdir()
    for number in range(6):
        image(folder / "in", f"{number}.png")
    path = folder / "photos.zarr"
    run("ingest", folder / "in", path, "--workers", "0", "--partition-pixels", str(pixels))
    for k in colors:
        run("fit", path, "-k", k, "--workers", "0")
    return path


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are drawn."""
    figures: list[Any] = []
    save = plots._png

    def keep(figure: Any) -> bytes:
        figures.append(figure)
        return save(figure)

    monkeypatch.setattr(plots, "_png", keep)
    return figures


def points(axes: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.column_stack(axes.collections[0]._offsets3d)


def texts(figure: Any) -> str:
    return "\n".join(text.get_text() for text in figure.texts)


def test_an_image_becomes_two_png_files_with_the_figures_of_compress(tmp_path: Path) -> None:
    path = image(tmp_path)
    found = summary("plot", path, "-k", "8", "--output", tmp_path / "plots")
    names = ["a-colours.png", "a-compressed.png"]
    assert found["files"] == [str(tmp_path / "plots" / name) for name in names]
    for name in names:
        with Image.open(tmp_path / "plots" / name) as png:
            assert png.format == "PNG"
            assert min(png.size) > 500
        assert (tmp_path / "plots" / name).stat().st_size <= 1_000_000
    done = summary("compress", path, tmp_path / "out", "-k", "8", "--workers", "0", "--always")
    assert found["psnr"] == pytest.approx(done["psnr"], abs=1e-9)
    assert found["images"][0]["output_bytes"] == done["output_bytes"]
    assert found["images"][0]["input_bytes"] == done["input_bytes"]
    assert found["distinct_colors"] == done["distinct_colors"]


def test_the_cloud_after_has_the_palette_and_the_one_before_the_pixels(
    tmp_path: Path, drawn: list[Any]
) -> None:
    path = image(tmp_path)
    found = exhibit_image(path, FitSettings(8))
    plots.draw_colors(found)
    before, after = drawn[0].axes
    with Image.open(path) as opened:
        there = np.unique(np.asarray(opened).reshape(-1, 3), axis=0)
    assert 1000 < len(points(before)) <= 4000
    assert {*map(tuple, points(before))} <= {*map(tuple, there.astype(float))}
    np.testing.assert_array_equal(np.sort(points(after), 0), np.sort(found.palette.colors, 0))
    largest = found.palette.colors[found.weights.argmax()]
    sizes = after.collections[0].get_sizes()
    np.testing.assert_array_equal(points(after)[sizes.argmax()], largest)


def test_clear_pixels_are_in_no_cloud_and_show_what_is_behind(
    tmp_path: Path, drawn: list[Any]
) -> None:
    found = exhibit_image(with_alpha(tmp_path / "a.png"), FitSettings(8))
    assert found.weights.sum() == 40 * 40
    plots.draw_colors(found)
    plots.draw_pictures(found)
    for axes in drawn[0].axes:
        assert (points(axes) != (255, 0, 0)).any(axis=1).all()
    assert len(points(drawn[0].axes[1])) == 7
    for axes in drawn[1].axes:
        board, picture = axes.images
        assert set(np.unique(board.get_array())) == {0.93, 1.0}
        assert (picture.get_array()[:, :20, 3] == 0).all()
        assert (picture.get_array()[:, 20:, 3] == 255).all()


def test_fewer_colours_than_asked_for_are_all_kept(tmp_path: Path, drawn: list[Any]) -> None:
    Image.fromarray(np.array([[[9, 9, 9], [250, 1, 3]]], np.uint8)).save(tmp_path / "a.png")
    found = exhibit_image(tmp_path / "a.png", FitSettings(16))
    assert (found.psnr, found.as_dict()["colors"]) == (None, 2)
    plots.draw_colors(found)
    assert len(points(drawn[0].axes[1])) == 2
    assert "2 colours, nothing lost" in texts(drawn[0])


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)], ids=str)
def test_images_of_any_shape_are_drawn(size: tuple[int, int], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    found = exhibit_image(tmp_path / "a.png", FitSettings(4))
    assert plots.draw_colors(found)
    assert plots.draw_pictures(found)


def test_noise_makes_no_file_larger_than_a_megabyte(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    found = exhibit_image(tmp_path / "a.png", FitSettings(256, max_iter=1))
    assert len(plots.draw_pictures(found)) <= plots.MAX_BYTES


@pytest.mark.parametrize("name", [EVIL, "$\\frac{1}{0}$", "\u202e\n\N{GRINNING FACE}", "n" * 200])
def test_strange_names_are_text(name: str, tmp_path: Path, drawn: list[Any]) -> None:
    found = exhibit_image(image(tmp_path, f"{name}.png"), FitSettings(2))
    plots.draw_pictures(found)
    (shown,) = (text.get_text() for text in drawn[0].texts if text.get_weight() == "bold")
    assert "\n" not in shown
    assert len(shown) <= 60
    if name in (EVIL, "$\\frac{1}{0}$"):
        assert shown == f"{name}.png"
        assert summary("plot", tmp_path / f"{name}.png", "--output", tmp_path)["files"] == [
            str(tmp_path / f"{name}-{what}.png") for what in ("colours", "compressed")
        ]


@pytest.mark.parametrize("pixels", [5400, 16200, 10**6], ids=["6", "2", "1 partition"])
def test_a_store_shows_four_of_its_images_in_its_last_palette(
    pixels: int, tmp_path: Path, drawn: list[Any]
) -> None:
    path = store(tmp_path, "4", "8", pixels=pixels)
    done = summary("encode", path, tmp_path / "out", "--workers", "0", "--always")
    found = exhibit_store(path)
    assert [picture.name[0] for picture in found.pictures] == ["0", "1", "3", "4"]
    for picture in found.pictures:
        written = (tmp_path / "out" / picture.name).stat().st_size
        assert picture.output_bytes == written
        with Image.open(tmp_path / "in" / picture.name) as before:
            np.testing.assert_array_equal(picture.before, before.convert("RGBA"))
        with Image.open(tmp_path / "out" / picture.name) as after:
            np.testing.assert_array_equal(picture.after, after.convert("RGBA"))
    assert found.psnr == pytest.approx(done["psnr"], abs=1e-9)
    plots.draw_pictures(found)
    assert len(drawn[0].axes) == 8
    assert len(exhibit_store(path, "k4").palette) == 4
    assert len(palette_file(tmp_path / "out")["colors"]) == 8


def test_an_image_that_cannot_be_read_or_has_nothing_to_see_is_named(tmp_path: Path) -> None:
    whole = image(tmp_path).read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGBA", (9, 9)).save(tmp_path / "clear.png")
    for name in ("b.png", "missing.png", "clear.png"):
        stderr = run("plot", tmp_path / name, "--output", tmp_path / "o", code=2).stderr
        assert stderr.startswith(f"kmeans-dask: {tmp_path / name}")
        assert stderr.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_conflicting_options_and_existing_files_are_refused(tmp_path: Path) -> None:
    path = image(tmp_path)
    (tmp_path / "a-compressed.png").write_bytes(b"mine")
    stderr = run("plot", path, "--output", tmp_path, code=2).stderr
    assert "a-compressed.png exists already" in stderr
    assert (tmp_path / "a-compressed.png").read_bytes() == b"mine"
    assert not (tmp_path / "a-colours.png").exists()
    run("plot", path, "--output", tmp_path, "--overwrite")
    assert (tmp_path / "a-compressed.png").read_bytes().startswith(b"\x89PNG")
    assert "is a file" in run("plot", path, "--output", path, code=2).stderr
    assert (
        "--palette-name"
        in run("plot", path, "--palette-name", "k8", "--output", tmp_path / "o", code=2).stderr
    )
    unfitted = store(tmp_path)
    arguments = ("plot", unfitted, "--output", tmp_path / "o")
    assert "run `kmeans-dask fit` first" in run(*arguments, code=2).stderr
    assert "--colors" in run(*arguments, "-k", "4", code=2).stderr
    run("fit", unfitted, "-k", "300", "--workers", "0")
    with pytest.raises(UsageError, match="300 entries"):
        exhibit_store(unfitted)


def test_without_matplotlib_one_line_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['matplotlib'] = None; from kmeans_dask.cli import main; main()"
    words = [sys.executable, "-c", code, "plot", str(image(tmp_path)), "--output", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, env=dict(os.environ), timeout=60)
    assert done.returncode == 2
    assert done.stderr == ("kmeans-dask: plot needs Matplotlib: pip install 'kmeans-dask[plot]'\n")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_a_store_gets_its_report_and_an_output_its_own_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store(tmp_path, "4")
    monkeypatch.chdir(tmp_path)
    run("report", path)
    assert "Store report" in (tmp_path / "photos-report.html").read_text()
    assert "exists already" in run("report", path, code=2).stderr
    run("report", path, "--overwrite", "--palette-name", "k4")
    assert "it has k4" in run("report", path, "b.html", "--palette-name", "k5", code=2).stderr
    assert not (tmp_path / "b.html").exists()
    run("encode", path, "out", "--workers", "0")
    (tmp_path / "out" / "report.html").unlink()
    assert "FILE is for the report of a store" in run("report", "out", "b.html", code=2).stderr
    assert "--palette-name" in run("report", "out", "--palette-name", "k4", code=2).stderr
    run("report", "out")
    assert "Compression report" in (tmp_path / "out" / "report.html").read_text()
    assert "or a store" in run("report", "in", code=2).stderr
