from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters.many import COPIES, WORDS
from tests.clusters.processes import Cluster, open_cluster, run
from tests.command import tree


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler with one worker, as all of it should be."""
    with open_cluster(tmp_path_factory.mktemp("cluster")) as opened:
        opened.start_scheduler()
        opened.start_worker()
        yield opened


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler without workers, for this test alone."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    with open_cluster(folder) as opened:
        opened.start_scheduler()
        yield opened


@pytest.fixture(scope="session")
def local(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `compress --colors 8` makes of the photographs on this machine."""
    out = tmp_path_factory.mktemp("local") / "out"
    run("compress", photos, out, "--colors", "8", "--workers", "0")
    return tree(out)


@pytest.fixture(scope="session")
def many(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs, several times over."""
    folder = tmp_path_factory.mktemp("many")
    for i in range(COPIES):
        shutil.copytree(photos, folder / str(i))
    return folder


@pytest.fixture(scope="session")
def alone(many: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `compress` makes of them on this machine, with the words of a job of many tasks."""
    out = tmp_path_factory.mktemp("alone") / "out"
    run("compress", many, out, *WORDS, "--workers", "0")
    return tree(out)
