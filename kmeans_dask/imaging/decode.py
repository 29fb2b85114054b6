"""From an image file to upright 8-bit sRGB pixels, by one written policy.

- Formats are the ones named in `FORMATS`, told by content, not by file name.
- More pixels than the limit, or more bytes than so many pixels can need: refused before anything
  is decoded.
- More than one frame or page: refused; no frame is lost silently. (Of an MPO, a photograph with
  previews, the photograph is taken, as JPEG viewers do.)
- EXIF orientation is applied.
- An embedded ICC profile is converted to sRGB, relative colorimetric with black point
  compensation. A profile that says it is sRGB, or that does not fit the image, changes nothing.
  One beyond the limit is refused, image and all: without it the colours would be others.
- Grey, bilevel and palette images become RGB. CMYK without a profile is converted naively.
- 16-bit samples are scaled, not clipped: 65535 becomes 255 (grey by rounding; of colour Pillow
  gives the high byte). 32-bit and float samples have no
  agreed white and are refused.
- Alpha: a fully transparent pixel loses its colour, which nobody sees. Partly transparent ones
  stay so, or are composited over white for a format without partial alpha.
- Metadata is dropped, unless it is asked for.
"""

from __future__ import annotations

import functools
import io
import stat
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile

from kmeans_dask.errors import ImageError, UnreachableError
from kmeans_dask.imaging.metadata import Metadata, read_metadata
from kmeans_dask.settings import MAX_PIXELS
from kmeans_dask.storage import Place, Remote

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")

FEW_GREYS = 32  # of a grey image: no more are labels rather than shades

MAX_PROFILE = 1 << 22  # bytes; those of the largest printers have 3 MB

# Some decoders read a whole file before they look at it. The largest files of a limit's pixels have
# 8 bytes each, of 16-bit RGBA; beside them there is room for metadata and previews.
_BYTES_PER_PIXEL, _BYTES_BESIDE = 8, 1 << 24

# Memory of a pixel, the file's bytes and copies that are made on the way included, at most: see
# `benchmarks.memory`. The first is that of formats whose decoders hold all of an image themselves.
DECODING_BYTES, _WITH_ALPHA_BYTES, _PLAIN_BYTES = 25, 22, 14
_THIRSTY = ("WEBP", "JPEG2000")

_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC = 0x0112, 0x0102, 0x0106  # EXIF and TIFF tags
_WHITE_IS_ZERO = 0
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Band:
    """Some rows of an image.

    pixels: (n, 3) uint8, straight sRGB; where fully transparent, black
    alphas: (n,) uint8, or None where all is opaque
    """

    pixels: NDArray[np.uint8]
    alphas: NDArray[np.uint8] | None


