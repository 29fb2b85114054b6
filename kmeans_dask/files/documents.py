"""Decoding of the JSON documents that this package has written, with checks of type and size.

Only values of the types that a form names are made, so that memory is proportional to the bytes of
a document, however deeply nested or crafted. Infinite numbers and NaN are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from functools import cache
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from kmeans_dask.errors import UsageError

T = TypeVar("T")

Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
Positive = Annotated[int, msgspec.Meta(ge=1, lt=1 << 62)]
Measure = Annotated[float, msgspec.Meta(ge=0)]
Name = Annotated[str, msgspec.Meta(max_length=1 << 12, pattern=r"\A[^\0]+\Z")]  # name of a file
Reason = Annotated[str, msgspec.Meta(max_length=1 << 20)]

# A byte of a file name that is not UTF-8 is written as half of a surrogate pair (\udc80 to \udcff),
# which msgspec refuses. For decoding, this escape is replaced by _MARK and the character with the
# number of the byte, and an escape of _MARK itself by _MARK and U+0001.
_MARK = "\uffff"
_ESCAPE = re.compile(
    rb"\\(?:ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|udc([89a-f][0-9a-f])|(u[fF]{4})|.)", re.S
)
_MARKED = re.compile(f"{_MARK}(.)")
_MISSING = re.compile(r"Object missing required field `(\w+)`")


class DamagedError(ValueError):
    """A document or file is not in a form that this package writes: it is damaged or foreign."""


@dataclass(frozen=True)
class Form(Generic[T]):
    """Form of a kind of document: the type of its content, and its largest size.

    kind: a dataclass, or any other type that msgspec knows
    at_most: bytes of a file that holds such a document, checked where the file is read or written
    """

    kind: type[T]
    at_most: int

    def decode(self, data: bytes) -> T:
        """Return the content of a JSON document. Raises DamagedError where that is not a `kind`."""
        with _damaged():
            found: T = _decode(data, self.kind)
        return found


def typed(value: Any, kind: Any) -> Any:
    """Return a decoded part of a document as type `kind`. Raises DamagedError where it is not."""
    with _damaged():
        return msgspec.convert(value, kind)


@contextmanager
def _damaged() -> Iterator[None]:
    try:
        yield
    except (msgspec.MsgspecError, RecursionError, UnicodeError, UsageError) as error:
        missing = _MISSING.match(str(error))
        says = f"does not say its {missing[1]}" if missing else f"is none ({error})"
        raise DamagedError(f"it {says}") from error


def _decode(data: bytes, kind: Any) -> Any:
    try:
        return _decode_text(data, kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if rb"\udc" not in data or _MARK.encode() in data:
            raise
        marked = _decode_text(_ESCAPE.sub(_mark, data), kind)
        return msgspec.convert(_unmark(msgspec.to_builtins(marked)), kind)


def _decode_text(data: bytes, kind: Any) -> Any:
    found = _decoder(kind).decode(data)
    _refuse_more(found, data)
    return found


def _refuse_more(found: Any, data: bytes | msgspec.Raw) -> None:
    """Raise msgspec.ValidationError where `data` has a field that `found`, decoded from it, lacks.

    Objects inside lists are not checked.
    """
    if isinstance(found, dict):
        known = found
    elif isinstance(found, msgspec.Struct):
        known = msgspec.structs.asdict(found)
    elif is_dataclass(found):
        known = vars(found)
    else:
        return
    for name, part in msgspec.json.decode(data, type=dict[str, msgspec.Raw]).items():
        if name not in known:
            raise msgspec.ValidationError(f"{name[:20]!r} is never written")
        _refuse_more(known[name], part)


def _mark(escape: re.Match[bytes]) -> bytes:
    byte = b"01" if escape[2] else escape[1]
    return rb"\uffff\u00" + byte if byte else escape[0]


def _unmark(value: Any) -> Any:
    if isinstance(value, str):
        return _MARKED.sub(_unmark_one, value)
    if isinstance(value, dict):
        return {name: _unmark(each) for name, each in value.items()}
    return [_unmark(each) for each in value] if isinstance(value, list | tuple) else value


def _unmark_one(marked: re.Match[str]) -> str:
    return _MARK if marked[1] == "\1" else chr(0xDC00 + ord(marked[1]))


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)
