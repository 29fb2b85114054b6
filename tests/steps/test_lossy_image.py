"""Images with lossy indices: they are smaller, or stay as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from kmeans_dask.color.ssimulacra2 import ssimulacra2
from kmeans_dask.job.summary import Summary
from kmeans_dask.settings import EncodeSettings, FitSettings, Lossy
from tests.steps.strategies import job, noise, save

PLAIN = EncodeSettings(always=True, effort=6)


def photograph() -> NDArray[np.uint8]:
    image: NDArray[np.uint8] = skimage.data.chelsea()[40:140, 100:260]  # type: ignore[no-untyped-call]
    return image


def shown(path: Path) -> NDArray[np.int64]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGBA")).astype(np.int64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "in" / "cat.png", photograph())
    return tmp_path / "in"


def compressed(folder: Path, output: Path, lossy: Lossy, **changes: Any) -> Summary:
    fit = changes.pop("fit", FitSettings(32))
    scope = changes.pop("scope", "shared")
    return job([folder], output, fit, replace(PLAIN, lossy=lossy, **changes), scope=scope)


@pytest.mark.parametrize("scope", ["shared", "folder", "image"])
@pytest.mark.parametrize("format_", ["png", "webp", "gif"])
def test_lossy_files_are_smaller_and_the_summary_has_both_errors(
    format_: str, scope: str, folder: Path, tmp_path: Path
) -> None:
    plain = compressed(folder, tmp_path / "plain", 0, format=format_, scope=scope)
    lossy = compressed(folder, tmp_path / "lossy", 10, format=format_, scope=scope)
    assert plain.lossy == 0
    assert plain.palette_psnr == plain.psnr
    assert lossy.lossy == 1
    assert lossy.palette_psnr == plain.psnr
    assert lossy.output_bytes < 0.98 * plain.output_bytes
    assert lossy.psnr is not None
    assert plain.psnr is not None
    assert lossy.psnr < plain.psnr
    found = shown(tmp_path / "lossy" / f"cat.{format_}")[..., :3]
    mean = ((found - photograph()) ** 2).mean()
    assert lossy.psnr == pytest.approx(10 * np.log10(255**2 / mean))
    assert len(np.unique(found.reshape(-1, 3), axis=0)) <= 32


def test_a_shared_palette_stays_as_it_was_fitted_and_an_own_one_moves(
    folder: Path, tmp_path: Path
) -> None:
    colors = {}
    for scope in ("shared", "image"):
        for lossy in (0, 40):
            output = tmp_path / f"{scope}{lossy}"
            fit = FitSettings(16, fixed=((255, 0, 255),))
            compressed(folder, output, lossy, scope=scope, fit=fit)
            with Image.open(output / "cat.png") as image:
                colors[scope, lossy] = np.array(image.getpalette()).reshape(-1, 3)
    assert np.array_equal(colors["shared", 0], colors["shared", 40])
    assert not np.array_equal(colors["image", 0], colors["image", 40])
    assert colors["image", 40][0].tolist() == [255, 0, 255]


@pytest.mark.parametrize("kind", ["noise", "one colour"])
def test_a_file_that_gains_less_than_two_percent_is_the_plain_one(
    kind: str, tmp_path: Path
) -> None:
    pixels = noise(3, (64, 64)) if kind == "noise" else np.full((64, 64, 3), 9, np.uint8)
    save(tmp_path / "in" / "a.png", pixels)
    plain = compressed(tmp_path / "in", tmp_path / "plain", 0, scope="image")
    lossy = compressed(tmp_path / "in", tmp_path / "lossy", 0.5, scope="image")
    assert lossy.lossy == 0
    assert lossy.output_bytes == plain.output_bytes
    one, other = (tmp_path / name / "a.png" for name in ("plain", "lossy"))
    assert one.read_bytes() == other.read_bytes()


def test_an_image_stays_plain_where_it_would_miss_the_quality(folder: Path, tmp_path: Path) -> None:
    plain = compressed(folder, tmp_path / "plain", 0, scope="image")
    assert plain.psnr is not None
    for below, n_lossy in ((0.01, 0), (9.0, 1)):
        fit = FitSettings(32, min_psnr=plain.psnr - below)
        found = compressed(folder, tmp_path / f"{below}", 30, scope="shared", fit=fit)
        assert found.lossy == n_lossy
        assert found.below_target == 0
        assert found.psnr is not None
        assert found.psnr >= plain.psnr - below


@pytest.mark.parametrize("scope", ["shared", "image"])
def test_as_much_loss_as_the_target_allows_is_taken(
    scope: str, folder: Path, tmp_path: Path
) -> None:
    fit = FitSettings(64, min_psnr=29.0)
    fewest = compressed(folder, tmp_path / "fewest", 0, fit=fit, scope=scope)
    most = compressed(
        folder, tmp_path / "most", "auto", fit=replace(fit, fewest=False), scope=scope
    )
    assert most.lossy == 1
    assert most.output_bytes < 0.9 * fewest.output_bytes
    assert most.psnr is not None
    assert 29.0 <= most.psnr < 29.7  # weights are tried a quarter of an octave apart


@pytest.mark.parametrize("scope", ["shared", "image"])
def test_gif_files_take_as_much_loss_as_the_target_allows(
    scope: str, folder: Path, tmp_path: Path
) -> None:
    fit = FitSettings(64, min_psnr=31.0, fewest=False)
    options = {"fit": fit, "scope": scope, "format": "gif"}
    plain = compressed(folder, tmp_path / "plain", 0, **options)
    most = compressed(folder, tmp_path / "most", "auto", **options)
    assert most.lossy == 1
    assert most.output_bytes < 0.8 * plain.output_bytes
    assert most.psnr is not None
    assert 31.0 <= most.psnr < 31.5


@pytest.mark.parametrize("scope", ["shared", "image"])
def test_the_score_that_is_asked_for_is_reached(scope: str, folder: Path, tmp_path: Path) -> None:
    fit = FitSettings(64, space="oklab", fewest=False)
    plain = compressed(folder, tmp_path / "plain", 0, fit=fit, scope=scope)
    found = compressed(folder, tmp_path / "out", "auto", fit=fit, scope=scope, min_ssimulacra2=60.0)
    assert plain.ssimulacra2 is not None
    assert plain.ssimulacra2 > 66
    assert found.lossy == 1
    assert found.output_bytes < plain.output_bytes
    shown_now = shown(tmp_path / "out" / "cat.png")[..., :3].astype(np.uint8)
    score = ssimulacra2(photograph(), shown_now)
    assert found.ssimulacra2 == pytest.approx(score, abs=1e-3)
    assert 60 <= score < 66
    kept = compressed(folder, tmp_path / "kept", "auto", fit=fit, scope=scope, min_ssimulacra2=99)
    assert (kept.kept, kept.below_target, kept.ssimulacra2) == (1, 1, None)


def test_an_image_of_noise_gets_fewer_colours_instead(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", noise(3, (64, 64)))
    fit = FitSettings(64, min_psnr=14.0, fewest=False)
    found = compressed(tmp_path / "in", tmp_path / "out", "auto", fit=fit, scope="image")
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert len(image.getpalette() or ()) // 3 < 64
    assert found.psnr is not None
    assert found.psnr >= 14.0


def test_an_image_that_misses_the_target_plainly_is_kept(folder: Path, tmp_path: Path) -> None:
    fit = FitSettings(4, min_psnr=60.0, fewest=False)
    found = compressed(folder, tmp_path / "out", "auto", fit=fit, scope="image")
    assert (found.kept, found.below_target) == (1, 1)


def test_transparency_stays_as_it_was(tmp_path: Path) -> None:
    pixels = np.dstack([photograph(), np.full((100, 160), 255, np.uint8)])
    pixels[20:40, 30:90, 3] = 0
    pixels[60:80, 30:90, 3] = 100
    save(tmp_path / "in" / "cat.png", pixels)
    found = compressed(tmp_path / "in", tmp_path / "out", 30, scope="image")
    assert found.lossy == 1
    alphas = shown(tmp_path / "out" / "cat.png")[..., 3]
    for alpha in (0, 255):
        assert np.array_equal(alphas == alpha, pixels[..., 3] == alpha)


def test_a_nine_patch_keeps_its_frame(tmp_path: Path) -> None:
    pixels = np.dstack([photograph(), np.full((100, 160), 255, np.uint8)])
    pixels[[0, -1]] = pixels[:, [0, -1]] = 0
    pixels[0, 40:90] = pixels[30:60, 0] = (0, 0, 0, 255)
    save(tmp_path / "in" / "button.9.png", pixels)
    fit = FitSettings(32, fixed=((0, 0, 0),))
    compressed(tmp_path / "in", tmp_path / "out", 30, scope="image", fit=fit)
    after = shown(tmp_path / "out" / "button.9.png")
    for part in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        assert np.array_equal(after[part], pixels[part])
