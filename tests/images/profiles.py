"""ICC profiles that tests write, byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from PIL import ImageCms

from tests.images.colors import D50, to_xyz
from tests.images.pixels import Floats

PAPER = np.array([0.78, 0.80, 0.60])


def icc(device: bytes, space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile of version 2.1 (ICC.1:2001-04, section 6)."""
    table, body = b"", b""
    first = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", first + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s", first + len(body), b"", 0x02100000, device, space, pcs)
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += xyz_number(D50) + bytes(4 + 44)
    assert len(header) == 128
    return header + struct.pack(">I", len(tags)) + table + body


def xyz_number(xyz: Floats) -> bytes:
    return struct.pack(">3i", *(round(value * 65536) for value in xyz.tolist()))


def described(text: str, white: Floats = D50) -> dict[bytes, bytes]:
    ascii_ = text.encode("ascii") + b"\0"
    description = b"desc" + bytes(4) + struct.pack(">I", len(ascii_)) + ascii_ + bytes(78)
    return {
        b"desc": description,
        b"cprt": b"text" + bytes(4) + b"CC0\0",
        b"wtpt": b"XYZ " + bytes(4) + xyz_number(white),
    }


def curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def rgb_profile(
    primaries: Sequence[tuple[float, float]], gamma: float, name: str = "of the test"
) -> bytes:
    tags = described(name)
    for letter, xyz in zip("rgb", to_xyz(primaries).T, strict=True):
        tags[f"{letter}XYZ".encode()] = b"XYZ " + bytes(4) + xyz_number(xyz)
        tags[f"{letter}TRC".encode()] = curve(gamma)
    return icc(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    return icc(b"mntr", b"GRAY", b"XYZ ", described("grey") | {b"kTRC": curve(gamma)})


def table_profile(device: bytes, space: bytes, lab: Sequence[tuple[int, int, int]]) -> bytes:
    """The mixtures of full channels, the last varying fastest, to Lab (ICC.1:2001-04, 6.5.8)."""
    channels = len(space.strip())
    identity = struct.pack(">9i", *(65536 * value for value in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    ramp = bytes(range(256))
    cube = b"".join(bytes([round(L * 2.55), a + 128, b + 128]) for L, a, b in lab)
    table = b"mft1" + bytes(4) + bytes([channels, 3, 2, 0]) + identity
    table += ramp * channels + cube + ramp * 3
    return icc(device, space, b"Lab ", described("table", PAPER) | {b"A2B1": table})


def cmyk_profile(lab: Sequence[tuple[int, int, int]]) -> bytes:
    return table_profile(b"prtr", b"CMYK", lab)


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
