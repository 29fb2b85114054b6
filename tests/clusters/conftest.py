from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
