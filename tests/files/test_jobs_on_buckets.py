"""Jobs whose images, stores and outputs are objects: the same bytes as of files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmeans_dask import open_indices, open_pixels
from kmeans_dask.files import locks, parse_location
from kmeans_dask.store.store import Store
from tests.clusters.processes import open_cluster
from tests.command import run, run_here, tree
from tests.files.server import KEY, SECRET, Bucket
from tests.reliability.jobs import started, until
from tests.reliability.pictures import save_pictures

PARTITIONS = ("--partition-pixels", "6000")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all modes, and one that is none."""
    folder = save_pictures(tmp_path_factory.mktemp("in"), 21)
    (folder / "trees" / "no ü#image.png").write_bytes(b"none")
    return folder


def compress(*words: str | Path) -> dict[str, Any]:
    return dict(json.loads(run_here("compress", *words, "--workers", "0", "--json", code=1).stdout))


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """Of a summary, what does not say where and how fast."""
    return {
        name: value
        for name, value in found.items()
        if name not in ("seconds", "failures", "output", "store", "inputs")
    }


@pytest.mark.parametrize(
    "words", [("--palette", "shared"), ("--palette", "image", "--format", "webp")]
)
def test_compress_makes_the_same_of_objects_and_files(
    words: tuple[str, ...], pictures: Path, tmp_path: Path, bucket: Bucket
) -> None:
    there = bucket.upload(pictures, "in")
    said = compress(pictures, tmp_path / "out", "-k", "8", *words)
    expected = tree(tmp_path / "out")
    expected.pop("failures.jsonl")  # names its files
    runs: list[tuple[str | Path, str | Path]] = [
        (there, bucket.url("out")),
        (pictures, bucket.url("out2")),
        (there, tmp_path / "out3"),
    ]
    for images, output in runs:
        found = compress(images, output, "-k", "8", *words)
        assert figures(found) == figures(said)
        if isinstance(output, Path):
            made = tree(output)
        else:
            made = bucket.tree(output.removeprefix(bucket.url()))
        failures = made.pop("failures.jsonl")
        assert failures
        assert made == expected
    failed = json.loads(bucket.get("out/failures.jsonl"))
    assert failed["path"] == f"{there}/trees/no ü#image.png"
    assert not [key for key in bucket.keys("") if key.endswith("lock") or "at-work" in key]


