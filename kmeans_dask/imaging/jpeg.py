"""What the header of a JPEG says that Pillow does not read, and those of 12 bits a sample.

ITU-T T.81, annex B.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from kmeans_dask.errors import ImageError
from kmeans_dask.imaging.samples import Samples, import_codecs

_MAX_SEGMENTS = 1 << 12
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF markers
_LOSSLESS = {0xC3, 0xC7, 0xCB, 0xCF}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_DEEP = 12


@dataclass(frozen=True)
class JpegHeader:
    """A frame header: SOF marker, bits a sample, size in pixels, components."""

    marker: int
    bits: int
    width: int
    height: int
    components: int

    @property
    def is_deep(self) -> bool:
        """Whether it has 12 bits a sample, which Pillow does not read."""
        return self.bits == _DEEP and self.marker not in _LOSSLESS

    def refusal(self) -> str | None:
        """Why it is not decoded; None where nothing speaks against it."""
        if self.marker in _LOSSLESS:
            return "a lossless JPEG, which is not supported"
        if self.bits not in (8, _DEEP):
            return f"a JPEG of {self.bits} bits a sample, which is not supported"
        if self.components not in (1, 3, 4):
            return f"a JPEG of {self.components} components, which is not supported"
        return None


def read_jpeg_header(file: IO[bytes]) -> JpegHeader | None:
    """The frame header of a JPEG; None where there is none among its first segments."""
    file.seek(2)
    for _ in range(_MAX_SEGMENTS):
        byte = file.read(1)
        while byte and byte != b"\xff":  # Pillow, too, passes over what is between segments
            byte = file.read(1)
        while byte == b"\xff":
            byte = file.read(1)
        if not byte:
            return None
        marker = byte[0]
        if marker in _ALONE or marker == 0:
            continue
        size = int.from_bytes(file.read(2), "big")
        if size < 2 or marker in (0xD9, 0xDA):
            return None
        if marker in _FRAMES:
            frame = file.read(6)
            if len(frame) < 6:
                return None
            height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
            return JpegHeader(marker, frame[0], width, height, frame[5])
        file.seek(size - 2, 1)
    return None


def read_deep_jpeg(data: bytes, header: JpegHeader) -> Samples:
    """The samples of a JPEG of 12 bits. Raises ImageError."""
    if header.components == 4:
        raise ImageError("a CMYK JPEG of 12 bits a sample, which is not supported")
    codecs = import_codecs("a JPEG of 12 bits a sample")
    values = codecs.jpeg_decode(data)
    grey = values.ndim == 2
    return Samples(values[..., None] if grey else values, "grey" if grey else "rgb", _DEEP)
