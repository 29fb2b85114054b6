"""Quantised images and palettes: an image rewritten with few colours, and files of both."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kmeans_dask.api.job_input import AnyPath
from kmeans_dask.color import palette as palettes
from kmeans_dask.color.color_lookup import squared_error
from kmeans_dask.color.lossy_formats import choose_for_format
from kmeans_dask.color.psnr import psnr
from kmeans_dask.color.remap import Remapper, nearest_entries
from kmeans_dask.engine import local_threads
from kmeans_dask.errors import UsageError
from kmeans_dask.files import ObjectPath, parse_location
from kmeans_dask.files.atomic_files import write_file
from kmeans_dask.images.any_image import read_any_image, to_pillow
from kmeans_dask.images.encode import check_effort, encode_image
from kmeans_dask.images.palette_files import read_entries, write_entries
from kmeans_dask.images.thumbnail import shrunk
from kmeans_dask.job.job_settings import check_palette
from kmeans_dask.job.notebook import pictures, swatches
from kmeans_dask.kmeans.histogram import ColorCounter, ColorHistogram
from kmeans_dask.settings import (
    FORMATS,
    MAX_COLORS,
    MAX_PIXELS,
    PRIVATE_TOL,
    Color,
    DecodeSettings,
    EncodeSettings,
    FitSettings,
    White,
)
from kmeans_dask.steps.fit import check_room
from kmeans_dask.steps.lossy_image import free_entries
from kmeans_dask.steps.quantize import quantize_histogram

if TYPE_CHECKING:
    import dask.array as da
    from PIL import Image

    from kmeans_dask.images.decoded_image import DecodedImage

    AnyImage = str | os.PathLike[str] | ObjectPath | Image.Image | NDArray[Any] | da.Array

_FIT, _DECODE = FitSettings(), DecodeSettings()


@dataclass(frozen=True)
class Palette(palettes.Palette):
    """Palette of images, with its entries in the order of their indices.

    entries: (n, 4) uint8, sRGB and straight alpha; all four values of a clear entry are 0

    >>> Palette.of([[0, 0, 0], [255, 255, 255]]).colors.tolist()
    [[0, 0, 0], [255, 255, 255]]
    """

    @classmethod
    def of(cls, colors: Any) -> Palette:
        """Return the palette of colours (k, 3), or (k, 4) with straight alpha, 0 to 255."""
        array = np.asarray(colors)
        if array.ndim != 2 or array.shape[1] not in (3, 4) or not len(array):
            raise UsageError(
                f"colours of shape {array.shape} are no palette: give (k, 3) or (k, 4)"
            )
        if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
            raise UsageError("colours of a palette are integers of 0 to 255")
        entries = np.full((len(array), 4), 255, np.uint8)
        entries[:, : array.shape[1]] = array
        return cls(palettes.Palette.of_entries(entries).entries)

    @classmethod
    def load(cls, path: AnyPath) -> Palette:
        """Return the palette in a file: JSON, .gpl, .act, .pal, .hex or PNG.

        The entries keep the order of the file. Raises UsageError where the file is no palette.
        """
        location = parse_location(path)
        palette = cls(palettes.Palette.of_entries(read_entries(location)).entries)
        if not palette.numbers.size:
            raise UsageError(f"{location.name} has no colour that is not clear")
        return palette

    def save(self, path: AnyPath, *, name: str = "kmeans-dask") -> None:
        """Write the palette to a file, in the format of its suffix; an older file is replaced.

        name: name of the palette, which only .gpl and JSON store

        Raises UsageError where the suffix is that of no palette, or the format cannot hold it.
        """
        write_entries(parse_location(path), self.entries, None, name)

    def map(
        self,
        image: AnyImage,
        *,
        dither: float = 0.0,
        lossy: float = 0.0,
        color_space: str = "rgb",
    ) -> Quantized:
        """Return `image` with each pixel as its nearest entry, exactly.

        Fully transparent pixels get a clear entry, which is appended where there is none.

        image: as in `quantize`
        dither: strength of Floyd-Steinberg dithering, 0 (none) to 1
        lossy: as in `compress`; more than 0 chooses entries that take fewer bytes in a file
        color_space: space in which distances are measured, "rgb" or "oklab"

        Raises UsageError and ImageError.
        """
        FitSettings(space=color_space)  # raises where there is no such space
        settings = EncodeSettings(dither=dither, lossy=lossy)
        decoded = decode_image(image)
        return _remap(decoded, count_colors_of(decoded), self, color_space, settings)

    def _repr_html_(self) -> str:
        return swatches(self.entries)


@dataclass(frozen=True)
class Quantized:
    """Image as indices into a palette.

    indices: (h, w) uint8, or uint16 for a palette of more than 256 entries
    palette: the palette, with the entries in the order of their indices
    psnr: peak signal-to-noise ratio in dB, over pixels that are not clear; None if nothing was lost
    """

    indices: NDArray[np.unsignedinteger[Any]]
    palette: Palette
    psnr: float | None
    _original: DecodedImage = field(repr=False, compare=False)

    @property
    def image(self) -> Image.Image:
        """Return the image as Pillow's, in mode P. Raises UsageError for more than 256 entries."""
        if len(self.palette) > MAX_COLORS:
            raise UsageError(
                f"an image of mode P holds {MAX_COLORS} entries, the palette has "
                f"{len(self.palette)}: use `indices` and `palette`"
            )
        return to_pillow(self.indices.astype(np.uint8, copy=False), self.palette.entries)

    def save(self, path: AnyPath, *, effort: int = EncodeSettings().effort) -> None:
        """Write the image to a PNG, WebP or GIF file, by its suffix; an older file is replaced.

        effort: 0 to 9; more takes more time, for fewer bytes

        Raises UsageError where the suffix is another, ImageError where the format cannot hold it.
        """
        location = parse_location(path)
        format_ = location.suffix.lower().removeprefix(".")
        if format_ not in FORMATS:
            raise UsageError(
                f"{location.name!r} ends with no suffix of an image: choose .png, .webp or .gif"
            )
        settings = EncodeSettings(format_, effort=effort)
        check_effort(settings)
        check_palette(self.palette, settings)
        indices = self.indices.astype(np.uint8, copy=False)
        write_file(location, encode_image(indices, self.palette, settings))

    def _repr_html_(self) -> str:
        lost = "nothing lost" if self.psnr is None else f"{self.psnr:.2f} dB"
        shown = [("before", _png(self._original.image))]
        if len(self.palette) <= MAX_COLORS:
            shown.append((f"{len(self.palette)} colours, {lost}", _png(self.image)))
        return pictures(shown) + swatches(self.palette.entries)


