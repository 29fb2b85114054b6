"""State of a job that the page shows, made from the events that jobs log. Plain Python.

Anyone who can connect to the scheduler can log events. Events of other forms are ignored:

    {"kind": "step", "run": "ab12", "step": "ingest", "total": 280 or None, "unit": "images"}
    {"kind": "advance", "run": "ab12", "step": "ingest", "done": 120, "failed": 3}
    {"kind": "finish", "run": "ab12", "step": "ingest", "seconds": 1.9}
    {"kind": "iteration", "run": "ab12", "number": 7, "inertia": 1.2e9, "shift": 0.3, ...}
    {"kind": "palette", "run": "ab12", "colors": ["#1a2b3c", ...]}
    {"kind": "end", "run": "ab12", "ok": True} or {..., "ok": False, "why": "interrupted"}

done, failed and seconds count from the start of the step, not from the event before. Several events
may come as one list.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from kmeans_dask.settings import MAX_COLORS

TOPIC = "kmeans-dask-progress"

_WINDOW = 20.0  # seconds over which a rate is measured, so that it is steady, and still current
_MOMENT, _AGES = 1e-6, 1e9  # seconds: the shortest and the longest time that is shown
_MAX_POINTS = 1000  # of the curve of inertia, and times of a step
_MAX_STEPS = 20
_MAX_PAST = 1000  # ended runs to remember, so that late events do not bring them back
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class Step:
    """Step of a job, with its progress.

    unit: name of the units of work, such as images
    total: units of work in all; None where unknown
    done, failed: units of work that are done, and those of them that failed
    seconds: time that the step took; None while it runs
    rate: units per second, lately, or over the whole step when it is finished; None where unknown
    seconds_left: time that is left of the step; None where unknown
    """

    name: str
    unit: str
    total: int | None
    done: int
    failed: int
    seconds: float | None
    rate: float | None
    seconds_left: float | None

    @property
    def part(self) -> float | None:
        """Return the part of the step that is done, from 0 to 1; None where unknown."""
        if self.seconds is not None:
            return 1.0
        return min(self.done / self.total, 1.0) if self.total else None


@dataclass(frozen=True)
class State:
    """State of the latest run.

    run: name of the run; empty before the first one
    step: name of the current step, or of the last one
    rate, seconds_left: those of the current step
    inertia: number and inertia of each iteration of the latest fit
    palette: colours as #rrggbb
    failures: units of work that failed, over all steps
    finished: whether the run is over
    ok: whether the run ended well
    why: reason of a bad end, in a word or two; empty where none was given
    """

    run: str = ""
    step: str = ""
    steps: tuple[Step, ...] = ()
    rate: float | None = None
    seconds_left: float | None = None
    inertia: tuple[tuple[int, float], ...] = ()
    palette: tuple[str, ...] = ()
    failures: int = 0
    finished: bool = False
    ok: bool = False
    why: str = ""


def state_of(events: Iterable[tuple[float, object]]) -> State:
    """Return the state after `events`, each (time in seconds, event), in order."""
    board = Board()
    for at, event in events:
        board.add(at, event)
    return board.state()


class Board:
    """Board that keeps the state of the latest run, and takes events one by one.

    A scheduler keeps only the last thousand events or so.
    """

    def __init__(self) -> None:
        self._past: deque[str] = deque(maxlen=_MAX_PAST)
        self._run = _Run("")

    def add(self, at: float, event: object) -> None:
        """Add an event, or a list of events, logged at the time `at`, in seconds."""
        for one in event if isinstance(event, list | tuple) else [event]:
            self._add(at, one)

    def _add(self, at: float, event: object) -> None:
        if not isinstance(event, dict) or not _is_sound(event):
            return
        name = event["run"]
        if name in self._past:
            return
        if name != self._run.name:
            if self._run.name:
                self._past.append(self._run.name)
            self._run = _Run(name)
        elif self._run.ok is not None and event["kind"] == "step":
            self._run = _Run(name)  # one client does one job after another
        self._run.add(at, event)

    def state(self) -> State:
        """Return the current state."""
        return self._run.state()


@dataclass
class _Step:
    unit: str
    total: int | None
    done: int = 0
    failed: int = 0
    seconds: float | None = None
    times: deque[tuple[float, int]] = field(default_factory=deque)  # (time, units done)

    def advance(self, at: float, done: int, failed: int) -> None:
        self.done = max(self.done, done)
        self.failed = max(self.failed, failed)
        self.times.append((at, self.done))
        while len(self.times) > 2 and self.times[1][0] <= at - _WINDOW:
            self.times.popleft()
        if len(self.times) > _MAX_POINTS:  # many small advances: keep every second one
            self.times = deque([*list(self.times)[:-1:2], self.times[-1]])

    @property
    def rate(self) -> float | None:
        (since, before), (until, after) = self.times[0], self.times[-1]
        spent, done = until - since, after - before
        if self.seconds is not None:
            spent, done = self.seconds, self.done
        return done / spent if done and _MOMENT < spent < _AGES else None

    def shown(self, name: str, over: bool) -> Step:
        rate = self.rate
        left = None
        if rate and self.total is not None and self.seconds is None and not over:
            left = max(self.total - self.done, 0) / rate
            left = left if left < _AGES else None
        return Step(name, self.unit, self.total, self.done, self.failed, self.seconds, rate, left)


class _Run:
    def __init__(self, name: str) -> None:
        self.name = name
        self.ok: bool | None = None  # None while it runs
        self._why = ""
        self._step = ""
        self._steps: dict[str, _Step] = {}
        self._inertia: deque[tuple[int, float]] = deque(maxlen=_MAX_POINTS)
        self._palette: tuple[str, ...] = ()

    def add(self, at: float, event: dict[Any, Any]) -> None:
        kind = event["kind"]
        if self.ok is not None:
            return
        if kind == "end":
            self.ok = event["ok"]
            self._why = "" if self.ok else event.get("why") or ""
        elif kind == "palette":
            self._palette = tuple(event["colors"])
        elif kind == "iteration":
            number = event["number"]
            if self._inertia and number <= self._inertia[-1][0]:  # another start, or another fit
                self._inertia.clear()
            self._inertia.append((number, float(event["inertia"])))
        else:
            self._add_to_step(kind, at, event)

    def _add_to_step(self, kind: str, at: float, event: dict[Any, Any]) -> None:
        name = event["step"]
        step = self._steps.get(name)
        if step is None and len(self._steps) == _MAX_STEPS:
            return
        if kind == "step" or step is None:  # a late board has no event of its start
            was_cleared, before = kind == "step", event["done"] if kind == "advance" else 0
            unit, total = (event["unit"], event.get("total")) if was_cleared else ("", None)
            step = _Step(unit, total, times=deque([(at, before)]))
            self._steps[name] = step
            self._step = name
        if kind == "advance":
            step.advance(at, event["done"], event["failed"])
        elif kind == "finish":
            step.seconds = float(event["seconds"])

    def state(self) -> State:
        over = self.ok is not None
        steps = {name: step.shown(name, over) for name, step in self._steps.items()}
        current = steps.get(self._step)
        return State(
            run=self.name,
            step=self._step,
            steps=tuple(steps.values()),
            rate=current.rate if current else None,
            seconds_left=current.seconds_left if current else None,
            inertia=tuple(self._inertia),
            palette=self._palette,
            failures=sum(step.failed for step in steps.values()),
            finished=over,
            ok=bool(self.ok),
            why=self._why,
        )


def _is_label(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 60 and value.isprintable()


def _is_name(value: object) -> bool:
    return _is_label(value) and value != ""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _is_amount(value: object, most: float = 1e100) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < most


def _is_time(value: object) -> bool:
    return _is_amount(value, _AGES)


def _is_palette(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) <= MAX_COLORS
        and all(isinstance(color, str) and _COLOR.fullmatch(color) for color in value)
    )


_FIELDS: dict[str, dict[str, Callable[[object], bool]]] = {
    "step": {"step": _is_name, "total": lambda v: v is None or _is_count(v), "unit": _is_label},
    "advance": {"step": _is_name, "done": _is_count, "failed": _is_count},
    "finish": {"step": _is_name, "seconds": _is_time},
    "iteration": {"number": _is_count, "inertia": _is_amount},
    "palette": {"colors": _is_palette},
    "end": {"ok": lambda v: isinstance(v, bool), "why": lambda v: v is None or _is_label(v)},
}


def _is_sound(event: dict[Any, Any]) -> bool:
    kind = event.get("kind")
    fields = _FIELDS.get(kind) if isinstance(kind, str) else None
    return (
        fields is not None
        and _is_name(event.get("run"))
        and all(check(event.get(name)) for name, check in fields.items())
    )
