"""Headers of image files: the size of an image, and the memory that decoding it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from kmeans_dask.files import Location
from kmeans_dask.formats.color_tags import profile_of_png, read_code_points
from kmeans_dask.formats.jpeg import read_jpeg_header
from kmeans_dask.formats.png_chunks import read_png_header
from kmeans_dask.images.image_file import open_image_file
from kmeans_dask.images.open_image import OpenImage, check_size, open_image
from kmeans_dask.settings import MAX_PIXELS

# Bytes of memory for each pixel at most, with the bytes of the file and intermediate copies: see
# `benchmarks.memory`. Deep images have more than 8 bits a sample, or are not decoded by Pillow;
# the decoders of thirsty formats hold a whole image themselves.
_DEEP_BYTES, _THIRSTY_BYTES, _WITH_ALPHA_BYTES, _PLAIN_BYTES = 44, 25, 22, 14
_THIRSTY = ("WEBP", "JPEG2000", "AVIF")


@dataclass(frozen=True)
class Header:
    """Header of an image file: the size of the image and the memory that decoding takes.

    width, height: pixels, before the EXIF orientation is applied
    pixel_bytes: bytes of memory for each pixel while the image is decoded, at most
    """

    width: int
    height: int
    pixel_bytes: int

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels, before the EXIF orientation is applied."""
        return self.width, self.height


def read_header(path: Location, max_pixels: int = MAX_PIXELS) -> Header:
    """Return the header of the image at `path`, without decoding its pixels.

    Raises ImageError where the image is damaged, not supported, or larger than `max_pixels`;
    NoImageError where neither the content nor the name of the file is that of an image, or the name
    is that of a camera's raw file; UnreachableError where an object store cannot be reached.
    """
    with open_image_file(path, max_pixels, _read) as header:
        return header


def _read(kind: str, file: IO[bytes], max_pixels: int) -> Header:
    """Return the header of an image file; most JPEGs and PNGs without Pillow, which is slower.

    Raises ImageError where the image is not supported, or has more pixels than `max_pixels`.
    """
    jpeg = read_jpeg_header(file) if kind == "JPEG" else None
    if jpeg and not jpeg.refusal():
        check_size(kind, (jpeg.width, jpeg.height), max_pixels)
        return Header(jpeg.width, jpeg.height, _DEEP_BYTES if jpeg.is_deep else _PLAIN_BYTES)
    png = read_png_header(file) if kind == "PNG" else None
    if png and b"acTL" not in png.chunks:
        check_size(kind, (png.width, png.height), max_pixels)
        if b"cICP" in png.chunks:
            profile_of_png(read_code_points(file), {})  # raises ImageError for PQ and HLG
        with_alpha = _WITH_ALPHA_BYTES if png.has_alpha else _PLAIN_BYTES
        return Header(png.width, png.height, _DEEP_BYTES if png.bits == 16 else with_alpha)
    opened = open_image(kind, file, max_pixels)
    if kind == "AVIF":
        opened.profile()
    return Header(*opened.size, _pixel_bytes(kind, opened))


def _pixel_bytes(kind: str, opened: OpenImage) -> int:
    if opened.image is None or opened.samples is not None:
        return _DEEP_BYTES
    if kind in _THIRSTY:
        return _THIRSTY_BYTES
    return _WITH_ALPHA_BYTES if opened.image.has_transparency_data else _PLAIN_BYTES
