"""A small collection that is held makes what it makes by way of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kmeans_dask.errors import UsageError
from kmeans_dask.job.summary import Summary
from kmeans_dask.settings import EncodeSettings, FitSettings
from kmeans_dask.steps import compress, in_memory
from tests.steps.strategies import files_in, job, noise, save

FITS = {
    "plain": FitSettings(8),
    "starts": FitSettings(5, n_init=3, init="random", seed=7),
    "fixed": FitSettings(8, fixed=((255, 0, 255), (1, 2, 3))),
    "images": FitSettings(8, weight="images"),
    "oklab": FitSettings(8, space="oklab"),
    "target": FitSettings(64, min_psnr=20.0),
    "more than there are": FitSettings(200),
}
WRITTEN = {
    "plain": EncodeSettings(),
    "always": EncodeSettings(always=True),
    "dithered": EncodeSettings(dither=1.0, always=True),
    "lossy": EncodeSettings(lossy=500.0, always=True),
    "webp": EncodeSettings(format="webp", always=True),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Opaque, clear and translucent ones of several sizes, two of the same bytes, one broken."""
    folder = tmp_path_factory.mktemp("in")
    for number, (name, size, alphas) in enumerate(
        [
            ("a.png", (20, 24), "opaque"),
            ("b/a.png", (1, 1), "opaque"),
            ("b/c.png", (33, 7), "both"),
            ("d.png", (40, 40), "opaque"),
            ("e.png", (12, 19), "translucent"),
        ]
    ):
        save(folder / name, noise(number, size, alphas))
    save(folder / "b" / "twin.png", noise(0, (20, 24)))
    broken = save(folder / "broken.png", noise(9))
    broken.write_bytes(broken.read_bytes()[:-300])
    return folder


def by_way_of_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compress, "fits_in_memory", lambda plan, engine: False)


def in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_memory, "_LEAST", 500)


def figures(summary: Summary) -> dict[str, Any]:
    fitted = summary.fitted
    assert fitted is not None
    return {
        **summary.as_dict(),
        "seconds": None,
        "gallery": summary.gallery.as_dict(),
        "history": fitted.history,
        "weights": fitted.weights.tolist(),
    }


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize(
    ("fit", "written"),
    [*((fit, "plain") for fit in FITS), *(("plain", written) for written in WRITTEN)],
)
def test_a_small_job_makes_what_it_makes_by_way_of_a_store(
    fit: str, written: str, pieces: bool, images: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    if pieces:
        in_pieces(monkeypatch)
    found = job([images], tmp_path / "held", FITS[fit], WRITTEN[written])
    assert found.failed == 1
    by_way_of_a_store(monkeypatch)
    expected = job([images], tmp_path / "stored", FITS[fit], WRITTEN[written])
    assert figures(found) == figures(expected)
    assert files_in(tmp_path / "held") == files_in(tmp_path / "stored")


def test_the_stages_of_a_small_job_have_no_store(images: Path, tmp_path: Path) -> None:
    found = job([images], tmp_path / "out", FitSettings(8))
    assert list(found.seconds) == ["ingest", "fit", "encode"]


def test_where_the_palette_has_no_room_for_what_is_clear_the_job_is_refused(
    images: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no room for 2 fixed colours and the transparent one"):
        job([images], tmp_path / "out", FitSettings(2, fixed=((1, 2, 3), (4, 5, 6))))


def test_where_no_image_can_be_read_nothing_is_written(tmp_path: Path) -> None:
    broken = save(tmp_path / "in" / "a.png", noise(1))
    broken.write_bytes(broken.read_bytes()[:-300])
    found = job([broken], tmp_path / "out", FitSettings(8))
    assert (found.images, found.failed) == (1, 1)
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name[0] != "."] == [
        "failures.jsonl"
    ]
