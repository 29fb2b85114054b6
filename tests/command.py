"""The command line as tests run it, and what it leaves behind."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(*words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `kmeans-dask` with `words`; it must end with `code`, and never with a traceback."""
    environment = {k: v for k, v in os.environ.items() if k != "DASK_SCHEDULER_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-m", "kmeans_dask", *map(str, words)],
        capture_output=True,
        text=True,
        errors="backslashreplace",
        timeout=240,
        env=environment,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def summary(*words: str | Path, code: int = 0) -> dict[str, Any]:
    """Run with --json; stdout must hold one object and nothing else."""
    found: dict[str, Any] = json.loads(run(*words, "--json", code=code).stdout)
    return found


def tree(folder: Path) -> dict[str, str]:
    """Every file below `folder` with its digest, but for the report: it says how long all took."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.stem != "report"
    }


def chunks(path: Path) -> dict[bytes, bytes]:
    """The chunks of a PNG file, the last of each kind."""
    data, found, at = path.read_bytes(), {}, 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found[data[at + 4 : at + 8]] = data[at + 8 : at + 8 + size]
        at += 12 + size
    return found


def palette_file(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "palette.json").read_text())
    return found
