"""Formats are those that are named, told by content: a name is no way around."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import pytest
from PIL import Image

from kmeans_dask.errors import ImageError
from kmeans_dask.images.decode import decode
from kmeans_dask.images.header import read_header
from tests.command import run, summary

MARKER = "was-run"


def by_pillow(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(file, kind)
    return file.getvalue()


def fits() -> bytes:
    cards = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 9", "NAXIS2  = 9", "END"]
    return "".join(card.ljust(80) for card in cards).ljust(2880).encode() + bytes(2880)


def fli() -> bytes:
    frame = struct.pack("<IHH", 16, 0xF1FA, 0) + bytes(8)
    return struct.pack("<IHHHHHH", 144, 0xAF11, 1, 9, 9, 8, 3).ljust(128, b"\0") + frame


def psd() -> bytes:
    return b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 9, 9, 8, 3) + bytes(14 + 3 * 81)


FILES = {
    "eps": by_pillow("EPS"),
    "pdf": by_pillow("PDF"),
    "ico": by_pillow("ICO"),
    "pcx": by_pillow("PCX"),
    "tga": by_pillow("TGA"),
    "dds": by_pillow("DDS"),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script/></svg>',
    "postscript": b"%!PS\n(%pipe%touch was-run) (w) file\n",
    "fits": fits(),
    "grib": b"GRIB\0\0\0\x01" + bytes(60),
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(60),
    "fli": fli(),
    "psd": psd(),
    "wmf": b"\xd7\xcd\xc6\x9a\0\0" + bytes(60),
    "script": b"#!/bin/sh\ntouch was-run\n",
}  # fmt: skip


@pytest.mark.parametrize("name", ["image.png", "image.jpg"])
@pytest.mark.parametrize("kind", FILES)
def test_a_format_that_is_not_named_is_refused_under_any_name(
    kind: str, name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[kind])
    for read in (read_header, decode):
        with pytest.raises(ImageError, match=r"not an image|is not supported"):
            read(path)


@pytest.mark.parametrize("kind", ["eps", "ico", "pcx", "tga", "dds", "fits", "fli", "psd"])
def test_these_are_files_that_pillow_would_open(kind: str) -> None:
    with Image.open(io.BytesIO(FILES[kind])) as image:
        assert image.size == (9, 9)


def test_nothing_is_run_for_an_eps_that_is_called_png(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow would run Ghostscript, `gs`, which runs what is in the file."""
    tools, folder = tmp_path / "bin", tmp_path / "in"
    for each in (tools, folder):
        each.mkdir()
    ghostscript = tools / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path / MARKER}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    (folder / "a.png").write_bytes(FILES["eps"])
    (folder / "b.png").write_bytes(by_pillow("PNG"))
    found = summary("compress", folder, tmp_path / "out", "--workers", "0", code=1)
    assert (found["compressed"] + found["kept"], found["failed"]) == (1, 1)
    assert not (tmp_path / MARKER).exists()
    run("compress", folder / "a.png", tmp_path / "out2", "--workers", "0", code=2)
    assert not (tmp_path / MARKER).exists()
    assert not (tmp_path / "out2").exists()


def test_that_tool_would_be_found_and_leave_its_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the test above could fail."""
    from PIL import EpsImagePlugin

    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path / MARKER}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    with Image.open(io.BytesIO(FILES["eps"])) as image, pytest.raises(OSError):  # noqa: PT011
        image.load()
    assert (tmp_path / MARKER).exists()
