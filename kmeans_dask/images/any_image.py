"""Images in whatever form a caller has them: files, Pillow's images and arrays."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kmeans_dask.errors import ImageError, UsageError
from kmeans_dask.files import Location, ObjectPath, parse_location
from kmeans_dask.formats.to_srgb import to_rgb
from kmeans_dask.images.decode import decode
from kmeans_dask.images.decoded_image import DecodedImage
from kmeans_dask.settings import MAX_PIXELS, White

_DEEP = (1 << 16) - 1


def read_any_image(
    image: Any, *, white: White = None, max_pixels: int = MAX_PIXELS
) -> DecodedImage:
    """Return an image as upright 8-bit sRGB.

    image: path or URL of a file; a Pillow image, whose ICC profile is applied and whose EXIF
        orientation is not; or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of sRGB and
        straight alpha, of type bool, uint8 or uint16
    white: the 16-bit sample of a file that becomes white, see `images.decode.decode`
    max_pixels: most pixels of a file

    Raises ImageError where a file cannot be decoded; UsageError where there is no file, or `image`
    is none of these.
    """
    if isinstance(image, str | os.PathLike | ObjectPath):
        return _from_file(parse_location(image), white, max_pixels)
    if isinstance(image, Image.Image):
        return _described(_from_pillow(image))
    array = np.asarray(image)
    if array.dtype.kind not in "biuf":
        raise UsageError(
            f"an object of type {type(image).__name__} is no image: give a path, a Pillow image or "
            "an array"
        )
    return _described(Image.fromarray(_to_samples(array)))


def to_pillow(indices: NDArray[np.uint8], entries: NDArray[np.uint8]) -> Image.Image:
    """Return a Pillow image in mode P of `indices` (h, w) into `entries` (k, 4), k at most 256."""
    image = Image.fromarray(indices)
    image.putpalette(entries[:, :3].tobytes())
    if (entries[:, 3] < 255).any():
        image.info["transparency"] = entries[:, 3].tobytes()
    return image


def _from_file(path: Location, white: White, max_pixels: int) -> DecodedImage:
    """Return the image in a file. Raises UsageError and ImageError, which name the file."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name an image")
    if not path.exists():
        raise UsageError(f"{path} does not exist: name an image")
    try:
        return decode(path, max_pixels, white=white)
    except ImageError as error:
        raise type(error)(f"{path}: {error}") from error


def _from_pillow(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray(_to_samples(np.asarray(image).astype(np.uint16)))
    if image.mode in ("I", "F"):
        raise UsageError(
            f"an image of mode {image.mode} has no agreed white: convert it to 16 bits first"
        )
    return to_rgb(image, image.info.get("icc_profile"))


def _to_samples(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an array as (h, w, 3) or (h, w, 4) uint8. Raises UsageError where it is no image."""
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise UsageError(
            f"an array of shape {array.shape} is no image: give (H, W), (H, W, 3) or (H, W, 4)"
        )
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype == np.uint16:
        array = ((array.astype(np.uint32) * 255 + _DEEP // 2) // _DEEP).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise UsageError(
            f"an array of {array.dtype} has no agreed white: convert it to uint8 or uint16 first"
        )
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    return np.ascontiguousarray(array)


def _described(image: Image.Image) -> DecodedImage:
    """Return `image`, in mode RGB or RGBA, with whether its pixels are transparent."""
    if image.mode != "RGBA":
        return DecodedImage(image, transparent=False, translucent=False)
    alphas = image.getchannel("A").histogram()
    transparent, translucent = alphas[0] > 0, any(alphas[1:255])
    if not (transparent or translucent):
        image = image.convert("RGB")
    return DecodedImage(image, transparent, translucent)
