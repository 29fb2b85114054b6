"""Page of a running job, added to the pages of Dask's dashboard. Needs bokeh."""

from __future__ import annotations

import asyncio
import math
from typing import Any, Literal

from bokeh.document import Document
from bokeh.layouts import column
from bokeh.models import (
    AdaptiveTicker,
    BasicTicker,
    BasicTickFormatter,
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    InlineStyleSheet,
    Range1d,
)
from bokeh.models.widgets import Div
from bokeh.plotting import figure
from bokeh.server.tornado import BokehTornado
from distributed import SchedulerPlugin
from distributed.core import Status
from distributed.dashboard.components import add_periodic_callback
from distributed.dashboard.components.scheduler import BOKEH_THEME, env
from distributed.dashboard.core import BokehApplication
from distributed.dashboard.scheduler import template_variables
from distributed.metrics import time
from distributed.utils import sync

from kmeans_dask.dashboard import html
from kmeans_dask.dashboard.state import TOPIC, Board, State

_PAGE = "kmeans"
_EVERY = 500  # milliseconds between updates
_LOG_FROM = 20  # largest inertia over smallest, above which a linear axis hides the tail
_TINY = 1e-100  # an inertia up to this counts as zero
_TICKS = 8
_TIMEOUT = 10.0  # seconds


def add_page(scheduler: Any) -> bool:
    """Add the page to the dashboard of `scheduler`. Returns False where it has none."""
    if scheduler.status in (Status.closing, Status.closed, Status.failed):
        return False
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    if here is scheduler.loop.asyncio_loop:  # a preload, or an asynchronous cluster
        return _add_page(scheduler)

    async def on_its_loop() -> bool:
        return _add_page(scheduler)

    return bool(sync(scheduler.loop, on_its_loop, callback_timeout=_TIMEOUT))


def _add_page(scheduler: Any) -> bool:
    # The dashboard's applications take no more pages once they are made, which is before any
    # preload runs. But the server asks one application after another, so this page is one more.
    servers = [
        server
        for server in scheduler.http_application.applications
        if isinstance(server, BokehTornado)
    ]
    if not servers:
        return False
    if any(f"/{_PAGE}" in server.app_paths for server in servers):
        return True
    board = Board()
    for at, event in scheduler.get_events(TOPIC):
        board.add(at, event)
    scheduler.add_plugin(_Listener(board), name=TOPIC)

    def fill(_: Any, extra: dict[str, Any], doc: Document) -> None:
        _fill(doc, board, extra)

    variables = template_variables(scheduler)
    ours = BokehApplication({f"/{_PAGE}": fill}, scheduler, servers[0].prefix, variables)
    ours.initialize(scheduler.loop)
    ours.start()
    scheduler.http_application.add_application(ours)
    variables["pages"].append(_PAGE)  # the list from which the menus of all pages are made
    return True


