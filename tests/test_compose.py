"""The container image and its stack, as far as their files tell: `make compose-test` runs them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from kmeans_dask.kernels.private_folders import bring_kernels
from tests.clusters.processes import environment
from tests.command import tree
from tests.compose.inside import copy_tree, fit_first, script
from tests.compose.stack import ROOT, compose_words

STACK: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
OURS = ("scheduler", "worker", "job")  # of the one image
IMAGES = {"Dockerfile": "kmeans-dask", "docker/s3.Dockerfile": "kmeans-dask-s3"}


def test_the_stack_has_these_services() -> None:
    assert set(SERVICES) == {*OURS, "s3"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "${KMEANS_USER:-1000:1000}"
    assert service["pids_limit"] == 512
    assert re.fullmatch(r"\dg", service["mem_limit"])
    [tmpfs] = service["tmpfs"]
    assert re.fullmatch(r"/tmp:size=\d+[mg],mode=1777", tmpfs)
    assert service["networks"] == ["cluster"]
    for never in ("privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "env_file"):
        assert never not in service


def test_there_is_one_network_and_nothing_of_it_is_shared() -> None:
    assert STACK["networks"] == {"cluster": {}}
    assert set(STACK) == {"x-hardened", "x-image", "services", "networks"}


def test_the_dashboard_alone_is_published_and_on_this_machine_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"scheduler": ["127.0.0.1:${DASHBOARD_PORT:-8787}:8787"]}
    assert not any("expose" in service for service in SERVICES.values())


def test_input_is_read_only_and_workers_and_jobs_see_the_same_files() -> None:
    wanted = ["${INPUT:-./in}:/data/in:ro", "${OUTPUT:-./out}:/data/out"]
    assert SERVICES["worker"]["volumes"] == SERVICES["job"]["volumes"] == wanted
    assert "volumes" not in SERVICES["scheduler"]
    assert "volumes" not in SERVICES["s3"]


@pytest.mark.parametrize("name", ["scheduler", "worker", "s3"])
def test_what_stays_has_a_health_check_with_an_end(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    url = "http://127.0.0.1:9000/photos" if name == "s3" else "http://127.0.0.1:8787/health"
    assert check["test"][:4] == ["CMD", "python3", "-IS", "-c"]
    assert url in check["test"][4]
    assert (check["interval"], check["timeout"], check["retries"]) == ("5s", "5s", 12)
    compile(check["test"][4], name, "exec")


def test_workers_and_jobs_wait_for_the_scheduler() -> None:
    for name in ("worker", "job"):
        assert SERVICES[name]["depends_on"] == {"scheduler": {"condition": "service_healthy"}}


def test_one_image_for_all_that_must_hold_the_same_versions() -> None:
    for name in OURS:
        assert SERVICES[name]["image"] == "kmeans-dask"
        assert SERVICES[name]["build"] == SERVICES["job"]["build"]


def test_the_scheduler_has_our_page_and_trusts_its_own_network() -> None:
    assert SERVICES["scheduler"]["entrypoint"][-2:] == ["--preload", "kmeans_dask.dashboard"]
    for name in OURS:
        given = SERVICES[name]["environment"]
        assert given["DASK_KMEANS__TRUSTED_NETWORK"] == "true"
        assert given["DASK_SCHEDULER_ADDRESS"] == "tcp://scheduler:8786"


def test_keys_of_an_object_store_go_to_workers_and_jobs_alone() -> None:
    keys = {
        name: {word for word in service.get("environment", {}) if word.startswith("AWS_")}
        for name, service in SERVICES.items()
    }
    needed = {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
              "AWS_REGION"}  # fmt: skip
    assert keys == {"worker": needed, "job": needed, "scheduler": set(), "s3": set()}


def test_a_worker_ends_before_its_container_runs_out_of_memory() -> None:
    words = SERVICES["worker"]["entrypoint"]
    limit = words[words.index("--memory-limit") + 1].removesuffix("GB")
    size = re.search(r"size=(\d+)m", SERVICES["worker"]["tmpfs"][0])
    assert size
    of_container = int(SERVICES["worker"]["mem_limit"].removesuffix("g")) << 30
    assert int(limit) * 10**9 + (int(size[1]) << 20) < of_container


def test_jobs_and_the_object_store_are_there_when_asked_for() -> None:
    assert {name: service.get("profiles") for name, service in SERVICES.items()} == {
        "scheduler": None, "worker": None, "job": ["job"], "s3": ["s3"],
    }  # fmt: skip


@pytest.mark.parametrize("profiles", [[], ["--profile", "s3", "--profile", "job"]])
def test_compose_takes_the_file(profiles: list[str]) -> None:
    words = compose_words()
    if words is None:
        pytest.skip("needs `docker compose` or `docker-compose`")
    env = {k: v for k, v in os.environ.items() if k not in ("INPUT", "OUTPUT", "DASHBOARD_PORT")}
    done = subprocess.run(
        [*words, *profiles, "config"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()
    found = yaml.safe_load(done.stdout)["services"]
    assert {"scheduler", "worker"} <= set(found)
    for service in found.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["user"] == "1000:1000"


# The images


def instructions(name: str) -> list[tuple[str, str]]:
    """Of a Dockerfile: words and what follows them."""
    text = re.sub(r"^#.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE)
    lines = [" ".join(line.split()) for line in text.replace("\\\n", " ").splitlines()]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines if line]


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_made_in_two_stages_of_a_base_that_is_an_argument(name: str) -> None:
    found = instructions(name)
    assert found[0] == ("ARG", "BASE=python:3.12-slim")
    assert [rest for word, rest in found if word == "FROM"] == ["${BASE} AS build", "${BASE}"]
    last = found[max(i for i, (word, _) in enumerate(found) if word == "FROM") :]
    assert not [rest for word, rest in last if word in ("RUN", "ADD", "VOLUME", "EXPOSE")]
    copied = [rest for word, rest in last if word == "COPY"]
    assert "--from=build /opt/venv /opt/venv" in copied


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_not_run_by_root(name: str) -> None:
    assert [rest for word, rest in instructions(name) if word == "USER"] == ["1000:1000"]


def test_nothing_in_it_imports_from_the_current_folder() -> None:
    given = " ".join(rest for word, rest in instructions("Dockerfile") if word == "ENV")
    assert "PYTHONSAFEPATH=1" in given.split()


@pytest.mark.parametrize("name", IMAGES)
def test_all_that_is_installed_has_a_version(name: str) -> None:
    for word, rest in instructions(name):
        for command in re.findall(r"pip .*? install (.*?)(?= && |$)", rest):
            assert word == "RUN"
            assert "--constraint constraints.txt" in command or "--no-deps" in command
    pinned = (ROOT / "constraints.txt").read_text().lower()
    for needed in ("obstore==", "boto3==", "moto==", "flask==", "flask-cors=="):
        assert f"\n{needed}" in pinned


def test_the_stack_builds_these_images() -> None:
    built = {
        service["build"].get("dockerfile", "Dockerfile"): service["image"]
        for service in SERVICES.values()
    }
    assert built == IMAGES
    defaults = dict(
        rest.split("=") for word, rest in instructions("Dockerfile") if word == "ARG"
    )  # the same where nothing is said
    given = SERVICES["job"]["build"]["args"]
    assert given == {name: f"${{{name}:-{value}}}" for name, value in defaults.items()}


def test_nothing_but_what_is_named_reaches_the_builder() -> None:
    lines = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert lines[0] == "*"
    allowed = {line.removeprefix("!") for line in lines[1:] if line.startswith("!")}
    assert lines[1 + len(allowed) :] == ["**/__pycache__"]
    for name in IMAGES:
        for word, rest in instructions(name):
            if word == "COPY" and "--from" not in rest:
                for source in rest.split()[:-1]:
                    assert source.split("/")[0] in allowed
                    assert (ROOT / source).exists()
    assert not [name for name in allowed if not (ROOT / name).exists()]


# The kernels that an image brings


def fit_in(cache: Path, image: Path | None = None, *, native: bool = False) -> dict[str, int]:
    """The first fit of a new process, whose cache is at `cache`, with the kernels of an image."""
    env = environment(NUMBA_CACHE_DIR=str(cache))
    if not native:
        env["NUMBA_CPU_NAME"] = "generic"
    if image:
        env["KMEANS_DASK_KERNELS"] = str(image)
    words = [sys.executable, "-c", script(fit_first)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_what_an_image_brings_is_not_compiled_again(tmp_path: Path) -> None:
    image, cache = tmp_path / "image", tmp_path / "cache"
    made = fit_in(image)
    assert made["compiled"] > 0
    image.chmod(0o555)
    found = fit_in(cache, image)
    assert found["compiled"] == 0
    assert found["loaded"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "image"]
    # Of another kind of processor, nothing is taken.
    native = fit_in(tmp_path / "native", image, native=True)
    assert native["compiled"] == made["compiled"]


def test_kernels_that_cannot_be_brought_are_compiled(tmp_path: Path) -> None:
    found = fit_in(tmp_path / "cache", tmp_path / "none")
    assert found["compiled"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]


def test_of_processes_that_begin_at_once_one_brings_the_kernels(tmp_path: Path) -> None:
    image, cache = tmp_path / "image", tmp_path / "cache"
    (image / "clustering").mkdir(parents=True)
    for number in range(50):
        (image / "clustering" / f"{number}.nbi").write_bytes(bytes([number]) * 1000)
    together = threading.Barrier(8)

    def bring() -> None:
        together.wait(60)
        bring_kernels(str(image), str(cache))

    threads = [threading.Thread(target=bring) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert tree(cache) == tree(image)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "image"]
    (image / "clustering" / "new.nbi").touch()
    bring_kernels(str(image), str(cache))  # what is there stays
    assert not (cache / "clustering" / "new.nbi").exists()


# What documents say


@pytest.mark.parametrize("name", ["docs/guide.md", "jobs/README.md", "docs/compose.md"])
def test_compose_commands_as_documents_have_them(name: str) -> None:
    text = (ROOT / name).read_text()
    found = [line for line in text.splitlines() if line.startswith("docker compose ")]
    assert found
    for line in found:
        words = shlex.split(line, comments=True)
        assert {"up", "run", "down", "build", "logs", "ps"} & set(words)
        if "run" in words:
            assert words[words.index("run") :][:3] == ["run", "--rm", "job"]
            assert words[words.index("job") + 1] in ("compress", "ingest", "fit", "encode")
        if "--profile" in words:
            assert words[words.index("--profile") + 1] == "s3"


def test_what_is_run_in_containers_is_a_program() -> None:
    for function in (fit_first, copy_tree):
        compile(script(function), function.__name__, "exec")
