"""The README's Python, run as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_python_of_the_readme_runs_as_it_stands(photos: Path, tmp_path: Path) -> None:
    words = ["ingest", str(photos), "photos.zarr", "--workers", "0"]
    ingested = subprocess.run(
        [sys.executable, "-m", "kmeans_dask", *words],
        cwd=tmp_path,
        capture_output=True,
        timeout=120,
    )
    assert ingested.returncode == 0
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", block],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
