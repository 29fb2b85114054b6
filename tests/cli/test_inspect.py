"""`compare`, `sweep` and `estimate`, as a user types them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.engine.memory_model import bytes_to_fit
from tests.command import run, summary
from tests.conftest import photograph
from tests.reliability.jobs import peaks_while_at_work
from tests.report.pages import Reader


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


def test_nothing_is_compiled_on_the_clock(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    photograph("coffee.png", (300, 200)).save(image)
    script = """
import sys
from pathlib import Path
from numba.core import event
from kmeans_dask.steps import compare

class Listener(event.Listener):
    timed, seen = False, []
    def on_start(self, event):
        self.seen.append(self.timed)
    def on_end(self, event):
        pass

listener, calls = Listener(), []
event.register("numba:compile", listener)

def noted(*args, fit=compare._ours):
    calls.append(args)
    listener.timed = len(calls) > 1
    found = fit(*args)
    listener.timed = False
    return found

compare._implementations = lambda: [("kmeans-dask", noted, "")]
compare.compare(Path(sys.argv[1]), 16)
print(len(calls), any(listener.seen), len(listener.seen) > 20)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, image],
        capture_output=True,
        check=True,
        text=True,
        timeout=600,
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kernels")},
    )
    assert done.stdout.split() == ["2", "False", "True"]


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


def test_a_sweep_of_several_weights_writes_a_page_to_choose_from(
    photos: Path, tmp_path: Path
) -> None:
    page = tmp_path / "sweep.html"
    first = ("sweep", photos, "-k", "4,16", "--lossy", "0,200", "--always", "--seed", "3")
    words = (*first, "--workers", "0", "--report", page)
    found = summary(*words)
    assert [(point["colors"], point["lossy"]) for point in found["points"]] == [
        (4, 0), (4, 200), (16, 0), (16, 200)
    ]  # fmt: skip
    plain, lossy = found["points"][2:]
    assert lossy["n_bytes"] < plain["n_bytes"]
    assert lossy["ssimulacra2"] < plain["ssimulacra2"] < 100
    html = page.read_text()
    assert html.count("data:image/webp;base64,") >= 5
    data = Reader(html).data
    command = shlex.split(data["points"][3]["command"])
    assert command[:4] == ["kmeans-dask", "compress", str(photos), "OUTPUT"]
    output = tmp_path / "out"
    done = summary(*command[1:3], output, *command[4:], "--workers", "0")
    assert done["output_bytes"] == lossy["n_bytes"]
    assert done["ssimulacra2"] == lossy["ssimulacra2"]
    refused = run(*words, code=2).stderr
    assert refused.count("\n") == 1
    assert "exists already" in refused
    summary(*words, "--overwrite")
    text = run(*words[:-2]).stdout
    assert "lossy" in text
    assert "SSIMULACRA2" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--lossy", "auto"], "--lossy auto has no place in a sweep: write weights, as 0,1,2,4"),
        (["--lossy", "0,auto"], "--lossy auto has no place in a sweep: write weights, as 0,1,2,4"),
        (["--lossy", "much"], "--lossy is 'much': write weights of 0 to 10,000 with commas"),
        (["--lossy", "0,-1"], "--lossy is (0.0, -1.0): choose weights of 0 to 10,000"),
        (["--lossy", "0,1", "--dither", "1"], "--dither and --lossy exclude each other"),
        (["--report", "."], ". is a folder: name another file with --report"),
        (["--report", "a.png/b.html"], "--report a.png/b.html cannot be written"),
        (["--report", "-"], "--report - is no name of a file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_sweep_that_cannot_be_is_refused_in_a_line(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photograph("coffee.png", (30, 20)).save(tmp_path / "a.png")
    refused = run("sweep", "a.png", "-k", "4", *words, code=2).stderr
    assert says in refused
    assert refused.count("\n") == 1


def test_an_estimate_from_all_images_is_what_comes_out(photos: Path, tmp_path: Path) -> None:
    found = summary("estimate", photos, "-k", "8", "--workers", "0")
    done = summary("compress", photos, tmp_path / "o", "-k", "8", "--workers", "0")
    assert found["sampled"] == found["images"] == done["images"]
    assert (found["output_bytes"], found["bytes_off"]) == (done["output_bytes"], 0)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("scope", ["shared", "image"])
def test_the_memory_that_an_estimate_promises_is_accepted_and_kept_to(
    scope: str, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    noise = rng.integers(1, 256, (500, 1000, 4), np.uint8)  # translucent, and hardly a colour twice
    Image.fromarray(noise).save(tmp_path / "in" / "noise.png", compress_level=1)
    photograph("coffee.png", (300, 200)).save(tmp_path / "in" / "photo.jpg")
    words = ("-k", "4", "--palette", scope)
    promised = summary("estimate", tmp_path / "in", *words, "--workers", "0")["worker_bytes"]
    of_noise = bytes_to_fit(len(np.unique(noise.view(np.uint32))), opaque=False)
    assert of_noise <= promised < of_noise + 10_000_000  # and the photograph's if shared
    job = ("compress", tmp_path / "in", tmp_path / "out", *words, "--workers", "1", "--always")
    code, peaks, said = peaks_while_at_work(*job, "--memory-limit", f"{promised}B")
    assert code == 0, said
    assert 0 < max(peaks.values()) * 1e6 < 0.95 * promised  # Dask ends workers there
    if scope == "image":
        refused = run(*job, "--overwrite", "--memory-limit", f"{of_noise - 2_000_000}B", code=1)
        assert "noise.png: " in refused.stdout
        assert "distinct colours take about" in refused.stdout