def quantize(
    image: AnyImage,
    colors: int = _FIT.colors,
    *,
    min_psnr: float | None = None,
    max_error: float | None = None,
    fixed_colors: Sequence[Color] = (),
    color_space: str = _FIT.space,
    dither: float = 0.0,
    lossy: float = 0.0,
    n_init: int | None = None,
    seed: int = _FIT.seed,
    init: str = _FIT.init,
    max_iter: int | None = None,
    tol: float = PRIVATE_TOL,
    white: White = None,
    max_pixels: int = MAX_PIXELS,
) -> Quantized:
    """Return an image with at most `colors` colours, those that lose the least.

    image: path or URL of a file; Pillow image; or array (H, W), (H, W, 3) or (H, W, 4), NumPy's or
        Dask's, of uint8, uint16 or bool
    colors: palette entries, 2 to 65536, one of them clear where the image is transparent; `image`
        and `save` of the result need 256 or fewer
    min_psnr: quality in dB to reach with the fewest colours; None to use all `colors`
    max_error: largest error of a pixel, 0 to 255, as in `compress`
    fixed_colors: colours (r, g, b), 0 to 255, that the palette has in any case
    color_space: space in which distances are measured, "rgb" or "oklab"
    dither: strength of Floyd-Steinberg dithering, 0 (none) to 1
    lossy: as in `compress`; more than 0 chooses indices that take fewer bytes in a file
    n_init: number of starts of plain k-means, of which the best is kept; None for a start that
        breathing k-means searches for
    seed, init, max_iter, tol: start of k-means and its end, as in `KMeans`
    white: the 16-bit sample of a file that becomes white, or "auto"; None for 65535
    max_pixels: most pixels of a file

    The fit is Lloyd's algorithm on the histogram of the colours (Lloyd 1982, "Least squares
    quantization in PCM"), which gives what it gives on all pixels. Raises UsageError where a value
    is out of range, ImageError where the image cannot be read.

    >>> found = quantize(np.array([[[9, 9, 9], [200, 0, 0]]], np.uint8), 2)
    >>> found.indices.tolist(), found.palette.colors.tolist(), found.psnr
    ([[0, 1]], [[9, 9, 9], [200, 0, 0]], None)
    """
    settings = FitSettings(
        colors,
        seed=seed,
        init=init,
        max_iter=max_iter,
        tol=tol,
        n_init=n_init,
        space=color_space,
        fixed=fixed_colors,
        min_psnr=min_psnr,
        max_error=max_error,
    )
    encode = EncodeSettings(dither=dither, lossy=lossy)
    decoded = decode_image(image, DecodeSettings(max_pixels, white=white))
    histogram = count_colors_of(decoded)
    check_room(settings, transparent=decoded.transparent)
    with local_threads() as threads:
        found, _ = quantize_histogram(histogram, settings, threads, transparent=decoded.transparent)
    return _remap(decoded, histogram, found.palette, color_space, encode, is_own=True)


