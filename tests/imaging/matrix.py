"""Files of every layout that is claimed, each with the picture that it must be decoded to.

A file's picture is known twice: from the samples that it was made of, by plain arithmetic, and from
a decoder that shares no code with ours. Both are held to ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from kmeans_dask.errors import ImageError
from kmeans_dask.imaging.decode import decode

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Judge = Callable[[bytes], "NDArray[Any]"]  # a file to (h, w, 4), straight alpha, 0 to 255


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file and what is right.

    pixels: (h, w, 4), straight alpha, levels that need not be whole; None where only a judge knows
    refusal: words of the reason for which it is refused
    tolerance: levels by which ours may be off, in colours and in alphas
    unjudged: why no independent decoder reads it rightly
    """

    name: str
    content: bytes
    pixels: NDArray[Any] | None = None
    refusal: str = ""
    tolerance: float = 1
    unjudged: str = ""


def pixels_of(path: Path) -> Pixels:
    """(h, w, 4), as we decode the file."""
    decoded = decode(path)
    band = decoded.whole()
    alphas = np.full(len(band.pixels), 255, np.uint8) if band.alphas is None else band.alphas
    return np.column_stack([band.pixels, alphas]).reshape(decoded.height, decoded.width, 4)


def mismatches(cases: Iterable[Case], folder: Path, judge: Judge | None = None) -> list[str]:
    """What is wrong of each case, all of them at once."""
    wrong = []
    path = folder / "image"
    for case in cases:
        path.write_bytes(case.content)
        found = _mismatch(case, path, judge)
        if found:
            wrong.append(f"{case.name}: {found}")
    return wrong


def _mismatch(case: Case, path: Path, judge: Judge | None) -> str:
    try:
        found = pixels_of(path)
    except ImageError as error:
        if case.refusal:
            return "" if case.refusal in str(error) else f"refused as {str(error)!r}"
        return f"refused: {error}"
    if case.refusal:
        return "not refused"
    said = "" if case.pixels is None else difference(found, case.pixels, case.tolerance)
    if not said and judge and not case.unjudged:
        judged = difference(found, judge(case.content), case.tolerance)
        return judged and f"judged otherwise, {judged}"
    return said


def difference(found: Pixels, wanted: NDArray[Any], tolerance: float) -> str:
    """How two pictures differ, if they do. Nobody sees the colours of what is clear."""
    if found.shape != wanted.shape:
        return f"has shape {found.shape} and not {wanted.shape}"
    off = np.abs(found.astype(float) - wanted.astype(float))
    off[..., :3] *= (found[..., 3:] > 0) & (wanted[..., 3:] > 0)
    if off.max() <= tolerance + 1e-9:
        return ""
    y, x, _ = np.unravel_index(int(off.argmax()), off.shape)
    return (
        f"off by {off[..., :3].max():.1f} in color, {off[..., 3].max():.1f} in alpha: "
        f"{found[y, x].tolist()} and not {wanted[y, x].round(1).tolist()} at ({x}, {y})"
    )


def in_srgb(colors: NDArray[Any], alphas: NDArray[Any] | None, full: int) -> Floats:
    """(h, w, 1 or 3) samples up to `full`, and alphas (h, w), to (h, w, 4) levels, not rounded."""
    rgb = np.broadcast_to(colors / full * 255, (*colors.shape[:2], 3))
    clear = np.full(colors.shape[:2], 255.0) if alphas is None else alphas / full * 255
    return np.dstack([rgb, clear])


def of_inks(inks: NDArray[Any], full: int) -> Floats:
    """(h, w, 4) to (h, w, 3): each ink, and black over it, takes its part of the light."""
    light: Floats = full - inks.astype(np.float64)
    found: Floats = light[..., :3] * light[..., 3:] / full
    return found


def straight(colors: NDArray[Any], alphas: NDArray[Any], full: int) -> Floats:
    """(h, w, n) that are multiplied by alphas (h, w), no more."""
    divided: Floats = np.rint(colors.astype(float) * full / np.maximum(alphas, 1.0)[..., None])
    return np.minimum(full, divided)


def ramps(channels: int, bits: int, size: tuple[int, int] = (20, 37)) -> NDArray[np.uint16]:
    """(h, w, channels): every channel of its own, from 0 to full scale."""
    y, x = np.mgrid[: size[0], : size[1]]
    full = (1 << bits) - 1
    planes = []
    for i in range(channels):
        level = ((x * (i + 1) * 7 + y * (5 - i) * 11 + i * 50) % 256) / 255
        level = 1 - level if i % 2 else level
        level[0, 0], level[0, 1], level[-1, -1], level[-1, -2] = (i + 1) / 5, 0, 1, 0.5
        planes.append(np.rint(level * full))
    return np.dstack(planes).astype(np.uint16)


def slopes(channels: int, size: tuple[int, int] = (48, 64)) -> Pixels:
    """(h, w, channels): so gentle that colours of half the resolution change them little."""
    y, x = np.mgrid[: size[0], : size[1]]
    planes = [60 + x * 2 + y, 200 - x - y * 2, 40 + x + y * 3, 255 - x * 3]
    return np.ascontiguousarray(np.dstack(planes)[..., :channels]).astype(np.uint8)


def blocks(channels: int, size: tuple[int, int] = (48, 64), side: int = 16) -> Pixels:
    """(h, w, channels): large squares of one colour each, which lossy codecs keep well."""
    rng = np.random.default_rng(3)
    few = rng.integers(16, 240, (size[0] // side + 1, size[1] // side + 1, channels))
    whole = few.repeat(side, axis=0).repeat(side, axis=1)
    return np.ascontiguousarray(whole[: size[0], : size[1]]).astype(np.uint8)


def by_vips(content: bytes) -> Floats:
    """(h, w, 4), as libvips has the file, upright; profiles are not applied."""
    pyvips.cache_set_max(0)  # else a buffer at the same place is taken for the same file
    image = pyvips.Image.new_from_buffer(content, "").autorot()
    values = image.numpy().reshape(image.height, image.width, image.bands)
    if image.interpretation == "cmyk":
        full = 65535 if values.dtype == np.uint16 else 255
        return in_srgb(of_inks(values, full), None, full)
    full = 65535 if values.dtype == np.uint16 else 255
    n = values.shape[2]
    alphas = values[..., -1] if n in (2, 4) else None
    return in_srgb(values[..., : n - (alphas is not None)], alphas, full)


def report(wrong: Sequence[str], of: int) -> str:
    """All that is wrong, to be shown where a test fails."""
    return f"{len(wrong)} of {of}:\n" + "\n".join(wrong)
