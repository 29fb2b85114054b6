"""Estimator `KMeans`, which follows scikit-learn's protocol, for NumPy, Dask and Zarr arrays."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable
from typing import Any, Self

import dask.array as da
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from kmeans_dask.engine import count_cores, current_engine, local_threads
from kmeans_dask.estimator.fit_arrays import (
    CHUNK_POINTS,
    ChunkedRows,
    FitRequest,
    fit_array,
    fit_chunked,
    inertia_array,
    inertia_chunked,
    sample_places,
)
from kmeans_dask.kmeans.labels import nearest_labels
from kmeans_dask.kmeans.lloyd import Fit
from kmeans_dask.kmeans.plain import plain_distances
from kmeans_dask.settings import INITS

Init = str | ArrayLike | Callable[..., ArrayLike]

_MAX_FEATURES = 64
_FEW_ROWS = 1 << 14  # rows of a chunk; chunks that have fewer on average are merged
_EXACT_WEIGHT = 1 << 53  # integer weights from here on are treated as floating-point numbers
_AT_ONCE = 1 << 16  # rows whose labels or distances one thread computes at a time


class KMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Exact k-means by Lloyd's algorithm, over NumPy, Dask and Zarr arrays.

    Arrays are (n_samples, n_features), of integers or floating-point numbers, with 1 to 64
    features. Dask arrays are fitted on the cluster of the current Dask client, or by threads;
    Zarr arrays are treated as Dask arrays. Integers are counted first where few rows are
    distinct. Labels are those of a plain loop, ties going to the lowest index, and the result
    is the same to the last bit for any chunking and any number of workers.

    Parameters
    ----------
    n_clusters: number of clusters
    init: "k-means++" (greedy, Arthur & Vassilvitskii 2007; k-means||, Bahmani et al. 2012, for a
        Dask array that no one worker should hold), "random" (rows, uniformly), an array
        (n_clusters, n_features), or a callable `(X, n_clusters, random_state=...) -> array`
    n_init: number of starts, of which the one with the lowest inertia is kept
    max_iter: largest number of iterations of one start
    tol: stop when the centers' squared shift is at most this part of the features' mean variance;
        with 0, stop at the fixed point
    random_state: an int, a RandomState, or None for another result each time

    Attributes
    ----------
    cluster_centers_: (n_clusters, n_features) float64
    labels_: (n_samples,) int32; for a Dask or Zarr array a Dask array that is not computed yet
    inertia_: sum of squared distances to the nearest center, times the weights
    inertia_history_: inertia at the start of each iteration, and at the end
    n_iter_, n_features_in_, feature_names_in_: as in scikit-learn

    Examples
    --------
    >>> points = np.array([[1, 2], [1, 4], [10, 2], [10, 4]], np.uint8)
    >>> KMeans(2, random_state=0).fit(points).cluster_centers_.tolist()
    [[1.0, 3.0], [10.0, 3.0]]

    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Init = "k-means++",
        n_init: int = 1,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: None = None, sample_weight: Any = None) -> Self:
        """Fit the centers to `X` (n_samples, n_features), with weights (n_samples,) or None.

        Raises ValueError, before any heavy work, for what cannot be clustered.
        """
        self._check_parameters()
        X = self._checked(X, reset=True)
        n_samples, n_features = X.shape
        if n_samples < self.n_clusters:
            raise ValueError(f"n_samples={n_samples} should be >= n_clusters={self.n_clusters}.")
        weights = _checked_weights(sample_weight, X)
        wanted, labels = self._wanted(X), None
        if isinstance(X, da.Array):
            data, integers = _chunked(X, weights)
            with current_engine() as engine:
                found = fit_chunked(data, wanted, engine, weights_are_integers=integers)
        else:
            with local_threads() as engine:
                found, labels = fit_array(X, weights, wanted, engine)
        self._keep(found, n_features)
        self.labels_ = self._labels(X) if labels is None else labels
        return self

    def _keep(self, found: Fit, n_features: int) -> None:
        self.cluster_centers_ = found.centroids
        self.inertia_ = found.inertia
        self.inertia_history_ = np.array(found.history)
        self.n_iter_ = found.n_iter
        self._n_features_out = self.n_clusters
        distinct = len(np.unique(found.centroids[found.weights != 0], axis=0))
        if distinct < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({distinct}) found smaller than n_clusters "
                f"({self.n_clusters}). Possibly due to duplicate points in X.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def predict(self, X: Any) -> Any:
        """Return the index of the nearest center of each row, int32; lazy for a Dask array."""
        check_is_fitted(self)
        return self._labels(self._checked(X, reset=False))

    def fit_predict(self, X: Any, y: None = None, sample_weight: Any = None) -> Any:
        """Fit, and return `labels_`."""
        return self.fit(X, sample_weight=sample_weight).labels_

    def transform(self, X: Any) -> Any:
        """Return the distance of each row to each center, (n_samples, n_clusters).

        The result is lazy for a Dask array.
        """
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        centers = self.cluster_centers_
        if isinstance(X, da.Array):
            X = X.rechunk({1: -1})
            chunks = (X.chunks[0], (len(centers),))
            return X.map_blocks(_distances, centers, dtype=np.float64, chunks=chunks)
        return _distances(X, centers)

    def fit_transform(self, X: Any, y: None = None, sample_weight: Any = None) -> Any:
        """Fit, and return the distance of each row to each center, as `transform` does."""
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def score(self, X: Any, y: None = None, sample_weight: Any = None) -> float:
        """Return the negative inertia of `X`, so that more is better."""
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        weights = _checked_weights(sample_weight, X)
        if isinstance(X, da.Array):
            data, integers = _chunked(X, weights)
            with current_engine() as engine:
                return -inertia_chunked(
                    data, self.cluster_centers_, engine, weights_are_integers=integers
                )
        return -inertia_array(X, weights, self.cluster_centers_)

    def _labels(self, X: Any) -> Any:
        centers = self.cluster_centers_
        if isinstance(X, da.Array):
            X = X.rechunk({1: -1})
            return X.map_blocks(_labels_of, centers, dtype=np.int32, drop_axis=1)
        parts = max(1, min(count_cores(), len(X) // _AT_ONCE))
        if parts == 1:
            return _labels_of(X, centers)
        with local_threads() as engine:
            handles = [
                engine.submit("labels", _labels_of, part, centers)
                for part in np.array_split(X, parts)
            ]
            return np.concatenate([engine.result(handle) for handle in handles])

    def _checked(self, X: Any, *, reset: bool) -> Any:
        """Return `X` as a NumPy or Dask array of a supported dtype, and set or check features."""
        if type(X).__module__.partition(".")[0] == "zarr":
            X = da.from_zarr(X)
        if isinstance(X, da.Array):
            validate_data(self, X, reset=reset, skip_check_array=True)
            _check_lazy(X)
        else:
            X = validate_data(self, X, reset=reset, dtype="numeric")
        if X.shape[1] > _MAX_FEATURES:
            raise ValueError(f"X has {X.shape[1]} features; KMeans takes at most {_MAX_FEATURES}.")
        if X.dtype.kind not in "biuf":
            raise ValueError(f"dtype={X.dtype} is not numeric: convert X to numbers first.")
        if X.dtype.kind == "b":
            return X.astype(np.uint8)
        if X.dtype.kind == "f" and X.dtype.itemsize not in (4, 8):
            return X.astype(np.float32 if X.dtype.itemsize == 2 else np.float64)
        return X if X.dtype.isnative else X.astype(X.dtype.newbyteorder("="))

    def _check_parameters(self) -> None:
        for name, low in (("n_clusters", 1), ("n_init", 1), ("max_iter", 1)):
            value: Any = getattr(self, name)
            if not isinstance(value, numbers.Integral) or value < low:
                raise ValueError(f"{name} is {value!r}: it must be an integer of at least {low}.")
        tol: Any = self.tol
        if not isinstance(tol, numbers.Real) or not 0 <= float(tol) < np.inf:
            raise ValueError(f"tol is {tol!r}: it must be a number of at least 0.")
        if isinstance(self.init, str) and self.init not in INITS:
            names = " or ".join(map(repr, INITS))
            raise ValueError(f"init is {self.init!r}: it must be {names}, an array or a callable.")

    def _wanted(self, X: Any) -> FitRequest:
        random = check_random_state(self.random_state)
        init, n_init = self.init, int(self.n_init)
        k, n_features = int(self.n_clusters), X.shape[1]
        if isinstance(init, str):
            seeds = tuple(random.randint(np.iinfo(np.int32).max, size=n_init).tolist())
            return FitRequest(k, init, seeds, int(self.max_iter), float(self.tol))
        if n_init > 1:
            warnings.warn(
                "Explicit initial center position passed: performing only one init in KMeans "
                f"instead of n_init={n_init}.",
                RuntimeWarning,
                stacklevel=3,
            )
        if callable(init):
            init = init(X, k, random_state=random)
        centers = check_array(init, dtype=np.float64, input_name="init", copy=True, order="C")
        if centers.shape[0] != k:
            raise ValueError(
                f"The shape of the initial centers {centers.shape} does not match the number of "
                f"clusters {k}."
            )
        if centers.shape[1] != n_features:
            raise ValueError(
                f"The shape of the initial centers {centers.shape} does not match the number of "
                f"features of the data {n_features}."
            )
        return FitRequest(k, centers, (0,), int(self.max_iter), float(self.tol))


def _check_lazy(X: da.Array) -> None:
    """Raise ValueError for what scikit-learn rejects, as far as it is seen without computing."""
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D array instead: reshape your data with "
            "array.reshape(-1, 1) if it has a single feature."
        )
    if np.isnan(X.shape).any():
        raise ValueError("X has unknown chunk sizes: call X.compute_chunk_sizes() first.")
    for found, what in zip(X.shape, ("sample(s)", "feature(s)"), strict=True):
        if not found:
            raise ValueError(
                f"Found array with 0 {what} (shape={X.shape}) while a minimum of 1 is required "
                "by KMeans."
            )
    if X.dtype.kind == "c":
        raise ValueError(f"Complex data not supported\n{X.dtype}")


def _checked_weights(sample_weight: Any, X: Any) -> Any:
    """Return weights as an array (n,) of X's kind, or None where none are given.

    Integer weights stay integers. Raises ValueError for weights that cannot be used.
    """
    if sample_weight is None:
        return None
    if type(sample_weight).__module__.partition(".")[0] == "zarr":
        sample_weight = da.from_zarr(sample_weight)
    if isinstance(sample_weight, da.Array) and not isinstance(X, da.Array):
        sample_weight = sample_weight.compute()
    if isinstance(sample_weight, da.Array):
        if sample_weight.shape != X.shape[:1]:
            raise ValueError(
                f"sample_weight.shape == {sample_weight.shape}, expected {X.shape[:1]}!"
            )
        return sample_weight
    weights = np.asarray(sample_weight)
    whole = weights.dtype.kind in "biu" and weights.shape == X.shape[:1]
    if whole and int(weights.max()) < _EXACT_WEIGHT:
        if weights.min() < 0:
            raise ValueError("Negative values in data passed to `sample_weight`.")
        weights = weights.astype(np.int64)
    else:
        rows = np.empty((X.shape[0], 1))  # of X, only the length matters
        weights = _check_sample_weight(sample_weight, rows, dtype=float, ensure_non_negative=True)
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


def _chunked(X: da.Array, weights: Any) -> tuple[ChunkedRows, bool]:
    """Return `X` and weights in chunks of whole rows, and whether the weights are integers."""
    X = X.rechunk({1: -1})
    rows = X.chunks[0]
    mean = X.shape[0] / len(rows)
    if max(rows) > 2 * CHUNK_POINTS or (len(rows) > 1 and mean < _FEW_ROWS) or 0 in rows:
        X = X.rechunk({0: CHUNK_POINTS})
    lazy = None
    integers = True
    if weights is not None:
        weights = da.asarray(weights).rechunk((X.chunks[0],))
        integers = weights.dtype.kind in "biu"
        lazy = list(weights.to_delayed())
    blocks = list(X.to_delayed().ravel())
    samples = [X[place].rechunk(-1).to_delayed().item() for place in sample_places(X.shape[0])]
    sizes = tuple(map(int, X.chunks[0]))
    return ChunkedRows(blocks, lazy, samples, sizes, X.shape[1], X.dtype), integers


def _labels_of(rows: NDArray[Any], centers: NDArray[np.float64]) -> NDArray[np.int32]:
    if rows.dtype.kind in "iu" and rows.dtype != np.uint8:
        rows = rows.astype(np.float32 if rows.itemsize <= 2 else np.float64)
    return nearest_labels(np.ascontiguousarray(rows), centers)


def _distances(rows: NDArray[Any], centers: NDArray[np.float64]) -> NDArray[np.float64]:
    distances = np.empty((len(rows), len(centers)))
    for start in range(0, len(rows), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        np.sqrt(plain_distances(rows[some], centers), out=distances[some])
    return distances
