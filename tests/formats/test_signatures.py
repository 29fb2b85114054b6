from __future__ import annotations

import io
from pathlib import PurePosixPath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from kmeans_dask.formats import signatures
from kmeans_dask.formats.signatures import (
    FORMATS,
    HEAD,
    NAMES,
    is_called_image,
    is_called_raw,
    other_image,
    sniff,
)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_format_is_told_by_its_first_bytes(kind: str) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (2, 2)).save(stream, kind)
    assert sniff(stream.getvalue()[:HEAD]) == kind
    assert NAMES[kind].startswith(("a ", "an "))


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"P5\n# a comment\n2 2 255\n", "PPM"),
        (b"P1\n2 2\n0 1 1 0", "PPM"),
        (b"P4 8 1\n\0", "PPM"),
        (b"Pf\n1 1\n-1.0\n", "PPM"),
        (b"P7\nWIDTH 1\n", "PPM"),
        (b"II+\0\x08\0\0\0", "TIFF"),
        (b"MM\0+\0\x08\0\0", "TIFF"),
        (b"\xff\x4f\xff\x51", "JPEG2000"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"P1 is the first priority", None),
        (b"P3 and P4 are others", None),
        (b"Py is short for Python", None),
        (b"P6", None),
        (b"BM is no bitmap, it is a text", None),
        (b"RIFF\0\0\0\0WAVEfmt ", None),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", None),
        (b"", None),
    ],
)
def test_a_format_is_not_mistaken_for_another(head: bytes, kind: str | None) -> None:
    assert sniff(head) == kind


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"8BPS\0\1", "a Photoshop document"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image"),
        (b"\xff\x0a\0", "a JPEG XL image"),
        (b"\0\0\1\0\1\0", "an icon (ICO)"),
        (b"plain text", None),
    ],
)
def test_images_that_are_not_read_are_named(head: bytes, name: str | None) -> None:
    assert sniff(head) is None
    assert other_image(head) == name


@given(st.binary(max_size=HEAD))
def test_any_bytes_have_one_format_or_none(head: bytes) -> None:
    assert sniff(head) in (*FORMATS, None)


@given(st.text(st.sampled_from("aB./ "), max_size=8))
def test_a_suffix_is_that_of_pathlib(name: str) -> None:
    assume(not name.endswith("/"))
    assume(name.rpartition("/")[2] not in ("", ".", ".."))
    assert signatures._suffix(name) == PurePosixPath(name).suffix.lower()


def test_names_say_what_a_file_is_called() -> None:
    assert is_called_image("a/b.TIFF")
    assert not is_called_image("a.png/b")
    assert is_called_raw("a.CR2")
    assert not is_called_raw("a.tif")
