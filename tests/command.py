"""The command line as tests run it, and what it leaves behind."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import typer

from kmeans_dask import cli

# typer makes all commands anew for each line, which takes as long as a small job.
patch.object(typer.main, "get_command", functools.cache(typer.main.get_command)).start()


def run(*words: str | Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run `kmeans-dask` with `words`; it must end with `code`, if any, never with a traceback."""
    environment = {k: v for k, v in os.environ.items() if k != "DASK_SCHEDULER_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-m", "kmeans_dask", *map(str, words)],
        capture_output=True,
        text=True,
        errors="backslashreplace",
        timeout=600,
        env=environment,
    )
    assert code in (None, done.returncode), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


def run_here(*words: str | Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """The same in this process, which is faster; what it raises is raised."""
    given, out, errors = sys.argv, io.StringIO(), io.StringIO()
    sys.argv = ["kmeans-dask", *map(str, words)]
    try:
        with redirect_stdout(out), redirect_stderr(errors):
            found = cli._main()
    finally:
        sys.argv = given
    assert code in (None, found), errors.getvalue()
    return subprocess.CompletedProcess(sys.argv, found, out.getvalue(), errors.getvalue())


def summary(*words: str | Path, code: int = 0) -> dict[str, Any]:
    """Run with --json; stdout must hold one object and nothing else."""
    found: dict[str, Any] = json.loads(run(*words, "--json", code=code).stdout)
    return found


def summary_here(*words: str | Path, code: int = 0) -> dict[str, Any]:
    """The same in this process."""
    found: dict[str, Any] = json.loads(run_here(*words, "--json", code=code).stdout)
    return found


def tree(folder: Path) -> dict[str, str]:
    """Every file below `folder` with its digest, but for the report and what jobs keep hidden.

    The report says how long all took; and what a job knows of itself, in `.kmeans-dask`, hangs on
    how it was run: its partitions, the times of its images, where they are.
    """
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in all_below(folder)
        if path.is_file() and path.stem != "report"
        if ".kmeans-dask" not in path.relative_to(folder).parts
    }


def all_below(folder: Path) -> list[Path]:
    """Files and folders, hidden ones too."""
    return sorted(folder.rglob("*"))


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
