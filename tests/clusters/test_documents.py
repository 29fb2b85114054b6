"""What documents say of clusters: every command is run as it stands there, and this says where.

Names of places are replaced by those of the test: `/data`, and the scheduler's address.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import test_jobs
from tests.clusters.hosts import open_hosts, why_not
from tests.clusters.processes import ROOT, Cluster, environment, run
from tests.clusters.test_jobs import JOBS
from tests.clusters.test_slurm import slurm
from tests.command import tree
from tests.steps import test_shards

PROGRAMS = "kmeans-dask|dask|python|bash|openssl|umask|sbatch|kubectl|docker|export"


def text_of(name: str) -> str:
    text = (ROOT / name).read_text()
    if name == "docs/guide.md":
        text = text[text.index("## On a cluster") :]
        return text[: text.index("\n## ")]
    return text


def blocks_of(text: str, *languages: str) -> list[str]:
    """Blocks of code, by default of commands."""
    found = re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL)
    return [block for language, block in found if language in (languages or ("", "bash"))]


def commands_of(name: str) -> list[str]:
    """Commands in blocks of a document, within its lines, and in the comments of a manifest."""
    text = text_of(name)
    if not name.endswith(".md"):
        lines = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
        return [line for line in lines if re.match(rf"({PROGRAMS}) \S", line)]
    joined = "".join(blocks_of(text)).replace("\\\n", " ")
    lines = [" ".join(line.split()) for line in joined.splitlines()]
    rest = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    within = [" ".join(line.split()) for line in re.findall(rf"`((?:{PROGRAMS}) [^`]+)`", rest)]
    return [line for line in (*lines, *within) if line and line[0] != "#"]


JOBS_README = blocks_of(text_of("jobs/README.md"))[0].splitlines()
[SBATCH] = [line for line in commands_of("jobs/README.md") if line.startswith("sbatch ")]
OF_TLS = "--tls-ca-file ca.pem --tls-cert cert.pem --tls-key key.pem"


def script_of(command: str) -> str:
    found = re.match(r"python jobs/(\w+)\.py ", command)
    assert found
    return found[1]


@pytest.mark.parametrize("command", JOBS_README, ids=script_of)
def test_the_jobs_readme_runs_as_it_stands(
    command: str, cluster: Cluster, photos: Path, tmp_path: Path
) -> None:
    data, name = tmp_path / "data", script_of(command)
    shutil.copytree(photos, data / "photos")
    (tmp_path / "jobs").symlink_to(JOBS)
    shutil.copyfile(cluster.file, tmp_path / "cluster.json")
    there = ("--workers", "0")
    if name in ("fit", "encode"):
        run("ingest", data / "photos", data / "photos.zarr", *there)
    if name == "encode":
        run("fit", data / "photos.zarr", "--colors", "64", *there)
    command = command.replace("/data/", f"{data}/").replace("tcp://scheduler:8786", cluster.address)
    for _ in range(2):  # once more, as jobs are that are queued again
        done = run("bash", "-c", command, cwd=tmp_path)
        assert cluster.address in done.stderr or "finished already" in done.stdout
    if name in ("compress", "encode"):
        colors = "256" if name == "compress" else "64"
        run("compress", data / "photos", data / "local", "--colors", colors, *there)
        assert tree(data / "out") == tree(data / "local")
    else:
        assert name in ("ingest", "fit")
        run("encode", data / "photos.zarr", data / "out", *there, code=2 if name == "ingest" else 0)


STAND_IN = """#!/bin/bash
# A stand-in for Slurm's: what it exports, and then the script here.
IFS=, read -ra given <<<"${1#--export=}"
[[ ${given[0]} == ALL ]] && export "${given[@]:1}"
exec bash "$2"
"""


def test_the_sbatch_line_runs_as_it_stands(
    photos: Path, tmp_path: Path, local: dict[str, str]
) -> None:
    env = slurm(tmp_path, photos)
    for name in ("INPUT", "OUTPUT"):
        del env[name]
    (tmp_path / "bin" / "sbatch").write_text(STAND_IN)
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    (tmp_path / "jobs").symlink_to(JOBS)
    shutil.copytree(photos, tmp_path / "data" / "photos")
    command = SBATCH.replace("/data/", f"{tmp_path}/data/")
    run("bash", "-c", command, cwd=tmp_path, env=env)
    assert tree(tmp_path / "data" / "out") == local


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_the_document_on_tls_runs_as_it_stands(photos: Path, tmp_path: Path) -> None:
    """Ports and all, on a host of its own."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    recipe, use = blocks_of(text_of("docs/tls.md"), "bash")
    shutil.copytree(photos, tmp_path / "photos")
    ends = "for job in %2 %1; do kill $job; wait $job || true; done"
    script = f"set -e\n{recipe}\ntrap '{ends}' EXIT\n{use}"
    with open_hosts(1) as [host]:
        done = run(*host.prefix, "bash", "-c", script, cwd=tmp_path)
    assert re.search(r"the cluster at tls://[\d.]+:8786", done.stderr)
    assert "without TLS" not in done.stderr
    run("compress", "photos", "local", "--workers", "0", cwd=tmp_path)
    assert tree(tmp_path / "out") == tree(tmp_path / "local")