def decode_image(image: AnyImage, settings: DecodeSettings = _DECODE) -> DecodedImage:
    """Return an image as `quantize` takes it, decoded. Raises UsageError and ImageError."""
    computed: Any = image
    if hasattr(image, "dask"):
        computed = computed.compute()
    return read_any_image(computed, white=settings.white, max_pixels=settings.max_pixels)


def count_colors_of(decoded: DecodedImage) -> ColorHistogram:
    """Return the histogram of an image, without its fully transparent pixels."""
    counter = ColorCounter()
    for band in decoded.bands():
        counter.add(band.pixels, band.alphas)
    return counter.histogram()


def _remap(
    decoded: DecodedImage,
    histogram: ColorHistogram,
    palette: palettes.Palette,
    color_space: str,
    settings: EncodeSettings,
    *,
    is_own: bool = False,
) -> Quantized:
    """Return an image whose histogram is `histogram` as indices into `palette`.

    is_own: whether the palette was made for the image, so that lossy indices may move its colours
    """
    if decoded.transparent:
        palette = palette.with_clear()
    for option, value in (("dither", settings.dither), ("lossy", settings.lossy)):
        if value and len(palette) > MAX_COLORS:
            raise UsageError(f"{option} is for {MAX_COLORS} palette entries or fewer: leave it out")
    lossy = settings.lossy
    if lossy == "auto":
        raise UsageError("lossy='auto' is for `compress`: give a number")
    entries = None if settings.dither else nearest_entries(histogram, palette, color_space)
    remapper = Remapper(histogram, palette, color_space, settings.dither, entries)
    is_whole = settings.dither or settings.lossy
    bands = [decoded.whole()] if is_whole else decoded.bands()
    found, error, pixels = [], 0, 0
    for band in bands:
        indices = remapper.map(band.pixels, band.alphas, decoded.width)
        if settings.lossy:
            indices, palette = choose_for_format(
                settings.format,
                settings.effort,
                band.pixels,
                band.alphas,
                decoded.width,
                indices,
                palette,
                color_space,
                lossy,
                free_entries(palette) if is_own else None,
            )
        error += squared_error(band.pixels, band.alphas, indices, palette.entries).total
        pixels += len(indices) if band.alphas is None else int(np.count_nonzero(band.alphas))
        found.append(indices)
    indices = np.concatenate(found).reshape(decoded.height, decoded.width)
    return Quantized(indices, Palette(palette.entries), psnr(error, pixels), decoded)


def _png(image: Image.Image) -> bytes:
    """Return a small PNG of an image, for a notebook."""
    file = io.BytesIO()
    shown = image if image.mode != "P" or max(image.size) <= 420 else image.convert("RGBA")
    shrunk(shown).save(file, "PNG")
    return file.getvalue()
