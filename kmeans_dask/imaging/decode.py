"""From an image file to upright 8-bit sRGB pixels, by one written policy.

- Formats are the ones named in `FORMATS`, told by content, not by file name.
- More pixels than the limit: refused before anything is decoded.
- More than one frame or page: refused; no frame is lost silently. (Of an MPO, a photograph with
  previews, the photograph is taken, as JPEG viewers do.)
- EXIF orientation is applied.
- An embedded ICC profile is converted to sRGB, relative colorimetric with black point
  compensation. A profile that says it is sRGB, or that does not fit the image, changes nothing.
- Grey, bilevel and palette images become RGB. CMYK without a profile is converted naively.
- 16-bit samples are scaled, not clipped: 65535 becomes 255. 32-bit and float samples have no
  agreed white and are refused.
- Alpha: a fully transparent pixel stays so. Any other is composited over white, and the image is
  said to be composited where that changed a pixel.
- Metadata is dropped.
"""

from __future__ import annotations

import functools
import io
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from kmeans_dask.errors import ImageError
from kmeans_dask.settings import MAX_PIXELS

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")

_ORIENTATION = 0x0112
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

    pixels: (n, 3) uint8, sRGB; where transparent, black
    opaque: (n,) bool, or None where all are
    """

    pixels: NDArray[np.uint8]
    opaque: NDArray[np.bool_] | None


@dataclass(frozen=True)
class DecodedImage:
    """An upright sRGB image, mode RGB, or RGBA where some pixel is not opaque."""

    image: Image.Image
    transparent: bool
    composited: bool

    @property
    def height(self) -> int:
        """Rows, in pixels."""
        return self.image.height

    @property
    def width(self) -> int:
        """Columns, in pixels."""
        return self.image.width

    def bands(self, pixels: int = 1 << 20) -> Iterator[Band]:
        """The image from top to bottom, about `pixels` at a time: it is never held twice."""
        rows = max(1, pixels // self.width)
        for top in range(0, self.height, rows):
            box = (0, top, self.width, min(top + rows, self.height))
            band = np.asarray(self.image.crop(box))
            yield _composite(band.reshape(-1, band.shape[-1]))


def read_size(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height as the file's header has them. Raises ImageError."""
    with _opened(path, max_pixels) as image:
        return image.size


def decode(path: Path, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Decode the image at `path` by the policy above. Raises ImageError with the reason."""
    with _opened(path, max_pixels) as image:
        image.load()
        profile = image.info.get("icc_profile")
        upright = _upright(image)
        decoded = _to_srgb(_to_8_bit(upright), profile)
        if decoded.mode == "RGBA":
            alpha = decoded.getchannel("A").histogram()
            if alpha[255] == decoded.width * decoded.height:
                decoded = decoded.convert("RGB")
            else:
                return DecodedImage(decoded, alpha[0] > 0, any(alpha[1:255]))
        return DecodedImage(decoded, transparent=False, composited=False)


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    """Open an image after all checks that need no decoding; what goes wrong is an ImageError.

    Pillow's plugins raise nearly every kind of exception on hostile files, so all are caught.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not a regular file")
        if status.st_size == 0:
            raise ImageError("the file is empty")
        Image.MAX_IMAGE_PIXELS = max_pixels
        with warnings.catch_warnings():
            # What Pillow warns of is harmless here, or checked in the next lines.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > max_pixels:
                    raise ImageError(
                        f"{image.width} x {image.height} pixels are more than the limit of "
                        f"{max_pixels}"
                    )
                if getattr(image, "is_animated", False) and image.format != "MPO":
                    raise ImageError("more than one frame or page: animations are not supported")
                yield image
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """One short line."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image in a supported format (" + ", ".join(FORMATS) + ")"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # metadata that does not parse says nothing about orientation
        return image
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _to_8_bit(image: Image.Image) -> Image.Image:
    """To one of the modes L, RGB, RGBA, CMYK, LAB, 8 bits a sample."""
    if image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.mode in ("I", "F"):
        raise ImageError(
            "32-bit samples have no agreed white: convert the image to 8 or 16 bits first"
        )
    if image.mode == "La":  # Pillow converts it to LA only
        image = image.convert("LA")
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBa"):
        return image.convert("RGBA")
    if image.mode in ("L", "RGB", "RGBA", "CMYK", "LAB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    samples = np.asarray(image).astype(np.uint32)
    grey = Image.fromarray(((samples * 255 + 32767) // 65535).astype(np.uint8))
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return grey
    grey = grey.convert("RGB")
    grey.putalpha(Image.fromarray(np.where(samples == clear, 0, 255).astype(np.uint8)))
    return grey


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """To mode RGB or RGBA, in sRGB."""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    if image.mode == "LAB":
        return _apply(image, _lab_transform())
    if profile:
        for source in (image.mode, mode):  # a grey image may carry an RGB profile
            try:
                transform = _transform(profile, source)
            except (ImageCms.PyCMSError, OSError, ValueError):
                continue  # the profile is broken or made for another mode
            if transform is None:
                break
            fitting = image if image.mode == source else image.convert(source)
            return _apply(fitting, transform)
    return image if image.mode == mode else image.convert(mode)


def _apply(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return converted


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From `profile` to sRGB; None where it is sRGB already."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if "srgb" in ImageCms.getProfileDescription(source).lower():
        return None
    return ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGBA" if mode == "RGBA" else "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


@functools.lru_cache(maxsize=1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )


def _composite(samples: NDArray[np.uint8]) -> Band:
    """Samples (n, 3), or (n, 4) with alpha, to opaque or clear pixels."""
    if samples.shape[1] == 3:
        return Band(samples, None)
    pixels, alpha = samples[:, :3].copy(), samples[:, 3]
    partial = np.flatnonzero((alpha > 0) & (alpha < 255))
    if partial.size:
        over = alpha[partial, None].astype(np.uint32)
        pixels[partial] = (pixels[partial] * over + 255 * (255 - over) + 127) // 255
    opaque = alpha > 0
    pixels[~opaque] = 0
    return Band(pixels, None if opaque.all() else opaque)
