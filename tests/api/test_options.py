"""Tests that the options of a `Store` are those of the functions that they are passed to."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from distributed import Client

import kmeans_dask as kd
from kmeans_dask.api import options, store_jobs
from kmeans_dask.engine.choice import EngineChoice

# Names that the modules import for checks of types only.
FOR_CHECKS = {"Client": Client, "EngineChoice": EngineChoice}


@pytest.mark.parametrize(
    ("kind", "function", "of_its_own"),
    [
        (options.IngestOptions, store_jobs.ingest, set()),
        (options.FitOptions, store_jobs.fit, {"colors"}),
        (options.EncodeOptions, store_jobs.encode, set()),
        (options.TokenizeOptions, store_jobs.tokenize_fitted, set()),
        (options.VerifyOptions, store_jobs.verify, set()),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_options_are_the_keyword_parameters_of_the_function(
    kind: type, function: Callable[..., Any], of_its_own: set[str]
) -> None:
    names = {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    types = get_type_hints(function, localns=FOR_CHECKS)
    assert get_type_hints(kind, localns=FOR_CHECKS) == {
        name: types[name] for name in names - of_its_own
    }


def test_an_unknown_option_is_a_type_error(tmp_path: Path) -> None:
    """The comments are errors to mypy unless it reports these calls."""
    store = kd.Store(tmp_path)
    with pytest.raises(TypeError, match="colour_space"):
        store.fit(8, colour_space="oklab")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="workers_"):
        store.verify(workers_=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="colors"):
        kd.ingest("in", tmp_path / "out.zarr", colors=8)  # type: ignore[call-arg]