def test_a_store_of_objects_goes_all_the_way(
    pictures: Path, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the report goes
    there = bucket.upload(pictures, "in")
    for images, store in ((pictures, tmp_path / "s.zarr"), (there, bucket.url("s.zarr"))):
        run_here("ingest", images, store, *PARTITIONS, "--workers", "0", code=1)
        run_here("fit", store, "-k", "8", "--workers", "0")
        run_here("tokenize", store, "--workers", "0", code=1)
        run_here("verify", store, "--workers", "0")
    made, expected = bucket.bytes_below("s.zarr"), bytes_below(tmp_path / "s.zarr")
    ours = {name for name in expected if name.split("/")[0] not in ("plan.json", "copies")}
    # What names the images, or says when, is another; all that is of pixels is the same.
    alike = {name for name in ours if "/c/" in name or name.endswith("/0")}
    assert alike
    assert {name: made.get(name) for name in alike} == {name: expected[name] for name in alike}
    assert set(made) == set(expected) - {".lock"}
    run_here("encode", tmp_path / "s.zarr", tmp_path / "out", "--workers", "0", code=1)
    run_here("encode", bucket.url("s.zarr"), bucket.url("out"), "--workers", "0", code=1)
    made_of = [bucket.tree("out"), tree(tmp_path / "out")]
    for each in made_of:
        each.pop("failures.jsonl")  # names its files
    assert made_of[0] == made_of[1]
    said = run_here("info", bucket.url("s.zarr")).stdout
    assert "palette k8" in said.replace("  ", " ")
    for open_array in (open_pixels, open_indices):
        array, beside = open_array(bucket.url("s.zarr")), open_array(tmp_path / "s.zarr")
        np.testing.assert_array_equal(array.compute(scheduler="threads"), beside.compute())
        assert SECRET.encode() not in pickle.dumps(array)  # as it goes to workers
    run_here("report", bucket.url("s.zarr"))
    assert (tmp_path / "s-report.html").is_file()


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_damage_is_found_and_mended(pictures: Path, bucket: Bucket) -> None:
    there = bucket.upload(pictures, "in")
    store = bucket.url("s.zarr")
    run_here("ingest", there, store, *PARTITIONS, "--workers", "0", code=1)
    run_here("fit", store, "-k", "8", "--workers", "0")
    before = bucket.bytes_below("s.zarr")
    chunks = [name for name in before if name.startswith("partitions/") and "/c/" in name]
    gone, changed = chunks[0], chunks[-1]
    bucket.delete(f"s.zarr/{gone}")
    bucket.put(f"s.zarr/{changed}", before[changed][:-1] + b"?")
    assert "damaged" in run_here("verify", store, "--workers", "0", code=1).stdout
    run_here("verify", store, "--repair", "--workers", "0")
    assert bucket.bytes_below("s.zarr") == before


def test_a_job_that_was_killed_is_taken_up(
    pictures: Path, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, output = bucket.upload(pictures, "in"), bucket.url("out")
    words = ("compress", there, output, "-k", "8", *PARTITIONS, "--workers", "1")
    with started(*words) as job:
        until(lambda: bool(bucket.keys("out/.kmeans-dask/done/")), job)
        job.kill()
        assert not job.strays()
    run_here("compress", pictures, tmp_path / "out", "-k", "8", "--workers", "0", code=1)
    monkeypatch.setattr(locks, "LEASE", 0.5)  # it gives no more signs of life
    run_here(*words[:-1], "0", "--resume", code=1)
    made, expected = bucket.tree("out"), tree(tmp_path / "out")
    for each in (made, expected):
        each.pop("failures.jsonl")
    assert made == expected
    before = bucket.bytes_below("out")
    said = run_here(*words[:-1], "0", "--resume", code=1)
    assert "nothing to do" in said.stdout
    assert bucket.bytes_below("out") == before


def test_a_store_grows(pictures: Path, tmp_path: Path, bucket: Bucket) -> None:
    there = bucket.upload(pictures / "birds", "in")
    run_here("ingest", there, bucket.url("s.zarr"), "--workers", "0")
    bucket.upload(pictures / "trees", "in/trees")
    run_here("ingest", there, bucket.url("s.zarr"), "--workers", "0", "--resume", code=1)
    run_here("ingest", bucket.url("in"), bucket.url("whole.zarr"), "--workers", "0", code=1)
    grown, whole = (
        Store.open(parse_location(bucket.url(each))).read_colors()
        for each in ("s.zarr", "whole.zarr")
    )
    np.testing.assert_array_equal(grown.codes, whole.codes)
    np.testing.assert_array_equal(grown.weights, whole.weights)


def test_an_output_is_not_overwritten_unless_that_is_said(pictures: Path, bucket: Bucket) -> None:
    there = bucket.upload(pictures / "birds", "in")
    words = ("compress", there, bucket.url("out"), "-k", "4", "--workers", "0")
    run_here(*words)
    before = bucket.tree("out")
    assert "--overwrite" in run_here(*words, code=2).stderr
    assert bucket.tree("out") == before
    run_here(*words, "--overwrite")
    assert bucket.tree("out") == before
    bucket.put("other/mine.txt", b"")
    refused = run_here("compress", there, bucket.url("other"), "-k", "4", "--workers", "0", code=2)
    assert len(refused.stderr.splitlines()) == 1
    assert bucket.keys("other") == ["other/mine.txt"]


def test_workers_elsewhere_see_the_same_objects(
    pictures: Path, tmp_path: Path, bucket: Bucket
) -> None:
    there = bucket.upload(pictures / "birds", "in")
    run_here("compress", pictures / "birds", tmp_path / "out", "-k", "8", "--workers", "0")
    folder = tmp_path / "cluster"
    folder.mkdir()
    with open_cluster(folder) as cluster:
        cluster.start_scheduler()
        cluster.start_worker()
        cluster.start_worker()
        run("compress", there, bucket.url("out"), "-k", "8", "--scheduler", cluster.address)
        logs = [path.read_text() for path in folder.glob("log*")]
    assert bucket.tree("out") == tree(tmp_path / "out")
    assert not [log for log in logs if SECRET in log]


def test_credentials_are_nowhere(pictures: Path, bucket: Bucket) -> None:
    there = bucket.upload(pictures, "in")
    store = bucket.url("s.zarr")
    said = [
        run("compress", there, bucket.url("out"), "-k", "8", "--workers", "1", code=1),
        run_here("ingest", there, store, "--workers", "0", code=1),
        run_here("fit", store, "-k", "8", "--workers", "0"),
        run_here("tokenize", store, "--workers", "0", code=1),
        run_here("compress", "s3://nobody-has-made-it/a", bucket.url("x"), code=2),
    ]
    for each in said:
        assert not any(secret in each.stdout + each.stderr for secret in (SECRET, KEY))
    for key in bucket.keys(""):
        assert not any(secret.encode() in bucket.get(key) for secret in (SECRET, KEY)), key
    assert json.loads(run_here("info", store, "--json").stdout)["palettes"]
