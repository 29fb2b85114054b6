"""Small files that would be large in memory are refused before they are."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmeans_dask.errors import ImageError
from kmeans_dask.images import decode as decoding
from kmeans_dask.images import image_file
from kmeans_dask.images.decode import decode
from kmeans_dask.images.header import read_header
from tests.formats.bmp_files import Bmp
from tests.security.memory import peak_of

LIMIT = 256  # MiB, of which the imports take about a third
BOMB = 1 << 30  # bytes that are never to be had

READ = """
import sys
from pathlib import Path
from kmeans_dask.errors import ImageError
from kmeans_dask.images.decode import decode
from kmeans_dask.images.header import read_header
for read in (read_header, lambda path: decode(path, keep_metadata=True)):
    try:
        read(Path(sys.argv[1]))
        print("read")
    except ImageError as error:
        print("refused:", error)
"""


def saved(kind: str, size: tuple[int, int] = (2, 2)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, kind)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def deflated(size: int) -> bytes:
    """A stream of as many zeros, a thousandth of them long."""
    packer = zlib.compressobj(9)
    block = bytes(1 << 24)
    return b"".join(packer.compress(block) for _ in range(size >> 24)) + packer.flush()


def png_with(kind: bytes, head: bytes) -> Callable[[], bytes]:
    """A good image with a chunk that unpacks to a gibibyte, before its pixels."""

    def make() -> bytes:
        whole = saved("PNG")
        return whole[:33] + chunk(kind, head + deflated(BOMB)) + whole[33:]

    return make


def png_of(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", deflated(1 << 24)) +
        chunk(b"IEND", b"")
    )  # fmt: skip


def webp_of(side: int) -> bytes:
    """The header of a lossless image, 14 bits a side."""
    bits = (side - 1) | (side - 1) << 14
    data = b"\x2f" + struct.pack("<I", bits) + bytes(40)
    body = b"WEBPVP8L" + struct.pack("<I", len(data)) + data + b"\0"
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif_of(width: int, height: int) -> bytes:
    whole = bytearray(saved("GIF"))
    whole[6:10] = struct.pack("<HH", width, height)
    return bytes(whole)


def gif_with_a_large_frame() -> bytes:
    """On a small screen."""
    whole = bytearray(saved("GIF"))
    at = whole.index(b",", 13)
    whole[at + 5 : at + 9] = struct.pack("<HH", 65535, 65535)
    return bytes(whole)


def tiff_of(width: int, height: int, strip: bytes = bytes(12), compression: int = 1) -> bytes:
    tags = [
        (256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, compression), (262, 3, 1),
        (273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, len(strip)),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags
    )
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory + bytes(4)


def tiff_of_one_value_in_many_tags() -> bytes:
    """Two thousand tags that all have the same megabyte."""
    payload = bytes([1]) * (1 << 20)
    tags = [(256, 3, 1), (257, 3, 1), (258, 3, 8), (262, 3, 1), (273, 4, 8), (279, 4, 1)]
    entries = [struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags]
    entries += [struct.pack("<HHII", 40000 + i, 7, len(payload), 8) for i in range(2000)]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(payload)) + payload + directory


BOMBS: dict[str, Callable[[], bytes]] = {
    "png zTXt": png_with(b"zTXt", b"Comment\0\0"),
    "png iTXt": png_with(b"iTXt", b"Comment\0\1\0\0\0"),
    "png iCCP": png_with(b"iCCP", b"profile\0\0"),
    "png header": lambda: png_of((1 << 31) - 1, (1 << 31) - 1),
    "png pixels": lambda: png_of(60000, 60000),
    "webp header": lambda: webp_of(16383),
    "gif screen": lambda: gif_of(65535, 65535),
    "gif frame": gif_with_a_large_frame,
    "tiff header": lambda: tiff_of(1 << 20, 1 << 20),
    "tiff deflate": lambda: tiff_of(1 << 20, 1 << 20, deflated(1 << 24), 8),
    "tiff tags": tiff_of_one_value_in_many_tags,
    "jpeg header": lambda: saved("JPEG").replace(
        b"\xff\xc0\0\x11\x08\0\2\0\2", b"\xff\xc0\0\x11\x08\xff\xff\xff\xff"
    ),
    "bmp header": lambda: saved("BMP").replace(
        struct.pack("<ii", 2, 2), struct.pack("<ii", 1 << 30, 1 << 30)
    ),
    "ppm header": lambda: b"P6 1000000 1000000 255\n" + bytes(12),
    "jpeg2000 header": lambda: saved("JPEG2000").replace(
        struct.pack(">II", 2, 2), struct.pack(">II", 1 << 30, 1 << 30)
    ),
}  # fmt: skip
NO_PART_OF_THE_SIZE = {"png iCCP"}  # the size can be read without unpacking the profile
HARMLESS = {"png zTXt", "png iTXt", "tiff tags"}  # what is too large may be left out


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_within_memory(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(BOMBS[kind]())
    assert path.stat().st_size < 1 << 22
    said, peak = peak_of(READ, path)
    answers = said.splitlines()
    assert len(answers) == 2
    assert peak < LIMIT
    if kind not in HARMLESS:
        header, decoded = (answer.startswith("refused:") for answer in answers)
        assert decoded, said
        assert header or kind in NO_PART_OF_THE_SIZE, said


@pytest.mark.parametrize("kind", ["webp header", "jpeg header", "bmp header", "jpeg2000 header"])
def test_these_bombs_are_refused_for_their_size_and_no_other_damage(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "image"
    path.write_bytes(BOMBS[kind]())
    with pytest.raises(ImageError, match=r"limit|exceeds|could be decompression bomb"):
        read_header(path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "JPEG"])
def test_a_file_of_more_bytes_than_its_pixels_need_is_not_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(saved(kind))
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # of which the disk holds the beginning only
    said, peak = peak_of(READ, path)
    assert said.count("refused: 1099511627776 bytes are more than") == 2
    assert peak < LIMIT


def test_as_many_bytes_as_there_may_be_are_read(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(saved("PNG"))
    with path.open("r+b") as file:
        file.truncate(image_file._BYTES_PER_PIXEL * 4 + image_file._BYTES_BESIDE)
    assert decode(path, max_pixels=4).width == 2
    with path.open("r+b") as file:
        file.truncate(image_file._BYTES_PER_PIXEL * 4 + image_file._BYTES_BESIDE + 1)
    with pytest.raises(ImageError, match="more than 4 pixels, the limit, can need"):
        decode(path, max_pixels=4)


def test_the_profile_of_a_bmp_is_refused_however_large_it_is(tmp_path: Path) -> None:
    path, pixels = tmp_path / "image.bmp", np.zeros((2, 2), np.uint32)
    for size in (decoding.MAX_PROFILE + 1, 1 << 25):  # bytes
        path.write_bytes(Bmp(values=pixels, bits=24, version=5, profile=bytes(size)).encode())
        with pytest.raises(ImageError, match="colour profile has more than"):
            decode(path)


@pytest.mark.parametrize(("more", "refused"), [(0, False), (1, True)])
def test_a_profile_beyond_the_limit_is_refused_and_not_dropped(
    more: int, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = bytes(1000 + more)
    monkeypatch.setattr(decoding, "MAX_PROFILE", 1000)
    path = tmp_path / "image.tif"
    Image.new("RGB", (2, 2)).save(path, icc_profile=profile)
    if refused:
        with pytest.raises(ImageError, match="colour profile has more than 1000 bytes"):
            decode(path)
    else:
        assert decode(path).width == 2
