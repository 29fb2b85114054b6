"""`KMeans`: scikit-learn's protocol, any array, any chunking, real workers."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import sklearn.cluster
import zarr
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import kmeans_dask.estimator.fit_arrays
from kmeans_dask import KMeans
from kmeans_dask.engine.dask_engine import _Scheduled
from kmeans_dask.kmeans.plain import plain_distances, plain_labels
from tests.conftest import photograph
from tests.kmeans.strategies import SEEDS

TYPES = (np.uint8, np.uint16, np.int32, np.float32, np.float64)


def rows_of(dtype: Any, n: int = 3000, channels: int = 3, seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    middles = rng.uniform(20, 230, (9, channels))
    rows = middles[rng.integers(0, 9, n)] + rng.normal(0, 6, (n, channels))
    return rows.clip(0, 255).astype(dtype)


def start_of(rows: NDArray[Any], k: int, seed: int = 1) -> NDArray[np.float64]:
    """Rows, moved off any lattice, so that rounding decides nothing."""
    rng = np.random.default_rng(seed)
    start: NDArray[np.float64] = rng.choice(rows, k).astype(np.float64)
    return start + rng.uniform(0.1, 0.4, start.shape)


def same_fit(a: KMeans, b: KMeans) -> bool:
    """Equal to the last bit, labels too."""
    return (
        np.array_equal(a.cluster_centers_, b.cluster_centers_)
        and np.array_equal(a.inertia_history_, b.inertia_history_)
        and (a.inertia_, a.n_iter_) == (b.inertia_, b.n_iter_)
        and np.array_equal(np.asarray(a.labels_), np.asarray(b.labels_))
    )


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is not counted goes in rounds."""
    monkeypatch.setattr(kmeans_dask.estimator.fit_arrays, "ONE_TASK", 100)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learns_own_checks_pass() -> None:
    drawn_by_place = (
        "seeds are drawn by place and weight, so repeating rows draws others; scikit-learn's "
        "KMeans has the same exception"
    )
    check_estimator(
        KMeans(n_clusters=3, random_state=0),
        expected_failed_checks={"check_sample_weight_equivalence_on_dense_data": drawn_by_place},
        on_skip=None,
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_from_the_same_start_it_is_scikit_learns(dtype: Any, weighted: bool) -> None:
    rows = rows_of(dtype)
    start = start_of(rows, 9)
    weights = np.random.default_rng(2).random(len(rows)) if weighted else None
    model = KMeans(9, init=start, tol=0, max_iter=40).fit(rows, sample_weight=weights)
    theirs = sklearn.cluster.KMeans(9, init=start, n_init=1, tol=0, max_iter=40)
    theirs.fit(rows.astype(np.float64), sample_weight=weights)
    np.testing.assert_allclose(model.cluster_centers_, theirs.cluster_centers_, atol=1e-6 * 255)
    assert model.inertia_ == pytest.approx(theirs.inertia_, rel=1e-9)
    np.testing.assert_array_equal(model.labels_, theirs.labels_)
    np.testing.assert_array_equal(model.labels_, plain_labels(rows, model.cluster_centers_))


def test_a_photograph_is_clustered_as_scikit_learn_does() -> None:
    pixels = np.asarray(photograph("coffee.png", (300, 200))).reshape(-1, 3)
    start = start_of(pixels, 16)
    model = KMeans(16, init=start, tol=0, max_iter=25).fit(pixels)
    theirs = sklearn.cluster.KMeans(16, init=start, n_init=1, tol=0, max_iter=25)
    theirs.fit(pixels.astype(np.float64))
    np.testing.assert_allclose(model.cluster_centers_, theirs.cluster_centers_, atol=1e-6 * 255)
    np.testing.assert_array_equal(model.labels_, theirs.labels_)


def test_predictions_distances_and_scores_follow_from_the_centers() -> None:
    rows = rows_of(np.float64)
    model = KMeans(5, random_state=0).fit(rows)
    centers = model.cluster_centers_
    np.testing.assert_array_equal(model.predict(rows), model.labels_)
    np.testing.assert_array_equal(model.transform(rows), np.sqrt(plain_distances(rows, centers)))
    assert model.score(rows) == -model.inertia_
    again = KMeans(5, random_state=0)
    np.testing.assert_array_equal(again.fit_predict(rows), model.labels_)
    np.testing.assert_array_equal(again.fit_transform(rows), model.transform(rows))
    lazy = da.from_array(rows, chunks=(700, 2))
    assert model.score(lazy) == -model.inertia_
    np.testing.assert_array_equal(model.predict(lazy).compute(), model.labels_)
    np.testing.assert_array_equal(model.transform(lazy).compute(), model.transform(rows))
    assert model.get_feature_names_out().tolist() == [f"kmeans{i}" for i in range(5)]


@given(st.data())
@settings(deadline=None, max_examples=25)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_chunks_never_change_a_bit(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    n, channels = data.draw(st.integers(20, 400)), data.draw(st.sampled_from([1, 3, 5]))
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16, np.float32, np.float64]))
    top = data.draw(st.sampled_from([1, 7, 200]))
    rows = rng.integers(0, top, (n, channels)).astype(dtype)
    if data.draw(st.booleans()) and np.dtype(dtype).kind == "f":
        rows = (rows + rng.random(rows.shape)).astype(dtype)
    weights = data.draw(st.sampled_from([None, rng.integers(0, 5, n) + 1, rng.random(n) + 0.1]))
    k = data.draw(st.integers(1, 12))
    init = data.draw(st.sampled_from(["k-means++", "random", start_of(rows, k)]))
    fits = []
    for chunks in ((n, channels), (data.draw(st.integers(1, n)), 1)):
        model = KMeans(k, init=init, random_state=3, max_iter=20)
        fits.append(model.fit(da.from_array(rows, chunks=chunks), sample_weight=weights))
    assert same_fit(*fits)
    history = fits[0].inertia_history_
    assert (np.diff(history) <= 1e-9 * history[:-1]).all()
    lazy = KMeans(k, init=fits[0].cluster_centers_, max_iter=1).fit(rows, sample_weight=weights)
    assert lazy.inertia_history_[0] == fits[0].inertia_


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_a_histogram_of_integers_gives_the_clusters_of_the_rows(dtype: Any) -> None:
    rows = rows_of(dtype, channels=4) // 8
    start = start_of(rows, 7)
    counted = KMeans(7, init=start, tol=0).fit(rows)
    floats = KMeans(7, init=start, tol=0).fit(rows.astype(np.float64))
    np.testing.assert_allclose(counted.cluster_centers_, floats.cluster_centers_, rtol=1e-12)
    assert counted.inertia_ == pytest.approx(floats.inertia_, rel=1e-12)
    np.testing.assert_array_equal(counted.labels_, floats.labels_)