@pytest.mark.parametrize("trusted", [True, False])
def test_the_yaml_of_the_document_on_tls_is_dasks_configuration(
    trusted: bool, tmp_path: Path
) -> None:
    [block] = blocks_of(text_of("docs/tls.md"), "yaml")
    if trusted:
        (tmp_path / "kmeans.yaml").write_text(block)
    code = "from kmeans_dask.engine.tls import is_unprotected; print(is_unprotected('tcp://192.0.2.1:1'))"
    words = ("bash", "-c", f'python -c "{code}"')
    done = run(*words, env=environment(DASK_CONFIG=str(tmp_path)))
    assert done.stdout == f"{not trusted}\n"


# Which test runs a command, of all that documents have.
RUN: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "docs/guide.md": dict.fromkeys(
        [
            "dask scheduler --host 127.0.0.1 --port 0 --scheduler-file cluster.json &",
            "dask worker --scheduler-file cluster.json --nworkers 2 --nthreads 1 &",
            "kmeans-dask compress photos/ out/ --scheduler-file cluster.json",
            "dask kmeans compress photos/ out/ --scheduler-file cluster.json --resume",
            "python jobs/compress.py photos/ out/ --scheduler-file cluster.json --resume",
        ],
        test_jobs.test_the_cluster_of_the_guide_runs_as_it_stands,
    ),
    "jobs/README.md": {
        **dict.fromkeys(JOBS_README, test_the_jobs_readme_runs_as_it_stands),
        SBATCH: test_the_sbatch_line_runs_as_it_stands,
    },
    "jobs/slurm/compress.sbatch": {SBATCH: test_the_sbatch_line_runs_as_it_stands},
    "docs/tls.md": dict.fromkeys(
        [
            "umask 077",
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 "
            '-subj "/CN=kmeans-dask authority" -addext "keyUsage=critical,keyCertSign,cRLSign" '
            "-keyout ca-key.pem -out ca.pem",
            "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
            '-subj "/CN=kmeans-dask cluster" -keyout key.pem -out request.pem',
            "openssl x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial "
            "-days 365 -out cert.pem",
            f"dask scheduler --protocol tls {OF_TLS} --scheduler-file cluster.json &",
            f"dask worker {OF_TLS} --scheduler-file cluster.json &",
            "kmeans-dask compress photos/ out/ --scheduler-file cluster.json "
            "--tls-ca ca.pem --tls-cert cert.pem --tls-key key.pem",
        ],
        test_the_document_on_tls_runs_as_it_stands,
    ),
    "docs/scaling.md": dict.fromkeys(
        [
            "kmeans-dask ingest photos/a a.zarr",
            "kmeans-dask ingest photos/b b.zarr",
            "kmeans-dask fit total.zarr --colors 64",
            "kmeans-dask palette total.zarr palette.json",
            "kmeans-dask compress photos/a out/a --palette-file palette.json",
            "kmeans-dask compress photos/b out/b --palette-file palette.json",
        ],
        test_shards.test_the_documents_way_through_several_stores_gives_the_same_bytes,
    ),
}
# Why no test of `make test` runs a command.
NOT_RUN = {
    "docker compose ": "needs a Docker engine: `make compose-test` runs it",
    "python -m benchmarks.": "takes minutes; its figures are in the document",
    "kubectl ": "needs a Kubernetes with Dask's operator; the manifests are parsed",
}
DOCUMENTS = [*RUN, "jobs/kubernetes/job.yaml", "jobs/kubernetes/cluster.yaml"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_command_of_a_document_is_left_untested(name: str) -> None:
    run_by, found = RUN.get(name, {}), commands_of(name)
    left = [command for command in found if not command.startswith(tuple(NOT_RUN))]
    assert sorted(set(left)) == sorted(run_by)
    assert set(found) >= set(run_by)
    assert found


def test_what_looks_for_commands_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "`dask a` and `other`\n```\nfirst \\\n    second\n# none\n\n```\n```yaml\nno: 1\n```\n"
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "a.md").write_text(text + "```bash\nthird &\n```\n")
    (tmp_path / "b.yaml").write_text("# kubectl apply -f x\n# words\nkubectl: none\n")
    assert commands_of("a.md") == ["first second", "third &", "dask a"]
    assert commands_of("b.yaml") == ["kubectl apply -f x"]
