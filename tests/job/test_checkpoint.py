"""A fit that was left goes on from its last iteration, to the same end to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_dask import settings as choices
from kmeans_dask.engine import connect
from kmeans_dask.job import checkpoint as checkpoints
from kmeans_dask.job.checkpoint import Checkpoint
from kmeans_dask.job.fit_result import FitResult
from kmeans_dask.job.progress import Progress
from kmeans_dask.kmeans import lloyd, lloyd_small
from kmeans_dask.kmeans.lloyd import Fit, Iteration, Measure
from kmeans_dask.settings import FitSettings
from kmeans_dask.steps import fit as fitting
from kmeans_dask.steps import quantize as quantizing
from kmeans_dask.store import Store
from tests.documents import read_sealed
from tests.kmeans.strategies import (
    SEEDS,
    centroids_for,
    color_tables,
    measure_plainly,
    same_fit,
)
from tests.steps.strategies import (
    StoppedError,
    files_in,
    ingested,
    noise,
    quantized,
    random_table,
    same_palette,
    same_result,
    save,
)

IDENTITY = {"settings": {"colors": 8}, "generation": 1}


def stop_after(n: int) -> Callable[[Iteration], None]:
    """For `on_iteration`: it ends the run after that many iterations, of whatever starts."""
    left = n

    def on_iteration(_: Iteration) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise StoppedError

    return on_iteration


def opened(path: Path) -> Checkpoint:
    return Checkpoint(path, IDENTITY, resume=True, pause=0)


def run(
    measure: Measure,
    start: NDArray[np.float64],
    path: Path,
    on_iteration: Callable[[Iteration], None],
    *,
    max_iter: int,
    tol: float,
) -> Fit:
    """One run as `quantize` makes it: noted before anybody else sees it, and resumed."""
    runs = opened(path)
    found = runs.finished(len(start), 0)
    if found:
        return found
    begun = runs.begun(len(start), 0)

    def note(iteration: Iteration) -> None:
        runs.note(len(start), 0, iteration)
        on_iteration(iteration)

    found = lloyd.fit(
        begun.centroids if begun else start,
        measure,
        max_iter=max_iter,
        tol=tol,
        on_iteration=note,
        history=begun.history if begun else (),
    )
    runs.finish(len(start), 0, found)
    return found


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_a_run_that_stops_after_any_iteration_ends_as_if_it_had_not(data: st.DataObject) -> None:
    table = data.draw(color_tables(max_colors=150))
    start = data.draw(centroids_for(table, max_k=min(8, len(table))))
    tol = data.draw(st.sampled_from([0.0, 1e-4]))
    max_iter = data.draw(st.integers(1, 9))
    measure = measure_plainly(table.colors, table.weights)
    expected = lloyd.fit(start, measure, max_iter=max_iter, tol=tol)
    for stop in range(1, expected.n_iter + 1):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "k.json"
            with pytest.raises(StoppedError):
                run(measure, start, path, stop_after(stop), max_iter=max_iter, tol=tol)
            numbers: list[int] = []
            found = run(
                measure,
                start,
                path,
                lambda iteration, numbers=numbers: numbers.append(iteration.number),  # type: ignore[misc]
                max_iter=max_iter,
                tol=tol,
            )
            assert same_fit(found, expected)
            # the one that ends a fit is not noted, and made again
            first = stop if stop == expected.n_iter and expected.converged else stop + 1
            assert numbers == list(range(first, expected.n_iter + 1))


@given(st.data())
@settings(deadline=None, max_examples=25)
def test_a_run_that_stops_again_and_again_ends_as_if_it_had_not(data: st.DataObject) -> None:
    table = data.draw(color_tables(max_colors=150))
    start = data.draw(centroids_for(table, max_k=min(8, len(table))))
    measure = measure_plainly(table.colors, table.weights)
    expected = lloyd.fit(start, measure, max_iter=12, tol=0)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "k.json"
        for _ in range(expected.n_iter - expected.converged):
            with pytest.raises(StoppedError):
                run(measure, start, path, stop_after(1), max_iter=12, tol=0)
        assert same_fit(run(measure, start, path, stop_after(2), max_iter=12, tol=0), expected)
        # and once it is finished, no iteration is made at all
        assert same_fit(run(measure, start, path, stop_after(1), max_iter=12, tol=0), expected)


# -- what counts ------------------------------------------------------------------------------


def an_iteration(number: int, *, converged: bool = False) -> Iteration:
    return Iteration(number, 10.0 / number, 1.0, 0.1, np.full((2, 3), number / 7), converged)


def begun_runs(path: Path) -> Checkpoint:
    """A run of another k that is finished, and one with an iteration done."""
    runs = opened(path)
    fit = Fit(np.zeros((1, 3)), np.array([9]), 0.5, (1.0, 0.5), 1, converged=True)
    runs.finish(1, 4, fit)
    runs.begun(2, 5)
    runs.note(2, 5, an_iteration(1))
    return runs


def test_only_the_interrupted_run_is_resumed(tmp_path: Path) -> None:
    begun_runs(tmp_path / "a.json")
    runs = opened(tmp_path / "a.json")
    finished = runs.finished(1, 4)
    assert finished is not None
    assert (finished.inertia, finished.history, finished.n_iter) == (0.5, (1.0, 0.5), 1)
    assert finished.weights.dtype == np.int64
    for k, seed in ((1, 5), (2, 4), (2, 5)):
        assert runs.finished(k, seed) is None
    for k, seed in ((2, 4), (3, 5), (1, 4)):
        assert runs.begun(k, seed) is None
    begun = runs.begun(2, 5)
    assert begun is not None
    assert begun.history == (10.0,)
    assert begun.centroids.tolist() == np.full((2, 3), 1 / 7).tolist()


def test_a_run_that_begins_anew_has_no_history_of_another(tmp_path: Path) -> None:
    runs = begun_runs(tmp_path / "a.json")
    assert runs.begun(2, 6) is None
    runs.note(2, 6, an_iteration(1))
    begun = opened(tmp_path / "a.json").begun(2, 6)
    assert begun is not None
    assert begun.history == (10.0,)


@pytest.mark.parametrize(
    "identity", [None, {}, {**IDENTITY, "generation": 2}, {**IDENTITY, "settings": {"colors": 9}}]
)
def test_runs_of_another_identity_are_forgotten(
    identity: dict[str, object] | None, tmp_path: Path
) -> None:
    begun_runs(tmp_path / "a.json")
    other = Checkpoint(tmp_path / "a.json", identity, resume=True, pause=0)
    assert other.finished(1, 4) is None
    assert other.begun(2, 5) is None
    other.note(2, 5, an_iteration(1))
    assert opened(tmp_path / "a.json").finished(1, 4) is None  # the file is the other's now


def test_a_checkpoint_is_ignored_without_resume(tmp_path: Path) -> None:
    begun_runs(tmp_path / "a.json")
    runs = Checkpoint(tmp_path / "a.json", IDENTITY, pause=0)
    assert runs.finished(1, 4) is None
    assert runs.begun(2, 5) is None


def test_a_damaged_checkpoint_is_discarded_without_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    begun_runs(path)
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        runs = opened(path)
        assert (runs.finished(1, 4), runs.begun(2, 5)) == (None, None)
    for damaged in (b"", content[:-1], content * 2):
        path.write_bytes(damaged)
        assert opened(path).begun(2, 5) is None
    path.unlink()
    assert opened(path).begun(2, 5) is None
    path.mkdir()
    assert opened(path).begun(2, 5) is None


def test_the_end_of_a_run_is_not_recorded_as_an_iteration(tmp_path: Path) -> None:
    runs = begun_runs(tmp_path / "a.json")
    runs.note(2, 5, an_iteration(2, converged=True))
    begun = opened(tmp_path / "a.json").begun(2, 5)
    assert begun is not None
    assert begun.history == (10.0,)


def test_iterations_that_follow_quickly_are_not_all_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now)  # type: ignore[attr-defined]
    runs = Checkpoint(tmp_path / "a.json", IDENTITY, pause=0.5)
    written = []
    for number in range(1, 10):
        now += 0.2
        runs.note(2, 5, an_iteration(number))
        with suppress(FileNotFoundError):
            written.append(len(read_sealed(tmp_path / "a.json")["begun"]["history"]))
    assert sorted(set(written)) == [3, 6, 9]


def test_without_a_file_nothing_is_kept_and_nothing_written(tmp_path: Path) -> None:
    histogram = random_table(60, seed=1)
    chosen = FitSettings(8, n_init=2)
    found = quantized(histogram, chosen, checkpoint=Checkpoint())
    assert same_result(found, quantized(histogram, chosen))
    assert files_in(tmp_path) == {}


# -- all runs of a palette --------------------------------------------------------------------


@given(SEEDS, st.sampled_from(["starts", "target", "search"]), st.integers(0, 1 << 20))
@settings(deadline=None, max_examples=25)
def test_a_palette_of_many_runs_is_the_same_wherever_it_was_left(
    seed: int, kind: str, place: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lloyd_small, "FEW", 0)  # few colours are fitted in one go
        for module in (quantizing, choices):  # else nothing is searched for
            patch.setattr(module, "COARSE_COLORS", 50)
        leave_and_go_on(seed, kind, place)


def leave_and_go_on(seed: int, kind: str, place: int) -> None:
    histogram = random_table(300, seed)
    chosen = {
        "starts": FitSettings(6, n_init=4, tol=0, init="random"),
        "target": FitSettings(12, min_psnr=21, tol=0, n_init=2, init="random"),
        "search": FitSettings(24, min_psnr=17, tol=0, init="random"),
    }[kind]
    seen: list[int] = []
    expected = quantized(histogram, chosen, on_iteration=lambda each: seen.append(each.number))
    assert len(seen) > 4
    stop = 1 + place % len(seen)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "k.json"
        with pytest.raises(StoppedError):
            quantized(histogram, chosen, checkpoint=opened(path), on_iteration=stop_after(stop))
        again: list[int] = []
        found = quantized(
            histogram,
            chosen,
            checkpoint=opened(path),
            on_iteration=lambda each: again.append(each.number),
        )
    assert same_result(found, expected)
    assert same_fit(found.fit, expected.fit)
    assert len(again) <= len(seen) - stop + 1  # at most the one that ended a run is made again
    assert again == seen[len(seen) - len(again) :]


# -- in a store -------------------------------------------------------------------------------


def figures(found: FitResult) -> tuple[object, ...]:
    return (
        found.weights.tolist(),
        found.inertia,
        found.history,
        found.iterations,
        found.converged,
        found.squared_error,
    )


class Watcher(Progress):
    """Counts iterations, and ends the job after some."""

    def __init__(self, stop: int | None = None) -> None:
        super().__init__()
        self.seen, self._stop = 0, stop

    def iterate(self, event: Mapping[str, Any]) -> None:
        super().iterate(event)
        self.seen += 1
        if self.seen == self._stop:
            raise StoppedError


@pytest.mark.parametrize("chunk_colors", [1 << 22, 900], ids=["one task", "rounds"])
def test_the_fit_of_a_store_resumes_where_it_was_interrupted(
    chunk_colors: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = save(tmp_path / "a.png", noise(1, (80, 60)))
    undisturbed, store = (ingested([image], tmp_path / name) for name in ("a", "b"))
    chosen = FitSettings(6, n_init=2, tol=0, chunk_colors=chunk_colors)
    monkeypatch.setattr(lloyd_small, "FEW", 0)  # few colours are fitted in one go
    monkeypatch.setattr(Checkpoint.__init__, "__kwdefaults__", {"resume": False, "pause": 0})
    with connect(workers=0) as engine:
        whole = Watcher()
        expected = fitting.fit(undisturbed, engine, whole, chosen)
        stop = whole.seen - 3
        with pytest.raises(StoppedError):
            fitting.fit(store, engine, Watcher(stop), chosen)
        rest = Watcher()
        found = fitting.fit(Store.open(store.path), engine, rest, chosen, resume=True)
        assert figures(found) == figures(expected)
        assert same_palette(found.palette, expected.palette)
        assert rest.seen == 3
        assert store.palette_names == ["k6"]
        finished = Watcher()
        same = fitting.fit(Store.open(store.path), engine, finished, chosen, resume=True)
        assert (figures(same), finished.seen) == (figures(expected), 0)
        # without being asked to go on, it begins again
        again = Watcher()
        assert figures(fitting.fit(store, engine, again, chosen)) == figures(expected)
        assert again.seen == whole.seen
