from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.color.palette import Palette
from kmeans_dask.job import gallery
from kmeans_dask.job.gallery import MAX_SHOWN, Gallery, ImageRow, cloud_of
from kmeans_dask.kmeans.histogram import count_colors

ROWS = st.lists(
    st.builds(
        ImageRow,
        st.uuids().map(str),
        st.just("a.png"),
        st.just("/a.jpg"),
        st.sampled_from(["compressed", "kept", "below target"]),
        st.integers(0, 10**6),
        st.integers(0, 10**6),
        st.none() | st.floats(0, 90),
        st.integers(0, 10**6),
        st.none() | st.floats(-200, 100),
    ),
    max_size=40,
)


@given(rows=ROWS, cut=st.integers(0, 40))
@settings(deadline=None)
def test_galleries_add_up_to_that_of_all_images_in_any_order(
    rows: list[ImageRow], cut: int
) -> None:
    parts = [Gallery.of(rows[cut:]), Gallery.of([]), Gallery.of(rows[:cut])]
    assert Gallery.total(parts) == Gallery.of(rows)
    assert Gallery.total(parts[::-1]) == Gallery.of(rows)


@given(rows=ROWS)
@settings(deadline=None)
def test_every_image_is_in_a_bin_and_few_are_shown(rows: list[ImageRow]) -> None:
    found = Gallery.of(rows)
    done = [row for row in rows if row.status == "compressed"]
    assert sum(found.ratios) == len(rows)
    assert sum(found.decibels) == sum(row.psnr is not None for row in done)
    assert len(found.worst) == min(MAX_SHOWN, len(done))
    assert all(row.status == "compressed" for row in found.worst + found.best)
    assert {row.quality for row in found.worst} <= set(
        sorted(row.quality for row in done)[:MAX_SHOWN]
    )
    json.dumps(found.as_dict(), allow_nan=False)


def test_beyond_a_limit_rows_are_only_counted(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(gallery, "MAX_ROWS", 3)
    rows = [ImageRow(f"{n}", "", "", "kept", 1, 1, None) for n in range(5)]
    found = Gallery.total([Gallery.of(rows[:4]), Gallery.of(rows[4:])])
    assert [row.name for row in found.rows] == ["0", "1", "2"]
    assert found.left_out == 2


def test_a_cloud_holds_colours_as_often_as_their_pixels() -> None:
    pixels = np.array([[0, 0, 0]] * 30 + [[255, 0, 0]] * 10, np.uint8)
    palette = Palette.of_colors(np.array([[1, 1, 1], [250, 9, 9]], np.uint8))
    cloud = cloud_of(count_colors(pixels), np.array([0, 1], np.uint8), palette, 20)
    assert cloud.count((0, 0, 0, 1, 1, 1)) == 15
    assert cloud.count((255, 0, 0, 250, 9, 9)) == 5
    few = cloud_of(count_colors(pixels[:3]), np.array([0], np.uint8), palette, 20)
    assert few == ((0, 0, 0, 1, 1, 1),) * 3
    assert cloud_of(count_colors(pixels), np.array([0, 1], np.uint8), palette, 0) == ()
    assert cloud_of(count_colors(pixels[:0]), np.zeros(0, np.uint8), palette, 9) == ()
