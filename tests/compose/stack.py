"""The stack of docker-compose.yml, brought up for a test and taken down whatever happens."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROJECT = "kmeans-dask-test"
PATIENCE = 120  # seconds for anything to start, or to end
_USER = 1000  # of the containers where nothing else is said


def compose_words() -> list[str] | None:
    """How Docker Compose is called here; None where it is not installed."""
    for words in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(words[0]):
            done = subprocess.run([*words, "version"], capture_output=True, timeout=60)
            if done.returncode == 0:
                return words
    return None


class Stack:
    """Calls of Compose and Docker, said before they are made.

    folder: its `in` is what the containers read, its `out` where they write
    """

    def __init__(self, folder: Path, compose: list[str]) -> None:
        self.input, self.output = folder / "in", folder / "out"
        self._compose = compose
        self._env = os.environ | {
            "COMPOSE_PROJECT_NAME": PROJECT,
            "INPUT": str(self.input),
            "OUTPUT": str(self.output),
            "DASHBOARD_PORT": str(_free_port()),
        }
        self.output.mkdir()
        if os.getuid() == 0:
            os.chown(self.output, _USER, _USER)
        else:
            self._env["KMEANS_USER"] = f"{os.getuid()}:{os.getgid()}"

    @property
    def dashboard(self) -> str:
        return f"http://127.0.0.1:{self._env['DASHBOARD_PORT']}"

    def compose(self, *words: str, timeout: float = 600) -> str:
        """Call Compose; its output. It must succeed."""
        return self._call([*self._compose, *words], timeout)

    def docker(self, *words: str, timeout: float = 300) -> str:
        """Call Docker; its output. It must succeed."""
        return self._call(["docker", *words], timeout)

    def job(self, *words: str) -> str:
        """Run a job to its end; what it says."""
        return self.compose("run", "--rm", "-T", "job", *words)

    def python(self, text: str, *words: str) -> dict[str, Any]:
        """Run a program in the job's container; the object that it prints last."""
        said = self._call(
            [*self._compose, "run", "--rm", "-T", "--entrypoint", "python3", "job",
             "-c", text, *words],
            600, shlex.join([*self._compose, "run", "--rm", "-T", "--entrypoint", "python3", "job",
                             "-c", "...", *words]),
        )  # fmt: skip
        return dict(json.loads(said.splitlines()[-1]))

    @contextmanager
    def job_at_work(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A job that is running."""
        command = [*self._compose, "run", "--rm", "-T", "job", *words]
        say(shlex.join(command))
        process = subprocess.Popen(
            command, cwd=ROOT, env=self._env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def as_typed(self, line: str) -> str:
        """Run a line that begins with `docker compose`; its output. It must succeed."""
        words = shlex.split(line)[2:]
        if "--wait" in words and self._compose != ["docker", "compose"]:
            words.remove("--wait")  # Compose 1.29 has none; it wants to be told of no terminal
        if "run" in words:
            words.insert(words.index("run") + 1, "-T")
        return self.compose(*words)

    def up(self, line: str) -> None:
        """Bring services up by such a line, and wait until all are healthy."""
        self.as_typed(line)
        until(lambda: set(self.health().values()) == {"healthy"}, "all containers are healthy")

    def containers(self, service: str = "") -> list[str]:
        """Ids of what runs."""
        words = [*self._compose, "--profile", "s3", "ps", "-q", *([service] if service else [])]
        return self._quietly(words).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """What Docker knows of a container."""
        [found] = json.loads(self._quietly(["docker", "inspect", container]))
        return dict(found)

    def health(self) -> dict[str, str]:
        """Of each container that has a check."""
        found = [self.inspect(container) for container in self.containers()]
        return {
            each["Name"].strip("/"): each["State"].get("Health", {}).get("Status", "none")
            for each in found
        }

    def empty_output(self) -> None:
        """As before the first job."""
        for path in self.output.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def down(self) -> None:
        """Take down what there is of it, whatever that is."""
        self._quietly([*self._compose, "--profile", "s3", "--profile", "job", "down", "--volumes",
                       "--remove-orphans", "--timeout", "5"])  # fmt: skip
        self.assert_nothing_is_left()

    def assert_nothing_is_left(self) -> None:
        """Of containers, networks and volumes; the images stay."""
        label = f"label=com.docker.compose.project={PROJECT}"
        for words in (["ps", "-aq"], ["network", "ls", "-q"], ["volume", "ls", "-q"]):
            left = self._quietly(["docker", *words, "--filter", label]).split()
            assert not left, f"{words[0]}: {left} is left"

    def logs(self) -> str:
        """What the services have said last."""
        words = [*self._compose, "--profile", "s3", "logs", "--no-color", "--tail=20"]
        return subprocess.run(
            words, cwd=ROOT, env=self._env, capture_output=True, text=True, timeout=60
        ).stdout

    def _call(self, words: list[str], timeout: float, shown: str = "") -> str:
        say(shown or shlex.join(words))
        return self._quietly(words, timeout)

    def _quietly(self, words: list[str], timeout: float = 60) -> str:
        done = subprocess.run(
            words, cwd=ROOT, env=self._env, capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout


def say(command: str) -> None:
    """A command, as typed."""
    print(f"$ {command}", flush=True)


def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for what must come to be."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
