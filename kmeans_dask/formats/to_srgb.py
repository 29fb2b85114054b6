"""Conversion of colours to sRGB; ICC profiles are judged by their effect, not by their names."""

from __future__ import annotations

import functools
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_SAME = 2  # levels of 256: a profile that moves no colour by more counts as sRGB
_STEPS = (0, 64, 128, 192, 255)  # levels of each channel, of the colours to try a profile with


def to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return `image` in sRGB, in mode RGB, or RGBA where the image has alpha.

    profile: ICC profile of the image; None for sRGB. A profile that does not fit the image, or
        cannot be read, is ignored
    """
    if image.mode == "RGBA" and not profile:
        return image  # no copy: the image can be large
    colors, alpha = _separate(image)
    converted = _to_srgb(colors, profile)
    if alpha:
        converted.putalpha(alpha)
    return converted


def is_srgb(profile: bytes, mode: str) -> bool:
    """Return whether colours need no conversion from `profile` to sRGB.

    mode: L or RGB, of the colours

    True also for a profile that is damaged, or is for another mode: such a profile is ignored.
    """
    for each in ("L", "RGB") if mode == "L" else (mode,):
        try:
            return _transform(profile, each) is None
        except (ImageCms.PyCMSError, OSError, ValueError):
            continue
    return True


def _separate(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return the colours, in mode L, RGB, CMYK or LAB, and the alpha channel, in mode L.

    The alpha channel is None where the image has none.
    """
    if image.mode == "La":  # Pillow converts mode La to LA only
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
    """Return `colors` converted from `profile` to sRGB, in mode RGB."""
    if colors.mode == "LAB":
        return _apply(colors, _lab_transform())
    if profile:
        # A grey image may carry an RGB profile.
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
    """Return a transform from `profile` to sRGB, or None where it changes no colour visibly.

    mode: mode of the image to be transformed; None is returned for L and RGB only

    Raises PyCMSError, OSError or ValueError where the profile is damaged or for another mode.
    """
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode not in ("L", "RGB"):
        return transform
    tried = _trial()
    before = Image.fromarray(tried[:, :256, 0].copy() if mode == "L" else tried)
    after = np.asarray(_apply(before, transform)).astype(int)
    wanted = np.asarray(before.convert("RGB")).astype(int)
    return None if np.abs(after - wanted).max() <= _SAME else transform


@functools.lru_cache(maxsize=1)
def _trial() -> NDArray[np.uint8]:
    """Return colours to try a profile with, (1, n, 3) uint8: a ramp of greys, then a grid."""
    ramp = np.repeat(np.arange(256), 3).reshape(-1, 3)
    grid = np.stack(np.meshgrid(_STEPS, _STEPS, _STEPS), axis=-1).reshape(-1, 3)
    return np.concatenate([ramp, grid]).astype(np.uint8)[None]


@functools.lru_cache(maxsize=1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
