"""Tests of the input of a job: paths and patterns, one or several."""

from __future__ import annotations

from pathlib import Path

import pytest

import kmeans_dask as kd
from kmeans_dask.api.job_input import Input
from kmeans_dask.job.progress import Progress
from kmeans_dask.settings import DecodeSettings

DECODE = DecodeSettings()


def test_no_input_is_refused_in_one_line_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(kd.UsageError, match="no input is given") as caught:
        kd.compress([], tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_one_path_or_pattern_is_as_good_as_a_list_of_it(photos: Path) -> None:
    one = Input.of(photos, DECODE, include="*.png", exclude="cats")
    assert one == Input.of([photos], DECODE, include=["*.png"], exclude=["cats"])
    assert Input.of(str(photos), DECODE).paths == one.paths


def test_the_patterns_choose_the_images_of_the_plan(photos: Path) -> None:
    source = Input.of(photos, DECODE, include="*.png", exclude="astro*")
    with source.reading():
        plan = source.plan(Progress())
    assert [Path(each.path).name for each in plan.sources] == ["grey rocket.png"]
