"""Reader of the headers of JPEG files, and of 12-bit samples, which Pillow does not read.

ITU-T T.81, annex B.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from PIL import Image

from kmeans_dask.errors import ImageError
from kmeans_dask.formats.samples import Samples, import_codecs

_MAX_SEGMENTS = 1 << 12
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # SOF markers
_LOSSLESS, _DIFFERENTIAL, _JPEG_LS = {0xC3, 0xCB}, {0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF}, 0xF7
_ALONE = {0x00, 0x01, *range(0xD0, 0xD9)}  # markers without a length; 0x00 is no marker
_MARKER, _LOOK = re.compile(rb"\xff+([^\xff])", re.DOTALL), 1 << 8
_DEEP = 12
_APP1, _APP2, _ICC = 0xE1, 0xE2, b"ICC_PROFILE\0"
_MAX_PROFILE = 1 << 23  # bytes of a profile that are read at most; a profile so large is refused
_ORIENTATION = 0x0112  # EXIF tag


@dataclass(frozen=True)
class JpegHeader:
    """Frame header of a JPEG file.

    marker: second byte of the SOF marker, which tells the kind of compression
    bits: bits of a sample
    width, height: size of the image in pixels
    components: number of components, such as 3 for colours
    """

    marker: int
    bits: int
    width: int
    height: int
    components: int

    @property
    def is_deep(self) -> bool:
        """Return whether the image has 12 bits a sample, which Pillow does not read."""
        return self.bits == _DEEP

    def refusal(self) -> str | None:
        """Return the reason to refuse the image, or None where its header gives none."""
        if self.marker in _LOSSLESS:
            return "a lossless JPEG, which is not supported"
        if self.marker in _DIFFERENTIAL:
            return "a hierarchical JPEG, which is not supported"
        if self.marker == _JPEG_LS:
            return "a JPEG-LS image, which is not supported"
        if self.bits not in (8, _DEEP):
            return f"a JPEG of {self.bits} bits a sample, which is not supported"
        if self.components not in (1, 3, 4):
            return f"a JPEG of {self.components} components, which is not supported"
        return None


def read_jpeg_header(file: IO[bytes]) -> JpegHeader | None:
    """Return the frame header of a JPEG file, or None where no whole one precedes its scans."""
    for marker, place, _ in _segments(file):
        if marker in _FRAMES:
            file.seek(place)
            frame = file.read(6)
            if len(frame) < 6:
                return None
            height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
            return JpegHeader(marker, frame[0], width, height, frame[5])
    return None


def read_jpeg_tags(file: IO[bytes]) -> tuple[int, bytes | None]:
    """Return the EXIF orientation and the ICC profile of a JPEG that Pillow does not open.

    The orientation is 1, and the profile is None, where the file has none.
    """
    orientation, parts, total = 1, dict[int, bytes](), 0
    for marker, place, size in _segments(file):
        if marker not in (_APP1, _APP2) or total > _MAX_PROFILE:
            continue
        file.seek(place)
        content = file.read(size)
        if marker == _APP1 and content.startswith(b"Exif\0\0"):
            orientation = _orientation_of(content)
        elif marker == _APP2 and content.startswith(_ICC) and len(content) > len(_ICC) + 2:
            parts[content[len(_ICC)]] = content[len(_ICC) + 2 :]
            total += size
    return orientation, b"".join(part for _, part in sorted(parts.items())) or None


def _segments(file: IO[bytes]) -> Iterator[tuple[int, int, int]]:
    """Yield marker, and offset and size in bytes of the content, of segments before the scans."""
    place = 2
    for _ in range(_MAX_SEGMENTS):
        file.seek(place)
        head = file.read(_LOOK)
        found = _MARKER.search(head)  # bytes between segments are skipped, as Pillow does
        if not found:
            if len(head) < _LOOK:
                return
            place += _LOOK - 1
            continue
        marker = found[1][0]
        place += found.end()
        if marker in (0xD9, 0xDA):
            return
        if marker in _ALONE:
            continue
        said = head[found.end() : found.end() + 2]
        if len(said) < 2:  # the length was cut off: read again from the marker
            place -= 2
            if len(head) < _LOOK:
                return
            continue
        size = int.from_bytes(said, "big")
        if size < 2:
            return
        yield marker, place + 2, size - 2
        place += size


def _orientation_of(content: bytes) -> int:
    tags = Image.Exif()
    try:
        tags.load(content)
        return int(tags.get(_ORIENTATION, 1))
    except Exception:  # metadata that does not parse says nothing about orientation
        return 1


def read_deep_jpeg(data: bytes, header: JpegHeader) -> Samples:
    """Return the samples of a JPEG of 12 bits a sample, (h, w, 1) or (h, w, 3).

    Raises ImageError where the colours are CMYK, or where imagecodecs is not installed.
    """
    if header.components == 4:
        raise ImageError("a CMYK JPEG of 12 bits a sample, which is not supported")
    codecs = import_codecs("a JPEG of 12 bits a sample")
    values = codecs.jpeg_decode(data)
    grey = values.ndim == 2
    return Samples(values[..., None] if grey else values, "grey" if grey else "rgb", _DEEP)
