"""How much is tried, what it came to, and what several tests need."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reliability.figures import Figures
from tests.reliability.pictures import save_pictures

_FIGURES = pytest.StashKey[Figures]()


@pytest.fixture(scope="session")
def times(chaos: bool) -> Callable[[int, int], int]:
    """Of how often something is tried in the short and in the long form, the one that it is."""
    return lambda short, long: long if chaos else short


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> Figures:
    """What is measured, for the table at the end."""
    return request.config.stash.setdefault(_FIGURES, Figures())


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 images of all sizes and modes."""
    return save_pictures(tmp_path_factory.mktemp("pictures") / "in", 200)


@pytest.fixture(autouse=True)
def _no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    figures = config.stash.get(_FIGURES, Figures())
    if figures and config.getoption("--chaos"):
        terminalreporter.section("reliability")
        terminalreporter.write_line(figures.table())
        path = config.getoption("--figures")
        if path:
            Path(path).write_text(figures.table() + "\n")
