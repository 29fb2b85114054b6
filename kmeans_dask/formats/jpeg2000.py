"""Reader of the headers of JPEG 2000 images, and of samples that Pillow does not read correctly.

ITU-T T.800 (ISO/IEC 15444-1), annexes A.5.1 (SIZ) and I.5.3 (JP2 header box, with its
palette, component mapping and channel definition boxes).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import IO, Literal

from kmeans_dask.errors import ImageError
from kmeans_dask.formats.boxes import inner_boxes, read_box, top_boxes
from kmeans_dask.formats.samples import Samples, import_codecs

_SIZ = b"\xff\x4f\xff\x51"  # markers SOC and SIZ, with which a codestream begins
_SRGB, _GREY, _SYCC, _CMYK = 16, 17, 18, 12  # enumerated colour spaces
_COLOR, _STRAIGHT, _PREMULTIPLIED = 0, 1, 2  # types of channels
_MAX_COMPONENTS = 16384


@dataclass(frozen=True)
class Jpeg2000Header:
    """Header of a JPEG 2000 image.

    width, height: size of the image in pixels
    precisions: bits of each component, negative where its samples are signed
    spacings: distance (x, y) of the samples of each component, (1, 1) for one in each pixel
    color_space: enumerated colour space; None where a profile gives it, or the file does not
    profile: ICC profile, of method 2 or 3; None where there is none
    palette: bits of each column of the palette whose index is the only component, negative where
        its values are signed; empty where there is no palette
    channels: number, type and associated colour of each channel; empty where the file does not
        define its channels
    """

    width: int
    height: int
    precisions: tuple[int, ...]
    spacings: tuple[tuple[int, int], ...]
    color_space: int | None = None
    profile: bytes | None = None
    palette: tuple[int, ...] = ()
    channels: tuple[tuple[int, int, int], ...] = ()

    @property
    def bits(self) -> tuple[int, ...]:
        """Return the bits of each channel, negative where its samples are signed."""
        return self.palette or self.precisions

    @property
    def alpha(self) -> Literal["straight", "premultiplied"] | None:
        """Return how colours relate to alpha, the last channel; None where there is no alpha.

        Where the file does not define its channels, a 2nd or a 4th one is straight alpha, except
        in CMYK.
        """
        types = [kind for _, kind, _ in self.channels]
        if _PREMULTIPLIED in types:
            return "premultiplied"
        if types:
            return "straight" if _STRAIGHT in types else None
        return "straight" if len(self.bits) in (2, 4) and not self.is_cmyk else None

    @property
    def is_cmyk(self) -> bool:
        """Return whether the colours are CMYK, by the colour space or by the profile."""
        return self.color_space == _CMYK or (self.profile or b"")[16:20] == b"CMYK"

    @property
    def suits_pillow(self) -> bool:
        """Return whether Pillow reads the samples of the image without loss or error.

        Pillow shifts samples of other than 8 bits, reads only palettes of three columns of 8 bits,
        and takes channels in the order of the file. A single component of 10 to 16 bits is shifted
        up to 16 bits, which loses nothing.
        """
        n = len(self.precisions)
        unnamed_inks = self.is_cmyk and self.color_space != _CMYK
        if self.palette or self.alpha == "premultiplied" or unnamed_inks:
            return False
        if n == 1 and self.color_space == _SRGB:
            return False
        if any(number != i or of != (i + 1 if kind == _COLOR else 0)
               for i, (number, kind, of) in enumerate(self.channels)):  # fmt: skip
            return False
        is_grey = n == 1 and 9 < self.precisions[0] <= 16
        return is_grey or all(bits == 8 for bits in self.precisions)

    def refusal(self) -> str | None:
        """Return the reason to refuse the image, or None where its header gives none."""
        n = len(self.bits)
        if n > 4:
            return f"a JPEG 2000 image of {n} components, which is not supported"
        n_colors = n - (self.alpha is not None)
        said = [kind for _, kind, _ in self.channels]
        if n_colors != (4 if self.is_cmyk else 3 if n_colors > 1 else 1) or any(
            kind not in (_COLOR, _STRAIGHT, _PREMULTIPLIED) for kind in said
        ):
            return f"a JPEG 2000 image of {n} components, of which one is no colour and no alpha"
        if self.palette and len(self.precisions) > 1:
            return "a JPEG 2000 image of a palette and other components, which is not supported"
        if self.color_space not in (None, 0, 15, _SRGB, _GREY, _SYCC, _CMYK):
            return f"a JPEG 2000 image in colour space {self.color_space}, which is not supported"
        return None if self.suits_pillow else self._refusal_of_codecs()

    def _refusal_of_codecs(self) -> str | None:
        """Return the reason to refuse an image that imagecodecs would decode, or None."""
        if len(set(self.bits)) > 1:
            return "a JPEG 2000 image whose components differ in bits, which is not supported"
        if min(*self.bits, *self.precisions) < 0:
            return "a JPEG 2000 image of signed samples, which have no agreed black"
        if self.bits[0] > 16:
            return f"a JPEG 2000 image of {self.bits[0]} bits a sample, beyond 16"
        if any(spacing != (1, 1) for spacing in self.spacings) or self.color_space == _SYCC:
            return (
                "a JPEG 2000 image of reduced colours (sYCC) in this layout, which is not supported"
            )
        return None


def read_jpeg2000_header(file: IO[bytes]) -> Jpeg2000Header:
    """Return the header of a JPEG 2000 file, which is a bare codestream or in JP2 boxes.

    Raises ImageError where there is no codestream, or no whole SIZ segment at its start.
    """
    file.seek(0)
    color_space, profile, header = None, None, b""
    if file.read(4) != _SIZ:
        header = read_box(file, b"jp2h")
        for color in inner_boxes(header, b"colr"):
            if color[:1] == b"\x01" and len(color) >= 7:
                color_space = int.from_bytes(color[3:7], "big")
            elif color[:1] in (b"\x02", b"\x03"):
                profile = color[3:]
            break
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
        _palette_of(header),
        _channels_of(header),
    )


def _palette_of(header: bytes) -> tuple[int, ...]:
    """Return the bits of each column of the palette, negative where signed; () without one."""
    for box in inner_boxes(header, b"pclr"):
        columns = box[3 : 3 + box[2]] if len(box) > 2 else b""
        return tuple((-1 if each & 0x80 else 1) * ((each & 0x7F) + 1) for each in columns)
    return ()


def _channels_of(header: bytes) -> tuple[tuple[int, int, int], ...]:
    """Return number, type and associated colour of each defined channel, by their numbers."""
    for box in inner_boxes(header, b"cdef"):
        n = min(_MAX_COMPONENTS, (len(box) - 2) // 6)
        return tuple(sorted(struct.unpack_from(">3H", box, 2 + 6 * i) for i in range(n)))
    return ()


def _without_profile(data: bytes) -> bytes:
    """Return the file `data` with each ICC profile replaced by the colour space sRGB.

    With a profile, imagecodecs would convert the samples by it.
    """
    file = io.BytesIO(data)
    start = next(at for kind, at, _ in top_boxes(file) if kind == b"jp2h")
    header = old = read_box(file, b"jp2h")
    for color in inner_boxes(old, b"colr"):
        if color[:1] in (b"\x02", b"\x03") and len(color) >= 7:
            said = b"\x01" + color[1:3] + struct.pack(">I", _SRGB)
            header = header.replace(color, said + color[7:], 1)
    return data[:start] + header + data[start + len(old) :]


def read_odd_jpeg2000(data: bytes, header: Jpeg2000Header) -> Samples:
    """Return the samples, (h, w, c), of a JPEG 2000 image that Pillow does not read correctly.

    Raises ImageError where the components are not those of the header, or where imagecodecs is not
    installed.
    """
    bits = header.bits[0]
    codecs = import_codecs(f"a JPEG 2000 image of {len(header.bits)} x {bits} bits a pixel")
    values = codecs.jpeg2k_decode(_without_profile(data) if header.profile else data)
    if values.ndim == 2:
        values = values[..., None]
    if values.shape[2] != len(header.bits):
        raise ImageError("a JPEG 2000 image that is damaged: its components are not what it says")
    if header.is_cmyk:
        return Samples(values, "cmyk", bits)
    n_colors = len(header.bits) - (header.alpha is not None)
    return Samples(values, "grey" if n_colors == 1 else "rgb", bits, alpha=header.alpha)
