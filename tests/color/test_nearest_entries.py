"""A test of the search for nearest entries, which takes some colours at a time."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmeans_dask.color import remap
from kmeans_dask.color.palette import Palette
from kmeans_dask.color.remap import nearest_entries
from kmeans_dask.kmeans.histogram import ColorHistogram
from tests.steps.strategies import SPACES, palettes, plain_entries, tables


@pytest.mark.parametrize("together", [1, 7])
@given(histogram=tables(), palette=palettes(), space=st.sampled_from(SPACES))
@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_batch_size_gives_the_same_entries(
    together: int,
    histogram: ColorHistogram,
    palette: Palette,
    space: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remap, "_SEARCHED", together)
    found = nearest_entries(histogram, palette, space)
    expected = plain_entries(histogram.colors, histogram.alphas, palette, space)
    assert found.tolist() == expected.tolist()