@dataclass(frozen=True)
class DecodedImage:
    """An upright sRGB image, mode RGB, or RGBA where some pixel is not opaque.

    transparent, translucent: whether some pixel is fully, or partly, transparent
    metadata: where it was asked for
    indexed: whether the file's samples are index numbers, or few greys: labels, perhaps
    """

    image: Image.Image
    transparent: bool
    translucent: bool
    metadata: Metadata | None = None
    indexed: bool = False

    @property
    def height(self) -> int:
        """Rows, in pixels."""
        return self.image.height

    @property
    def width(self) -> int:
        """Columns, in pixels."""
        return self.image.width

    def bands(self, pixels: int = 1 << 18) -> Iterator[Band]:
        """The image from top to bottom, about `pixels` at a time: it is never held twice."""
        rows = max(1, pixels // self.width)
        if rows >= self.height:
            yield _band(np.asarray(self.image))
            return
        for top in range(0, self.height, rows):
            box = (0, top, self.width, min(top + rows, self.height))
            yield _band(np.asarray(self.image.crop(box)))

    def whole(self) -> Band:
        """All of it at once. Put together of bands: Pillow is slow to hand out large images."""
        bands = list(self.bands())
        if len(bands) == 1:
            return bands[0]
        alphas = None
        if any(band.alphas is not None for band in bands):
            opaque = (np.full(len(band.pixels), 255, np.uint8) for band in bands)
            alphas = np.concatenate(
                [
                    o if band.alphas is None else band.alphas
                    for o, band in zip(opaque, bands, strict=True)
                ]
            )
        return Band(np.concatenate([band.pixels for band in bands]), alphas)


def read_size(path: Place, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height as the file's header has them. Raises ImageError."""
    with _opened(path, max_pixels) as image:
        return image.size


def decoding_bytes(path: Place) -> int:
    """Memory that each pixel of an image takes while it is decoded, by its header.

    Raises ImageError.
    """
    with _opened(path, sys.maxsize) as image:
        if image.format in _THIRSTY:
            return DECODING_BYTES
        return _WITH_ALPHA_BYTES if image.has_transparency_data else _PLAIN_BYTES


def decode(
    path: Place,
    max_pixels: int = MAX_PIXELS,
    *,
    flat: bool = False,
    keep_metadata: bool = False,
) -> DecodedImage:
    """Decode the image at `path` by the policy above. Raises ImageError with the reason.

    flat: composite partly transparent pixels over white; the image still counts as translucent
    """
    with _opened(path, max_pixels, whole=True) as image:
        _mend_color_key(image)
        image.load()
        profile = image.info.get("icc_profile")
        if profile and len(profile) > MAX_PROFILE:
            raise ImageError(f"its colour profile has more than {MAX_PROFILE} bytes")
        decoded = _to_rgb(_to_8_bit(image), profile)
        alphas = decoded.getchannel("A").histogram() if decoded.mode == "RGBA" else [0]
        transparent, translucent = alphas[0] > 0, any(alphas[1:255])
        if decoded.mode == "RGBA" and not (transparent or translucent):
            decoded = decoded.convert("RGB")
        if flat and translucent:
            decoded = _flatten(decoded)
            decoded = decoded if transparent else decoded.convert("RGB")
        metadata = read_metadata(image) if keep_metadata else None
        upright = _upright(decoded, image)
        return DecodedImage(upright, transparent, translucent, metadata, _is_indexed(image))


def _is_indexed(image: Image.Image) -> bool:
    """Whether the samples of an image may be numbers of classes: see `DecodedImage.indexed`."""
    if image.mode == "L":
        return image.getcolors(FEW_GREYS) is not None
    return image.mode in ("P", "PA", "1")


class _NoWarnings:
    """Inside the block, of any number of threads, nothing is warned of.

    What `catch_warnings` puts back when a thread leaves is what that thread has found, and another
    one may still be inside: so the first to enter does it, and the last to leave.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.__exit__(None, None, None)


_no_warnings = _NoWarnings()


@contextmanager
def _opened(path: Place, max_pixels: int, *, whole: bool = False) -> Iterator[Image.Image]:
    """Open an image after all checks that need no decoding; what goes wrong is an ImageError.

    whole: whether all of it will be read, so that an object is fetched at once

    Pillow's plugins raise nearly every kind of exception on hostile files, so all are caught.
    """
    try:
        file = _file(path, max_pixels, whole=whole)
        Image.MAX_IMAGE_PIXELS = max_pixels
        # What Pillow warns of is harmless here, or checked in the next lines.
        with _no_warnings, Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise ImageError(
                    f"{image.width} x {image.height} pixels are more than the limit of {max_pixels}"
                )
            if getattr(image, "is_animated", False) and image.format != "MPO":
                raise ImageError("more than one frame or page: animations are not supported")
            yield image
    except (ImageError, UnreachableError):
        raise
    except Exception as error:
        raise ImageError(_reason(error)) from error


def _file(path: Place, max_pixels: int, *, whole: bool) -> Path | IO[bytes]:
    """What Pillow reads. Raises ImageError for what it should not."""
    most = max_pixels * _BYTES_PER_PIXEL + _BYTES_BESIDE
    data = path.read_at_most(most) if whole and isinstance(path, Remote) else None
    if data:  # by one request, where to ask for its size would be another
        return io.BytesIO(data)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("not a regular file")
    if status.st_size == 0:
        raise ImageError("the file is empty")
    if status.st_size > most:
        raise ImageError(
            f"{status.st_size} bytes are more than {max_pixels} pixels, the limit, can need"
        )
    return path.open() if isinstance(path, Remote) else path


def _reason(error: Exception) -> str:
    """One short line."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image in a supported format (" + ", ".join(FORMATS) + ")"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "cannot be decoded: " + (" ".join(str(error).split())[:200] or type(error).__name__)


def _upright(decoded: Image.Image, image: Image.Image) -> Image.Image:
    """`decoded`, turned as the metadata of `image` says."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # metadata that does not parse says nothing about orientation
        return decoded
    return decoded.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else decoded


def _mend_color_key(image: Image.Image) -> None:
    """Bring a PNG's transparent colour to the 8 bits that Pillow brings its samples to.

    Must run before the image is loaded: then the file's own sample size is forgotten.
    """
    key = image.info.get("transparency")
    tiles = image.tile if isinstance(image, PngImageFile) else []
    raw_mode = tiles[0][3] if tiles else None
    if isinstance(key, int) and raw_mode in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if raw_mode == "L;2" else 17)
    if isinstance(key, tuple) and raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(sample >> 8 for sample in key)


def _to_8_bit(image: Image.Image) -> Image.Image:
    """The same image, with 8 bits a sample at most."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return _from_16_bit(image)
    if image.mode in ("I", "F"):
        raise ImageError(
            "32-bit samples have no agreed white: convert the image to 8 or 16 bits first"
        )
    return image


def _from_16_bit(image: Image.Image) -> Image.Image:
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    (bits, *_) = tags.get(_BITS_PER_SAMPLE, (16,))
    white = (1 << min(bits, 16)) - 1  # the tag is the file's word, and may be anything
    scale = ((np.arange(white + 1) * 255 + white // 2) // white).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        scale = 255 - scale
    samples = np.asarray(image)
    grey = Image.fromarray(scale.take(samples, mode="clip"))
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey.putalpha(Image.fromarray(np.where(samples == key, 0, 255).astype(np.uint8)))
    return grey


def _to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """To mode RGB, or RGBA where there is alpha, in sRGB."""
    if image.mode == "RGBA" and not profile:
        return image  # it can be large: nothing to do is nothing to copy
    colors, alpha = _separate(image)
    decoded = _to_srgb(colors, profile)
    if alpha:
        decoded.putalpha(alpha)
    return decoded


def _separate(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours, of mode L, RGB, CMYK or LAB, and alpha, of mode L, where there is any."""
    if image.mode == "La":  # Pillow converts it to LA only
        image = image.convert("LA")
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "RGBa"):
        grey = image.mode in ("L", "LA")
        mode = "LA" if grey else "RGBA"
        with_alpha = image if image.mode == mode else image.convert(mode)
        return with_alpha.convert("L" if grey else "RGB"), with_alpha.getchannel("A")
    if image.mode in ("L", "RGB", "CMYK", "LAB"):
        return image, None
    return image.convert("L" if image.mode == "1" else "RGB"), None


def _to_srgb(colors: Image.Image, profile: bytes | None) -> Image.Image:
    """To mode RGB, in sRGB."""
    if colors.mode == "LAB":
        return _apply(colors, _lab_transform())
    if profile:
        # a grey image may carry an RGB profile
        for mode in ("L", "RGB") if colors.mode == "L" else (colors.mode,):
            try:
                transform = _transform(profile, mode)
            except (ImageCms.PyCMSError, OSError, ValueError):
                continue  # the profile is broken, or made for another mode
            if transform is None:
                break
            return _apply(colors if colors.mode == mode else colors.convert(mode), transform)
    return colors if colors.mode == "RGB" else colors.convert("RGB")


def _apply(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return converted


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From `profile` to sRGB; None where it is sRGB already."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    name = ImageCms.getProfileDescription(source).lower()
    if "srgb" in name and "linear" not in name:
        return None
    return ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


@functools.lru_cache(maxsize=1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )


def _flatten(image: Image.Image) -> Image.Image:
    """An RGBA image with its partly transparent pixels over white; full transparency stays."""
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    white.putalpha(image.getchannel("A").point(lambda alpha: 255 if alpha else 0))
    return white


def _band(samples: NDArray[np.uint8]) -> Band:
    """Samples (h, w, 3), or (h, w, 4) with alpha."""
    samples = samples.reshape(-1, samples.shape[-1])
    if samples.shape[1] == 3:
        return Band(samples, None)
    pixels, alphas = samples[:, :3].copy(), samples[:, 3].copy()
    pixels[alphas == 0] = 0
    return Band(pixels, None if (alphas == 255).all() else alphas)
