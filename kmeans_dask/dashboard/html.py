"""HTML of the page, in which all text that comes from data is escaped."""

from __future__ import annotations

from html import escape

from kmeans_dask.dashboard.state import State, Step
from kmeans_dask.text import duration

_NONE = "-"

STYLE = """
:host { color: #333; font: 14px Helvetica, Arial, sans-serif; }
.bk-clearfix { display: block !important; width: 100%; }
h1 { font-size: 18px; font-weight: normal; margin: 6px 0 0; }
.word { color: #666; margin-left: 8px; }
.figures { display: flex; flex-wrap: wrap; gap: 10px 44px; margin: 0; }
.figures div { display: flex; flex-direction: column-reverse; }
dt { color: #666; font-size: 12px; }
dd { font-size: 22px; margin: 0; font-variant-numeric: tabular-nums; }
.bad { color: #b3401e; }
.steps {
  display: grid; gap: 7px 14px; align-items: center; max-width: 1000px;
  grid-template-columns: max-content minmax(80px, 1fr) max-content;
}
.bar { height: 14px; background: #e8e8e8; border-radius: 2px; overflow: hidden; }
.bar > div { height: 100%; background: #eaaa6d; }
.bar.done > div { background: #a9c2a0; }
.bar.stopped > div { background: #bbb; }
.bar.unknown > div {
  background: repeating-linear-gradient(120deg, #eaaa6d 0 8px, #f2cba5 8px 16px);
}
.amount { font-variant-numeric: tabular-nums; color: #555; min-width: 250px; }
.squares { display: grid; gap: 2px; max-width: 1000px; grid-template-columns: repeat(32, 1fr); }
.squares i { aspect-ratio: 1; border-radius: 2px; }
"""


def heading(state: State) -> str:
    """Return the heading of the page: the name of the run, and whether it runs or how it ended."""
    if not state.run:
        return "<h1>k-means<span class='word'>no job has reported here yet</span></h1>"
    if not state.finished:
        word = "<span class='word'>running</span>"
    elif state.ok:
        word = "<span class='word'>finished</span>"
    else:
        why = escape(state.why or "stopped before its end")
        word = f"<span class='word bad'>{why}</span>"
    return f"<h1>k-means, run {escape(state.run)}{word}</h1>"


def figures(state: State) -> str:
    """Return a line of figures, such as the step, its rate, and the inertia."""
    if not state.run:
        return ""
    current = next((step for step in state.steps if step.name == state.step), None)
    unit = (current.unit if current else "") or "images"
    number, inertia = state.inertia[-1] if state.inertia else (None, None)
    left = state.seconds_left
    pairs = [
        ("step", state.step or _NONE),
        (f"{unit} per second", _NONE if state.rate is None else f"{state.rate:,.1f}"),
        ("left of this step", _NONE if left is None else duration(left)),
        ("iteration", _NONE if number is None else f"{number:,}"),
        ("inertia", _NONE if inertia is None else f"{inertia:.6g}"),
        ("failed", f"{state.failures:,}"),
    ]
    bad = " class='bad'" if state.failures else ""
    return "".join(
        (
            "<dl class='figures'>",
            *(
                f"<div><dt>{escape(name)}</dt>"
                f"<dd{bad if name == 'failed' else ''}>{escape(value)}</dd></div>"
                for name, value in pairs
            ),
            "</dl>",
        )
    )


def bars(state: State) -> str:
    """Return a progress bar for each step."""
    if not state.steps:
        return ""
    rows = (_bar(step, stopped=state.finished) for step in state.steps)
    return f"<div class='steps'>{''.join(rows)}</div>"


def _bar(step: Step, stopped: bool) -> str:
    part = step.part
    if step.seconds is not None:
        kind = "done"
    elif stopped:
        kind = "stopped"
    else:
        kind = "unknown" if part is None else "running"
    percent = 100 * (1.0 if part is None else part)
    known = "" if part is None else f" aria-valuenow='{percent:.0f}'"
    return (
        f"<span>{escape(step.name)}</span>"
        f"<div class='bar {kind}' role='progressbar' aria-label='{escape(step.name)}'{known}>"
        f"<div style='width: {percent:.2f}%'></div></div>"
        f"<span class='amount'>{escape(_amount(step))}</span>"
    )


def _amount(step: Step) -> str:
    """Return text for the units done of a step, the total and rate, and the time spent or left."""
    words = []
    if step.unit:
        total = "" if step.total is None else f" / {step.total:,}"
        words.append(f"{step.done:,}{total} {step.unit}")
        if step.rate is not None:
            words.append(f"{step.rate:,.1f}/s")
    if step.seconds is not None:
        words.append(duration(step.seconds))
    elif step.seconds_left is not None:
        words.append(f"{duration(step.seconds_left)} left")
    return " · ".join(words)


def palette(state: State) -> str:
    """Return the palette as coloured squares, in rows of equal length."""
    if not state.palette:
        return ""
    squares = (f"<i style='background: {color}' title='{color}'></i>" for color in state.palette)
    return f"<div class='squares'>{''.join(squares)}</div>"
