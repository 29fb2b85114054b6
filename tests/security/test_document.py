"""SECURITY.md names tests that there are, and limits that are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from kmeans_dask.files.documents import Form
from kmeans_dask.images import palette_files
from kmeans_dask.job import job_record, work_folder
from kmeans_dask.plan import plan
from kmeans_dask.store import records

FORMS: dict[str, Form[Any]] = {
    "plans": records.PLAN,
    "partitions": records.PARTITION,
    "palettes": records.PALETTE,
    "stores": records.STORE,
    "records of images": work_folder._RECORD,
    "jobs": work_folder._JOB,
    "`report.json`": job_record._RECORD,
}

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text()


def test_every_test_that_is_named_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    code = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^def (test_\w+)\(", code, re.MULTILINE))
    assert len(named) > 20
    assert named <= there


def test_the_limits_are_those_of_the_code() -> None:
    assert f"Beyond {plan.MAX_DEPTH} within each other" in TEXT
    assert palette_files.MAX_BYTES == 1 << 20
    assert "at most 1 MiB" in TEXT
    assert records.SEALS.at_most == records.ARRAY.at_most == 64 << 10
    assert "seals and arrays 64 KiB" in TEXT
    for kind, form in FORMS.items():
        assert f"{kind} {form.at_most >> 20} MiB" in TEXT, kind