@pytest.mark.usefixtures("small_tasks")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_rounds_over_chunks_never_change_a_bit(dtype: Any, init: str, weighted: bool) -> None:
    rows = rows_of(dtype, n=20_000, channels=16)
    weights = np.random.default_rng(4).random(len(rows)) if weighted else None
    fits = [
        KMeans(9, init=init, n_init=3, random_state=5).fit(
            da.from_array(rows, chunks=(size, 16)), sample_weight=weights
        )
        for size in (20_000, 19_000, 7001)
    ]
    assert same_fit(fits[0], fits[1])
    assert same_fit(fits[0], fits[2])
    theirs = sklearn.cluster.KMeans(9, n_init=3, random_state=0)
    theirs.fit(rows.astype(np.float64), sample_weight=weights)
    if init == "k-means++":
        assert fits[0].inertia_ < 1.05 * theirs.inertia_


def test_k_means_parallel_finds_clusters_that_lie_apart() -> None:
    rows = np.concatenate([np.random.default_rng(0).normal(c, 0.01, (900, 2)) for c in range(20)])
    kmeans_dask.estimator.fit_arrays.ONE_TASK, before = (
        100,
        kmeans_dask.estimator.fit_arrays.ONE_TASK,
    )
    try:
        model = KMeans(20, random_state=0).fit(da.from_array(rows, chunks=(5000, 2)))
    finally:
        kmeans_dask.estimator.fit_arrays.ONE_TASK = before
    assert sorted(np.rint(model.cluster_centers_[:, 0]).tolist()) == list(range(20))


@pytest.fixture(scope="module", params=[1, 2])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=request.param,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster, set_as_default=False) as connected,
    ):
        yield connected


def on_cluster(client: Client, model: KMeans, rows: NDArray[Any], size: int) -> KMeans:
    with client.as_current():
        model.fit(da.from_array(rows, chunks=(size, rows.shape[1])))
        model.labels_ = np.asarray(model.labels_)
    return model


def here(model: KMeans, rows: NDArray[Any]) -> KMeans:
    fresh: KMeans = clone(model)
    return fresh.fit(da.from_array(rows, chunks=rows.shape))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_workers_give_the_bits_of_threads(client: Client, dtype: Any) -> None:
    model = KMeans(9, n_init=2, random_state=5)
    rows = rows_of(dtype, n=6000)
    assert same_fit(on_cluster(client, model, rows, 900), here(model, rows))


