"""Documents that come back from disk: of at most so many bytes, and of the types that are written.

One decoder for all. It makes nothing but what a form names, so that memory goes with the bytes of
a document, however it is nested or crafted; no number is infinite or NaN.
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
Name = Annotated[str, msgspec.Meta(max_length=1 << 12, pattern=r"\A[^\0]+\Z")]  # of a file
Reason = Annotated[str, msgspec.Meta(max_length=1 << 20)]

# JSON that Python writes has a byte of a name that is no UTF-8 as half of a surrogate pair, which
# stands for no character. While it is decoded, there is a mark before the byte, and before 1 where
# the mark itself was meant.
_MARK = "\uffff"
_ESCAPE = re.compile(
    rb"\\(?:ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|udc([89a-f][0-9a-f])|(u[fF]{4})|.)", re.S
)
_MARKED = re.compile(f"{_MARK}(.)")
_MISSING = re.compile(r"Object missing required field `(\w+)`")


class DamagedError(ValueError):
    """A document is not what was written."""


@dataclass(frozen=True)
class Form(Generic[T]):
    """The type of a kind of document, and the bytes that it may have at most.

    kind: a dataclass, or any other type that msgspec knows
    """

    kind: type[T]
    at_most: int

    def decode(self, data: bytes) -> T:
        """The content of a document. Raises DamagedError where that is of another form."""
        with _damaged():
            found: T = _decode(data, self.kind)
        return found


def typed(value: Any, kind: Any) -> Any:
    """A part of a document that may say anything there. Raises DamagedError as `decode` does."""
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
    """Raise ValidationError where a document says something that was passed over."""
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
