"""Tests that documents come back as they were written, and that others are refused cheaply."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmeans_dask.files.documents import Count, DamagedError, Form, Measure, Name
from kmeans_dask.store.records import PLAN
from tests.security.memory import peak_of


@dataclass(frozen=True)
class Inner:
    a: Count = 0


class Thing(TypedDict):
    count: Count
    measure: Measure
    names: tuple[Name, ...]
    inner: Inner
    big: int


THING: dict[str, Any] = {"count": 1, "measure": 1.5, "names": ["a"], "inner": {"a": 2}, "big": 3}
FORM = Form(Thing, 1 << 20)
# Characters that Python makes of names of files, in any encoding.
NAMES = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    | st.sampled_from('\udc80\udcff\uffff\\"u\n'),
    min_size=1,
    max_size=9,
)


def test_what_was_written_comes_back() -> None:
    found = FORM.decode(json.dumps(THING).encode())
    assert found == {**THING, "names": ("a",), "inner": Inner(2)}


@given(st.lists(NAMES, max_size=5))
def test_names_of_any_bytes_come_back(names: list[str]) -> None:
    data = json.dumps({**THING, "names": names}).encode()
    assert FORM.decode(data)["names"] == tuple(names)


def test_numbers_are_as_large_as_they_were() -> None:
    data = json.dumps({**THING, "big": 1 << 199}).encode()
    assert FORM.decode(data)["big"] == 1 << 199


@pytest.mark.parametrize(
    "fields",
    [
        {"count": -1}, {"count": True}, {"count": 1.0}, {"count": "1"}, {"count": 1 << 62},
        {"count": None}, {"count": [[]]}, {"measure": -1.0}, {"measure": float("nan")},
        {"measure": float("inf")}, {"measure": "1"}, {"names": "ab"}, {"names": [""]},
        {"names": ["a\0"]}, {"names": ["\ud800"]}, {"names": ["\udc80", "\0"]}, {"names": [1]},
        {"names": ["a" * 5000]}, {"inner": None}, {"inner": {"b": 1}}, {"inner": {"a": "x"}},
        {"more": 1}, {"": 1},
    ],
    ids=lambda fields: str(fields)[:40],
)  # fmt: skip
def test_what_is_never_written_is_damage(fields: dict[str, Any]) -> None:
    data = json.dumps({**THING, **fields}).encode()
    with pytest.raises(DamagedError):
        FORM.decode(data)


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"5", b"\xff", b'"a"', b"{", b"{}", b"{} {}", b'{"count": 1e999}',
     b"[" * 100_000, b'{"inner": ' * 100_000, b'{"more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
     b'{"count": "\\udc80', b"\\udc80", b'{"\\udc80": 1}',
     json.dumps(THING).replace('"big": 3', '"big": ' + "1" * 5000).encode()],
    ids=lambda data: str(data[:20]),
)  # fmt: skip
def test_what_is_no_document_is_damage(data: bytes) -> None:
    with pytest.raises(DamagedError):
        FORM.decode(data)


def test_what_is_missed_is_named() -> None:
    data = json.dumps({name: THING[name] for name in THING if name != "measure"}).encode()
    with pytest.raises(DamagedError, match="does not say its measure"):
        FORM.decode(data)


PARSE = """
import sys
import kmeans_dask.store.records as records
from kmeans_dask.files.documents import DamagedError
before, inside, after = (word.encode() for word in sys.argv[1:])
data = before + inside * ((64 << 20) // len(inside)) + after
try:
    records.PLAN.decode(data)
    print("a plan")
except DamagedError:
    print("damaged")
"""
PLANNED = (
    '{"inputs":["/in"],"failures":[],"skipped":{},"generation":1,"settled":0,"first_free":1,'
    '"partition_pixels":9,"partitions":'
)


@pytest.mark.parametrize(
    ("before", "inside", "after"),
    [
        ("", "[", ""), ("[", "[],", "[]]"), ("[", "{},", "{}]"), ("[", "1.5,", "1]"),
        ('{"partitions":', '{"a":', ""), ('{"partitions":[', "[],", "[]]}"),
        ('{"partitions":{"000000":[', "[],", "[]]}}"), ('{"more":[', "{},", "{}]}"),
        (PLANNED + '{},"more":[', "{},", "{}]}"),
        (PLANNED + '{},"more":["\\udc80",', "[],", "[]]}"),
        (PLANNED + '{},"inputs":["\\udc80",[', "[],", "[]]]}"),
    ],
    ids=lambda word: word[-20:],
)  # fmt: skip
def test_of_many_small_things_that_are_never_written_none_is_made(
    before: str, inside: str, after: str
) -> None:
    """Check the peak memory: Python's own parser makes up to 1.6 GiB of these 64 MiB."""
    data_takes = 64 * 4  # MiB of the data, and of its copies while it is put together
    said, peak = peak_of(PARSE, before, inside, after)
    assert said == "damaged"
    assert peak < peak_of("import kmeans_dask.store.records")[1] + data_takes


def test_a_plan_is_one() -> None:
    """Check that the sound part of the documents above is accepted."""
    assert PLAN.decode((PLANNED + "{}}").encode()).first_free == 1
