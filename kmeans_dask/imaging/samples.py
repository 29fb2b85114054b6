"""Samples as a file has them, of 1 to 16 bits, and how 8-bit images are made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kmeans_dask.errors import ImageError

_MODES = {("grey", False): "L", ("rgb", False): "RGB", ("cmyk", False): "CMYK"} | {
    ("grey", True): "LA",
    ("rgb", True): "RGBA",
}
_BAND = 1 << 20  # samples that are worked on at once, so that no image is held as floats
# Of LittleCMS. Its shortcut for 16-bit colours, a table of 33 steps, is up to 12 levels off.
_RELATIVE_COLORIMETRIC, _BLACK_POINT_COMPENSATION, _NO_SHORTCUT, _NO_CACHE = 1, 0x2000, 0x100, 0x40


@dataclass(frozen=True)
class Samples:
    """An image that is decoded, and not yet brought to 8 bits a sample.

    values: (h, w, c) uint8 or uint16; colours, then alpha where there is one
    bits: of a sample, so that 2^bits - 1 is full scale
    inverted: whether 0 is white
    alpha: how colours stand beside it; None where there is none
    shown: the samples that the file says are to be shown as black and as white, if it does
    """

    values: NDArray[Any]
    colors: Literal["grey", "rgb", "cmyk"]
    bits: int
    inverted: bool = False
    alpha: Literal["straight", "premultiplied"] | None = None
    shown: tuple[int, int] | None = None

    @property
    def full_scale(self) -> int:
        """The largest sample that so many bits hold."""
        return (1 << self.bits) - 1

    @property
    def brightest(self) -> int:
        """The largest sample of a colour that there is."""
        return int(self.values[..., : self._n_colors].max(initial=0))

    @property
    def _n_colors(self) -> int:
        return int(self.values.shape[2]) - (self.alpha is not None)

    def window(self, white: int | str | None) -> tuple[int, int]:
        """The samples that become black and white.

        white: the one that becomes white; "auto" for what the file says, or else for the largest
            of the fewest bits that hold all samples; None for full scale
        """
        if white is None or self.colors == "cmyk":
            return 0, self.full_scale
        if isinstance(white, int):
            return 0, white
        if self.shown:
            return self.shown
        return 0, max(1, (1 << self.brightest.bit_length()) - 1)

    def to_image(self, white: int | str | None = None) -> Image.Image:
        """With 8 bits a sample, in mode L, LA, RGB, RGBA or CMYK, straight alpha."""
        table = self._table(white, 255).astype(np.uint8)
        alphas = _scale(self.full_scale, 255).astype(np.uint8)
        alpha = self.alpha is not None
        shape = (*self.values.shape[:2], self.values.shape[2])
        pixels = np.empty(shape, np.uint8)

        def fill(rows: slice) -> None:
            values = self._straight(self.values[rows])
            pixels[rows] = table.take(values, mode="clip")
            if alpha:
                pixels[rows, :, -1] = alphas.take(values[..., -1], mode="clip")

        self._in_bands(fill)
        if self.colors == "cmyk" and alpha:
            raise ImageError("a CMYK image with transparency, which is not supported")
        mode = _MODES[self.colors, alpha]
        return Image.frombuffer(mode, shape[1::-1], np.ascontiguousarray(pixels), "raw", mode, 0, 1)

    def to_srgb(self, profile: bytes, white: int | str | None = None) -> Image.Image:
        """Through `profile` at full precision, in mode RGB or RGBA; grey or RGB samples only."""
        codecs = import_codecs("a picture of 16 bits a sample with a colour profile")
        table = self._table(white, 65535).astype(np.uint16)
        alphas = _scale(self.full_scale, 255).astype(np.uint8)
        alpha = self.alpha is not None
        height, width = self.values.shape[:2]
        pixels = np.empty((height, width, 4 if alpha else 3), np.uint8)
        srgb = codecs.cms_profile("srgb")
        n, of_grey = self._n_colors, profile[16:20] == b"GRAY"

        def fill(rows: slice) -> None:
            values = self._straight(self.values[rows])
            colors = table.take(values[..., :n], mode="clip")
            if n == 1 and not of_grey:
                colors = np.repeat(colors, 3, axis=2)
            pixels[rows, :, :3] = codecs.cms_transform(
                np.ascontiguousarray(colors[..., 0] if of_grey else colors),
                profile,
                srgb,
                colorspace="gray" if of_grey else "rgb",
                outcolorspace="rgb",
                outdtype="uint8",
                intent=_RELATIVE_COLORIMETRIC,
                flags=_BLACK_POINT_COMPENSATION | _NO_SHORTCUT | _NO_CACHE,
            )
            if alpha:
                pixels[rows, :, 3] = alphas.take(values[..., -1], mode="clip")

        self._in_bands(fill)
        mode = "RGBA" if alpha else "RGB"
        return Image.frombuffer(mode, (width, height), pixels, "raw", mode, 0, 1)

    def _table(self, white: int | str | None, to: int) -> NDArray[np.int64]:
        low, high = self.window(white)
        table = _scale(self.full_scale, to, low, high)
        return to - table if self.inverted else table

    def _straight(self, values: NDArray[Any]) -> NDArray[Any]:
        """Some of the samples, with colours that are not multiplied by alpha."""
        if self.alpha != "premultiplied":
            return values
        alpha = values[..., -1:].astype(np.float32)
        full = self.full_scale
        if self.inverted:  # what is multiplied is light
            lights = (full - values[..., :-1]).astype(np.float32)
        else:
            lights = values[..., :-1].astype(np.float32)
        lights = np.minimum(full, np.rint(lights * full / np.maximum(alpha, 1)))
        colors = (full - lights) if self.inverted else lights
        return np.concatenate([colors.astype(values.dtype), values[..., -1:]], axis=-1)

    def _in_bands(self, work: Callable[[slice], None]) -> None:
        height, width, channels = self.values.shape
        rows = max(1, _BAND // max(1, width * channels))
        for top in range(0, height, rows):
            work(slice(top, top + rows))


def _scale(full: int, to: int, low: int = 0, high: int | None = None) -> NDArray[np.int64]:
    """What each sample up to `full` becomes, where `low` becomes 0 and `high` becomes `to`."""
    high = full if high is None else high
    span = max(1, high - low)
    samples = np.clip(np.arange(full + 1, dtype=np.int64) - low, 0, span)
    scaled: NDArray[np.int64] = (samples * to + span // 2) // span
    return scaled


def import_codecs(what: str) -> Any:
    """The library imagecodecs. Raises ImageError where it is not installed.

    what: what needs it
    """
    try:
        import imagecodecs
    except ImportError as error:
        raise ImageError(f"{what}: pip install 'kmeans-dask[formats]' to read it") from error
    return imagecodecs
