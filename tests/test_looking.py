"""`compare`, `sweep` and `estimate`, as a user types them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.command import run, summary
from tests.conftest import photograph


def test_implementations_that_start_alike_end_alike(tmp_path: Path) -> None:
    photograph("coffee.png", (90, 60)).save(tmp_path / "a.png")
    found = summary("compare", tmp_path / "a.png", "--colors", "5")
    sides = {side["name"]: side for side in found["sides"]}
    ours, peers = sides["kmeans-dask"], [sides["textbook"], sides["scikit-learn"]]
    for side in peers:
        assert side["iterations"] == ours["iterations"] > 1
        assert side["difference"] < 1e-6
        assert side["inertia"] == pytest.approx(ours["inertia"], rel=1e-9)
        assert (side["psnr"], side["n_bytes"]) == (ours["psnr"], ours["n_bytes"])
    assert found["ratios"][0] == 1


@pytest.mark.parametrize("content", [None, b"no image"], ids=["missing", "garbage"])
def test_what_cannot_be_compared_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    if content:
        path.write_bytes(content)
    stderr = run("compare", path, code=2).stderr
    assert stderr.startswith(f"kmeans-dask: {path}: ")
    assert stderr.count("\n") == 1


def test_a_sweep_has_the_figures_of_each_fit(photos: Path, tmp_path: Path) -> None:
    found = summary("sweep", photos, "-k", "16,2,4", "--workers", "0")
    assert [point["colors"] for point in found["points"]] == [2, 4, 16]
    psnrs = [point["psnr"] for point in found["points"]]
    assert psnrs == sorted(psnrs)
    assert np.all(np.diff([point["oklab"] for point in found["points"]]) < 0)
    done = summary("compress", photos, tmp_path / "o", "-k", "4", "--workers", "0", "--always")
    assert psnrs[1] == pytest.approx(done["psnr"], abs=1e-9)
    assert found["sampled"] == done["images"]
    assert found["points"][1]["n_bytes"] == done["output_bytes"]


def test_an_estimate_from_all_images_is_what_comes_out(photos: Path, tmp_path: Path) -> None:
    found = summary("estimate", photos, "-k", "8", "--workers", "0")
    done = summary("compress", photos, tmp_path / "o", "-k", "8", "--workers", "0")
    assert found["sampled"] == found["images"] == done["images"]
    assert (found["output_bytes"], found["bytes_off"]) == (done["output_bytes"], 0)
