"""Samples of an image at its own bit depth, 1 to 16, and their conversion to 8-bit images."""

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
_BAND = 1 << 20  # samples that are converted at once, so that no whole image is held as floats
# Flags of LittleCMS. Its shortcut for 16-bit colours, a table of 33 steps, errs by up to 12 levels.
_RELATIVE_COLORIMETRIC, _BLACK_POINT_COMPENSATION, _NO_SHORTCUT, _NO_CACHE = 1, 0x2000, 0x100, 0x40


@dataclass(frozen=True)
class Samples:
    """Samples of a decoded image, not yet converted to 8 bits.

    values: (h, w, c) uint8, uint16, or bool for 1 bit; colours, then alpha where there is any
    colors: kind of the colours
    bits: bit depth of a sample, so that 2^bits - 1 is full scale
    inverted: whether 0 is white
    alpha: whether colours are straight or premultiplied by alpha; None where there is no alpha
    shown: range of samples, lowest and highest, that the file says is to be displayed; None where
        the file names no range
    """

    values: NDArray[Any]
    colors: Literal["grey", "rgb", "cmyk"]
    bits: int
    inverted: bool = False
    alpha: Literal["straight", "premultiplied"] | None = None
    shown: tuple[int, int] | None = None

    @property
    def full_scale(self) -> int:
        """Return the largest sample that `bits` bits can hold."""
        return (1 << self.bits) - 1

    @property
    def brightest(self) -> int:
        """Return the largest sample of a colour in `values`, even where 0 is white."""
        return int(self.values[..., : self._n_colors].max(initial=0))

    def has_few_greys(self, most: int) -> bool:
        """Return whether the image is grey, and has at most `most` different grey samples."""
        if self.colors != "grey":
            return False
        seen = np.zeros(1 << 16, np.bool_)

        def see(rows: slice) -> None:
            seen[self.values[rows, :, 0].astype(np.uint16)] = True  # samples of 1 bit are booleans

        self._in_bands(see)
        return int(np.count_nonzero(seen)) <= most

    @property
    def _n_colors(self) -> int:
        return int(self.values.shape[2]) - (self.alpha is not None)

    def window(self, white: int | str | None) -> tuple[int, int]:
        """Return the lowest and the highest sample of the range that is scaled to 8 or 16 bits.

        The lowest becomes black and the highest white, or the other way round where `inverted`.

        white: the highest sample; "auto" for the range in `shown`, or else for the largest sample
            of the fewest bits that hold all; None for full scale, as is any value for CMYK and for
            samples of 8 bits or fewer
        """
        if white is None or self.colors == "cmyk" or self.bits <= 8:
            return 0, self.full_scale
        if isinstance(white, int):
            return 0, white
        if self.shown:
            return self.shown
        return 0, max(1, (1 << self.brightest.bit_length()) - 1)

    def to_image(self, white: int | str | None = None) -> Image.Image:
        """Return the image at 8 bits a sample, in mode L, LA, RGB, RGBA or CMYK, straight alpha.

        white: as in `window`

        Raises ImageError for CMYK with alpha.
        """
        table = self._table(white, 255).astype(np.uint8)
        alphas = _scale(self.full_scale, 255).astype(np.uint8)
        alpha = self.alpha is not None
        if self.colors == "cmyk" and alpha:
            raise ImageError("a CMYK image with transparency, which is not supported")
        pixels = np.empty(self.values.shape, np.uint8)

        def fill(rows: slice) -> None:
            values = self._straight(self.values[rows])
            pixels[rows] = table.take(values, mode="clip")
            if alpha:
                pixels[rows, :, -1] = alphas.take(values[..., -1], mode="clip")

        self._in_bands(fill)
        mode = _MODES[self.colors, alpha]
        size = self.values.shape[1], self.values.shape[0]
        return Image.frombuffer(mode, size, np.ascontiguousarray(pixels), "raw", mode, 0, 1)

    def to_srgb(self, profile: bytes, white: int | str | None = None) -> Image.Image:
        """Return the image in 8-bit sRGB, mode RGB or RGBA, converted from `profile` at 16 bits.

        Only grey and RGB samples can be converted.

        white: as in `window`

        Raises ImageError where imagecodecs is not installed.
        """
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
        """Return `values` (h, w, c) with straight alpha; divide premultiplied colours by alpha.

        Samples that are not premultiplied are returned as they are.
        """
        if self.alpha != "premultiplied":
            return values
        alpha = values[..., -1:].astype(np.float32)
        full = self.full_scale
        if self.inverted:  # alpha multiplies light, not its complement
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
    """Return a table (full + 1,) int64 that scales `low` to 0 and `high` to `to`, clipped."""
    high = full if high is None else high
    span = max(1, high - low)
    samples = np.clip(np.arange(full + 1, dtype=np.int64) - low, 0, span)
    scaled: NDArray[np.int64] = (samples * to + span // 2) // span
    return scaled


def import_codecs(what: str) -> Any:
    """Return the module imagecodecs.

    what: the image that needs imagecodecs, for the message

    Raises ImageError where imagecodecs is not installed.
    """
    try:
        import imagecodecs
    except ImportError as error:
        raise ImageError(f"{what}: pip install 'kmeans-dask[formats]' to read it") from error
    return imagecodecs
