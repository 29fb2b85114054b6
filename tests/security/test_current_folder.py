from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.strategies import noise, save

COMMAND = Path(sys.executable).parent / "kmeans-dask"


@pytest.mark.parametrize("words", [[], ["--workers", "1"], ["--palette", "image"]])
def test_python_files_beside_images_are_not_imported(words: list[str], tmp_path: Path) -> None:
    """By no process that a command starts: whoever packed the images may have written them."""
    here = tmp_path / "here"
    save(here / "in" / "a.png", noise(1))
    for name in ("signal", "select", "zlib", "tempfile", "numpy"):
        (here / f"{name}.py").write_text(
            f"import sys\nopen({str(tmp_path / 'imported')!r}, 'a').write(str(sys.argv) + '\\n')\n"
        )
    done = subprocess.run(
        [COMMAND, "compress", "in", "out", "--colors", "4", *words],
        cwd=here,
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kernels")},
    )
    assert not (tmp_path / "imported").exists(), (tmp_path / "imported").read_text()
    assert done.returncode == 0, done.stderr
    assert (here / "out" / "report.html").is_file()
