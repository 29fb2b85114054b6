from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_dask.errors import ImageError
from kmeans_dask.formats.tiff import Layout, read_layout
from tests.formats.matrix import pixels_of, ramps
from tests.formats.tiff_files import BLACK_IS_ZERO, PALETTE, RGB, Tiff, pages

GREY = Tiff(values=ramps(1, 8))


def layout_of(tiff: Tiff) -> Layout:
    return read_layout(io.BytesIO(tiff.encode()))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_layout_is_read_of_either_end_and_width(order: str, big: bool) -> None:
    tiff = Tiff(
        values=ramps(4, 16), bits=16, photometric=RGB, extra=(1,), planar=True, order=order,
        big=big, tags=((274, 3, (6,)), (34675, 7, tuple(b"profile"))),
    )  # fmt: skip
    layout = layout_of(tiff)
    assert (layout.width, layout.height, layout.bits) == (37, 20, (16,) * 4)
    assert (layout.photometric, layout.planar, layout.extra) == (RGB, True, (1,))
    assert (layout.orientation, layout.profile, layout.pages) == (6, b"profile", 1)
    assert layout.refusal() is None
    assert layout.alpha_at == 0


@pytest.mark.parametrize(
    ("extra", "alpha_at"),
    [((), None), ((0,), 0), ((1,), 0), ((2,), 0), ((0, 2), 1), ((2, 0), 0), ((0, 0), None)],
)
def test_alpha_is_found(extra: tuple[int, ...], alpha_at: int | None) -> None:
    tiff = Tiff(values=ramps(3 + len(extra), 8), photometric=RGB, extra=extra)
    assert layout_of(tiff).alpha_at == alpha_at


def test_a_fourth_sample_of_nothing_but_zeros_is_no_alpha(tmp_path: Path) -> None:
    values = np.dstack([ramps(3, 8), np.zeros((20, 37))]).astype(np.uint8)
    (tmp_path / "image").write_bytes(Tiff(values=values, photometric=RGB, extra=(0,)).encode())
    found = pixels_of(tmp_path / "image")
    assert (found[..., 3] == 255).all()
    np.testing.assert_array_equal(found[..., :3], values[..., :3])


def test_palettes_of_small_entries_are_told() -> None:
    small, large = np.full((256, 3), 255), np.full((256, 3), 256)
    tiff = replace(GREY, photometric=PALETTE)
    assert layout_of(replace(tiff, palette=small)).low_palette
    assert not layout_of(replace(tiff, palette=large)).low_palette
    assert not layout_of(GREY).low_palette


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"ImageJ=1.53\nmin=10.0\nmax=4095.0\n", (10, 4095)),
        (b"ImageJ=1.53\nmax=255\n", (0, 255)),
        (b"ImageJ=1.53\nmin=5\nmax=5\n", None),
        (b"ImageJ=1.53\nmin=-5\nmax=70000\n", None),
        (b"ImageJ=1.53\nmax=" + b"9" * 5000, None),
        (b"min=10\nmax=20\n", None),
        (b"", None),
    ],
)
def test_the_displayed_range_of_imagej_is_read(text: bytes, shown: tuple[int, int] | None) -> None:
    tags = ((270, 7, tuple(text)),) if text else ()
    assert layout_of(replace(GREY, tags=tags)).shown == shown


def test_sample_values_of_tags_are_shown() -> None:
    assert layout_of(replace(GREY, tags=((340, 3, (9,)), (341, 3, (99,))))).shown == (9, 99)
    assert layout_of(replace(GREY, tags=((341, 3, (0,)),))).shown is None


def test_a_chain_of_pages_that_bites_its_tail_has_an_end() -> None:
    data = bytearray(pages(GREY, GREY))
    last = len(data) - 4
    data[last:] = data[4:8]  # the second page is followed by the first
    assert read_layout(io.BytesIO(bytes(data))).pages == 2


@pytest.mark.parametrize("tag", [256, 257, 258, 277])
def test_a_size_of_nothing_is_damage(tag: int) -> None:
    tiff = replace(GREY, tags=((tag, 3, (0,)),))
    with pytest.raises(ImageError, match="a TIFF that is damaged"):
        layout_of(tiff)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damaged_directories_are_layouts_or_refused(data: st.DataObject) -> None:
    content = bytearray(Tiff(values=ramps(1, 8, (4, 4)), photometric=BLACK_IS_ZERO).encode())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        layout = read_layout(io.BytesIO(bytes(content)))
    except ImageError as error:
        said = str(error)
    else:
        layout.refusal()
        assert layout.width > 0
        return
    assert said.startswith("a TIFF that is damaged")