@pytest.mark.usefixtures("small_tasks")
def test_rounds_on_workers_give_the_bits_of_threads_and_say_what_they_do(client: Client) -> None:
    model = KMeans(9, random_state=5)
    rows = rows_of(np.float32, n=50_000, channels=5)
    assert same_fit(on_cluster(client, model, rows, 17_000), here(model, rows))

    def look(dask_scheduler: Any) -> tuple[set[str], list[dict[str, Any]]]:
        topics = [t for t in dask_scheduler._broker._topics if t.startswith("kmeans-dask-")]
        events = [event for topic in topics for _, event in dask_scheduler.get_events(topic)]
        return set(dask_scheduler.task_prefixes), events

    prefixes, events = client.run_on_scheduler(look)
    assert prefixes >= {"describe", "build-points", "assign", "partial-sums", "merge-partials"}
    assert events
    assert events[0].keys() >= {"start", "number", "inertia", "shift", "seconds"}


@pytest.mark.usefixtures("small_tasks")
def test_a_worker_that_dies_changes_nothing() -> None:
    rows = rows_of(np.float32, n=60_000, channels=5)
    model = KMeans(40, random_state=5, tol=0, max_iter=60)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as connected,
    ):
        pids = list(connected.run(os.getpid).values())
        kill = threading.Timer(1.5, os.kill, (pids[0], signal.SIGKILL))
        kill.start()
        found = on_cluster(connected, model, rows, 20_000)
        kill.cancel()
        until = time.monotonic() + 600  # the nanny starts another worker in its place
        while len(connected.scheduler_info()["workers"]) < 2 and time.monotonic() < until:
            time.sleep(0.1)
    assert same_fit(found, here(model, rows))


def test_zarr_arrays_are_fitted_like_dask_arrays(tmp_path: Path) -> None:
    rows = rows_of(np.uint8)
    stored = zarr.create_array(tmp_path / "rows.zarr", data=rows, chunks=(700, 3))
    model = KMeans(5, random_state=0).fit(stored)
    assert isinstance(model.labels_, da.Array)
    assert same_fit(model, KMeans(5, random_state=0).fit(da.from_array(rows)))
    np.testing.assert_array_equal(model.predict(stored).compute(), model.labels_.compute())


def test_it_works_in_a_pipeline_after_clone_and_pickle() -> None:
    rows = rows_of(np.float64)
    pipeline = make_pipeline(StandardScaler(), KMeans(4, random_state=0))
    labels = pipeline.fit_predict(rows)
    again = pickle.loads(pickle.dumps(clone(pipeline).fit(rows)))
    np.testing.assert_array_equal(again.predict(rows), labels)


def test_the_best_of_several_starts_is_kept() -> None:
    rows = rows_of(np.float64, n=500)
    single, several = [], []
    for seed in range(5):
        one = KMeans(9, init="random", random_state=seed).fit(rows)
        best = KMeans(9, init="random", random_state=seed, n_init=8).fit(rows)
        assert best.inertia_ <= one.inertia_  # whose start is the first of its eight
        single.append(one.inertia_)
        several.append(best.inertia_)
    assert sum(several) < sum(single)
    assert best.inertia_ == best.inertia_history_[-1]
    np.testing.assert_array_equal(best.labels_, plain_labels(rows, best.cluster_centers_))
    state = np.random.RandomState(7)
    first, second = (KMeans(9, random_state=state).fit(rows) for _ in range(2))
    assert not np.array_equal(first.cluster_centers_, second.cluster_centers_)
    assert np.isfinite(KMeans(9).fit(rows).inertia_)


def test_starts_may_be_arrays_or_callables() -> None:
    rows = rows_of(np.float32)

    def first_rows(given: Any, k: int, random_state: Any) -> Any:
        assert isinstance(random_state, np.random.RandomState)
        return np.asarray(given[:k])

    called = KMeans(6, init=first_rows).fit(rows)
    assert same_fit(called, KMeans(6, init=rows[:6].tolist()).fit(rows))
    with pytest.warns(RuntimeWarning, match="only one init"):
        KMeans(6, init=rows[:6], n_init=3).fit(rows)


