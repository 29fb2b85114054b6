"""Tests of `--total-size`: the bytes of all images together, and where the weight comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import kmeans_dask as kd
from kmeans_dask.errors import UsageError
from kmeans_dask.plan.output_names import WORK_FOLDER
from kmeans_dask.steps import budget
from kmeans_dask.steps.estimate import Sample, sample_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of three small photographs, one of them with clear pixels."""
    folder = tmp_path_factory.mktemp("in")
    photo = data.astronaut()  # type: ignore[no-untyped-call]
    for number, corner in enumerate((0, 120, 240)):
        image = Image.fromarray(photo[corner : corner + 96, corner : corner + 120])
        if number == 1:
            image.putalpha(
                Image.fromarray((np.arange(96 * 120).reshape(96, 120) > 3000) * 255.0).convert("L")
            )
        image.save(folder / f"{number}.png")
    return folder


def bytes_below(output: Path, suffix: str = ".png") -> int:
    return sum(path.stat().st_size for path in output.glob(f"*{suffix}"))


@pytest.mark.parametrize(
    ("palette", "format_", "part"),
    [
        ("shared", "png", 0.6),
        ("image", "png", 0.6),
        ("image", "png", 0.2),
        ("folder", "webp", 0.7),
        ("image", "gif", 0.7),
    ],
)
def test_images_take_hardly_less_than_their_total_size(
    folder: Path, tmp_path: Path, palette: str, format_: str, part: float
) -> None:
    plain = kd.compress(folder, tmp_path / "plain", palette=palette, format=format_, workers=0)
    most = round(part * plain.output_bytes)
    found = kd.compress(
        folder, tmp_path / "out", palette=palette, format=format_, total_size=most, workers=0
    )
    # Three images of few pixels have steps of some bytes each.
    assert 0.97 * most <= found.output_bytes <= most
    assert found.output_bytes == bytes_below(tmp_path / "out", f".{format_}")
    assert found.weight
    if palette == "shared":
        again = kd.compress(
            folder, tmp_path / "again", format=format_, lossy=found.weight, workers=0
        )
        assert again.output_bytes <= 1.02 * found.output_bytes


def test_plain_indices_are_kept_where_they_fit(folder: Path, tmp_path: Path) -> None:
    plain = kd.compress(folder, tmp_path / "plain", workers=0)
    found = kd.compress(folder, tmp_path / "out", total_size="10 MB", workers=0)
    assert (found.weight, found.lossy) == (0.0, 0)
    assert found.output_bytes == plain.output_bytes


def test_a_size_that_cannot_be_is_refused_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--total-size is 200 B, and these images take at least"):
        kd.compress(folder, tmp_path / "out", total_size=200, workers=0)
    assert not list((tmp_path / "out").glob("**/*.json"))


def test_a_size_may_be_of_a_pixel(folder: Path, tmp_path: Path) -> None:
    n_pixels = 3 * 96 * 120
    found = kd.compress(folder, tmp_path / "out", total_size="0.3B/pixel", workers=0)
    assert 0.28 * n_pixels <= found.output_bytes <= 0.3 * n_pixels


def test_a_resumed_job_tries_no_weight_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights: list[float] = []
    run = budget._Trial.run
    fails_at = 3

    def counted(self: budget._Trial, plan: object, weight: float, *rest: object) -> object:
        weights.append(weight)
        if len(weights) == fails_at:
            raise KeyboardInterrupt
        return run(self, plan, weight, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(budget._Trial, "run", counted)
    options = {"palette": "image", "total_size": 12_000, "workers": 0}
    with pytest.raises(KeyboardInterrupt):
        kd.compress(folder, tmp_path / "out", **options)  # type: ignore[arg-type]
    kd.compress(folder, tmp_path / "out", resume=True, **options)  # type: ignore[arg-type]
    before, after = weights[:2], weights[2:]
    assert not set(before) & set(after[1:])
    assert weights[2] == weights[3]  # the one that was broken off
    assert not (tmp_path / "out" / WORK_FOLDER / "attempt").exists()
    whole = kd.compress(folder, tmp_path / "whole", **options)  # type: ignore[arg-type]
    assert whole.output_bytes == bytes_below(tmp_path / "out")


def test_many_images_are_tried_as_a_sample_first(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two_of(plan: object) -> Sample:
        return sample_of(plan, 1)  # type: ignore[arg-type]

    monkeypatch.setattr(budget, "sample_of", two_of)
    monkeypatch.setattr(budget, "_LARGE", 1)
    found = kd.compress(folder, tmp_path / "out", palette="image", total_size=12_000, workers=0)
    assert 11_600 <= found.output_bytes <= 12_000


def test_a_kept_store_is_decoded_once(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "kept.zarr"
    found = kd.compress(folder, tmp_path / "out", store=store, total_size=14_000, workers=0)
    other = kd.compress(folder, tmp_path / "other", total_size=14_000, workers=0)
    assert found.output_bytes == other.output_bytes <= 14_000
