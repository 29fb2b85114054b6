"""`make compose-test`: the image is built, and the stack of docker-compose.yml used for real.

Not part of `make test`: it needs a Docker engine and some minutes. What it prints is what
docs/compose.md shows.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image

from tests.command import tree
from tests.compose.inside import copy_tree, count_compiled, fit_first, script
from tests.compose.stack import ROOT, Stack, compose_words, say, until

SHARED = ROOT.parent / "shared" / "data"
PHOTOGRAPHS = (
    "astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "motorcycle_left.png",
    "motorcycle_right.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip
LONG = ("--effort", "8")  # takes some seconds more, in which a worker can be killed


def main() -> int:
    compose = compose_words()
    if compose is None:
        sys.exit("needs Docker Compose: `docker compose version` and `docker-compose` both fail")
    with tempfile.TemporaryDirectory(prefix="kmeans-dask-compose-") as folder:
        stack = Stack(Path(folder), compose)
        gather_photographs(stack.input)
        try:
            build(stack)
            try_first_fit(stack)
            up, job, down = documented("docs/guide.md", "## On a cluster")
            start(stack, up)
            check_hardening(stack)
            check_dashboard(stack)
            run_job(stack, job, here(stack))
            kill_worker(stack, here(stack, *LONG))
            stack.as_typed(down)
            stack.assert_nothing_is_left()
            use_object_store(stack, here(stack, "--colors", "64"))
        except BaseException:
            print(stack.logs(), file=sys.stderr)
            raise
        finally:
            stack.down()
    note("nothing is left but the images")
    return 0


def documented(name: str, heading: str) -> list[str]:
    """The Compose commands of a document's section, which are run as they stand."""
    text = (ROOT / name).read_text()
    section = text[text.index(heading) :].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("docker compose ")]


def note(text: str) -> None:
    print(f"  {text}", flush=True)


def show(said: str) -> None:
    """A job's summary."""
    print("".join(f"  {line}\n" for line in said.strip().splitlines()), end="", flush=True)


def gather_photographs(folder: Path) -> None:
    """Some of scikit-image's, each turned as well; and of ../shared/data, where there is one."""
    folder.mkdir()
    for name in PHOTOGRAPHS:
        shutil.copyfile(Path(skimage.data.data_dir) / name, folder / name)
        with Image.open(folder / name) as image:
            pixels = np.asarray(image.convert("RGB"))
        for turns in (1, 2, 3):
            path = folder / "turned" / f"{Path(name).stem}-{turns}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.rot90(pixels, turns)).save(path)
    for part in ("kodak", "photos"):
        for path in sorted((SHARED / part).rglob("*")):
            if path.is_file():
                target = folder / part / path.relative_to(SHARED / part)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


def here(stack: Stack, *words: str) -> dict[str, str]:
    """What the same job makes of the photographs without containers."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = ["-m", "kmeans_dask", "compress", str(stack.input), str(out), *words]
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stderr
        return tree(out)


def build(stack: Stack) -> None:
    since = time.monotonic()
    stack.compose("--profile", "s3", "build", timeout=3600)
    note(f"{time.monotonic() - since:.0f} s")
    for image in ("kmeans-dask", "kmeans-dask-s3"):
        found = stack.inspect(image)
        note(f"{image}: {found['Size'] / 1e6:.0f} MB, user {found['Config']['User']}")


def try_first_fit(stack: Stack) -> None:
    """A new process, on a read-only root, compiles nothing; without the image's kernels it does."""
    words = ["run", "--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none"]
    entry = ["--entrypoint", "python3", "kmeans-dask", "-c", script(fit_first)]

    def fit(*more: str) -> dict[str, Any]:
        return dict(json.loads(stack._quietly(["docker", *words, *more, *entry], 120)))

    with_kernels, without = fit(), fit("--env", "KMEANS_DASK_KERNELS=")
    note(f"first fit: {with_kernels['seconds']:.2f} s with the image's kernels, "
         f"{without['seconds']:.2f} s without")  # fmt: skip
    assert with_kernels["compiled"] == 0, with_kernels
    assert with_kernels["loaded"] > 0, with_kernels
    assert without["compiled"] > 0, without


def start(stack: Stack, up: str) -> None:
    since = time.monotonic()
    stack.up(up)
    note(f"{time.monotonic() - since:.0f} s: {', '.join(sorted(stack.health()))} are healthy")
    assert len(stack.containers("worker")) == 2


