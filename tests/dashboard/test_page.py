"""Our page on Dask's dashboard: what it shows, and that it is there and live."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.dashboard import TOPIC, Board, State, dask_setup, html, install, state_of
from kmeans_dask.dashboard.page import _Page
from tests.browser import opened

COLORS = ["#112233", "#445566", "#Ab00fF"]
MENU = '<a href="kmeans">Kmeans</a>'

counts = st.integers(0, (1 << 53) - 1) | st.integers(0, 300)
names = st.sampled_from(["ingest", "fit", "encode"])
labels = st.text(max_size=60).filter(str.isprintable)
amounts = st.floats(0, 1e99) | st.integers(0, 10**12)
runs = st.sampled_from(["ab12", "cd34", "<b>$$x$$"])
sound = st.one_of(
    st.fixed_dictionaries(
        {
            "kind": st.just("step"),
            "run": runs,
            "step": names,
            "total": st.none() | counts,
            "unit": labels,
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("advance"),
            "run": runs,
            "step": names | labels.filter(bool),
            "done": counts,
            "failed": counts,
        }
    ),
    st.fixed_dictionaries(
        {"kind": st.just("finish"), "run": runs, "step": names, "seconds": st.floats(0, 1e8)}
    ),
    st.fixed_dictionaries(
        {"kind": st.just("iteration"), "run": runs, "number": counts, "inertia": amounts}
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("palette"),
            "run": runs,
            "colors": st.lists(st.from_regex(r"#[0-9a-f]{6}", fullmatch=True), max_size=256),
        }
    ),
    st.fixed_dictionaries(
        {"kind": st.just("end"), "run": runs, "ok": st.booleans()},
        optional={"why": st.none() | labels},
    ),
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
anything = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(scalars, inner), max_leaves=5
)
WRONG: list[object] = [
    None,
    "step",
    [],
    {},
    {"kind": "step"},
    {"kind": "dance", "run": "ab12"},
    {"kind": ["step"], "run": "ab12"},
    {"kind": "step", "run": "", "step": "ingest", "total": 1, "unit": ""},
    {"kind": "step", "run": 7, "step": "ingest", "total": 1, "unit": ""},
    {"kind": "step", "run": "cd34", "step": "in\ngest", "total": 1, "unit": ""},
    {"kind": "step", "run": "cd34", "step": "\ud800", "total": 1, "unit": ""},
    {"kind": "step", "run": "cd34", "step": "x" * 61, "total": 1, "unit": ""},
    {"kind": "step", "run": "cd34", "step": "ingest", "total": -1, "unit": ""},
    {"kind": "step", "run": "cd34", "step": "ingest", "total": 1.5, "unit": ""},
    {"kind": "step", "run": "cd34", "step": "ingest", "total": 1},
    {"kind": "advance", "run": "cd34", "step": "ingest", "done": True, "failed": 0},
    {"kind": "advance", "run": "cd34", "step": "ingest", "done": 10**400, "failed": 0},
    {"kind": "advance", "run": "cd34", "step": "ingest", "done": 1},
    {"kind": "finish", "run": "cd34", "step": "ingest", "seconds": float("nan")},
    {"kind": "finish", "run": "cd34", "step": "ingest", "seconds": 1e10},
    {"kind": "iteration", "run": "cd34", "number": 1, "inertia": float("inf")},
    {"kind": "iteration", "run": "cd34", "number": 1, "inertia": -1.0},
    {"kind": "iteration", "run": "cd34", "number": 1, "inertia": 10**400},
    {"kind": "palette", "run": "cd34", "colors": "#112233"},
    {"kind": "palette", "run": "cd34", "colors": ["#11223"]},
    {"kind": "palette", "run": "cd34", "colors": ["#112233\n"]},
    {"kind": "palette", "run": "cd34", "colors": ["red", "url(x)"]},
    {"kind": "palette", "run": "cd34", "colors": ["#112233"] * 257},
    {"kind": "end", "run": "cd34", "ok": 1},
    {"kind": "end", "run": "cd34", "ok": False, "why": 7},
    {"kind": "end", "run": "cd34", "ok": False, "why": "x" * 61},
    [[{"kind": "palette", "run": "ab12", "colors": []}]],
]


def event(kind: str, run: str = "ab12", **fields: object) -> dict[str, object]:
    return {"kind": kind, "run": run, **fields}


def job(run: str = "ab12") -> list[tuple[float, object]]:
    """A job up to the middle of its second step with a total."""
    events = [
        (0.0, event("step", run, step="start", total=None, unit="")),
        (1.0, event("finish", run, step="start", seconds=1.0)),
        (1.0, event("step", run, step="ingest", total=280, unit="images")),
        (2.0, event("advance", run, step="ingest", done=100, failed=1)),
        (3.8, event("advance", run, step="ingest", done=280, failed=3)),
        (3.8, event("finish", run, step="ingest", seconds=2.8)),
        (4.0, event("step", run, step="fit", total=None, unit="iterations")),
        (4.1, event("iteration", run, number=1, inertia=2e9, shift=0.3, seconds=0.01)),
        (4.2, event("iteration", run, number=2, inertia=10**9, shift=0.1, seconds=0.01)),
        (4.2, event("palette", run, colors=COLORS)),
        (4.3, event("finish", run, step="fit", seconds=0.3)),
        (5.0, event("step", run, step="encode", total=280, unit="images")),
        (7.0, event("advance", run, step="encode", done=80, failed=1)),
    ]
    return list(events)


def timed(events: list[Any]) -> list[tuple[float, object]]:
    return [(0.25 * i, event) for i, event in enumerate(events)]


# What is shown.


def test_nothing_is_known_before_the_first_event() -> None:
    assert state_of([]) == State()


def test_a_running_job_has_its_steps_rate_and_palette_in_the_state() -> None:
    state = state_of(job())
    assert (state.run, state.step, state.finished, state.ok) == ("ab12", "encode", False, False)
    assert [step.name for step in state.steps] == ["start", "ingest", "fit", "encode"]
    assert [step.seconds for step in state.steps] == [1.0, 2.8, 0.3, None]
    assert [step.part for step in state.steps] == [1, 1, 1, 80 / 280]
    assert state.steps[1].rate == pytest.approx(100)
    assert state.rate == pytest.approx(40)
    assert state.seconds_left == pytest.approx(5)
    assert state.inertia == ((1, 2e9), (2, 1e9))
    assert state.palette == tuple(COLORS)
    assert state.failures == 4


@pytest.mark.parametrize("ok", [True, False])
def test_after_the_end_nothing_is_left_and_nothing_changes(ok: bool) -> None:
    events = [*job(), (8.0, event("end", ok=ok))]
    state = state_of(events)
    assert (state.finished, state.ok, state.seconds_left) == (True, ok, None)
    assert state_of([*events, (9.0, event("palette", colors=[]))]) == state


@pytest.mark.parametrize(
    ("end", "why", "said"),
    [
        ({"ok": True}, "", "finished"),
        ({"ok": True, "why": "failed"}, "", "finished"),
        ({"ok": False}, "", "stopped before its end"),
        ({"ok": False, "why": None}, "", "stopped before its end"),
        ({"ok": False, "why": "interrupted"}, "interrupted", "interrupted"),
        ({"ok": False, "why": "<b>failed"}, "<b>failed", "<b>failed"),
    ],
)
def test_the_page_says_how_a_job_ended(end: dict[str, Any], why: str, said: str) -> None:
    state = state_of([*job(), (8.0, event("end", **end))])
    assert state.why == why
    assert _Tags(html.heading(state)).text == f"k-means, run ab12{said}"


@given(st.lists(sound, max_size=40), st.data())
def test_a_batch_of_events_equals_single_events(events: list[Any], data: Any) -> None:
    board, apart, rest = Board(), Board(), events
    while rest:
        n = data.draw(st.integers(1, len(rest)))
        board.add(len(rest), data.draw(st.sampled_from((list, tuple)))(rest[:n]))
        for one in rest[:n]:
            apart.add(len(rest), one)
        rest = rest[n:]
    assert board.state() == apart.state()


def test_a_run_that_starts_a_step_after_its_end_is_another_job() -> None:
    state = state_of([*job(), (8.0, event("end", ok=True)), *job()[:3]])
    assert state == state_of(job()[:3])


def test_the_rate_is_of_the_last_seconds() -> None:
    events: list[tuple[float, object]] = [
        (0.0, event("step", step="ingest", total=10_000, unit="images"))
    ]
    slow = [(float(t), event("advance", step="ingest", done=t, failed=0)) for t in range(1, 101)]
    fast = [
        (100.0 + t, event("advance", step="ingest", done=100 + 50 * t, failed=0))
        for t in range(1, 31)
    ]
    assert state_of([*events, *slow]).rate == pytest.approx(1)
    assert state_of([*events, *slow, *fast]).rate == pytest.approx(50)


def test_many_small_advances_take_little_memory_and_keep_the_rate() -> None:
    board = Board()
    board.add(0, event("step", step="ingest", total=50_000, unit="images"))
    for i in range(20_000):
        board.add(i / 2000, event("advance", step="ingest", done=i, failed=0))
    assert board.state().rate == pytest.approx(2000)
    assert len(board._run._steps["ingest"].times) <= 1000


def test_a_fit_that_begins_anew_begins_a_new_curve() -> None:
    events = [event("iteration", number=n, inertia=9 - n) for n in (1, 2, 3, 1, 2)]
    assert state_of(timed(events)).inertia == ((1, 8.0), (2, 7.0))


def test_a_late_client_sees_the_running_step() -> None:
    late = [(float(t), event("advance", step="ingest", done=100 + t, failed=0)) for t in range(3)]
    state = state_of(late)
    assert [(step.name, step.total, step.done) for step in state.steps] == [("ingest", None, 102)]
    assert state.rate == pytest.approx(1)


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_malformed_event_is_ignored(wrong: object) -> None:
    assert state_of([*job(), (7.5, wrong)]) == state_of(job())


@given(st.lists(sound, max_size=40))
def test_any_beginning_of_any_events_is_a_consistent_state(events: list[Any]) -> None:
    board = Board()
    before = State()
    for i, one in enumerate(events):
        board.add(0.25 * i, one)
        state = board.state()
        assert state == state_of(timed(events[: i + 1]))
        assert len({step.name for step in state.steps}) == len(state.steps) <= 20
        assert bool(state.steps) == (state.step in {step.name for step in state.steps})
        for step in state.steps:
            assert step.part is None or 0 <= step.part <= 1
            assert step.rate is None or 0 < step.rate < 1e30
            assert step.seconds_left is None or (0 <= step.seconds_left < 1e9 and step.total)
        numbers = [number for number, _ in state.inertia]
        assert numbers == sorted(set(numbers))
        assert state.failures == sum(step.failed for step in state.steps)
        assert state.finished or not state.ok
        assert not state.why or (state.finished and not state.ok)
        if state.run == before.run and before.finished and one["kind"] != "step":
            assert state == before
        before = state


@given(st.lists(sound, max_size=12), st.lists(anything, max_size=12), st.randoms())
def test_unknown_events_change_nothing(events: list[Any], junk: list[Any], random: Any) -> None:
    mixed = [(at, one) for at, one in timed(events)]
    for one in junk:
        mixed.insert(random.randrange(len(mixed) + 1), (0.0, one))
    assert state_of(mixed) == state_of(timed(events))


@given(st.lists(sound, max_size=12), sound)
def test_another_run_begins_with_nothing_of_the_one_before(events: list[Any], one: Any) -> None:
    other = {**one, "run": "another"}
    assert state_of([*timed(events), (9.0, other)]) == state_of([(9.0, other)])


@given(st.lists(sound, min_size=1, max_size=12))
def test_late_events_of_a_replaced_run_are_ignored(events: list[Any]) -> None:
    seen = [*timed(events), (9.0, event("end", "another", ok=True))]
    assert state_of([*seen, *timed(events)]) == state_of(seen)


# How it is shown.


class _Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.lists(sound, max_size=20))
def test_names_from_data_are_never_html(events: list[Any]) -> None:
    state = state_of(timed(events))
    for show in (html.heading, html.figures, html.bars, html.palette):
        tags = _Tags(show(state))
        assert not tags.open
        assert tags.names <= {"h1", "span", "div", "dl", "dt", "dd", "i"}
        assert tags.attributes <= {
            "class", "style", "title", "role", "aria-label", "aria-valuenow",
        }  # fmt: skip
    assert all(step.name in _Tags(html.bars(state)).text for step in state.steps)


@settings(deadline=None)
@given(st.lists(sound, max_size=20))
def test_the_page_takes_any_state(events: list[Any]) -> None:
    board = Board()
    page = _Page(board)
    page.update()
    for at, one in timed(events):
        board.add(at, one)
        page.update()
    points = board.state().inertia
    assert list(page._curve.data["inertia"]) == [inertia for _, inertia in points]
    assert page._linear.visible + page._log.visible == bool(points)


def test_the_curve_is_logarithmic_where_that_helps() -> None:
    board = Board()
    page = _Page(board)
    seen = []
    for number, inertia in enumerate([1e9, 9e8, 4e7, 0.0]):
        board.add(0, event("iteration", number=number, inertia=inertia))
        page.update()
        seen.append(page._log.visible)
    assert seen == [False, False, True, False]


# That it is there.


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=300) as answer:
        assert answer.status == 200
        return str(answer.read().decode())


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as local:
        assert install(local.scheduler)
        yield local


@pytest.fixture
def scheduler(cluster: LocalCluster) -> Any:
    return cluster.scheduler


@pytest.fixture
def port(scheduler: Any) -> int:
    return int(scheduler.http_server.port)


@pytest.mark.parametrize("page", ["kmeans", "status", "workers"])
def test_the_page_and_the_menu_are_on_a_running_cluster(port: int, page: str) -> None:
    assert get(port, f"/{page}").count(MENU) == 1


def test_installing_again_changes_nothing(scheduler: Any, port: int) -> None:
    applications = list(scheduler.http_application.applications)
    assert install(scheduler)
    assert scheduler.http_application.applications == applications
    assert get(port, "/kmeans").count(MENU) == 1


def test_without_a_dashboard_there_is_nothing_to_do() -> None:
    with LocalCluster(
        n_workers=0,
        processes=False,
        dashboard_address="127.0.0.1:0",  # of what is served all the same
        scheduler_kwargs={"dashboard": False},
    ) as local:
        scheduler = local.scheduler
        assert not install(scheduler)
    assert not install(scheduler)  # which is closed now


def test_without_bokeh_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bokeh.document", None)
    monkeypatch.delitem(sys.modules, "kmeans_dask.dashboard.page")
    assert not install(object())


def test_an_asynchronous_cluster_gets_it_within_its_own_loop() -> None:
    async def look() -> tuple[str, State]:
        async with LocalCluster(
            n_workers=0, processes=False, dashboard_address="127.0.0.1:0", asynchronous=True
        ) as local:
            scheduler: Any = local.scheduler
            scheduler.log_event(TOPIC, event("palette", "early", colors=COLORS))
            dask_setup(scheduler)
            page = await asyncio.to_thread(get, scheduler.http_server.port, "/kmeans")
            return page, scheduler.plugins[TOPIC]._board.state()

    page, state = asyncio.run(look())
    assert MENU in page
    assert state.palette == tuple(COLORS)  # of what was logged before, too


@pytest.mark.parametrize("prefix", ["", "/some/where"])
def test_a_scheduler_that_preloads_it_has_it(tmp_path: Path, prefix: str) -> None:
    file = tmp_path / "scheduler.json"
    words = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"]
    words += ["--scheduler-file", str(file), "--preload", "kmeans_dask.dashboard"]
    words += ["--dashboard-prefix", prefix] if prefix else []
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        page, until = "", time.monotonic() + 600
        while not page and time.monotonic() < until:
            time.sleep(0.2)
            try:  # the file is written before the preloads run, and not at once
                port = json.loads(file.read_text())["services"]["dashboard"]
                page = get(port, f"{prefix}/kmeans")
            except (FileNotFoundError, json.JSONDecodeError, urllib.error.HTTPError):
                pass
        assert MENU in page
        assert MENU in get(port, f"{prefix}/status")
        connections = psutil.Process(process.pid).net_connections("inet")
        listening = {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
    finally:
        process.kill()
        process.wait()


# That it is live, in a browser.


@pytest.fixture
def page(browser: Any, port: int) -> Iterator[Any]:
    with opened(browser, f"http://127.0.0.1:{port}/kmeans") as page:
        yield page


def colors(page: Any) -> list[str]:
    """Of the squares that are seen."""
    found: list[str] = page.locator(".squares i").evaluate_all(
        "squares => squares.map(square => getComputedStyle(square).backgroundColor)"
    )
    return found


CURVES = """Bokeh.documents[0].roots()[0].children
    .filter(child => child.renderers && child.visible).map(child => child.title.text)"""


def wait_for_curves(page: Any, titles: list[str]) -> None:
    """Wait until the page has the curves `titles`, which may come after the rest of an update."""
    end = time.monotonic() + 120
    while page.evaluate(CURVES) != titles:
        assert time.monotonic() < end, page.evaluate(CURVES)
        page.wait_for_timeout(50)


def test_the_page_follows_a_job(cluster: LocalCluster, page: Any) -> None:
    with Client(cluster, set_as_default=False) as client:

        def log(kind: str, **fields: object) -> None:
            client.log_event(TOPIC, event(kind, "live", **fields))

        log("step", step="ingest", total=280, unit="images")
        log("advance", step="ingest", done=70, failed=2)
        page.get_by_text("k-means, run live").wait_for()
        page.get_by_text("70 / 280 images").wait_for()
        bar = page.get_by_role("progressbar", name="ingest")
        assert bar.get_attribute("aria-valuenow") == "25"
        assert page.evaluate(CURVES) == []

        log("finish", step="ingest", seconds=1.9)
        log("step", step="fit", total=None, unit="iterations")
        log("iteration", number=1, inertia=2.5e9, shift=0.3, seconds=0.01)
        log("palette", colors=["#ff0000", "#00ff00"])
        page.locator(".squares i").nth(1).wait_for()
        assert colors(page) == ["rgb(255, 0, 0)", "rgb(0, 255, 0)"]
        page.get_by_text("2.5e+09").wait_for()
        wait_for_curves(page, ["Inertia"])
        page.locator("canvas:visible").first.wait_for()

        log("iteration", number=2, inertia=1e8, shift=0.3, seconds=0.01)
        log("palette", colors=["#0000ff"])
        page.locator(".squares i[title='#0000ff']").wait_for()
        wait_for_curves(page, ["Inertia, logarithmic"])
        assert colors(page) == ["rgb(0, 0, 255)"]

        log("end", ok=True)
        page.get_by_text("finished").wait_for()
        assert page.get_by_role("progressbar", name="ingest").get_attribute("class") == "bar done"


def test_the_page_shows_names_as_text(cluster: LocalCluster, page: Any) -> None:
    run, step = "<script>alert(1)</script>", "<img src=x onerror=alert(2)> $$\\frac12$$"
    with Client(cluster, set_as_default=False) as client:
        client.log_event(TOPIC, event("step", run, step=step, total=3, unit="<b>&amp;"))
        page.get_by_text(f"k-means, run {run}").wait_for()
        page.get_by_text(step).first.wait_for()
        page.get_by_text("0 / 3 <b>&amp;").wait_for()
    assert page.locator(".steps img, .steps b, h1 script").count() == 0


def test_the_page_forgets_nothing_of_a_long_job(cluster: LocalCluster, page: Any) -> None:
    def work(dask_scheduler: Any) -> None:
        log = dask_scheduler.log_event
        log(TOPIC, event("step", "long", step="ingest", total=9000, unit="images"))
        for done in range(1, 4501):  # far more than a scheduler keeps
            log(TOPIC, event("advance", "long", step="ingest", done=done, failed=0))

    with Client(cluster, set_as_default=False) as client:
        client.run_on_scheduler(work)
        page.get_by_text("4,500 / 9,000 images").wait_for()
        page.reload()
        page.get_by_text("4,500 / 9,000 images").wait_for()
