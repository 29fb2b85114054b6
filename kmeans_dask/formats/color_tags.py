"""ICC profiles of PNG, AVIF and BMP files, embedded or made from other tags for colour spaces.

PNG specification, third edition: 11.3.2 (cHRM, gAMA, sRGB, cICP), 4.3 (precedence of these chunks);
code points of ITU-T H.273, tables 2 (primaries) and 3 (transfer characteristics), which cICP and
AVIF's `nclx` use. As in browsers, transfer curves of television are read as those of a television
display in a PNG, and as sRGB in an AVIF; and a gAMA near 1/2.2 without cHRM is read as sRGB.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import IO, Any

from kmeans_dask.errors import ImageError
from kmeans_dask.formats.boxes import inner_boxes, read_box
from kmeans_dask.formats.icc import (
    SRGB_CURVE,
    SRGB_PRIMARIES,
    Curve,
    Primaries,
    make_profile,
)
from kmeans_dask.formats.png_chunks import read_chunk

_D65, _C, _E = (0.3127, 0.3290), (0.310, 0.316), (1 / 3, 1 / 3)
_PRIMARIES: Mapping[int, Primaries] = {
    1: SRGB_PRIMARIES,
    4: Primaries(_C, (0.67, 0.33), (0.21, 0.71), (0.14, 0.08)),
    5: Primaries(_D65, (0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: Primaries(_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    7: Primaries(_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    8: Primaries(_C, (0.681, 0.319), (0.243, 0.692), (0.145, 0.049)),
    9: Primaries(_D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    10: Primaries(_E, (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)),
    11: Primaries((0.314, 0.351), (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: Primaries(_D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    22: Primaries(_D65, (0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}
_TELEVISION = Curve(2.4)  # ITU-R BT.1886, the curve of a television display
_OF_TELEVISION = (1, 6, 11, 14, 15)  # transfer characteristics that television uses
_SRGB_TRANSFER = 13
_CURVES: Mapping[int, Curve] = {
    **dict.fromkeys(_OF_TELEVISION, _TELEVISION),
    4: Curve(2.2),
    5: Curve(2.8),
    7: Curve(1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4, 0.0912),
    8: Curve(1.0),
    17: Curve(2.6, (52.37 / 48) ** (1 / 2.6)),
}
_HIGH_DYNAMIC_RANGE = {16: "PQ", 18: "HLG"}
_LIKE_SRGB = 0.05  # relative distance of a gamma from 1/2.2: libpng's PNG_GAMMA_THRESHOLD
_MAX_PROFILE = 1 << 23  # bytes of a profile that are read at most; a profile so large is refused


def read_code_points(file: IO[bytes]) -> bytes:
    """Return the content of a PNG's chunk cICP, empty where there is none before the pixels."""
    return read_chunk(file, b"cICP")


def profile_of_png(code_points: bytes, info: Mapping[Any, Any]) -> bytes | None:
    """Return an ICC profile of a PNG's colours, or None for sRGB.

    Colours are sRGB where the file names no valid colour space. An embedded profile is returned as
    it is, unless the file has a chunk cICP.

    code_points: content of the chunk cICP; empty where there is none
    info: Pillow's `Image.info` of the file

    Raises ImageError for a high dynamic range (PQ or HLG).
    """
    if len(code_points) == 4:
        return _profile_of(code_points[0], code_points[1])
    embedded: bytes | None = info.get("icc_profile")
    if embedded or "srgb" in info:
        return embedded
    gamma, chromaticities = info.get("gamma"), info.get("chromaticity")
    if not gamma or not 1e-3 < gamma < 1e3:
        return None
    if not chromaticities:
        if abs(gamma * 2.2 - 1) < _LIKE_SRGB:
            return None
        return make_profile(SRGB_PRIMARIES, Curve(1 / gamma))
    x, y = chromaticities[::2], chromaticities[1::2]
    try:
        return make_profile(Primaries(*zip(x, y, strict=True)), Curve(1 / gamma))
    except ValueError:  # the primaries span no colours
        return None


def profile_of_avif(file: IO[bytes], info: Mapping[Any, Any]) -> bytes | None:
    """Return an ICC profile of an AVIF's colours, or None for sRGB.

    Colours are sRGB where the file names no colour space. An embedded profile is returned as it is.

    info: Pillow's `Image.info` of the file

    Raises ImageError for a high dynamic range (PQ or HLG) without an embedded profile.
    """
    embedded: bytes | None = info.get("icc_profile")
    if embedded:
        return embedded
    meta = read_box(file, b"meta")[4:]  # after version and flags
    for color in inner_boxes(meta, b"iprp", b"ipco", b"colr"):
        if color[:4] == b"nclx" and len(color) >= 8:
            primaries, transfer = struct.unpack_from(">HH", color, 4)
            transfer = _SRGB_TRANSFER if transfer in _OF_TELEVISION else transfer
            return _profile_of(primaries, transfer)
    return None


def profile_of_bmp(file: IO[bytes]) -> bytes | None:
    """Return the ICC profile embedded in a BMP of version 5, or None where there is none.

    The primaries and gammas of version 4 are ignored: viewers do not apply them, and they are often
    wrong.
    """
    file.seek(14)
    header = file.read(124)
    if len(header) < 124 or header[56:60] != b"DEBM":  # PROFILE_EMBEDDED, little-endian
        return None
    start, size = struct.unpack_from("<II", header, 112)
    file.seek(14 + start)
    return file.read(min(size, _MAX_PROFILE))


def _profile_of(primaries: int, transfer: int) -> bytes | None:
    """Return an ICC profile for two code points of ITU-T H.273, or None for sRGB.

    An unknown code point counts as that of sRGB. Raises ImageError for PQ and HLG.
    """
    if transfer in _HIGH_DYNAMIC_RANGE:
        raise ImageError(
            f"a picture of high dynamic range ({_HIGH_DYNAMIC_RANGE[transfer]}), which 8 bits a "
            "sample do not hold: convert it to a standard range first"
        )
    lights = _PRIMARIES.get(primaries, SRGB_PRIMARIES)
    curve = _CURVES.get(transfer, SRGB_CURVE)
    if (lights, curve) == (SRGB_PRIMARIES, SRGB_CURVE):
        return None
    return make_profile(lights, curve)
