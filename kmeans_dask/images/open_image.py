"""Open images: what their headers tell, and how their pixels can be decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

from PIL import ImageFile, ImagePalette

from kmeans_dask.errors import ImageError
from kmeans_dask.formats.bmp import read_bmp_header
from kmeans_dask.formats.color_tags import (
    profile_of_avif,
    profile_of_bmp,
    profile_of_png,
    read_code_points,
)
from kmeans_dask.formats.jpeg import read_deep_jpeg, read_jpeg_header, read_jpeg_tags
from kmeans_dask.formats.jpeg2000 import read_jpeg2000_header, read_odd_jpeg2000
from kmeans_dask.formats.netpbm import refusal_of_netpbm
from kmeans_dask.formats.samples import Samples, import_codecs
from kmeans_dask.formats.signatures import NAMES
from kmeans_dask.formats.tiff import read_layout, read_samples
from kmeans_dask.images.pillow_image import open_pillow_image

_COLOR_MAP = 320  # TIFF tag


@dataclass
class OpenImage:
    """Image file that is open and whose header has been read.

    size: width and height in pixels, before the EXIF orientation is applied
    image: Pillow's image; None where Pillow does not read the file correctly
    samples: function that decodes the samples at full bit depth; None where only `image` can
    profile: function that returns the ICC profile of the colours, or None for sRGB
    orientation: EXIF orientation, 1 to 8, for a file without `image`
    shown: the samples that the file says are to be shown as black and as white
    indexed: whether the file has palette indices, or a bit for each pixel
    """

    size: tuple[int, int]
    image: ImageFile.ImageFile | None
    samples: Callable[[], Samples] | None = None
    profile: Callable[[], bytes | None] = field(default=lambda: None)
    orientation: int = 1
    shown: tuple[int, int] | None = None
    indexed: bool = False


def open_image(kind: str, file: IO[bytes], max_pixels: int) -> OpenImage:
    """Return an image file with its header read, so that only decoding is left.

    Raises ImageError where the image is not supported, or has more pixels than `max_pixels`.
    """
    opened = _open_format(kind, file)
    check_size(kind, opened.size, max_pixels)
    return opened


def check_size(kind: str, size: tuple[int, int], max_pixels: int) -> None:
    """Raise ImageError where an image of `size` is empty, or has more pixels than `max_pixels`.

    kind: format of the file, which the error names
    """
    width, height = size
    if not width or not height:
        raise ImageError(f"{NAMES[kind]} that is damaged: it says no size")
    if width * height > max_pixels:
        raise ImageError(
            f"{width} x {height} pixels are more than the limit of {max_pixels}: raise --max-pixels"
        )


def _open_format(kind: str, file: IO[bytes]) -> OpenImage:
    if kind == "TIFF":
        return _open_tiff(file)
    if kind == "JPEG2000":
        return _open_jpeg2000(file)
    if kind == "JPEG":
        header = read_jpeg_header(file)
        _refuse(header.refusal() if header else None)
        if header and header.is_deep:
            orientation, profile = read_jpeg_tags(file)
            return OpenImage(
                (header.width, header.height),
                None,
                lambda: read_deep_jpeg(_all_of(file), header),
                lambda: profile,
                orientation,
            )
    if kind == "BMP":
        bmp = read_bmp_header(file)
        _refuse(bmp.refusal() if bmp else None)
    if kind == "PPM":
        _refuse(refusal_of_netpbm(file))
    # Read before Pillow moves on in the file, while the beginning is still in the buffer.
    code_points = read_code_points(file) if kind == "PNG" else b""
    image = open_pillow_image(kind, file)
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise ImageError(f"{NAMES[kind]} of more than one frame: animations are not supported")
    opened = OpenImage(
        image.size,
        image,
        profile=lambda: image.info.get("icc_profile"),
        indexed=image.mode in ("P", "PA", "1"),
    )
    if kind == "PNG":
        opened.profile = partial(profile_of_png, code_points, image.info)
        if image.tile and str(image.tile[0].args).endswith(";16B"):
            opened.samples = partial(_png_samples, file)
    if kind == "AVIF":
        opened.profile = partial(profile_of_avif, file, image.info)
    if kind == "BMP":
        opened.profile = partial(profile_of_bmp, file)
    return opened


def _open_tiff(file: IO[bytes]) -> OpenImage:
    layout = read_layout(file)
    _refuse(layout.refusal())
    image = open_pillow_image("TIFF", file) if layout.suits_pillow else None
    if image and layout.low_palette:
        image.palette = ImagePalette.raw("RGB;L", bytes(image.tag_v2[_COLOR_MAP]))  # type: ignore[attr-defined]
    deep = image is None or layout.bits[0] > 8
    return OpenImage(
        (layout.width, layout.height),
        image,
        partial(read_samples, file, layout) if deep else None,
        lambda: layout.profile,
        layout.orientation,
        layout.shown,
        layout.is_indexed,
    )


def _open_jpeg2000(file: IO[bytes]) -> OpenImage:
    header = read_jpeg2000_header(file)
    _refuse(header.refusal())
    samples = partial(_jpeg2000_samples, file, header)
    return OpenImage(
        (header.width, header.height),
        open_pillow_image("JPEG2000", file) if header.suits_pillow else None,
        None if header.suits_pillow else samples,
        lambda: header.profile,
        indexed=bool(header.palette),
    )


def _refuse(reason: str | None) -> None:
    if reason:
        raise ImageError(reason)


def _all_of(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _png_samples(file: IO[bytes]) -> Samples:
    """Return all samples of a 16-bit PNG at full depth; a transparent colour becomes alpha."""
    codecs = import_codecs("a PNG of 16 bits a sample that is not plain sRGB")
    values = codecs.png_decode(_all_of(file))
    values = values[..., None] if values.ndim == 2 else values
    n = values.shape[2]
    return Samples(
        values, "grey" if n < 3 else "rgb", 16, alpha="straight" if n in (2, 4) else None
    )


def _jpeg2000_samples(file: IO[bytes], header: Any) -> Samples:
    return read_odd_jpeg2000(_all_of(file), header)
