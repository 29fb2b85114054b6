"""Tasks that a test steers by files."""

from __future__ import annotations

import time
from pathlib import Path


def hold(gate: str) -> str:
    """Say that it is at work, and work until there is a file `gate`."""
    path = Path(gate)
    path.with_suffix(".held").touch()
    while not path.exists():
        time.sleep(0.02)
    return gate


def leave(trace: str) -> str:
    Path(trace).touch()
    return trace
