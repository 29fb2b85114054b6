"""Tests of opening files: what is recognised, what is refused, and that no warnings are shown."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.errors import ImageError, NoImageError
from kmeans_dask.images.decode import decode
from kmeans_dask.images.header import read_header
from kmeans_dask.images.image_file import open_image_file
from kmeans_dask.images.open_image import open_image
from tests.images.files import saved, written
from tests.images.pixels import Pixels, pixels_of, refusal

SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>\n'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.png", b"line one\nline two\n"),
        ("drawing.svg", SVG),
        ("drawing.png", SVG),
        ("print.png", EPS),
        ("icon.ico", saved(Image.new("RGB", (16, 16)), "ICO")),
        ("image.png", b"\0"),
    ],
)
def test_what_is_no_image_in_a_named_format_is_refused(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = written(tmp_path, content, name)
    wanted = "not supported" if name.endswith(".ico") else "not an image"
    assert wanted in refusal(path)
    with pytest.raises(ImageError) as caught:
        read_header(path)
    # a file counts as an image that failed only where its name is that of an image
    assert isinstance(caught.value, NoImageError) == name.endswith(".svg")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert "empty" in refusal(written(tmp_path, b""))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "not a regular file"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert refusal(tmp_path / "pipe.png") == "not a regular file"
    with pytest.raises(ImageError):
        read_header(tmp_path / "pipe.png")


def test_a_link_to_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    assert refusal(tmp_path / "zero.png") == "not a regular file"


@pytest.mark.parametrize("name", ["missing.png", "no/such/folder.png", "x" * 300, "a\0b"])
def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path / name)


def test_the_suffix_of_the_name_does_not_matter(tmp_path: Path, photograph: Pixels) -> None:
    path = written(tmp_path, saved(Image.fromarray(photograph), "PNG"), "image.jpg")
    np.testing.assert_array_equal(pixels_of(decode(path)), photograph)


def test_what_one_thread_still_decodes_is_not_warned_of_when_another_is_done(
    tmp_path: Path,
) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        one, other = (open_image_file(tmp_path / "a.png", 99, open_image) for _ in range(2))
        one.__enter__()
        other.__enter__()
        one.__exit__(None, None, None)
        warnings.warn("of the other", UserWarning, stacklevel=1)
        other.__exit__(None, None, None)
        assert warnings.filters == before
        with pytest.raises(UserWarning, match="of nobody"):
            warnings.warn("of nobody", UserWarning, stacklevel=1)
