"""JPEG 2000 images: what their headers say, and samples of other than 8 bits.

ITU-T T.800 (ISO/IEC 15444-1), annexes A.5.1 (SIZ) and I.5.3 (JP2 header box).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO

from kmeans_dask.errors import ImageError
from kmeans_dask.imaging.boxes import inner_boxes, read_box, top_boxes
from kmeans_dask.imaging.samples import Samples, import_codecs

_SIZ = b"\xff\x4f\xff\x51"  # start of codestream, and of the marker segment
_SRGB, _GREY, _SYCC, _CMYK = 16, 17, 18, 12  # enumerated colour spaces
_MAX_COMPONENTS = 16384


@dataclass(frozen=True)
class Jpeg2000Header:
    """The header of an image.

    precisions: bits of each component, negative where it is signed
    spacings: (x, y) of each component, 1 where it has a sample for each pixel
    color_space: enumerated; None where a profile says it, or nothing does
    profile: embedded, of method 2 or 3
    has_palette: whether components are entries of a palette
    """

    width: int
    height: int
    precisions: tuple[int, ...]
    spacings: tuple[tuple[int, int], ...]
    color_space: int | None = None
    profile: bytes | None = None
    has_palette: bool = False

    @property
    def is_deep(self) -> bool:
        """Whether Pillow gives other values than the file has: it shifts samples to 8 bits.

        A single component of 9 to 16 bits it moves up to 16, which loses nothing.
        """
        is_grey = len(self.precisions) == 1 and 8 < self.precisions[0] <= 16
        if is_grey or self.has_palette:
            return False
        return any(bits != 8 for bits in self.precisions)

    def refusal(self) -> str | None:
        """Why it is not decoded; None where nothing speaks against it."""
        n = len(self.precisions)
        if n > 4:
            return f"a JPEG 2000 image of {n} components, which is not supported"
        if self.is_deep:
            if len(set(self.precisions)) > 1:
                return "a JPEG 2000 image whose components differ in bits, which is not supported"
            if self.precisions[0] < 0:
                return "a JPEG 2000 image of signed samples, which have no agreed black"
            if self.precisions[0] > 16:
                return f"a JPEG 2000 image of {self.precisions[0]} bits a sample, beyond 16"
            if any(spacing != (1, 1) for spacing in self.spacings) or self.color_space == _SYCC:
                return "a JPEG 2000 image of more than 8 bits with reduced colours (sYCC)"
        if self.color_space not in (None, 0, 15, _SRGB, _GREY, _SYCC, _CMYK):
            return f"a JPEG 2000 image in colour space {self.color_space}, which is not supported"
        return None


def read_jpeg2000_header(file: IO[bytes]) -> Jpeg2000Header:
    """Raises ImageError where there is none."""
    file.seek(0)
    color_space, profile, has_palette = None, None, False
    if file.read(4) != _SIZ:
        header = read_box(file, b"jp2h")
        for color in inner_boxes(header, b"colr"):
            if color[:1] == b"\x01" and len(color) >= 7:
                color_space = int.from_bytes(color[3:7], "big")
            elif color[:1] in (b"\x02", b"\x03"):
                profile = color[3:]
            break
        has_palette = any(True for _ in inner_boxes(header, b"pclr"))
        start = next((at for kind, at, _ in top_boxes(file) if kind == b"jp2c"), None)
        if start is None:
            raise ImageError("a JPEG 2000 image that is damaged: it lacks a codestream")
        file.seek(start + 4)
    siz = file.read(38)
    n = int.from_bytes(siz[36:38], "big") if len(siz) == 38 else 0
    components = file.read(3 * n) if n <= _MAX_COMPONENTS else b""
    if not n or len(components) < 3 * n:
        raise ImageError("a JPEG 2000 image that is damaged: it says no size")
    right, bottom, left, top = struct.unpack_from(">4I", siz, 4)
    bits = [(each & 0x7F) + 1 for each in components[::3]]
    signs = [-1 if each & 0x80 else 1 for each in components[::3]]
    return Jpeg2000Header(
        max(0, right - left),
        max(0, bottom - top),
        tuple(sign * each for sign, each in zip(signs, bits, strict=True)),
        tuple(zip(components[1::3], components[2::3], strict=True)),
        color_space,
        profile,
        has_palette,
    )


def read_deep_jpeg2000(data: bytes, header: Jpeg2000Header) -> Samples:
    """The samples of an image of other than 8 bits. Raises ImageError."""
    bits = header.precisions[0]
    codecs = import_codecs(f"a JPEG 2000 image of {bits} bits a sample")
    values = codecs.jpeg2k_decode(data)
    if values.ndim == 2:
        values = values[..., None]
    n = values.shape[2]
    if header.color_space == _CMYK:
        return Samples(values, "cmyk", bits)
    alpha = "straight" if n in (2, 4) else None
    return Samples(values, "grey" if n < 3 else "rgb", bits, alpha=alpha)  # type: ignore[arg-type]
