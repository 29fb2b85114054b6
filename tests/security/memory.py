"""What a call takes, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def peak_of(code: str, *words: str | Path) -> tuple[str, float]:
    """What `code` prints with `words` as its arguments, and its peak memory in MiB.

    Not ru_maxrss: a process inherits that from the one that started it.
    """
    measured = f"{code}\nprint(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    done = subprocess.run(
        [sys.executable, "-c", measured, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    *said, peak = done.stdout.splitlines()
    return "\n".join(said), int(peak) / 1024