@pytest.mark.parametrize("dtype", [np.bool_, np.float16, np.longdouble, np.int8])
def test_other_numbers_are_taken_as_well(dtype: Any) -> None:
    rows = rows_of(np.uint8)
    rows = (rows > 100 if dtype is np.bool_ else rows // 4).astype(dtype)
    wide = rows.astype(np.float64)
    start = start_of(wide, 3)
    for taken in (rows, da.from_array(rows, chunks=(1000, 3))):
        model = KMeans(3, init=start, tol=0).fit(taken)
        expected = KMeans(3, init=start, tol=0).fit(wide)
        np.testing.assert_allclose(model.cluster_centers_, expected.cluster_centers_, rtol=1e-9)


def test_integers_beyond_32_bits_are_taken_as_floating_point() -> None:
    rows = rows_of(np.int64) * 2**40
    for taken in (rows, rows.astype(np.uint64) * 8, da.from_array(rows)):
        model = KMeans(9, random_state=0).fit(taken)
        assert np.isfinite(model.cluster_centers_).all()
        assert 0 < model.inertia_ < np.inf


def test_fewer_distinct_rows_than_clusters_give_a_warning() -> None:
    for dtype in (np.uint8, np.float64):
        rows = np.repeat(np.array([[1, 2, 3], [9, 9, 9]]), 30, axis=0).astype(dtype)
        with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(2\)"):
            model = KMeans(4, random_state=0).fit(rows)
        assert model.inertia_ == 0
        assert np.isfinite(model.cluster_centers_).all()


BAD = [
    ({}, np.array([[1.0, np.nan]] * 9), None, "contains NaN"),
    ({}, np.array([[1.0, np.inf]] * 9), None, "contains infinity"),
    ({}, np.zeros(9), None, "Expected 2D array"),
    ({}, np.zeros((3, 2)), None, r"n_samples=3 should be >= n_clusters=8\."),
    ({}, np.zeros((9, 65)), None, "at most 64"),
    ({}, np.zeros((9, 2), complex), None, "Complex data not supported"),
    ({}, np.array([["a", "b"]] * 9), None, "numeric"),
    ({}, np.zeros((9, 2)), np.arange(9) - 1.0, "Negative values"),
    ({}, np.zeros((9, 2)), np.arange(9) - 1, "Negative values"),
    ({}, np.zeros((9, 2)), np.ones(8), r"sample_weight\.shape == \(8,\), expected \(9,\)!"),
    ({}, np.zeros((9, 2)), np.zeros(9), "at least one non-zero"),
    ({"init": np.zeros((3, 2))}, np.zeros((9, 2)), None, "number of clusters 8"),
    ({"init": np.zeros((8, 3))}, np.zeros((9, 2)), None, "number of features of the data 2"),
    ({"init": "best"}, np.zeros((9, 2)), None, "'k-means\\+\\+' or 'random'"),
    ({"n_clusters": 0}, np.zeros((9, 2)), None, "n_clusters is 0"),
    ({"n_init": 1.5}, np.zeros((9, 2)), None, "n_init is 1.5"),
    ({"max_iter": 0}, np.zeros((9, 2)), None, "max_iter is 0"),
    ({"tol": -1}, np.zeros((9, 2)), None, "tol is -1"),
]


@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
@pytest.mark.parametrize(("options", "rows", "weights", "message"), BAD, ids=lambda b: str(b)[:30])
def test_bad_input_is_refused(
    options: dict[str, Any], rows: NDArray[Any], weights: Any, message: str, lazy: bool
) -> None:
    given = da.from_array(rows, chunks=4) if lazy else rows
    with pytest.raises(ValueError, match=message):
        KMeans(**options).fit(given, sample_weight=weights)


def test_bad_lazy_weights_and_chunks_are_refused() -> None:
    rows = da.from_array(rows_of(np.float64), chunks=1000)
    with pytest.raises(ValueError, match="unknown chunk sizes"):
        KMeans(2).fit(rows[rows[:, 0] > 100])
    with pytest.raises(ValueError, match=r"sample_weight\.shape"):
        KMeans(2).fit(rows, sample_weight=da.ones(5))
    with pytest.raises(ValueError, match="Negative values"):
        KMeans(2).fit(rows, sample_weight=-da.ones(3000))
    with pytest.raises(ValueError, match="at least one non-zero"):
        KMeans(2).fit(rows, sample_weight=da.zeros(3000))


# -- chunks as they are given: fit puts chunks of few rows together, which hides them ------------


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No chunks are put together."""
    monkeypatch.setattr("kmeans_dask.estimator.kmeans._FEW_ROWS", 1)


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many chunks each fit in rounds has had."""
    seen: list[int] = []
    whole = kmeans_dask.estimator.fit_arrays._fit_in_rounds

    def counted(chunks: Any, *others: Any) -> Any:
        seen.append(len(chunks))
        return whole(chunks, *others)

    monkeypatch.setattr(kmeans_dask.estimator.fit_arrays, "_fit_in_rounds", counted)
    return seen


def draw_rows(data: st.DataObject, rng: np.random.Generator) -> NDArray[Any]:
    n, channels = data.draw(st.integers(20, 400)), data.draw(st.sampled_from([1, 3, 5]))
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16, np.float32, np.float64]))
    kind = data.draw(st.sampled_from(["constant", "duplicates", "wide", "offset"]))
    if kind == "constant":
        return np.full((n, channels), 7, dtype)
    if kind == "duplicates":
        return rng.integers(0, 4, (n, channels)).astype(dtype)
    if kind == "wide":
        return rng.uniform(0, np.iinfo(np.uint16).max, (n, channels)).astype(dtype)
    return rng.normal(200 if np.dtype(dtype).kind == "u" else 1e6, 1, (n, channels)).astype(dtype)


