"""Checks of Netpbm images that Pillow leaves out.

The manual of Netpbm describes the formats PBM, PGM, PPM, PAM and PFM.
"""

from __future__ import annotations

import os
import re
from typing import IO

_HEAD = 1 << 12  # bytes of a header, with its comments, that are read
_NUMBER = re.compile(rb"(?:\s|#[^\n]*\n)+(\d{1,9})")
_NEXT = re.compile(rb"\s*P[1-6]\s")
_SAMPLES = {b"4": 1, b"5": 1, b"6": 3}  # samples per pixel of the raw formats PBM, PGM and PPM


def refusal_of_netpbm(file: IO[bytes]) -> str | None:
    """Return the reason to refuse a Netpbm image, or None where none is found.

    A second image in the file is noticed only in the raw formats PBM, PGM and PPM.
    """
    file.seek(0)
    head = file.read(_HEAD)
    kind = head[1:2]
    if kind == b"7":
        return "a Netpbm image of the kind PAM, which is not supported"
    if kind in b"fF":
        return "a Netpbm image of floating-point samples, which have no agreed white"
    if kind in _SAMPLES:
        end = _end_of_raw(head)
        file.seek(0, os.SEEK_END)
        if end is not None and file.tell() > end:
            file.seek(end)
            if _NEXT.match(file.read(64)):
                return "a Netpbm file of more than one image: write each to a file of its own"
    return None


def _end_of_raw(head: bytes) -> int | None:
    """Return the offset of the end of a raw image, or None where its header is incomplete."""
    numbers, place = [], 2
    for _ in range(2 if head[1:2] == b"4" else 3):
        found = _NUMBER.match(head, place)
        if not found:
            return None
        numbers.append(int(found[1]))
        place = found.end()
    width, height = numbers[:2]
    if head[1:2] == b"4":
        return place + 1 + (width + 7) // 8 * height
    bytes_each = 2 if numbers[2] > 255 else 1
    return place + 1 + width * height * bytes_each * _SAMPLES[head[1:2]]
