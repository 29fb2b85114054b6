"""What CI makes of what pip-audit says: a vulnerability fails, a service out of reach does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[2] / ".ci" / "audit"
FLAW = {"id": "PYSEC-2020-1", "fix_versions": ["2.0"], "aliases": [], "description": "bad"}
SOUND = {"name": "sound", "version": "1.0", "vulns": []}
FLAWED = {"name": "flawed", "version": "1.0", "vulns": [FLAW]}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found on PyPI"}
NO_NETWORK = (
    "Traceback (most recent call last):\n"
    "requests.exceptions.ConnectionError: Max retries exceeded with url: /pypi/zarr/json\n"
)


@pytest.mark.parametrize(
    ("packages", "said", "code", "expected", "words"),
    [
        ([SOUND], "", 0, 0, "1 packages checked, 0 unknown to the service, 0 vulnerabilities"),
        ([SOUND, FLAWED], "", 1, 1, "flawed 1.0: PYSEC-2020-1 (fixed in: 2.0)"),
        ([UNKNOWN], "", 0, 0, "0 packages checked, 1 unknown to the service"),
        (None, NO_NETWORK, 1, 0, "not done, no service answers: requests.exceptions.Connection"),
        (None, "error: unrecognized arguments: --nonsense", 2, 1, "failed: error: unrecognized"),
        (None, "", 0, 1, "failed: it said nothing"),
    ],
    ids=["sound", "flawed", "unknown", "no network", "wrong use", "silence"],
)
def test_the_audit_judges(
    packages: list[object] | None, said: str, code: int, expected: int, words: str, tmp_path: Path
) -> None:
    """By the output that pip-audit 2.10 has in each of these cases."""
    out = "" if packages is None else json.dumps({"dependencies": packages, "fixes": []})
    stand_in = f"import sys; print({out!r}); sys.stderr.write({said!r}); sys.exit({code})"
    done = subprocess.run(
        [sys.executable, AUDIT, sys.executable, "-c", stand_in], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (expected, "")
    assert words in done.stdout
