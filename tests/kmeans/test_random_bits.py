from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.kmeans.random_bits import Random
from tests.kmeans.strategies import SEEDS


@given(SEEDS, st.integers(1, 2**64 - 1))
@settings(deadline=None, max_examples=100)
def test_integers_are_in_range(seed: int, n: int) -> None:
    random = Random(seed)
    for _ in range(20):
        assert 0 <= random.below(n) < n


@given(SEEDS)
@settings(deadline=None, max_examples=30)
def test_below_one_is_zero(seed: int) -> None:
    assert Random(seed).below(1) == 0


# If these change, numpy's raw bits have, and every palette that was ever fitted with them.
@pytest.mark.parametrize(
    ("seed", "n", "expected"),
    [
        (0, 1000, [636, 40, 813, 606, 543, 815]),
        (42, 10**9, [773956048, 858597919, 94177347, 761139701]),
        (2**32 - 1, 2**64 - 1, [4647538520743280030, 5299467714154781845]),
    ],
)
def test_a_seed_gives_the_same_integers_for_ever(seed: int, n: int, expected: list[int]) -> None:
    random = Random(seed)
    assert [random.below(n) for _ in expected] == expected


def test_the_same_seed_gives_the_same_and_another_seed_another() -> None:
    def some(seed: int) -> list[int]:
        random = Random(seed)
        return [random.below(10**6) for _ in range(50)]

    assert some(5) == some(5)
    assert some(5) != some(6)


def test_all_values_come_about_equally_often() -> None:
    random = Random(3)
    times = np.bincount([random.below(7) for _ in range(7000)], minlength=7)
    assert len(times) == 7
    assert times.min() > 850
    assert times.max() < 1150
