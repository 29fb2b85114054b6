"""Scheduler, workers and job must have the same versions."""

from __future__ import annotations

import os
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import pytest

from kmeans_dask.engine import connect
from kmeans_dask.engine.admission import Admission, admit
from kmeans_dask.engine.versions import PACKAGES, difference, versions_here
from kmeans_dask.errors import ClusterError
from tests.clusters.processes import (
    PATIENCE,
    Cluster,
    environment,
    open_cluster,
    refused,
    run,
    until,
)
from tests.clusters.tasks import hold, leave
from tests.command import tree


def pretended(folder: Path, package: str, version: str) -> Path:
    """A folder which, on a path, makes that version look installed."""
    made = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    return folder


def test_what_is_compared_is_installed() -> None:
    assert dict(versions_here()) == {name: metadata.version(name) for name in PACKAGES}
    assert difference(versions_here(), dict(versions_here()), "a worker") is None


def test_a_version_that_only_one_side_has_differs() -> None:
    here = (("numba", "1.0"), ("deflate", None))
    assert "lacks numba, which the job has as 1.0" in str(difference(here, {}, "w"))
    found = difference(here, {"numba": "1.0", "deflate": "2.0"}, "w")
    assert found
    assert "w has deflate 2.0, the job lacks deflate" in found


@pytest.mark.parametrize("package", ["pillow", "kmeans-dask"])
def test_a_worker_with_another_version_is_named(
    package: str, lonely: Cluster, photos: Path, tmp_path: Path
) -> None:
    path = pretended(tmp_path / "pretended", package, "0.0.1")
    lonely.start_worker(env=environment(path))
    said = refused("compress", photos, tmp_path / "out", "--scheduler", lonely.address)
    assert "the worker at tcp://127.0.0.1:" in said
    assert f"has {package} 0.0.1, the job has {package} {metadata.version(package)}" in said
    assert not (tmp_path / "out").exists()


def test_a_scheduler_with_another_version_is_named(photos: Path, tmp_path: Path) -> None:
    path = pretended(tmp_path / "pretended", "zarr", "0.0.1")
    with open_cluster(tmp_path) as cluster:
        cluster.start_scheduler(env=environment(path))
        cluster.start_worker()
        words = ("--scheduler-file", cluster.file)
        said = refused("ingest", photos, tmp_path / "a.zarr", *words)
    assert "the scheduler has zarr 0.0.1, the job has zarr " in said
    assert not (tmp_path / "a.zarr").exists()


def bare_path(folder: Path) -> dict[str, str]:
    """Of a process with all packages but ours: `python -S` reads no .pth file."""
    folder.mkdir()
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if "kmeans_dask" not in entry.name:
            (folder / entry.name).symlink_to(entry)
    return environment() | {"PYTHONPATH": str(folder)}


def test_a_worker_without_this_package_is_named(
    lonely: Cluster, photos: Path, tmp_path: Path
) -> None:
    env = bare_path(tmp_path / "packages")
    lonely.start_worker(env=env, python=(sys.executable, "-S"))
    said = refused("compress", photos, tmp_path / "out", "--scheduler", lonely.address)
    assert "lacks kmeans-dask, which the job has as " in said
    assert not (tmp_path / "out").exists()


def test_a_worker_that_cannot_import_this_package_is_named(
    lonely: Cluster, photos: Path, tmp_path: Path
) -> None:
    env = bare_path(tmp_path / "packages")
    pretended(tmp_path / "packages", "kmeans-dask", metadata.version("kmeans-dask"))
    lonely.start_worker(env=env, python=(sys.executable, "-S"))
    said = refused("compress", photos, tmp_path / "out", "--scheduler", lonely.address)
    assert "No module named 'kmeans_dask'" in said
    assert "is kmeans-dask installed there?" in said
    assert not (tmp_path / "out").exists()


def test_equal_versions_give_no_message(
    cluster: Cluster, photos: Path, tmp_path: Path, local: dict[str, str]
) -> None:
    done = run(
        "compress", photos, tmp_path / "out", "--colors", "8", "--scheduler", cluster.address
    )
    assert "version" not in done.stderr.lower()
    assert "warning" not in done.stderr
    assert tree(tmp_path / "out") == local


def test_a_worker_that_joins_late_with_another_version_does_nothing(
    lonely: Cluster, tmp_path: Path
) -> None:
    lonely.start_worker()
    gate, trace = tmp_path / "gate", tmp_path / "trace"
    with connect(scheduler=lonely.address, timeout=30) as engine:
        held = engine.submit("hold", hold, str(gate))
        until(lambda: gate.with_suffix(".held").exists(), "a task at work")
        lonely.start_worker(env=environment(pretended(tmp_path / "pretended", "numba", "0.0.1")))
        late = engine.submit("leave", leave, str(trace))
        with pytest.raises(ClusterError, match=r"which joined late, has numba 0.0.1, the job has"):
            engine.result(late)
        gate.touch()
        assert engine.result(held) == str(gate)
    assert not trace.exists()


def test_a_worker_that_joins_late_without_this_package_ends_and_its_work_is_done(
    lonely: Cluster, tmp_path: Path
) -> None:
    lonely.start_worker()
    gate = tmp_path / "gate"
    with connect(scheduler=lonely.address, timeout=30) as engine:
        held = engine.submit("hold", hold, str(gate))
        until(lambda: gate.with_suffix(".held").exists(), "a task at work")
        bare = lonely.start_worker(env=bare_path(tmp_path / "bare"), python=(sys.executable, "-S"))
        late = engine.submit("leave", leave, str(tmp_path / "trace"))
        bare.wait(PATIENCE)  # Dask ends a worker that cannot read its task
        gate.touch()
        assert engine.result(held) == str(gate)
        assert engine.result(late) == str(tmp_path / "trace")


def test_a_worker_is_not_admitted_with_another_version() -> None:
    admit(Admission(versions_here()))
    with pytest.raises(ClusterError, match=f"process {os.getpid()}.*has numpy .* numpy 0.0.1"):
        admit(Admission((("numpy", "0.0.1"),)))
