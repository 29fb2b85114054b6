"""Checks of options: their types and limits, which the annotations of fields say.

The same rules hold for the command line, whose options have the right types already, and for
programs, which may give anything.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator, Sequence, Set, ValuesView
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from kmeans_dask.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """Limits of an option, which annotate its type.

    words: what to choose, for the message
    least, most: bounds of a number, or of each number of a sequence
    above: bound that a number exceeds
    option: name of the option; None where it is the name of the field
    """

    words: str
    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    option: str | None = None

    def allow(self, value: Any) -> bool:
        """Return whether a value, or each number in it, is finite and within the limits."""
        if isinstance(value, tuple):
            return all(map(self.allow, value))
        if not isinstance(value, int | float):
            return True
        return self.least <= value <= self.most and self.above < value < math.inf


Flag = Annotated[bool, Limits("True or False")]
_NOUNS = {int: "a whole number, ", float: "a number, "}


def check_options(record: object) -> None:
    """Check those fields of a new dataclass that have `Limits`, and set them to Python's own types.

    Raises UsageError where a value has another type, or is beyond its limits.
    """
    kind: Any = type(record)
    for name, option, wanted in _options_of(kind):
        object.__setattr__(record, name, checked(option, getattr(record, name), wanted))


def check_flags(**flags: object) -> None:
    """Raise UsageError where one of the options, by their names in Python, is no truth value."""
    for name, value in flags.items():
        checked(_as_option(name), value, Flag)


def checked(option: str, value: Any, kind: Any) -> Any:
    """Return the value of an option: numbers of NumPy become Python's, and sequences tuples.

    kind: the type that it has to have, annotated with `Limits`

    Raises UsageError where it has another type, or is beyond the limits.
    """
    wanted, limits = get_args(kind)
    plain = _plain(value)
    try:
        msgspec.convert(plain, wanted)
    except msgspec.ValidationError:
        raise UsageError(
            f"{option} is {brief(plain)}: choose {_noun(wanted)}{limits.words}"
        ) from None
    if not limits.allow(plain):
        raise UsageError(f"{option} is {brief(plain)}: choose {limits.words}")
    return plain


def brief(value: object) -> str:
    """Return a value as it is written in Python, shortened, in one line."""
    return " ".join(reprlib.repr(value).split())


@cache
def _options_of(kind: type) -> Sequence[tuple[str, str, Any]]:
    """Return the fields of a dataclass that have `Limits`: field, option and annotated type."""
    return [
        (name, get_args(hint)[1].option or _as_option(name), hint)
        for name, hint in get_type_hints(kind, include_extras=True).items()
        if get_origin(hint) is Annotated
    ]


def _as_option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _noun(wanted: Any) -> str:
    """Return the noun for values of a type, or of such values and None; "" where it needs none."""
    kinds = get_args(wanted) if isinstance(wanted, UnionType) else (wanted,)
    given = [kind for kind in kinds if kind is not NoneType]
    return _NOUNS.get(given[0], "") if len(given) == 1 else ""


def _plain(value: Any) -> Any:
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # NumPy's, which is not imported here
        value = value.tolist()
    if isinstance(value, list | tuple | Set | ValuesView | Iterator):
        return tuple(map(_plain, value))
    return value
