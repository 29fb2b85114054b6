"""Submitted jobs: scripts, scheduler files, `dask kmeans`, manifests."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from kmeans_dask.cli.dask_plugin import command
from tests.clusters.processes import (
    BIN,
    KMEANS,
    PATIENCE,
    ROOT,
    Cluster,
    environment,
    one_line,
    refused,
    run,
    until,
)
from tests.command import tree

JOBS = ROOT / "jobs"
COMMANDS = ("compress", "ingest", "fit", "encode")


def script(name: str) -> list[str]:
    return [sys.executable, str(JOBS / f"{name}.py")]


def test_the_scripts_do_what_the_commands_do(
    cluster: Cluster, photos: Path, tmp_path: Path, local: dict[str, str]
) -> None:
    there = ("--scheduler-file", cluster.file)
    env = environment(DASK_SCHEDULER_ADDRESS=cluster.address)
    # Relative, and the workers are elsewhere.
    run(*script("compress"), photos, "out", "--colors", "8", *there, cwd=tmp_path)
    assert tree(tmp_path / "out") == local
    run(*script("ingest"), photos, "a.zarr", "--scheduler", cluster.address, cwd=tmp_path)
    run(*script("fit"), "a.zarr", "--colors", "8", cwd=tmp_path, env=env)
    run(*script("encode"), "a.zarr", "out2", *there, cwd=tmp_path)
    assert tree(tmp_path / "out2") == local


@pytest.mark.parametrize(
    ("name", "words"), [*((name, []) for name in COMMANDS), ("fit", ["--workers", "2"])]
)
def test_a_script_starts_no_cluster(
    name: str, words: list[str], photos: Path, tmp_path: Path
) -> None:
    given = [photos, tmp_path / "out"][: 1 if name == "fit" else 2]
    env = environment(DASK_SCHEDULER_ADDRESS="tcp://127.0.0.1:9") if words else None
    said = one_line(run(*script(name), *given, *words, code=2, env=env))
    assert "name a cluster with --scheduler, --scheduler-file or DASK_SCHEDULER_ADDRESS" in said
    assert not (tmp_path / "out").exists()


def test_scripts_end_with_the_codes_of_the_commands(
    cluster: Cluster, photos: Path, tmp_path: Path
) -> None:
    there = ("--scheduler-file", cluster.file)
    shutil.copytree(photos, tmp_path / "in")
    (tmp_path / "in" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = run(*script("compress"), tmp_path / "in", tmp_path / "out", *there, code=1)
    assert "torn.png" in done.stdout
    done = run(*script("compress"), tmp_path / "in", tmp_path / "out", *there, code=2)
    assert "add --resume" in one_line(done)
    assert "Usage:" in run(*script("fit"), "--help").stdout


def test_a_scheduler_file_excludes_options_that_contradict_it(photos: Path, tmp_path: Path) -> None:
    words = ("compress", photos, tmp_path / "out", "--scheduler-file", tmp_path / "a.json")
    for more in (("--scheduler", "tcp://127.0.0.1:9"), ("--workers", "1")):
        assert "exclude each other: leave one out" in refused(*words, *more)
    assert "--memory-limit is for local workers" in refused(*words, "--memory-limit", "1GB")


@pytest.mark.parametrize("text", [None, "{", "[]", "{}"])
def test_a_scheduler_file_that_names_none_is_an_error_in_time(
    text: str | None, photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / "a.json"
    if text is not None:
        file.write_text(text)
    words = ("compress", photos, tmp_path / "out", "--scheduler-file", file)
    said = refused(*words, "--timeout", "0.5")
    assert f"{file} names no scheduler within 0.5 s: start one with" in said
    assert not (tmp_path / "out").exists()


def test_a_job_waits_for_its_scheduler_file(
    cluster: Cluster, photos: Path, tmp_path: Path, local: dict[str, str]
) -> None:
    file, out = tmp_path / "late.json", tmp_path / "out"
    words: list[str | Path] = [*KMEANS, "compress", photos, out, "--colors", "8"]
    words += ["--scheduler-file", file]
    job = cluster.start(words)
    until((out / ".kmeans-dask" / "lock").exists, "the job")
    shutil.copyfile(cluster.file, file)
    assert job.wait(PATIENCE) == 0
    assert tree(out) == local


@pytest.fixture
def as_installed(tmp_path: Path) -> dict[str, str]:
    """An environment in which the entry points of pyproject.toml are those that are installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["dask_cli"]
    version = metadata.version("kmeans-dask")
    made = tmp_path / "installed" / f"kmeans_dask-{version}.dist-info"
    made.mkdir(parents=True)
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (made / "entry_points.txt").write_text(f"[dask_cli]\n{lines}")
    (made / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: kmeans-dask\nVersion: {version}\n"
    )
    return environment(tmp_path / "installed")


def test_dask_has_a_command_kmeans(
    as_installed: dict[str, str], photos: Path, tmp_path: Path, local: dict[str, str]
) -> None:
    dask = str(BIN / "dask")
    assert "kmeans" in run(dask, "--help", env=as_installed).stdout
    words = ["compress", "--help"]
    assert run(dask, "kmeans", *words, env=as_installed).stdout == run(*words).stdout
    words = ["compress", str(photos), str(tmp_path / "out"), "-k8", "--workers", "0"]
    run(dask, "kmeans", *words, env=as_installed)
    assert tree(tmp_path / "out") == local