@given(st.data())
@settings(deadline=None, max_examples=40)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_chunks_that_stay_apart_never_change_a_bit(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(SEEDS))
    rows = draw_rows(data, rng)
    n, channels = rows.shape
    k = data.draw(st.integers(1, 12))
    kinds: list[Any] = [None, rng.integers(0, 5, n), rng.random(n)]
    weights = data.draw(st.sampled_from(kinds))
    if weights is not None:
        weights[:k] = 1
    init = data.draw(st.sampled_from(["k-means++", "random", start_of(rows, k)]))
    in_rounds = data.draw(st.booleans())
    options = {"init": init, "random_state": 3, "max_iter": 20, "tol": 0}
    fits = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kmeans_dask.estimator.kmeans._FEW_ROWS", 1)
        if in_rounds:
            patch.setattr(kmeans_dask.estimator.fit_arrays, "ONE_TASK", 1)
        for size, width in ((n, channels), (data.draw(st.integers(1 + n // 30, n)), 1)):
            lazy = da.from_array(rows, chunks=(size, width))
            lazy_weights: Any = weights
            if weights is not None and width == 1:
                lazy_weights = da.from_array(weights, chunks=data.draw(st.integers(1, n)))
            fits.append(KMeans(k, **options).fit(lazy, sample_weight=lazy_weights))
        assert fits[0].score(lazy, sample_weight=lazy_weights) == -fits[0].inertia_
    assert same_fit(*fits)
    centers, history = fits[0].cluster_centers_, fits[0].inertia_history_
    np.testing.assert_array_equal(np.asarray(fits[0].labels_), plain_labels(rows, centers))
    assert (np.diff(history) <= 1e-12 * history[:-1]).all()
    assert fits[0].score(rows, sample_weight=weights) == -fits[0].inertia_
    if not (in_rounds and isinstance(init, str)):
        in_memory = KMeans(k, **options).fit(rows, sample_weight=weights)
        np.testing.assert_array_equal(in_memory.cluster_centers_, centers)
        np.testing.assert_array_equal(in_memory.inertia_history_, history)


@pytest.mark.usefixtures("small_tasks", "small_chunks")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_rounds_over_chunks_that_stay_apart_never_change_a_bit(
    rounds: list[int], dtype: Any, init: str, weighted: bool
) -> None:
    rows = rows_of(dtype, n=8000, channels=16)
    weights = np.random.default_rng(4).random(len(rows)) if weighted else None
    fits = [
        KMeans(9, init=init, n_init=3, random_state=5).fit(
            da.from_array(rows, chunks=(size, 5)), sample_weight=weights
        )
        for size in (8000, 7999, 401)
    ]
    assert rounds == [1, 2, 20]
    assert same_fit(fits[0], fits[1])
    assert same_fit(fits[0], fits[2])
    if init == "k-means++":
        theirs = sklearn.cluster.KMeans(9, n_init=3, random_state=0)
        theirs.fit(rows.astype(np.float64), sample_weight=weights)
        assert fits[0].inertia_ < 1.05 * theirs.inertia_


@pytest.mark.usefixtures("small_tasks", "small_chunks")
def test_k_means_parallel_over_chunks_finds_clusters_that_lie_apart(rounds: list[int]) -> None:
    rows = np.concatenate([np.random.default_rng(0).normal(c, 0.01, (300, 2)) for c in range(20)])
    model = KMeans(20, random_state=0).fit(da.from_array(rows, chunks=(700, 2)))
    assert rounds == [9]
    assert sorted(np.rint(model.cluster_centers_[:, 0]).tolist()) == list(range(20))


# -- real workers --------------------------------------------------------------------------------

EventsByTopic = dict[str, list[tuple[float, dict[str, Any]]]]


def heard_by(client: Client) -> EventsByTopic:
    """What the engines of this client have said, with the time of each event."""

    def look(dask_scheduler: Any) -> EventsByTopic:
        topics = dask_scheduler.get_events().items()
        return {t: list(events) for t, events in topics if t.startswith("kmeans-dask-")}

    found: EventsByTopic = client.run_on_scheduler(look)
    return found


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_many_chunks_on_workers_give_the_bits_of_one_on_threads(
    client: Client, dtype: Any, weighted: bool
) -> None:
    rows = rows_of(dtype, n=2000) // 8
    weights = np.random.default_rng(4).integers(0, 4, len(rows)) if weighted else None
    with client.as_current():
        lazy = da.from_array(rows, chunks=(170, 2))
        found = KMeans(9, random_state=5).fit(lazy, sample_weight=weights)
        found.labels_ = np.asarray(found.labels_)
        assert found.score(lazy, sample_weight=weights) == -found.inertia_
    one = da.from_array(rows, chunks=rows.shape)
    assert same_fit(found, KMeans(9, random_state=5).fit(one, sample_weight=weights))


@pytest.mark.usefixtures("small_chunks", "small_tasks")
def test_weighted_rounds_on_workers_give_the_bits_of_threads(client: Client) -> None:
    rows = rows_of(np.float64, n=2000, channels=5)
    weights = np.random.default_rng(4).random(len(rows))
    with client.as_current():
        lazy = da.from_array(rows, chunks=(700, 5))
        found = KMeans(5, random_state=5, max_iter=8).fit(lazy, sample_weight=weights)
        found.labels_ = np.asarray(found.labels_)
    one = da.from_array(rows, chunks=rows.shape)
    assert same_fit(found, KMeans(5, random_state=5, max_iter=8).fit(one, sample_weight=weights))


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("one_task", [1, 1 << 22])
def test_each_iteration_is_told_and_tasks_bear_the_names_of_the_steps(
    client: Client, monkeypatch: pytest.MonkeyPatch, one_task: int
) -> None:
    monkeypatch.setattr(kmeans_dask.estimator.fit_arrays, "ONE_TASK", one_task)
    before = set(heard_by(client))
    rows = rows_of(np.float64, n=900)
    model = KMeans(5, init=start_of(rows, 5), tol=0, max_iter=6)
    on_cluster(client, model, rows, 400)
    until = time.monotonic() + 600
    told: list[dict[str, Any]] = []
    while len(told) < model.n_iter_ and time.monotonic() < until:
        new = [events for topic, events in heard_by(client).items() if topic not in before]
        told = [event for events in new for _, event in events]
    assert [event["number"] for event in told] == list(range(1, model.n_iter_ + 1))
    assert [event["inertia"] for event in told] == model.inertia_history_[:-1].tolist()
    assert all(event["shift"] >= 0 and event["seconds"] >= 0 for event in told)
    names = {"partial-sums", "merge-partials", "assign"} if one_task == 1 else {"fit"}

    def prefixes(dask_scheduler: Any) -> set[str]:
        return set(dask_scheduler.task_prefixes)

    assert client.run_on_scheduler(prefixes) >= names | {"describe", "build-points"}


def test_bad_values_on_workers_are_refused_in_scikit_learns_words(client: Client) -> None:
    rows = rows_of(np.float64, n=100)
    rows[77, 1] = np.nan
    with client.as_current(), pytest.raises(ValueError, match="Input X contains NaN"):
        KMeans(2).fit(da.from_array(rows, chunks=(30, 3)))


@pytest.mark.usefixtures("small_tasks", "small_chunks")
def test_a_worker_killed_between_iterations_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = rows_of(np.float32, n=6000, channels=5)
    model = KMeans(20, init=start_of(rows, 20), tol=0, max_iter=40)
    killed: list[float] = []
    told, tell = itertools.count(1), _Scheduled.emit
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as connected,
    ):
        victim = next(iter(connected.run(os.getpid).values()))

        def tell_and_kill(engine: _Scheduled, event: dict[str, Any]) -> None:
            tell(engine, event)
            if next(told) == 3:
                killed.append(time.time())
                os.kill(victim, signal.SIGKILL)

        monkeypatch.setattr(_Scheduled, "emit", tell_and_kill)
        found = on_cluster(connected, model, rows, 1500)
        times = [at for events in heard_by(connected).values() for at, _ in events]
        until = time.monotonic() + 600  # the nanny starts another worker in its place
        while len(connected.scheduler_info()["workers"]) < 2 and time.monotonic() < until:
            time.sleep(0.1)
    assert min(times) < killed[0] < max(times)
    assert same_fit(found, here(model, rows))


# -- weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TYPES)
def test_a_weight_is_as_many_equal_rows(dtype: Any) -> None:
    rows = rows_of(dtype, n=500)
    times = np.random.default_rng(3).integers(1, 5, len(rows))
    model = KMeans(6, init=start_of(rows, 6), tol=0)
    weighted = clone(model).fit(rows, sample_weight=times)
    repeated = clone(model).fit(np.repeat(rows, times, axis=0))
    np.testing.assert_allclose(
        weighted.cluster_centers_, repeated.cluster_centers_, rtol=1e-12, atol=1e-12
    )
    assert weighted.inertia_ == pytest.approx(repeated.inertia_, rel=1e-12)
    np.testing.assert_array_equal(np.repeat(weighted.labels_, times), repeated.labels_)


def test_a_weighted_photograph_is_clustered_as_scikit_learn_does() -> None:
    pixels = np.asarray(photograph("chelsea.png", (150, 100))).reshape(-1, 3)
    weights = np.random.default_rng(0).random(len(pixels))
    start = start_of(pixels, 16)
    model = KMeans(16, init=start, tol=0, max_iter=25).fit(pixels, sample_weight=weights)
    theirs = sklearn.cluster.KMeans(16, init=start, n_init=1, tol=0, max_iter=25)
    theirs.fit(pixels.astype(np.float64), sample_weight=weights)
    np.testing.assert_allclose(model.cluster_centers_, theirs.cluster_centers_, atol=1e-6 * 255)
    np.testing.assert_array_equal(model.labels_, theirs.labels_)


@pytest.mark.parametrize("weight_type", [np.int64, np.float64])
@pytest.mark.parametrize("dtype", TYPES)
def test_rows_without_weight_are_labelled_as_the_plain_loop_does(
    dtype: Any, weight_type: Any
) -> None:
    rows = np.array([[0, 0, 0], [10, 10, 10], [200, 200, 200], [250, 250, 250]], dtype)
    weights = np.array([1, 1, 1, 0], weight_type)
    model = KMeans(2, init=rows[[0, 2]]).fit(rows, sample_weight=weights)
    assert model.labels_.tolist() == [0, 0, 1, 1]
    assert model.predict(rows).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
@pytest.mark.parametrize("one_task", [1, 1 << 22])
@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fewer_rows_with_weight_than_clusters_still_give_all_centers(
    monkeypatch: pytest.MonkeyPatch, init: str, one_task: int, lazy: bool
) -> None:
    monkeypatch.setattr(kmeans_dask.estimator.fit_arrays, "ONE_TASK", one_task)
    rows = np.arange(12.0).reshape(6, 2)
    given = da.from_array(rows) if lazy else rows
    weights = np.array([1.0, 1, 0, 0, 0, 0])
    model = KMeans(4, init=init, random_state=0).fit(given, sample_weight=weights)
    assert model.cluster_centers_.shape == (4, 2)
    assert np.isfinite(model.cluster_centers_).all()
    assert model.inertia_ == 0


def test_lazy_weights_and_weights_in_zarr_are_weights() -> None:
    rows = rows_of(np.float32, n=300)
    weights = np.random.default_rng(0).random(300)
    model = KMeans(4, random_state=0)
    expected = clone(model).fit(rows, sample_weight=weights)
    for lazy in (da.from_array(weights, chunks=70), zarr.array(weights, chunks=70)):
        assert same_fit(clone(model).fit(rows, sample_weight=lazy), expected)
        assert same_fit(clone(model).fit(da.from_array(rows), sample_weight=lazy), expected)


# -- forms of input ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [">f8", ">f4", ">i4", ">u2"])
@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
def test_the_order_of_bytes_does_not_matter(dtype: str, lazy: bool) -> None:
    rows = rows_of(dtype, n=300)
    native = rows.astype(rows.dtype.newbyteorder("="))
    given = da.from_array(rows, chunks=100) if lazy else rows
    model = KMeans(4, random_state=0)
    assert same_fit(clone(model).fit(given), clone(model).fit(native))


def test_the_layout_in_memory_does_not_matter_and_input_is_left_alone() -> None:
    rows = rows_of(np.float64, n=300)
    expected = KMeans(4, random_state=0).fit(rows)
    read_only = rows.copy()
    read_only.flags.writeable = False
    strided = np.repeat(rows, 2, axis=0)[::2]
    for same in (np.asfortranarray(rows), strided, read_only, rows.tolist()):
        assert same_fit(KMeans(4, random_state=0).fit(same), expected)
    np.testing.assert_array_equal(rows, read_only)


def test_arrays_in_zarrs_memory_are_fitted_chunk_by_chunk(small_chunks: None) -> None:
    rows = rows_of(np.float64, n=700)
    stored = zarr.array(rows, chunks=(150, 2))
    model = KMeans(5, random_state=0).fit(stored)
    assert isinstance(model.labels_, da.Array)
    assert model.labels_.chunks == ((150, 150, 150, 150, 100),)
    assert model.labels_.dtype == np.int32
    assert same_fit(model, KMeans(5, random_state=0).fit(da.from_array(rows, chunks=(150, 2))))


def test_names_of_features_are_kept() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows_of(np.float64), columns=["red", "green", "blue"])
    assert KMeans(2).fit(frame).feature_names_in_.tolist() == ["red", "green", "blue"]


def test_a_random_state_is_its_seed() -> None:
    rows = rows_of(np.float64, n=300)
    seeded = KMeans(9, random_state=7).fit(rows)
    assert same_fit(seeded, KMeans(9, random_state=7).fit(rows))
    assert same_fit(seeded, KMeans(9, random_state=np.random.RandomState(7)).fit(rows))


# -- refused before anything is computed ---------------------------------------------------------


def untouchable(shape: tuple[int, ...], dtype: Any = np.float64) -> da.Array:
    def refuse(block: NDArray[Any]) -> NDArray[Any]:
        raise AssertionError("this has been computed")

    zeros = da.zeros(shape, dtype=dtype, chunks=4)
    meta = np.empty((0,) * len(shape), dtype)
    lazy: da.Array = da.map_blocks(refuse, zeros, dtype=dtype, meta=meta)
    return lazy


@pytest.mark.parametrize(
    ("options", "rows", "weights", "message"),
    [
        ({"init": "best"}, untouchable((9, 2)), None, "'k-means\\+\\+' or 'random'"),
        ({"n_clusters": 0}, untouchable((9, 2)), None, "n_clusters is 0"),
        ({"tol": -1}, untouchable((9, 2)), None, "tol is -1"),
        ({"init": np.zeros((3, 2))}, untouchable((9, 2)), None, "does not match the number of clu"),
        ({"init": np.zeros((8, 3))}, untouchable((9, 2)), None, "does not match the number of\\s"),
        ({"init": np.full((8, 2), np.nan)}, untouchable((9, 2)), None, "Input init contains NaN"),
        ({"random_state": "x"}, untouchable((9, 2)), None, "cannot be used to seed"),
        ({}, untouchable((3, 2)), None, r"n_samples=3 should be >= n_clusters=8\."),
        ({}, untouchable((9,)), None, "Expected 2D array"),
        ({}, untouchable((0, 2)), None, r"0 sample\(s\)"),
        ({}, untouchable((9, 65)), None, "at most 64"),
        ({}, untouchable((9, 2), complex), None, "Complex data not supported"),
        ({}, untouchable((9, 2), "U1"), None, "not numeric"),
        ({}, untouchable((9, 2)), np.arange(9) - 1.0, "Negative values"),
        ({}, untouchable((9, 2)), np.full(9, np.nan), "Input sample_weight contains NaN"),
        ({}, untouchable((9, 2)), np.zeros(9), "at least one non-zero"),
        ({}, untouchable((9, 2)), np.ones((9, 1)), "1D array or scalar"),
        ({}, untouchable((9, 2)), untouchable((8,)), r"sample_weight\.shape == \(8,\)"),
    ],
    ids=lambda part: str(part)[:30],
)
def test_bad_lazy_input_is_refused_before_it_is_computed(
    options: dict[str, Any], rows: da.Array, weights: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        KMeans(**options).fit(rows, sample_weight=weights)


def test_labels_of_lazy_arrays_are_not_computed_until_asked_for() -> None:
    model = KMeans(2, random_state=0).fit(rows_of(np.float64))
    labels, distances = model.predict(untouchable((9, 3))), model.transform(untouchable((9, 3)))
    assert (labels.shape, labels.dtype) == ((9,), np.int32)
    assert (distances.shape, distances.dtype) == ((9, 2), np.float64)
    with pytest.raises(ValueError, match="X has 2 features"):
        model.predict(untouchable((9, 2)))


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e30, 1e140])
def test_points_and_weights_of_any_size_are_clustered_alike(scale: float) -> None:
    rows = rows_of(np.float64, n=400, channels=2)
    model = KMeans(5, init=start_of(rows, 5), tol=0)
    centers = model.fit(rows).cluster_centers_
    scaled = KMeans(5, init=start_of(rows, 5) * scale, tol=0).fit(rows * scale)
    np.testing.assert_allclose(scaled.cluster_centers_, centers * scale, rtol=1e-9)
    weighted = clone(model).fit(rows, sample_weight=np.full(len(rows), scale))
    np.testing.assert_allclose(weighted.cluster_centers_, centers, rtol=1e-9)
    assert weighted.inertia_ == pytest.approx(model.inertia_ * scale, rel=1e-9)


@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
def test_points_whose_squares_are_beyond_floats_are_refused(lazy: bool) -> None:
    rows = rows_of(np.float64, n=100) * 1e200
    with pytest.raises(ValueError, match="beyond float64: scale it"):
        KMeans(2).fit(da.from_array(rows, chunks=(50, 3)) if lazy else rows)