def check_hardening(stack: Stack) -> None:
    """What docker-compose.yml asks for is in force."""
    published: dict[str, list[dict[str, str]]] = {}
    for container in stack.containers():
        found = stack.inspect(container)
        host, name = found["HostConfig"], found["Name"].strip("/")
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert not host["Privileged"], name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name
        assert found["Config"]["User"].split(":")[0] not in ("", "0", "root"), name
        published |= {
            port: bound for port, bound in found["NetworkSettings"]["Ports"].items() if bound
        }
        for mount in found["Mounts"]:
            assert mount["RW"] == (mount["Destination"] != "/data/in"), mount
        for place in ("/", "/opt", "/data/in"):
            wanted = f"touch {place}/x 2>/dev/null && echo written || echo refused"
            if place != "/data/in" or "worker" in name:
                said = stack._quietly(["docker", "exec", container, "sh", "-c", wanted])
                assert said.strip() == "refused", f"{name} could write to {place}"
    [(port, bound)] = published.items()
    assert port == "8787/tcp"
    assert [each["HostIp"] for each in bound] == ["127.0.0.1"]
    note("hardening is in force; of all ports 8787 alone is published, on 127.0.0.1")


def check_dashboard(stack: Stack) -> None:
    for page, wanted in (("/health", "ok"), ("/kmeans", "kmeans"), ("/status", "bokeh")):
        with urllib.request.urlopen(stack.dashboard + page, timeout=30) as answer:
            text = answer.read().decode()
        assert answer.status == http.client.OK
        assert wanted in text.lower(), text
    note("/kmeans and /status are served to 127.0.0.1")


def run_job(stack: Stack, job: str, expected: dict[str, str]) -> None:
    show(stack.as_typed(job))
    assert tree(stack.output) == expected
    note(f"{len(expected)} files, all the same bytes as without containers")
    found = stack.python(script(count_compiled))
    assert found["workers"] == 2, found
    assert found["compiled"] == 0, found
    assert found["loaded"] > 0, found
    note(f"the workers have compiled no kernel, and loaded {found['loaded']}")
    stack.empty_output()


def counts(stack: Stack) -> dict[str, int]:
    with urllib.request.urlopen(f"{stack.dashboard}/json/counts.json", timeout=30) as answer:
        return dict(json.loads(answer.read()))


def kill_worker(stack: Stack, expected: dict[str, str]) -> None:
    """A job outlives one of two workers, which was at work."""
    container = stack.containers("worker")[0]
    with stack.job_at_work("compress", "/data/in", "/data/out", *LONG) as job:
        until(lambda: counts(stack)["processing"] >= 4 or job.poll() is not None, "there is work")
        say(f"docker kill {stack.inspect(container)['Name'].strip('/')}")
        stack._quietly(["docker", "kill", container])
        until(lambda: counts(stack)["workers"] == 1, "the scheduler knows")
        assert job.poll() is None, "the job was over before its worker was killed"
        note("the scheduler has one worker left, and the job goes on")
        said, _ = job.communicate(timeout=900)
    assert job.returncode == 0, said
    assert tree(stack.output) == expected
    note(f"exit code 0; {len(expected)} files, all the same bytes as without containers")
    stack.empty_output()


def use_object_store(stack: Stack, expected: dict[str, str]) -> None:
    """From an object store and to it, all by URLs."""
    up, *jobs, down = documented("docs/compose.md", "## Object storage")
    stack.up(up)
    check_hardening(stack)
    for job in jobs:
        said = stack.as_typed(job)
    show(said)
    assert tree(stack.output) == expected
    note(f"{len(expected)} files by way of a store of objects, all the same bytes")
    stack.empty_output()
    copied = stack.python(script(copy_tree), "/data/in", "s3://photos/in")
    note(f"{copied['files']} photographs are objects now")
    show(stack.job("compress", "s3://photos/in", "s3://photos/out", "--colors", "64"))
    stack.python(script(copy_tree), "s3://photos/out", "/data/out")
    assert tree(stack.output) == expected
    note(f"{len(expected)} objects, all the same bytes as files")
    stack.as_typed(down)
    stack.assert_nothing_is_left()


if __name__ == "__main__":
    sys.exit(main())
