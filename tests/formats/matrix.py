"""Files of every supported layout, each with the picture that it must be decoded to.

The picture of a file is known twice: by plain arithmetic, from the samples that the file was made
of, and by a decoder that shares no code with ours. Both are compared with what we decode.
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
from kmeans_dask.images.decode import decode

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Judge = Callable[[bytes], "NDArray[Any]"]  # from a file to (h, w, 4), straight alpha, 0 to 255


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file, and the picture that it must be decoded to or the reason to refuse it.

    pixels: (h, w, 4), straight alpha, 0 to 255, not rounded; None where only a decoder knows them
    refusal: words of the reason to refuse the file; empty where it must be decoded
    tolerance: levels by which decoded colours and alphas may be off
    unjudged: why no independent decoder reads the file rightly; empty where one does
    """

    name: str
    content: bytes
    pixels: NDArray[Any] | None = None
    refusal: str = ""
    tolerance: float = 1
    unjudged: str = ""


def pixels_of(path: Path) -> Pixels:
    """Return the picture of a file as we decode it, (h, w, 4) uint8."""
    decoded = decode(path)
    band = decoded.whole()
    alphas = np.full(len(band.pixels), 255, np.uint8) if band.alphas is None else band.alphas
    return np.column_stack([band.pixels, alphas]).reshape(decoded.height, decoded.width, 4)


def mismatches(cases: Iterable[Case], folder: Path, judge: Judge | None = None) -> list[str]:
    """Return a line for each case that is decoded, judged or refused wrongly."""
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
    """Return how two pictures differ, or "" where they agree within `tolerance` levels.

    Colours of pixels that are transparent in one of the pictures are not compared.
    """
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
    """Return samples and alphas of 0 to `full` as levels of 0 to 255, (h, w, 4), not rounded.

    colors: (h, w, 1 or 3), grey or RGB
    alphas: (h, w); None for an opaque picture
    """
    rgb = np.broadcast_to(colors / full * 255, (*colors.shape[:2], 3))
    clear = np.full(colors.shape[:2], 255.0) if alphas is None else alphas / full * 255
    return np.dstack([rgb, clear])


def of_inks(inks: NDArray[Any], full: int) -> Floats:
    """Return CMYK, (h, w, 4), as RGB, (h, w, 3): each ink, and black over it, absorbs light."""
    light: Floats = full - inks.astype(np.float64)
    found: Floats = light[..., :3] * light[..., 3:] / full
    return found


def straight(colors: NDArray[Any], alphas: NDArray[Any], full: int) -> Floats:
    """Return premultiplied colours (h, w, n) divided by their alphas (h, w), rounded."""
    divided: Floats = np.rint(colors.astype(float) * full / np.maximum(alphas, 1.0)[..., None])
    return np.minimum(full, divided)


def ramps(channels: int, bits: int, size: tuple[int, int] = (20, 37)) -> NDArray[np.uint16]:
    """Return ramps from 0 to full scale, (h, w, channels) uint16, different in each channel."""
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
    """Return slopes, (h, w, channels) uint8, which change little at half the resolution."""
    y, x = np.mgrid[: size[0], : size[1]]
    planes = [60 + x * 2 + y, 200 - x - y * 2, 40 + x + y * 3, 255 - x * 3]
    return np.ascontiguousarray(np.dstack(planes)[..., :channels]).astype(np.uint8)


def blocks(channels: int, size: tuple[int, int] = (48, 64), side: int = 16) -> Pixels:
    """Return squares of one colour each, (h, w, channels) uint8, which lossy codecs keep well."""
    rng = np.random.default_rng(3)
    few = rng.integers(16, 240, (size[0] // side + 1, size[1] // side + 1, channels))
    whole = few.repeat(side, axis=0).repeat(side, axis=1)
    return np.ascontiguousarray(whole[: size[0], : size[1]]).astype(np.uint8)


def by_vips(content: bytes) -> Floats:
    """Return the file as libvips decodes it, (h, w, 4), upright, without applying profiles."""
    pyvips.cache_set_max(0)  # a new buffer at an old address would count as the old file
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
    """Return all mismatches, and the number of cases, as the message of a failed test."""
    return f"{len(wrong)} of {of}:\n" + "\n".join(wrong)
