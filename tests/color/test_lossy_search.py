from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmeans_dask.color.lossy_search import Weighted, find_weight, refine

Image = tuple[float, int]


def choose(weight: float, effort: int) -> Image:
    return weight, effort


@given(st.floats(0.25, 8000))
def test_the_largest_weight_that_reaches_the_target_is_found(most: float) -> None:
    found = find_weight(choose, lambda image: image[0] <= most)
    assert found
    weight, effort = found.image
    assert weight <= most < weight * 2 ** (1 / 4) or weight > 6000
    assert effort == 0


def test_no_weight_is_found_where_none_reaches_the_target() -> None:
    assert find_weight(choose, lambda image: False) is None


@pytest.mark.parametrize(("most", "steps_down"), [(100.0, 0), (15.0, 1), (9.6, 3)])
def test_smaller_weights_are_tried_where_all_passes_miss(most: float, steps_down: int) -> None:
    found = Weighted(choose(16.0, 0), 16)
    weight, effort = refine(found, choose, lambda image: image[0] <= most, 6)
    assert weight == 2 ** ((16 - steps_down) / 4)
    assert effort == 6


def test_the_quick_image_stays_where_all_passes_miss_with_every_weight() -> None:
    found = Weighted(choose(16.0, 0), 16)
    assert refine(found, choose, lambda image: False, 6) == found.image