class _Listener(SchedulerPlugin):
    """Scheduler plugin that passes events on to the board."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def log_event(self, topic: str, msg: Any) -> None:
        if topic == TOPIC:
            self._board.add(time(), msg)


def _fill(doc: Document, board: Board, extra: dict[str, Any]) -> None:
    """Fill the document of one browser that opens the page."""
    page = _Page(board)
    page.update()
    add_periodic_callback(doc, page, _EVERY)
    doc.title = "Dask: k-means"
    doc.add_root(page.root)
    doc.template = env.get_template("simple.html")
    doc.template_variables.update(extra)
    doc.theme = BOKEH_THEME


class _Page:
    """Bokeh models of the page in one document, updated from the board."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._shown: State | None = None
        self._heading, self._figures = _div("heading"), _div("figures")
        self._bars, self._palette = _div("bars"), _div("palette")
        self._curve = ColumnDataSource({"number": [], "inertia": []})
        # An axis cannot change its kind, so there are two figures, of which one is visible.
        self._linear = _figure(self._curve, "linear")
        self._log = _figure(self._curve, "log")
        self.root = column(
            self._heading,
            self._figures,
            self._bars,
            self._linear,
            self._log,
            self._palette,
            sizing_mode="stretch_width",
            spacing=14,
        )

    def update(self) -> None:
        """Update the models whose content has changed, and no others, so that nothing flickers."""
        state = self._board.state()
        if state == self._shown:
            return
        self._heading.text = html.heading(state)
        self._figures.text = html.figures(state)
        self._bars.text = html.bars(state)
        self._palette.text = html.palette(state)
        if self._shown is None or state.inertia != self._shown.inertia:
            self._draw(state)
        self._shown = state

    def _draw(self, state: State) -> None:
        """Draw the curve of the inertia, or hide it where it is empty."""
        numbers, values = [n for n, _ in state.inertia], [value for _, value in state.inertia]
        self._curve.data = {"number": numbers, "inertia": values}
        low, high = min(values, default=0), max(values, default=0)
        log = low > _TINY and _LOG_FROM * low < high
        self._linear.visible = bool(values) and not log
        self._log.visible = log
        # Set ranges here, as bokeh's automatic ones complain of a figure that is not visible yet.
        if log:
            factor = (high / low) ** 0.05
            self._log.y_range.update(start=low / factor, end=high * factor)
            self._log.yaxis.ticker.ticks = ticks(low / factor, high * factor)
        elif values:
            room = (high - low) / 20 or high / 20 or 1
            self._linear.y_range.update(start=low - room, end=high + room)
        if values:
            for curve in (self._linear, self._log):
                curve.x_range.update(start=numbers[0] - 0.5, end=numbers[-1] + 0.5)


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two positive ones, at most eight.

    >>> ticks(0.9e9, 70e9)
    [1000000000.0, 2000000000.0, 5000000000.0, 10000000000.0, 20000000000.0, 50000000000.0]
    >>> ticks(0.5, 2e5)
    [1.0, 10.0, 100.0, 1000.0, 10000.0, 100000.0]
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [float(f"{digit}e{n}") for n in range(first, last + 1) for digit in (1, 2, 5)]
    found = [tick for tick in every if low <= tick <= high]
    if len(found) <= _TICKS:
        return found
    tens = [tick for tick in every[::3] if low <= tick <= high]
    return tens[:: math.ceil(len(tens) / _TICKS)]


def _div(name: str) -> Div:
    # The text is HTML. Formulas are off, as data between dollar signs would be taken for TeX.
    return Div(
        name=name,
        disable_math=True,
        sizing_mode="stretch_width",
        stylesheets=[InlineStyleSheet(css=html.STYLE)],
    )


def _figure(source: ColumnDataSource, scale: Literal["linear", "log"]) -> Any:
    curve = figure(
        title="Inertia" if scale == "linear" else "Inertia, logarithmic",
        x_axis_label="iteration",
        y_axis_type=scale,
        x_range=Range1d(start=0, end=1),
        y_range=Range1d(start=1, end=2),
        height=280,
        max_width=1000,
        sizing_mode="stretch_width",
        tools="",
        toolbar_location=None,
        visible=False,
    )
    curve.line("number", "inertia", source=source, color="#eaaa6d", line_width=2)
    dots = curve.scatter("number", "inertia", source=source, color="#d9822b", size=5)
    curve.xaxis.ticker = AdaptiveTicker(min_interval=1, mantissas=[1, 2, 5])
    curve.xaxis.minor_tick_line_alpha = 0
    curve.yaxis.formatter = BasicTickFormatter(precision=1)
    # Bokeh's own ticks of a logarithmic axis crowd the top decade, or leave it bare.
    curve.yaxis.ticker = FixedTicker() if scale == "log" else BasicTicker(desired_num_ticks=4)
    curve.yaxis.minor_tick_line_alpha = 0
    curve.xgrid.visible = False
    tips = [("iteration", "@number"), ("inertia", "@inertia{0.000000e+0}")]
    curve.add_tools(HoverTool(renderers=[dots], tooltips=tips))
    return curve