def test_dask_kmeans_ends_as_the_command_does(
    as_installed: dict[str, str], photos: Path, tmp_path: Path
) -> None:
    dask = str(BIN / "dask")
    (tmp_path / "torn").mkdir()
    shutil.copyfile(photos / "astronaut.png", tmp_path / "torn" / "a.png")
    (tmp_path / "torn" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for code, words in (
        (2, ["compress", str(photos), str(tmp_path / "out"), "--colors", "1"]),
        (2, ["info", "--", "-strange.zarr"]),
        (1, ["compress", str(tmp_path / "torn"), str(tmp_path / "a"), "--workers", "0", "--json"]),
    ):
        done = run(dask, "kmeans", *words, code=code, env=as_installed)
        if code == 2:
            assert one_line(done) == refused(*words)
    assert isinstance(command, click.Command)
    assert command.name == "kmeans"


GUIDE = (ROOT / "docs" / "guide.md").read_text()


def test_the_cluster_of_the_guide_runs_as_it_stands(
    as_installed: dict[str, str], photos: Path, tmp_path: Path, local: dict[str, str]
) -> None:
    section = GUIDE[GUIDE.index("## On a cluster") :]
    block, compose = re.findall(r"```\n(.*?)```", section[: section.index("\n## ")], re.DOTALL)
    assert compose.startswith("docker compose up ")  # `make compose-test` runs it
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "jobs").symlink_to(JOBS)
    ends = "for job in %2 %1; do kill $job; wait $job || true; done"
    script = f"set -e\ntrap '{ends}' EXIT\n{block}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=as_installed,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("out is finished already: nothing to do") == 2
    run("compress", "photos", "local", "--workers", "0", cwd=tmp_path)
    assert tree(tmp_path / "out") == tree(tmp_path / "local")


def test_all_commands_of_the_jobs_readme_name_files_that_are_there() -> None:
    text = (JOBS / "README.md").read_text()
    named = set(re.findall(r"jobs/(\w+\.py)", text))
    assert named == {f"{name}.py" for name in COMMANDS} == {path.name for path in JOBS.glob("*.py")}
    for name in re.findall(r"`((?:slurm|kubernetes)/[\w.]+)`", text):
        assert (JOBS / name).exists()


# Kubernetes


def documents(name: str) -> dict[str, Any]:
    [found] = yaml.safe_load_all((JOBS / "kubernetes" / name).read_text())
    return dict(found)


def check_cluster(spec: dict[str, Any], name: str) -> None:
    """What the operator, and our jobs, want of a cluster."""
    [worker] = spec["worker"]["spec"]["containers"]
    [scheduler] = spec["scheduler"]["spec"]["containers"]
    assert spec["worker"]["replicas"] >= 1
    assert worker["image"] == scheduler["image"]
    assert worker["name"] == "worker"
    assert worker["command"][:2] == ["dask", "worker"]
    assert "$(DASK_WORKER_NAME)" in worker["args"]
    assert "tcp://" not in str(worker), "the operator sets DASK_SCHEDULER_ADDRESS"
    limit = worker["args"][worker["args"].index("--memory-limit") + 1]
    assert (limit, worker["resources"]["limits"]["memory"]) == ("3GB", "3Gi")
    assert scheduler["name"] == "scheduler"
    assert scheduler["command"] == ["dask", "scheduler"]
    assert scheduler["args"][-2:] == ["--preload", "kmeans_dask.dashboard"]
    ports = {port["name"]: port["containerPort"] for port in scheduler["ports"]}
    assert ports == {"tcp-comm": 8786, "http-dashboard": 8787}
    service = spec["scheduler"]["service"]
    assert service["type"] == "ClusterIP"
    assert service["selector"] == {
        "dask.org/cluster-name": name,
        "dask.org/component": "scheduler",
    }
    assert {port["name"]: port["targetPort"] for port in service["ports"]} == {
        name: name for name in ports
    }
    mounted(spec["worker"]["spec"])


def mounted(spec: dict[str, Any]) -> list[tuple[str, str]]:
    """Claims and where a pod mounts them."""
    [container] = spec["containers"]
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"]
    }
    return [(claims[mount["name"]], mount["mountPath"]) for mount in container["volumeMounts"]]


def test_the_kubernetes_cluster_is_as_the_operator_wants_it() -> None:
    found = documents("cluster.yaml")
    assert (found["apiVersion"], found["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    check_cluster(found["spec"], found["metadata"]["name"])


def test_the_kubernetes_job_is_as_the_operator_wants_it() -> None:
    found = documents("job.yaml")
    assert (found["apiVersion"], found["kind"]) == ("kubernetes.dask.org/v1", "DaskJob")
    name, cluster = found["metadata"]["name"], found["spec"]["cluster"]["spec"]
    check_cluster(cluster, name)
    assert cluster == documents("cluster.yaml")["spec"] | {"worker": cluster["worker"]}
    pod = found["spec"]["job"]["spec"]
    assert pod["restartPolicy"] == "OnFailure"
    [job] = pod["containers"]
    assert job["image"] == cluster["worker"]["spec"]["containers"][0]["image"]
    assert job["env"] == [{"name": "DASK_KMEANS__TRUSTED_NETWORK", "value": "true"}]
    assert mounted(pod) == mounted(cluster["worker"]["spec"]) == [("photos", "/data")]
    assert job["command"] == ["kmeans-dask"]
    assert job["args"][0] == "compress"
    assert "--resume" in job["args"]
    said = refused(*job["args"], "--scheduler", "tcp://127.0.0.1:9")
    assert "/data/photos" in said  # it is a command line of ours
